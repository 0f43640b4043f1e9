//! `pgq_schedule`, `pgq_unschedule`, `pgq_list_schedules`.

use crate::api::call::{Answer, Call};
use crate::api::produce::{max_deliveries, on_duplicate, priority};
use crate::engine::queue::create;
use crate::engine::schedule::{self, Kind, Message, Wish, Work};
use crate::engine::table::content;
use crate::error::Result;
use crate::pg::session::check_writable;
use crate::worker::start;

crate::export_to_sql!(pgq_schedule, pgq_unschedule, pgq_list_schedules);

/// Longest schedule text, in bytes.
pub const LONGEST_TIME: usize = 1 << 10;

fn pgq_schedule(call: &Call) -> Answer {
    let wish = wish(call)?;
    check_writable("pgq_schedule")?;
    create::for_push(&wish.queue)?;
    start::ensure_running();
    Ok(Some(schedule::put(&wish)?.into()))
}

fn wish(call: &Call) -> Result<Wish> {
    Ok(Wish {
        name: call.name(0, "name")?,
        queue: call.name(1, "queue")?,
        every: call.short_text(2, "every", LONGEST_TIME)?,
        time_zone: call.short_text(6, "time_zone", LONGEST_TIME)?,
        work: Work::Push(message(call)?),
    })
}

fn message(call: &Call) -> Result<Message> {
    let (payload, headers) = (call.required(3, "payload")?, call.optional(4, "headers")?);
    content::check(Some(payload), headers)?;
    Ok(Message {
        payload,
        headers,
        priority: priority(call.required(5, "priority")?)?,
        ttl: call.span(7, "ttl")?,
        group_key: call.optional_name(8, "group_key")?,
        dedup_key: call.optional_name(9, "dedup_key")?,
        on_duplicate: on_duplicate(call, 10)?,
        lease: call.span(11, "lease")?,
        max_deliveries: max_deliveries(call, 12)?,
    })
}

fn pgq_unschedule(call: &Call) -> Answer {
    let name = call.name(0, "name")?;
    check_writable("pgq_unschedule")?;
    Ok(Some(schedule::remove(&name, Kind::Schedule)?.into()))
}

fn pgq_list_schedules(call: &Call) -> Answer {
    let mut rows = call.rows()?;
    schedule::list(Kind::Schedule, |row| rows.push(&row));
    rows.done()
}
