//! `pgq_create_queue`, `pgq_alter_queue`, `pgq_drop_queue`, `pgq_purge`, `pgq_pause`,
//! `pgq_resume`, `pgq_vacuum`.

use std::rc::Rc;

use serde_json::Value;

use crate::api::call::{Answer, Call};
use crate::engine::message::events;
use crate::engine::queue::{create, manage};
use crate::engine::sweep;
use crate::engine::table::queue::{self, Queue};
use crate::error::{Error, Result};
use crate::pg::datum::jsonb_datum;
use crate::pg::session::check_writable;
use crate::value::right::Right;
use crate::worker::start;

crate::export_to_sql!(
    pgq_create_queue,
    pgq_alter_queue,
    pgq_drop_queue,
    pgq_purge,
    pgq_pause,
    pgq_resume,
    pgq_vacuum,
);

/// States that `pgq_purge` accepts.
const STATES: [&str; 6] = ["ready", "delayed", "leased", "blocked", "dead", "archived"];

/// Longest settings, in bytes of jsonb.
const LONGEST_SETTINGS: usize = 64 << 10;

fn settings(call: &Call) -> Result<Value> {
    call.check_length(1, "settings", LONGEST_SETTINGS)?;
    let settings = call.jsonb(1).ok_or_else(|| Error::null("settings"))?;
    serde_json::from_str(&settings.text()).map_err(|error| Error::setting(".", &error.to_string()))
}

fn queue_for(right: Right, call: &Call, function: &str) -> Result<Rc<Queue>> {
    let name = call.name(0, "queue")?;
    check_writable(function)?;
    create::existing_with_row(&name, right)
}

fn pgq_create_queue(call: &Call) -> Answer {
    let name = call.name(0, "queue")?;
    let settings = settings(call)?;
    check_writable("pgq_create_queue")?;
    start::ensure_running();
    let is_new = create::create(&name, settings)?;
    if is_new {
        events::check_target(&*queue::existing(&name, Right::Manage)?)?;
    }
    Ok(Some(is_new.into()))
}

fn pgq_alter_queue(call: &Call) -> Answer {
    let changes = settings(call)?;
    let queue = queue_for(Right::Manage, call, "pgq_alter_queue")?;
    let redirects_events = changes.get("events_to").is_some();
    let settings = manage::alter(&queue, changes)?;
    if redirects_events {
        events::check_target(&*queue::existing(&queue.name, Right::Manage)?)?;
    }
    Ok(Some(jsonb_datum(&settings.to_string())))
}

fn pgq_drop_queue(call: &Call) -> Answer {
    let queue = queue_for(Right::Own, call, "pgq_drop_queue")?;
    Ok(Some(manage::drop(&queue)?.into()))
}

fn pgq_purge(call: &Call) -> Answer {
    let state = call.optional::<String>(1, "state")?;
    if let Some(state) = state.as_deref().filter(|state| !STATES.contains(state)) {
        return Err(Error::unknown_word("state", state, &STATES));
    }
    let group_key = call.optional_name(2, "group_key")?;
    let queue = queue_for(Right::Manage, call, "pgq_purge")?;
    Ok(Some(manage::purge(&queue, state.as_deref(), group_key.as_ref())?.into()))
}

fn pgq_pause(call: &Call) -> Answer {
    set_paused(call, "pgq_pause", true)
}

fn pgq_resume(call: &Call) -> Answer {
    set_paused(call, "pgq_resume", false)
}

fn set_paused(call: &Call, function: &str, paused: bool) -> Answer {
    let queue = queue_for(Right::Manage, call, function)?;
    Ok(Some(manage::set_paused(&queue, paused)?.into()))
}

fn pgq_vacuum(call: &Call) -> Answer {
    check_writable("pgq_vacuum")?;
    let mut rows = call.rows()?;
    sweep::round_by_hand(|row| rows.push(&row.all()));
    rows.done()
}
