//! Change: what is done to messages that nobody holds.
//!
//! What is leased, dead, or would not be delivered any more, is left alone.

use std::collections::{BTreeMap, BTreeSet};

use pgrx::pg_sys::{self, Datum};

use super::counter::{self, Counts};
use super::locked::{Locked, lock};
use super::message::Receipt;
use super::queue::{self, Queue};
use super::statement::{Statement, i64_array};
use super::{id, news, now, unique};
use crate::call::Timestamp;
use crate::error::Result;
use crate::value::right::Right;

static WAITING: Statement =
    Statement::new(include_str!("../../sql/query/waiting_messages.sql"), &[pg_sys::INT8ARRAYOID]);
static UPDATE: Statement = Statement::new(
    include_str!("../../sql/query/update_message.sql"),
    &[
        pg_sys::INT8OID,
        pg_sys::JSONBOID,
        pg_sys::JSONBOID,
        pg_sys::INT2OID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::TIMESTAMPTZOID,
    ],
);
static CANCEL: Statement =
    Statement::new(include_str!("../../sql/query/cancel_messages.sql"), &[pg_sys::INT8ARRAYOID]);
static MOVE: Statement = Statement::new(
    include_str!("../../sql/query/move_messages.sql"),
    &[pg_sys::INT8ARRAYOID, pg_sys::INT4OID],
);

/// What is to be different about a message; none: as it is.
pub struct Change {
    /// Takes the place of a body too.
    pub payload: Option<Datum>,
    pub headers: Option<Datum>,
    pub priority: Option<i16>,
    pub deliver_at: Option<Timestamp>,
}

/// Changes a message in place; false if it does not wait to be delivered.
pub fn update(id: i64, change: &Change) -> Result<bool> {
    let Some(message) = waiting(&[id], Superseded::Spare)?.pop() else { return Ok(false) };
    // What others will consume is changed by those who may push it.
    if let Some(queue) = queue::by_id(message.queue)? {
        queue.check(Right::Push)?;
    }
    let args = [
        Some(id.into()),
        change.payload,
        change.headers,
        change.priority.map(Datum::from),
        change.deliver_at.map(Datum::from),
        Some(now().into()),
    ];
    Ok(unique::unless_taken(|| UPDATE.run(&args, |_| {})) == Some(1))
}

/// Removes messages and returns the ids of those that were.
pub fn cancel(ids: &[i64]) -> Result<Vec<i64>> {
    let messages = waiting(ids, Superseded::Too)?;
    let ids = ids_of(&messages);
    if !ids.is_empty() {
        tell_of_removal(&messages);
        CANCEL.run(&[Some(i64_array(&ids))], |_| {});
        count_removed(&messages);
    }
    Ok(ids)
}

/// Makes messages of other queues new messages of `to`, and returns their ids, old and
/// new. One whose key another waits with there stays, and so does one that is superseded.
pub fn relocate(ids: &[i64], to: &Queue) -> Result<Vec<(i64, i64)>> {
    let mut messages = waiting(ids, Superseded::Spare)?;
    messages.retain(|message| message.queue != to.id);
    let mut moved = BTreeMap::new();
    if !messages.is_empty() {
        tell_of_removal(&messages);
        id::prepare();
        MOVE.run(&[Some(i64_array(&ids_of(&messages))), Some(to.id.into())], |row| {
            moved.insert(row.i64(0), row.i64(1));
        });
        messages.retain(|message| moved.contains_key(&message.id));
        count_removed(&messages);
        counter::add(to.id, Counts { pushed: moved.len() as i64, ..Counts::default() });
    }
    Ok(moved.into_iter().collect())
}

fn tell_of_removal(messages: &[Locked]) {
    messages.iter().for_each(|message| news::removed(message.queue));
}

fn count_removed(messages: &[Locked]) {
    let queues = messages.iter().map(|message| message.queue);
    counter::add_each(queues, |deleted| Counts { deleted, ..Counts::default() });
}

fn ids_of(messages: &[Locked]) -> Vec<i64> {
    messages.iter().map(|message| message.id).collect()
}

/// Whether something is done to messages that a newer one with their key has superseded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Superseded {
    Too,
    Spare,
}

/// Locks messages, and picks those that wait to be delivered.
fn waiting(ids: &[i64], superseded: Superseded) -> Result<Vec<Locked>> {
    let receipts: Vec<Receipt> = ids.iter().map(|&id| (id, None)).collect();
    let mut messages = lock(&receipts)?;
    if !messages.is_empty() {
        let mut waiting = BTreeSet::new();
        WAITING.run(&[Some(i64_array(&ids_of(&messages)))], |row| {
            if superseded == Superseded::Too || !row.bool(1) {
                waiting.insert(row.i64(0));
            }
        });
        messages.retain(|message| waiting.contains(&message.id));
    }
    Ok(messages)
}
