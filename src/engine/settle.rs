//! Settle: what a consumer says of messages it was given.
//!
//! Ids are settled in rising order, so that two calls never wait for each other in
//! a circle. A row is judged and changed in one version: if somebody else changed
//! it in between, it is looked at again and judged anew.

use std::rc::Rc;

use pgrx::pg_sys::Datum;

use super::counter::{self, Counts};
use super::message::{Column, Lane, NOT_LEASED, Receipt, is_leased};
use super::queue::{self, Queue};
use super::table::{Fate, Found, Patience, Snapshot, Table};
use super::{catalog, has_one_snapshot, lane, news, now};
use crate::call::Timestamp;
use crate::error::{Error, Result};
use crate::value::duration::Millis;

/// What is to happen to a message whose receipt is good.
#[derive(Clone, Copy)]
pub enum Verdict {
    /// Removed, leased or not.
    Delete,
    /// Its lease, if still valid, ends then.
    Extend(Millis),
    /// Its lease, if still valid, ends now; it waits this long.
    Release(Millis),
}

/// A message that was settled.
pub struct Settled {
    pub id: i64,
    pub at: Timestamp,
    queue: i32,
}

/// Settles messages and returns those that were, rising by id.
pub fn settle(receipts: &[Receipt], verdict: Verdict) -> Result<Vec<Settled>> {
    let table = Table::open(catalog::refresh().message);
    let mut settled: Vec<Settled> = Vec::with_capacity(receipts.len());
    for receipt in in_order(receipts) {
        let is_repeated = settled.last().is_some_and(|last| last.id == receipt.0);
        if !is_repeated {
            settled.extend(settle_one(&table, receipt, verdict)?);
        }
    }
    if matches!(verdict, Verdict::Delete) {
        let queues = settled.iter().map(|message| message.queue);
        counter::add_each(queues, |deleted| Counts { deleted, ..Counts::default() });
    }
    Ok(settled)
}

/// Those receipts whose message the caller has a right on, rising by id.
pub fn permitted(receipts: &[Receipt]) -> Result<Vec<Receipt>> {
    let table = Table::open_to_read(catalog::refresh().message);
    let snapshot = Snapshot::take();
    let mut permitted = Vec::with_capacity(receipts.len());
    for receipt in in_order(receipts) {
        let mut scan = lane::by_id(&table, &snapshot, receipt.0);
        if let Some(row) = scan.next()
            && queue_of(&row)?.is_some()
        {
            permitted.push(receipt);
        }
    }
    Ok(permitted)
}

fn in_order(receipts: &[Receipt]) -> Vec<Receipt> {
    let mut receipts = receipts.to_vec();
    receipts.sort_unstable();
    receipts.dedup();
    receipts
}

/// The queue of a message, if the caller has a right on it. To others the message
/// is not there: an error would tell them that it is.
fn queue_of(row: &Found) -> Result<Option<Rc<Queue>>> {
    let queue = queue::by_id(row.i32(Column::Queue))?;
    Ok(queue.filter(|queue| queue.is_allowed()))
}

fn settle_one(table: &Table, receipt: Receipt, verdict: Verdict) -> Result<Option<Settled>> {
    let mut locked = false;
    loop {
        let snapshot = Snapshot::take();
        let mut scan = lane::by_id(table, &snapshot, receipt.0);
        let Some(row) = scan.next() else { return Ok(None) };
        let Some(queue) = queue_of(&row)? else { return Ok(None) };
        if !locked && row.is_busy() {
            // Wait first, and judge by the clock and the row as they are then.
            match table.lock(&row, Patience::Wait) {
                Fate::Done => locked = true,
                Fate::Gone => return Ok(None),
                _ if has_one_snapshot() => return Err(Error::could_not_serialize()),
                Fate::Changed | Fate::Busy => {}
            }
            continue;
        }
        let now = now();
        if !is_good(&row, receipt, verdict, now) {
            return Ok(None);
        }
        match apply(table, &row, &queue, verdict, now) {
            Fate::Done => return Ok(Some(Settled { id: receipt.0, at: now, queue: queue.id })),
            Fate::Gone => return Ok(None),
            // The next snapshot shows what the other transaction has committed.
            _ if has_one_snapshot() => return Err(Error::could_not_serialize()),
            Fate::Changed | Fate::Busy => {}
        }
    }
}

fn is_good(row: &Found, (_, delivery): Receipt, verdict: Verdict, now: Timestamp) -> bool {
    let is_this_delivery = delivery.is_none_or(|delivery| delivery == row.i32(Column::Deliveries));
    let needs_lease = !matches!(verdict, Verdict::Delete);
    is_this_delivery && (!needs_lease || is_leased(row.i64(Column::LeaseUntil), now))
}

/// Changes the row, and tells what becomes of it.
fn apply(table: &Table, row: &Found, queue: &Queue, verdict: Verdict, now: Timestamp) -> Fate {
    let (id, priority) = (row.i64(Column::Id), row.i16(Column::Priority));
    let change = |changes: &[(Column, Option<Datum>)]| table.update(row, changes, Patience::Wait);
    let not_leased = (Column::LeaseUntil, Some(NOT_LEASED.into()));
    match verdict {
        Verdict::Delete => {
            news::touched(queue.id, priority, id);
            let delete = || table.delete(row, Patience::Wait);
            if queue.settings.durable_delete { delete() } else { news::harmless(delete) }
        }
        Verdict::Extend(lease) => {
            let until = now + lease.as_micros();
            news::leased(queue.id, priority, id, until);
            change(&[(Column::LeaseUntil, Some(until.into()))])
        }
        Verdict::Release(delay) if delay.as_millis() == 0 => {
            news::ready(queue.id, priority, id);
            change(&[not_leased])
        }
        Verdict::Release(delay) => {
            let due_at = now + delay.as_micros();
            news::delayed(queue.id, due_at);
            let lane = (Column::Lane, Some((Lane::Delayed as i8).into()));
            change(&[not_leased, lane, (Column::DueAt, Some(due_at.into()))])
        }
    }
}
