//! `pgq_create_queue`, `pgq_alter_queue`, `pgq_drop_queue`, `pgq_purge`, `pgq_pause`,
//! `pgq_resume`, `pgq_vacuum`.

use std::rc::Rc;

use pgrx::pg_sys::{self};
use serde_json::Value;

use crate::api::call::{Answer, Call};
use crate::engine::commit::{callbacks, pending};
use crate::engine::message::events;
use crate::engine::queue::{counter, create, slots};
use crate::engine::sweep;
use crate::engine::table::counts::Counts;
use crate::engine::table::queue::{self, Queue, bad_setting};
use crate::engine::table::statement::Statement;
use crate::error::{Error, Result};
use crate::pg::datum::{jsonb_datum, text_datum};
use crate::pg::session::check_writable;
use crate::value::right::Right;
use crate::value::settings::{Settings, merge};
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

static SETTINGS: Statement =
    Statement::new(include_str!("../../sql/query/settings_for_update.sql"), &[pg_sys::INT4OID]);
static ALTER: Statement =
    Statement::new(include_str!("../../sql/query/alter_queue.sql"), &[pg_sys::INT4OID, pg_sys::JSONBOID]);
static DROP: Statement = Statement::new(include_str!("../../sql/query/drop_queue.sql"), &[pg_sys::INT4OID]);
static DROP_REST: Statement =
    Statement::new(include_str!("../../sql/query/drop_queue_rest.sql"), &[pg_sys::INT4OID]);
static REGROUP: Statement =
    Statement::new(include_str!("../../sql/query/regroup.sql"), &[pg_sys::INT4OID, pg_sys::BOOLOID]);
const PURGE_ARGS: &[pg_sys::Oid] = &[pg_sys::INT4OID, pg_sys::TEXTOID, pg_sys::TEXTOID];
static PURGE: Statement = Statement::new(include_str!("../../sql/query/purge.sql"), PURGE_ARGS);
static PURGE_REST: Statement = Statement::new(include_str!("../../sql/query/purge_rest.sql"), PURGE_ARGS);
static PAUSE: Statement =
    Statement::new(include_str!("../../sql/query/pause_queue.sql"), &[pg_sys::INT4OID, pg_sys::BOOLOID]);

/// States that `pgq_purge` knows.
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
    queue::existing(&name, right)
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
    let before = settings_for_update(&queue)?;
    let merged = merge(before.clone(), changes).map_err(bad_setting)?;
    let before = Settings::read(&before).map_err(bad_setting)?;
    let settings = create::check_settings(&queue.name, &merged)?;
    let merged = jsonb_datum(&merged.to_string());
    ALTER.run(&[Some(queue.id.into()), Some(merged)], |_| {});
    if settings.groups != before.groups {
        REGROUP.run(&[Some(queue.id.into()), Some(settings.keeps_order().into())], |_| {});
    }
    if settings.max_leased != before.max_leased {
        slots::lay_out(queue.id, settings.max_leased.map(|max| max.0));
    }
    // What could not be reserved by the old settings may be by the new ones.
    pending::forget(queue.id);
    pending::resumed(queue.id);
    if redirects_events {
        events::check_target(&*queue::existing(&queue.name, Right::Manage)?)?;
    }
    Ok(Some(merged))
}

/// Locked, so that of two changes at once the second is laid over the first; an error if the
/// first has dropped the queue.
fn settings_for_update(queue: &Queue) -> Result<Value> {
    let mut settings = None;
    SETTINGS.run(&[Some(queue.id.into())], |row| {
        let known = row.jsonb(0).and_then(|known| serde_json::from_str(&known.text()).ok());
        settings = Some(known.unwrap_or(Value::Null));
    });
    settings.ok_or_else(|| Error::no_such_queue(&queue.name.to_string()))
}

fn pgq_drop_queue(call: &Call) -> Answer {
    let queue = queue_for(Right::Own, call, "pgq_drop_queue")?;
    queue::wait_for_keepers(queue.id);
    settings_for_update(&queue)?;
    pending::removed(queue.id);
    pending::resumed(queue.id); // sleepers may have to sleep on another queue of this name
    callbacks::dropped(queue.id);
    let mut gone = 0;
    for statement in [&DROP, &DROP_REST] {
        statement.run(&[Some(queue.id.into())], |row| gone += row.i64(0));
    }
    Ok(Some(gone.into()))
}

fn pgq_purge(call: &Call) -> Answer {
    let state = call.optional::<String>(1, "state")?;
    if let Some(state) = state.as_deref().filter(|state| !STATES.contains(state)) {
        return Err(Error::unknown_word("state", state, &STATES));
    }
    let group_key = call.optional_name(2, "group_key")?.map(|key| key.datum());
    let queue = queue_for(Right::Manage, call, "pgq_purge")?;
    pending::removed(queue.id);
    let (mut messages, mut kept) = (0, 0);
    let state = state.map(|state| text_datum(state.as_bytes()));
    let args = [Some(queue.id.into()), state, group_key];
    PURGE.run(&args, |row| messages = row.i64(0));
    PURGE_REST.run(&args, |row| kept = row.i64(0));
    counter::add(queue.id, Counts { deleted: messages, ..Counts::default() });
    Ok(Some((messages + kept).into()))
}

fn pgq_pause(call: &Call) -> Answer {
    set_paused(call, "pgq_pause", true)
}

fn pgq_resume(call: &Call) -> Answer {
    set_paused(call, "pgq_resume", false)
}

fn set_paused(call: &Call, function: &str, paused: bool) -> Answer {
    let queue = queue_for(Right::Manage, call, function)?;
    let changed = PAUSE.run(&[Some(queue.id.into()), Some(paused.into())], |_| {});
    if !paused {
        pending::resumed(queue.id);
    }
    Ok(Some((changed > 0).into()))
}

fn pgq_vacuum(call: &Call) -> Answer {
    check_writable("pgq_vacuum")?;
    let mut rows = call.rows()?;
    sweep::round_by_hand(|row| rows.push(&row.all()));
    rows.done()
}
