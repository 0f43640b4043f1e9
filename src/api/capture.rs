//! `pgq_capture`.

use pgrx::pg_sys::Datum;

use crate::api::call::{Answer, Call};
use crate::engine::capture;
use crate::error::Error;
use crate::pg::session::check_writable;
use crate::worker::start;

crate::export_to_sql!(pgq_capture);

fn pgq_capture(call: &Call) -> Answer {
    let trigger =
        call.trigger_if_it_is_one().ok_or_else(|| Error::bad_capture("must be called as a trigger"))?;
    check_writable("pgq_capture")?;
    start::ensure_running();
    capture::capture(trigger)?;
    Ok(Some(Datum::null()))
}
