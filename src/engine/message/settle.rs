//! Settle: deletes, extends and releases messages of a consumer. `dead` fails and buries them.
//!
//! Ids are settled in rising order, so that two calls never wait for each other in a circle. A row is judged
//! and changed in one version. If another transaction has changed it in between, the row is read again and
//! judged anew.

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

/// The effect of a settle call on a message whose receipt is good.
#[derive(Clone, Copy)]
pub enum Verdict {
    /// It is removed, leased or not.
    Delete,
    /// Its lease, if still valid, ends after this time.
    Extend(Millis),
    /// Its lease, if still valid, ends now, and its delivery is given back. The message waits this long.
    Release(Millis),
}

impl Verdict {
    fn needs_lease(self) -> bool {
        matches!(self, Self::Extend(_) | Self::Release(_))
    }

    fn intent(self) -> Intent {
        match self {
            Self::Delete => Intent::Remove,
            Self::Extend(_) | Self::Release(_) => Intent::Change,
        }
    }
}

/// A message that was settled.
pub struct Settled {
    pub receipt: Receipt,
    pub at: Timestamp,
    queue: i32,
    /// The group that it has left, and its place there.
    left: Option<(Group, group::GroupPosition)>,
}

impl Settled {
    pub fn id(&self) -> i64 {
        self.receipt.0
    }
}

/// Settles messages and returns those that it has settled, rising by id.
pub fn settle(receipts: &[Receipt], verdict: Verdict) -> Result<Vec<Settled>> {
    let table = Table::open(catalog::refresh().message);
    let receipts = in_order(receipts);
    let mut call =
        Settling { table: &table, verdict, settled: Vec::new(), freed: Freed::default(), locked: None };
    let mut left = &receipts[..];
    while !left.is_empty() {
        left = call.settle_with_one_snapshot(left)?;
    }
    call.freed.free_all(&table);
    if matches!(verdict, Verdict::Delete) {
        let queues = call.settled.iter().map(|message| message.queue);
        counter::add_each(queues, |deleted| Counts { deleted, ..Counts::default() });
    }
    Ok(call.settled)
}

/// One call that settles messages.
struct Settling<'a> {
    table: &'a Table,
    verdict: Verdict,
    settled: Vec<Settled>,
    /// Groups that messages have left.
    freed: Freed,
    /// The message that this call has waited for, and locked.
    locked: Option<i64>,
}

impl Settling<'_> {
    /// Settles as many messages as one snapshot is good for, and returns the receipts that are left.
    fn settle_with_one_snapshot<'r>(&mut self, receipts: &'r [Receipt]) -> Result<&'r [Receipt]> {
        let snapshot = Snapshot::take();
        let mut messages = ById::open(self.table, &snapshot);
        for (n, &receipt) in receipts.iter().enumerate() {
            if self.settled.last().is_some_and(|last| last.id() == receipt.0) {
                continue;
            }
            match self.attempt(&mut messages, receipt)? {
                Attempt::Settled(message) => self.note(message),
                Attempt::Refused => {}
                Attempt::Changed if has_one_snapshot() => return Err(Error::could_not_serialize()),
                Attempt::Locked | Attempt::Changed => return Ok(&receipts[n..]),
            }
        }
        Ok(&[])
    }

    fn note(&mut self, mut message: Settled) {
        if let Some((group, place)) = message.left.take() {
            self.freed.add(group, place);
        }
        room_for(&mut self.settled, 1);
        self.settled.push(message);
    }

    fn attempt(&mut self, messages: &mut ById, receipt: Receipt) -> Result<Attempt> {
        let Some(row) = messages.find(receipt.0) else { return Ok(Attempt::Refused) };
        let Some(queue) = queue_of(&row)? else { return Ok(Attempt::Refused) };
        let is_locked = self.locked == Some(receipt.0);
        if !is_locked && self.must_lock(&row, &queue) {
            return Ok(match self.table.lock(&row, self.verdict.intent(), Patience::Wait) {
                Fate::Done => {
                    self.locked = Some(receipt.0);
                    Attempt::Locked
                }
                Fate::Gone => Attempt::Refused,
                Fate::Changed | Fate::Busy => Attempt::Changed,
            });
        }
        let now = now();
        if !is_good(&row, receipt, self.verdict, now) {
            if is_locked {
                // Reserves and rescans skipped it meanwhile.
                pending::ready(queue.id, row.i16(Column::Priority), receipt.0);
            }
            return Ok(Attempt::Refused);
        }
        if self.verdict.needs_lease() {
            stop::at(Point::LeaseIsJudged);
        }
        Ok(match apply(self.table, &row, &queue, self.verdict, now) {
            Fate::Done => {
                let group = Group::of(&row, &queue).filter(|_| leaves_its_group(&row, self.verdict));
                let left = group.map(|group| (group, group::place_of(&row)));
                Attempt::Settled(Settled { receipt, at: now, queue: queue.id, left })
            }
            Fate::Gone => Attempt::Refused,
            Fate::Changed | Fate::Busy => Attempt::Changed,
        })
    }

    /// Whether the row must be locked before it is judged: while another transaction is changing it, and if a
    /// lease that ends during the call would make its slot look free, or its group's turn. The lock shows that
    /// they may not be.
    fn must_lock(&self, row: &TableRow, queue: &Queue) -> bool {
        let keeps_slot = matches!(self.verdict, Verdict::Extend(_)) && queue.settings.max_leased.is_some();
        keeps_slot || self.may_lose_turn(row, queue) || row.is_busy(self.verdict.intent())
    }

    /// Whether the message would be dead if its lease ended, and the next of its group would come. An extension
    /// keeps it alive, and so does a release, which gives the delivery back.
    fn may_lose_turn(&self, row: &TableRow, queue: &Queue) -> bool {
        let has_turn = queue.settings.keeps_order() && row.get(Column::GroupKey).is_some();
        has_turn && self.verdict.needs_lease() && queue.end_of(row, Timestamp::MAX).is_some()
    }
}

/// The result of an attempt to settle a message.
enum Attempt {
    Settled(Settled),
    /// The message is not there, or the receipt is not good.
    Refused,
    /// This call has waited for another transaction, and holds the row's lock: the row must be read again.
    Locked,
    /// Another transaction has changed it: the next snapshot shows the change.
    Changed,
}

/// Whether the next of its group has to be looked for: this message is gone, or waits where no scan notices
/// that it expires.
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
    is_this_delivery && (!verdict.needs_lease() || is_leased(row.i64(Column::LeaseUntil), now))
}

/// Changes the row, notes the change for other sessions, and counts it.
fn apply(table: &Table, row: &TableRow, queue: &Queue, verdict: Verdict, now: Timestamp) -> Fate {
    let before = row.counts();
    let (fate, after) = match verdict {
        Verdict::Delete => (delete(table, row, queue), Counts::default()),
        Verdict::Extend(lease) => (extend(table, row, now + lease.as_micros()), before),
        Verdict::Release(delay) => release(table, row, delay, now),
    };
    if fate == Fate::Done {
        counter::add(queue.id, after - before);
        if queue.settings.max_leased.is_some() {
            tell_of_slot(row, verdict);
        }
    }
    fate
}

fn delete(table: &Table, row: &TableRow, queue: &Queue) -> Fate {
    pending::touched(queue.id, row.i16(Column::Priority), row.i64(Column::Id));
    if row.lane() == Lane::Delayed {
        pending::undelayed(queue.id);
    }
    let echoes = Echoes::behind(table, queue, row);
    let remove = || table.delete(row, Patience::Wait);
    let fate = if queue.settings.durable_delete { remove() } else { async_commit::harmless(remove) };
    if fate == Fate::Done {
        archive::keep(queue, row, row.i32(Column::Deliveries));
        if let Some(echoes) = echoes {
            echoes.drop_counted(table, queue);
        }
    }
    fate
}

fn extend(table: &Table, row: &TableRow, until: Timestamp) -> Fate {
    pending::leased(row.i32(Column::Queue), row.i16(Column::Priority), row.i64(Column::Id), until);
    table.update(row, &[(Column::LeaseUntil, Some(until.into()))], Patience::Wait)
}

/// Ends a lease. Returns also how the message is counted then.
fn release(table: &Table, row: &TableRow, delay: Millis, now: Timestamp) -> (Fate, Counts) {
    let queue = row.i32(Column::Queue);
    let mut changes = vec![
        (Column::LeaseUntil, Some(NOT_LEASED.into())),
        (Column::GivenBack, Some((row.given_back() + 1).into())),
    ];
    let lane = if delay.as_millis() == 0 { Lane::Ready } else { Lane::Delayed };
    if lane == Lane::Ready {
        pending::ready(queue, row.i16(Column::Priority), row.i64(Column::Id));
    } else {
        let due_at = now + delay.as_micros();
        pending::delayed(queue, due_at);
        changes.extend([(Column::Lane, Some(lane.datum())), (Column::DueAt, Some(due_at.into()))]);
    }
    (table.update(row, &changes, Patience::Wait), Counts::message(lane, NOT_LEASED))
}

/// Lets consumers that wait for a slot of the queue look again.
fn tell_of_slot(row: &TableRow, verdict: Verdict) {
    let queue = row.i32(Column::Queue);
    match verdict {
        Verdict::Extend(_) => pending::freed(queue, 1), // its end moves: a sleeper has to look again
        _ if row.i64(Column::LeaseUntil) != NOT_LEASED => slots::ended(queue, row.i64(Column::Id)),
        _ => {}
    }
}
