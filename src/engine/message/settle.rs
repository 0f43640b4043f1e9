//! Settle: what a consumer says of messages it was given.
//!
//! Ids are settled in rising order, so that two calls never wait for each other in
//! a circle. A row is judged and changed in one version: if somebody else changed
//! it in between, it is looked at again and judged anew.

use pgrx::pg_sys::Datum;

use crate::engine::commit::{async_commit, pending};
use crate::engine::message::archive;
use crate::engine::message::group::{self, Freed, Group};
use crate::engine::message::key::{self, Echoes};
use crate::engine::message::receipt::{in_order, queue_of};
use crate::engine::queue::{counter, slots};
use crate::engine::table::catalog;
use crate::engine::table::counts::Counts;
use crate::engine::table::heap::{Fate, Patience, Table};
use crate::engine::table::message::{Column, Lane, NOT_LEASED, Receipt, is_leased};
use crate::engine::table::message_index::ById;
use crate::engine::table::queue::Queue;
use crate::engine::table::row::{Intent, TableRow};
use crate::error::{Error, Result};
use crate::pg::memory::room_for;
use crate::pg::session::{has_one_snapshot, now};
use crate::pg::snapshot::Snapshot;
use crate::stop::{self, Point};
use crate::value::duration::Millis;
use crate::value::timestamp::Timestamp;

/// What is to happen to a message whose receipt is good.
#[derive(Clone, Copy)]
pub enum Verdict {
    /// Removed, leased or not.
    Delete,
    /// Its lease, if still valid, ends then.
    Extend(Millis),
    /// Its lease, if still valid, ends now, and its delivery is given back; it waits this long.
    Release(Millis),
}

/// A message that was settled.
pub struct Settled {
    pub receipt: Receipt,
    pub at: Timestamp,
    queue: i32,
    /// The group it is gone from, and where it stood.
    left: Option<(Group, group::GroupPosition)>,
}

impl Settled {
    pub fn id(&self) -> i64 {
        self.receipt.0
    }
}

/// Settles messages and returns those that were, rising by id.
pub fn settle(receipts: &[Receipt], verdict: Verdict) -> Result<Vec<Settled>> {
    let table = Table::open(catalog::refresh().message);
    let receipts = in_order(receipts);
    let mut freed = Freed::default();
    let mut settled: Vec<Settled> = Vec::new();
    let (mut next, mut locked) = (0, None);
    while next < receipts.len() {
        // One snapshot for as many as it is good for.
        let snapshot = Snapshot::take();
        let mut messages = ById::open(&table, &snapshot);
        while let Some(&receipt) = receipts.get(next) {
            let is_repeated = settled.last().is_some_and(|last| last.id() == receipt.0);
            if !is_repeated {
                match settle_one(&table, &mut messages, receipt, verdict, locked == Some(receipt.0))? {
                    Attempt::Settled(mut message) => {
                        if let Some((group, place)) = message.left.take() {
                            freed.add(group, place);
                        }
                        room_for(&mut settled, 1);
                        settled.push(message);
                    }
                    Attempt::Refused => {}
                    Attempt::Locked => {
                        locked = Some(receipt.0);
                        break;
                    }
                    Attempt::Changed if has_one_snapshot() => return Err(Error::could_not_serialize()),
                    Attempt::Changed => break,
                }
            }
            next += 1;
        }
    }
    freed.free_all(&table);
    if matches!(verdict, Verdict::Delete) {
        let queues = settled.iter().map(|message| message.queue);
        counter::add_each(queues, |deleted| Counts { deleted, ..Counts::default() });
    }
    Ok(settled)
}

/// How far an attempt to settle a message came.
enum Attempt {
    Settled(Settled),
    /// It is not there, or the receipt is not good.
    Refused,
    /// Somebody else had it, and was waited for. Look again.
    Locked,
    /// Somebody else has changed it: the next snapshot shows what was committed.
    Changed,
}

fn settle_one(
    table: &Table,
    messages: &mut ById,
    receipt: Receipt,
    verdict: Verdict,
    is_locked: bool,
) -> Result<Attempt> {
    let Some(row) = messages.find(receipt.0) else { return Ok(Attempt::Refused) };
    let Some(queue) = queue_of(&row)? else { return Ok(Attempt::Refused) };
    // Somebody is changing it: wait first, then judge by the clock and the row as they
    // are, which nobody can change any more. Where there are slots, a lease that ends while it
    // is extended must not look free: the lock shows that it may not be.
    let needs_lock = matches!(verdict, Verdict::Extend(_)) && queue.settings.max_leased.is_some();
    let intent = if matches!(verdict, Verdict::Delete) { Intent::Remove } else { Intent::Change };
    if !is_locked && (needs_lock || row.is_busy(intent)) {
        return Ok(match table.lock(&row, intent, Patience::Wait) {
            Fate::Done => Attempt::Locked,
            Fate::Gone => Attempt::Refused,
            Fate::Changed | Fate::Busy => Attempt::Changed,
        });
    }
    let now = now();
    if !is_good(&row, receipt, verdict, now) {
        if is_locked {
            // Reserves and passes went past it meanwhile.
            pending::ready(queue.id, row.i16(Column::Priority), receipt.0);
        }
        return Ok(Attempt::Refused);
    }
    if matches!(verdict, Verdict::Extend(_)) {
        stop::at(Point::ExtensionIsJudged);
    }
    Ok(match apply(table, &row, &queue, verdict, now) {
        Fate::Done => {
            let group = Group::of(&row, &queue).filter(|_| leaves_its_group(&row, verdict));
            let left = group.map(|group| (group, group::place_of(&row)));
            Attempt::Settled(Settled { receipt, at: now, queue: queue.id, left })
        }
        Fate::Gone => Attempt::Refused,
        Fate::Changed | Fate::Busy => Attempt::Changed,
    })
}

/// Whether nobody may come by a message any more who sees the next of its group.
fn leaves_its_group(row: &TableRow, verdict: Verdict) -> bool {
    match verdict {
        Verdict::Delete => true,
        Verdict::Release(_) => row.get(Column::ExpiresAt).is_some(),
        Verdict::Extend(_) => false,
    }
}

fn is_good(row: &TableRow, (_, delivery): Receipt, verdict: Verdict, now: Timestamp) -> bool {
    let is_the_last = |delivery| delivery == i64::from(row.i32(Column::Deliveries)) && !key::is_unseen(row);
    let is_this_delivery = delivery.is_none_or(is_the_last);
    let needs_lease = !matches!(verdict, Verdict::Delete);
    is_this_delivery && (!needs_lease || is_leased(row.i64(Column::LeaseUntil), now))
}

/// Changes the row, and tells and counts what becomes of it.
fn apply(table: &Table, row: &TableRow, queue: &Queue, verdict: Verdict, now: Timestamp) -> Fate {
    let (id, priority) = (row.i64(Column::Id), row.i16(Column::Priority));
    let change = |changes: &[(Column, Option<Datum>)]| table.update(row, changes, Patience::Wait);
    let not_leased = (Column::LeaseUntil, Some(NOT_LEASED.into()));
    let given_back = (Column::GivenBack, Some((row.given_back() + 1).into()));
    let before = row.counts();
    let (fate, after) = match verdict {
        Verdict::Delete => {
            pending::touched(queue.id, priority, id);
            if row.lane() == Lane::Delayed {
                pending::undelayed(queue.id);
            }
            let echoes = Echoes::behind(table, queue, row);
            let delete = || table.delete(row, Patience::Wait);
            let fate = if queue.settings.durable_delete { delete() } else { async_commit::harmless(delete) };
            if fate == Fate::Done {
                archive::keep(queue, row, row.i32(Column::Deliveries));
                if let Some(echoes) = echoes {
                    echoes.drop_counted(table, queue);
                }
            }
            (fate, Counts::default())
        }
        Verdict::Extend(lease) => {
            let until = now + lease.as_micros();
            pending::leased(queue.id, priority, id, until);
            (change(&[(Column::LeaseUntil, Some(until.into()))]), before)
        }
        Verdict::Release(delay) if delay.as_millis() == 0 => {
            pending::ready(queue.id, priority, id);
            (change(&[not_leased, given_back]), Counts::message(Lane::Ready, NOT_LEASED))
        }
        Verdict::Release(delay) => {
            let due_at = now + delay.as_micros();
            pending::delayed(queue.id, due_at);
            let lane = (Column::Lane, Some(Lane::Delayed.datum()));
            let fate = change(&[not_leased, given_back, lane, (Column::DueAt, Some(due_at.into()))]);
            (fate, Counts::message(Lane::Delayed, NOT_LEASED))
        }
    };
    if fate == Fate::Done {
        counter::add(queue.id, after - before);
        match verdict {
            _ if queue.settings.max_leased.is_none() => {}
            Verdict::Extend(_) => pending::freed(queue.id), // later: who sleeps until then looks again
            _ if row.i64(Column::LeaseUntil) != NOT_LEASED => slots::ended(queue.id, id),
            _ => {}
        }
    }
    fate
}
