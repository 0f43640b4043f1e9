//! Change: updates, cancels and moves of messages that no consumer holds.
//!
//! A message that is leased, dead, or would not be delivered any more is left alone.

use std::collections::BTreeMap;

use pgrx::pg_sys::{self, Datum};

use crate::engine::commit::pending;
use crate::engine::message::key;
use crate::engine::message::receipt::{Locked, lock};
use crate::engine::queue::counter;
use crate::engine::table::counts::Counts;
use crate::engine::table::heap::Table;
use crate::engine::table::message::Receipt;
use crate::engine::table::name::Name;
use crate::engine::table::queue::{self, Queue};
use crate::engine::table::statement::Statement;
use crate::engine::table::{catalog, message_id};
use crate::error::Result;
use crate::pg::datum::i64_array;
use crate::pg::memory::{collected, room_for};
use crate::pg::session::now;
use crate::value::right::Right;
use crate::value::timestamp::Timestamp;

static WAITING: Statement =
    Statement::by_index(include_str!("../../../sql/query/waiting_messages.sql"), &[pg_sys::INT8ARRAYOID]);
static UPDATE: Statement = Statement::by_index(
    include_str!("../../../sql/query/update_message.sql"),
    &[
        pg_sys::INT8OID,
        pg_sys::JSONBOID,
        pg_sys::JSONBOID,
        pg_sys::INT2OID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::BOOLOID,
    ],
);
static CANCEL: Statement =
    Statement::by_index(include_str!("../../../sql/query/cancel_messages.sql"), &[pg_sys::INT8ARRAYOID]);
static MOVE: Statement = Statement::by_index(
    include_str!("../../../sql/query/move_messages.sql"),
    &[pg_sys::INT8ARRAYOID, pg_sys::INT4OID],
);

/// The changes to a message. None: the column stays as it is.
pub struct Change {
    /// The new payload. It replaces a body too.
    pub payload: Option<Datum>,
    pub headers: Option<Datum>,
    pub priority: Option<i16>,
    pub deliver_at: Option<Timestamp>,
}

/// Changes a message in place; false if it does not wait to be delivered.
pub fn update(id: i64, change: &Change) -> Result<bool> {
    let Some(message) = waiting(&[id], Superseded::Spare)?.pop() else { return Ok(false) };
    // An update needs the right to push: other roles will consume what it writes.
    let Some(queue) = queue::by_id(message.locked.queue)? else { return Ok(false) };
    queue.check(Right::Push)?;
    let at = now();
    let write = |stands_behind: bool| {
        let args = [
            Some(id.into()),
            change.payload,
            change.headers,
            change.priority.map(Datum::from),
            change.deliver_at.map(Datum::from),
            Some(at.into()),
            Some(stands_behind.into()),
        ];
        UPDATE.run(&args, |_| {}) == 1
    };
    let has_new_content = change.payload.is_some() || change.headers.is_some();
    Ok(match message.key.filter(|_| has_new_content) {
        Some(key) => key::may_change(&Table::open(catalog::refresh().message), &queue, id, &key, write),
        None => write(false),
    })
}

/// Removes messages and returns the ids of those that it has removed.
pub fn cancel(ids: &[i64]) -> Result<Vec<i64>> {
    let messages = waiting(ids, Superseded::Too)?;
    let ids = ids_of(&messages);
    if !ids.is_empty() {
        tell_of_removal(&messages);
        key::drop_echoes(&ids);
        CANCEL.run(&[Some(i64_array(&ids))], |_| {});
        count_removed(&messages);
    }
    Ok(ids)
}

/// Makes messages of other queues new messages of `to`, and returns their ids, old and new.
///
/// A message stays if another waits there with its key, if the key was seen there within the `dedup_window`,
/// or if it is superseded.
pub fn relocate(ids: &[i64], to: &Queue) -> Result<Vec<(i64, i64)>> {
    let mut messages = waiting(ids, Superseded::Spare)?;
    messages.retain(|message| message.locked.queue != to.id);
    let mut moved = BTreeMap::new();
    if !messages.is_empty() {
        tell_of_removal(&messages);
        message_id::prepare();
        let (keyed, others): (Vec<_>, Vec<_>) = messages.iter().partition(|message| message.key.is_some());
        let table = Table::open(catalog::refresh().message);
        for message in keyed {
            let Some(key) = &message.key else { continue };
            let move_it = || {
                key::take_in_echoes(&table, message.locked.id);
                move_messages(&[message.locked.id], to, &mut moved);
                moved.get(&message.locked.id).copied()
            };
            key::bring(&table, to, key, move_it);
        }
        move_messages(&collected(others.iter().map(|message| message.locked.id)), to, &mut moved);
        messages.retain(|message| moved.contains_key(&message.locked.id));
        count_removed(&messages);
        counter::add(to.id, Counts { pushed: moved.len() as i64, ..Counts::default() });
        queue::judged_again(to, Right::Push)?; // messages and keys may have been waited for
    }
    Ok(collected(moved.into_iter()))
}

fn move_messages(ids: &[i64], to: &Queue, moved: &mut BTreeMap<i64, i64>) {
    MOVE.run(&[Some(i64_array(ids)), Some(to.id.into())], |row| {
        moved.insert(row.i64(0), row.i64(1));
    });
}

fn tell_of_removal(messages: &[Waiting]) {
    messages.iter().for_each(|message| pending::removed(message.locked.queue));
}

fn count_removed(messages: &[Waiting]) {
    let queues = messages.iter().map(|message| message.locked.queue);
    counter::add_each(queues, |deleted| Counts { deleted, ..Counts::default() });
}

fn ids_of(messages: &[Waiting]) -> Vec<i64> {
    collected(messages.iter().map(|message| message.locked.id))
}

/// Whether superseded messages are changed too: those for which a newer one with their key stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Superseded {
    Too,
    Spare,
}

/// A message that waits to be delivered, locked by this transaction.
struct Waiting {
    locked: Locked,
    key: Option<Name>,
}

/// Locks messages, and returns those that wait to be delivered.
fn waiting(ids: &[i64], superseded: Superseded) -> Result<Vec<Waiting>> {
    let receipts: Vec<Receipt> = collected(ids.iter().map(|&id| (id, None)));
    let locked = lock(&receipts)?;
    let mut keys = BTreeMap::new();
    if !locked.is_empty() {
        let ids: Vec<i64> = collected(locked.iter().map(|message| message.id));
        WAITING.run(&[Some(i64_array(&ids))], |row| {
            if superseded == Superseded::Too || !row.bool(1) {
                keys.insert(row.i64(0), row.text(2).map(Name::known));
            }
        });
    }
    let pick = |locked: Locked| keys.remove(&locked.id).map(|key| Waiting { locked, key });
    let mut waiting = Vec::new();
    room_for(&mut waiting, locked.len());
    waiting.extend(locked.into_iter().filter_map(pick));
    Ok(waiting)
}
