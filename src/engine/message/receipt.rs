//! Locks messages that a statement is about to change.
//!
//! They are locked in the order of their ids, so that two calls never wait for each other in a circle. They
//! are judged once no other transaction can change them.

use std::rc::Rc;

use pgrx::pg_sys;

use crate::engine::table::catalog;
use crate::engine::table::heap::Table;
use crate::engine::table::message::{Column, Receipt, is_leased};
use crate::engine::table::message_index::ById;
use crate::engine::table::queue::{self, Queue};
use crate::engine::table::row::TableRow;
use crate::engine::table::statement::{Row, Statement};
use crate::error::Result;
use crate::pg::datum::i64_array;
use crate::pg::memory::{collected, room_for};
use crate::pg::session;
use crate::pg::snapshot::Snapshot;
use crate::value::right::Right;
use crate::value::timestamp::Timestamp;

static LOCK: Statement = Statement::by_index(
    include_str!("../../../sql/query/lock_messages.sql"),
    &[pg_sys::INT8ARRAYOID, pg_sys::INT8ARRAYOID],
);

/// A message that this transaction has locked.
pub struct Locked {
    pub id: i64,
    pub queue: i32,
    pub deliveries: i32,
    given_back: i32,
    pub max_deliveries: Option<i32>,
    lease_until: Timestamp,
}

impl Locked {
    /// Whether the lease is valid, by the clock now: it may have ended during the wait for the lock.
    pub fn is_leased(&self) -> bool {
        is_leased(self.lease_until, session::now())
    }

    /// How often it was delivered, without the deliveries that consumers have given back.
    pub fn attempts(&self) -> i32 {
        self.deliveries - self.given_back
    }

    fn from_row(row: &Row) -> Self {
        Self {
            id: row.i64(0),
            queue: row.i32(1),
            deliveries: row.i32(2),
            max_deliveries: row.get(3).map(|max| max.value() as i32),
            lease_until: row.i64(4),
            given_back: row.i32(5),
        }
    }
}

/// Locks the messages whose receipt is good and on which the caller has a right, rising by id. Waits for
/// other transactions that hold them.
pub fn lock(receipts: &[Receipt]) -> Result<Vec<Locked>> {
    let receipts = permitted(receipts)?;
    let ids: Vec<i64> = collected(receipts.iter().map(|(id, _)| *id));
    // A call gives the deliveries of all its messages or of none.
    let has_deliveries = receipts.iter().all(|(_, delivery)| delivery.is_some());
    let deliveries =
        has_deliveries.then(|| collected(receipts.iter().map(|(_, delivery)| delivery.unwrap_or_default())));
    let mut locked = Vec::new();
    if !ids.is_empty() {
        let args = [Some(i64_array(&ids)), deliveries.as_deref().map(i64_array)];
        LOCK.run(&args, |row| {
            room_for(&mut locked, 1);
            locked.push(Locked::from_row(row));
        });
    }
    // The caller may have no right on a message that has gone to another queue meanwhile.
    let is_allowed = |queue| matches!(queue::by_id(queue), Ok(Some(queue)) if queue.allows(Right::Consume));
    locked.retain(|message| is_allowed(message.queue));
    Ok(locked)
}

/// The receipts of messages that the caller may consume, rising by id.
pub fn permitted(receipts: &[Receipt]) -> Result<Vec<Receipt>> {
    let table = Table::open_to_read(catalog::refresh().message);
    let snapshot = Snapshot::take();
    let mut messages = ById::open(&table, &snapshot);
    let mut permitted = Vec::new();
    for receipt in in_order(receipts) {
        if let Some(row) = messages.find(receipt.0)
            && queue_of(&row)?.is_some()
        {
            room_for(&mut permitted, 1);
            permitted.push(receipt);
        }
    }
    Ok(permitted)
}

/// Each receipt once, rising by id.
pub fn in_order(receipts: &[Receipt]) -> Vec<Receipt> {
    let mut receipts = collected(receipts.iter().copied());
    receipts.sort_unstable();
    receipts.dedup();
    receipts
}

/// The queue of a message, if the caller may consume it. For other roles the message does not exist: an error
/// would tell them that it does.
pub fn queue_of(row: &TableRow) -> Result<Option<Rc<Queue>>> {
    let queue = queue::by_id(row.i32(Column::Queue))?;
    Ok(queue.filter(|queue| queue.allows(Right::Consume)))
}
