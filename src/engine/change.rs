//! Change: what producers do to messages that nobody holds.
//!
//! What is leased, dead, or would not be delivered any more, is left alone.

use std::collections::BTreeSet;

use pgrx::pg_sys::{self, Datum};

use super::counter::{self, Counts};
use super::locked::{Locked, lock};
use super::message::Receipt;
use super::queue::Queue;
use super::statement::{Statement, i64_array};
use super::{news, now};
use crate::call::Timestamp;
use crate::error::Result;

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
    if waiting(&[id])?.is_empty() {
        return Ok(false);
    }
    UPDATE.run(
        &[
            Some(id.into()),
            change.payload,
            change.headers,
            change.priority.map(Datum::from),
            change.deliver_at.map(Datum::from),
            Some(now().into()),
        ],
        |_| {},
    );
    Ok(true)
}

/// Removes messages and returns the ids of those that were.
pub fn cancel(ids: &[i64]) -> Result<Vec<i64>> {
    let messages = waiting(ids)?;
    let ids: Vec<i64> = messages.iter().map(|message| message.id).collect();
    remove(&messages, || {
        CANCEL.run(&[Some(i64_array(&ids))], |_| {});
    });
    Ok(ids)
}

/// Gives messages of other queues to `to` and returns their ids, old and new.
pub fn relocate(ids: &[i64], to: &Queue) -> Result<Vec<(i64, i64)>> {
    let mut messages = waiting(ids)?;
    messages.retain(|message| message.queue != to.id);
    let ids: Vec<i64> = messages.iter().map(|message| message.id).collect();
    let mut moved = Vec::with_capacity(ids.len());
    remove(&messages, || {
        MOVE.run(&[Some(i64_array(&ids)), Some(to.id.into())], |row| moved.push((row.i64(0), row.i64(1))));
    });
    counter::add(to.id, Counts { pushed: moved.len() as i64, ..Counts::default() });
    Ok(moved)
}

/// Runs a statement that removes messages, and tells and counts that it does.
fn remove(messages: &[Locked], statement: impl FnOnce()) {
    if messages.is_empty() {
        return;
    }
    let queues = messages.iter().map(|message| message.queue);
    queues.clone().collect::<BTreeSet<i32>>().into_iter().for_each(news::removed);
    statement();
    counter::add_each(queues, |deleted| Counts { deleted, ..Counts::default() });
}

/// Locks messages, and picks those that wait to be delivered.
fn waiting(ids: &[i64]) -> Result<Vec<Locked>> {
    let receipts: Vec<Receipt> = ids.iter().map(|&id| (id, None)).collect();
    let mut messages = lock(&receipts)?;
    if !messages.is_empty() {
        let ids: Vec<i64> = messages.iter().map(|message| message.id).collect();
        let mut waiting = BTreeSet::new();
        WAITING.run(&[Some(i64_array(&ids))], |row| {
            waiting.insert(row.i64(0));
        });
        messages.retain(|message| waiting.contains(&message.id));
    }
    Ok(messages)
}
