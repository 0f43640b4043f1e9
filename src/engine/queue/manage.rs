//! Changing queues: settings, pause, purge, drop.

use pgrx::pg_sys;
use serde_json::Value;

use crate::engine::commit::{callbacks, pending};
use crate::engine::queue::pages::{Messages, each_page_of};
use crate::engine::queue::{counter, create, slots};
use crate::engine::table::counts::Counts;
use crate::engine::table::name::Name;
use crate::engine::table::queue::{self, Queue, bad_setting};
use crate::engine::table::statement::Statement;
use crate::error::{Error, Result};
use crate::pg::datum::{jsonb_datum, text_datum};
use crate::value::right::Right;
use crate::value::settings::{Settings, merge};

static SETTINGS: Statement =
    Statement::new(include_str!("../../../sql/query/settings_for_update.sql"), &[pg_sys::INT4OID]);
static ALTER: Statement =
    Statement::new(include_str!("../../../sql/query/alter_queue.sql"), &[pg_sys::INT4OID, pg_sys::JSONBOID]);
static DROP: Statement =
    Statement::new(include_str!("../../../sql/query/drop_queue.sql"), &[pg_sys::INT4OID]);
static DROP_MESSAGES: Statement = Statement::by_index(
    include_str!("../../../sql/query/drop_messages.sql"),
    &[pg_sys::INT4OID, pg_sys::INT8ARRAYOID],
);
static DROP_REST: Statement =
    Statement::new(include_str!("../../../sql/query/drop_queue_rest.sql"), &[pg_sys::INT4OID]);
static GIVE_TURNS: Statement =
    Statement::new(include_str!("../../../sql/query/give_turns.sql"), &[pg_sys::INT4OID]);
static END_TURNS: Statement = Statement::new(
    include_str!("../../../sql/query/end_turns.sql"),
    &[pg_sys::INT4OID, pg_sys::INT8ARRAYOID],
);
static PURGE: Statement = Statement::new(
    include_str!("../../../sql/query/purge.sql"),
    &[pg_sys::INT4OID, pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::INT8ARRAYOID],
);
static PURGE_REST: Statement = Statement::new(
    include_str!("../../../sql/query/purge_rest.sql"),
    &[pg_sys::INT4OID, pg_sys::TEXTOID, pg_sys::TEXTOID],
);
static PAUSE: Statement =
    Statement::new(include_str!("../../../sql/query/pause_queue.sql"), &[pg_sys::INT4OID, pg_sys::BOOLOID]);

/// Merges changes into the settings of a queue, and returns the new settings.
pub fn alter(queue: &Queue, changes: Value) -> Result<Value> {
    let before = settings_for_update(queue, Right::Manage)?;
    let merged = merge(before.clone(), changes).map_err(bad_setting)?;
    let before = Settings::read(&before).map_err(bad_setting)?;
    let settings = create::check_settings(&queue.name, &merged)?;
    ALTER.run(&[Some(queue.id.into()), Some(jsonb_datum(&merged.to_string()))], |_| {});
    match (before.keeps_order(), settings.keeps_order()) {
        (false, true) => {
            GIVE_TURNS.run(&[Some(queue.id.into())], |_| {});
        }
        (true, false) => {
            let all = Messages { in_order: true, ..all_of(queue, None) };
            each_page_of(all, |page| {
                END_TURNS.run(&[Some(queue.id.into()), Some(page)], |_| {});
            });
        }
        _ => {}
    }
    if settings.max_leased != before.max_leased {
        slots::lay_out(queue.id, settings.max_leased.map(|max| max.0));
    }
    // A message that could not be reserved under the old settings may be under the new ones.
    pending::forget(queue.id);
    pending::resumed(queue.id);
    Ok(merged)
}

/// Reads the settings under a lock: of two changes at once the second is merged into the result of the first.
/// An error if the other transaction has dropped the queue, or has taken the caller's right on it.
fn settings_for_update(queue: &Queue, right: Right) -> Result<Value> {
    let mut settings = None;
    SETTINGS.run(&[Some(queue.id.into())], |row| {
        let known = row.jsonb(0).and_then(|known| serde_json::from_str(&known.text()).ok());
        settings = Some(known.unwrap_or(Value::Null));
    });
    queue::judged_again(queue, right)?;
    settings.ok_or_else(|| Error::no_such_queue(&queue.name.to_string()))
}

/// Drops a queue with everything in it, and returns how many messages it held, dead ones too.
pub fn drop(queue: &Queue) -> Result<i64> {
    queue::wait_for_keepers(queue.id);
    settings_for_update(queue, Right::Own)?;
    pending::removed(queue.id);
    pending::resumed(queue.id); // sleepers may have to sleep on another queue of this name
    callbacks::dropped(queue.id);
    DROP.run(&[Some(queue.id.into())], |_| {});
    let mut gone = 0;
    each_page_of(all_of(queue, None), |page| {
        gone += DROP_MESSAGES.run(&[Some(queue.id.into()), Some(page)], |_| {}) as i64;
    });
    DROP_REST.run(&[Some(queue.id.into())], |row| gone += row.i64(0));
    Ok(gone)
}

fn all_of<'a>(queue: &Queue, group_key: Option<&'a Name>) -> Messages<'a> {
    Messages { queue: queue.id, group_key, in_order: queue.settings.keeps_order() }
}

/// Removes the messages of a queue, of one state or group if given, and returns how many.
pub fn purge(queue: &Queue, state: Option<&str>, group_key: Option<&Name>) -> Result<i64> {
    pending::removed(queue.id);
    let (mut messages, mut kept) = (0, 0);
    let is_of_kept = matches!(state, Some("dead" | "archived"));
    let state = state.map(|state| text_datum(state.as_bytes()));
    let args = [Some(queue.id.into()), state, group_key.map(Name::datum)];
    if !is_of_kept {
        each_page_of(all_of(queue, group_key), |page| {
            let [queue, state, group_key] = args;
            PURGE.run(&[queue, state, group_key, Some(page)], |row| messages += row.i64(0));
        });
    }
    PURGE_REST.run(&args, |row| kept = row.i64(0));
    queue::judged_again(queue, Right::Manage)?; // it may have waited for messages
    counter::add(queue.id, Counts { deleted: messages, ..Counts::default() });
    Ok(messages + kept)
}

/// Pauses or resumes deliveries. False if nothing changed.
pub fn set_paused(queue: &Queue, paused: bool) -> Result<bool> {
    let queue = queue::locked(queue, Right::Manage)?;
    let changed = PAUSE.run(&[Some(queue.id.into()), Some(paused.into())], |_| {});
    if !paused {
        pending::resumed(queue.id);
    }
    Ok(changed > 0)
}
