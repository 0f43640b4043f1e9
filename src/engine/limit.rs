//! `max_leased`: how many messages of a queue may be out at once.
//!
//! Such a queue has as many slots. Who leases a message puts its receipt into a slot
//! that is free: whose receipt is of no valid lease any more. So nothing has to be done
//! when a lease ends, however it does. What somebody is just changing counts as leased.
//!
//! Slots beyond the limit hold leases from before it was lowered: as long as one of them
//! is valid, nothing is leased.

use pgrx::pg_sys;

use super::lane::ById;
use super::message::{Column, is_leased};
use super::queue::{self, Queue};
use super::scan::{Dirty, Key as Condition, Scan, Snapshot};
use super::statement::Statement;
use super::table::Table;
use super::{catalog, news, now};
use crate::call::Timestamp;
use crate::error::Result;

static LAY_OUT: Statement =
    Statement::new(include_str!("../../sql/query/lay_out_slots.sql"), &[pg_sys::INT4OID, pg_sys::INT4OID]);
static CLEAR: Statement = Statement::new(include_str!("../../sql/query/clear_slots.sql"), &[pg_sys::INT4OID]);
static SLOTS: Statement = Statement::new(include_str!("../../sql/query/slots.sql"), &[pg_sys::INT4OID]);
static TAKE: Statement = Statement::new(
    include_str!("../../sql/query/take_slot.sql"),
    &[pg_sys::INT4OID, pg_sys::INT4OID, pg_sys::INT8OID, pg_sys::INT4OID, pg_sys::INT8OID, pg_sys::INT4OID],
);

/// A message was let go of: others may wait for its slot, if its queue has any, or for its turn.
pub fn let_go(queue: i32) -> Result<()> {
    let is_limited = queue::by_id(queue)?.is_some_and(|queue| queue.settings.max_leased.is_some());
    if is_limited {
        news::slot_is_free(queue)
    } else {
        news::freed(queue)
    }
    Ok(())
}

/// Gives a queue its slots, those that are leased already in them.
pub fn lay_out(queue: i32, limit: Option<i32>) {
    CLEAR.run(&[Some(queue.into())], |_| {});
    if let Some(limit) = limit {
        LAY_OUT.run(&[Some(queue.into()), Some(limit.into())], |_| {});
    }
}

/// An id and a delivery.
type Lease = (i64, i32);

/// A slot and the receipt in it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Slot {
    number: i32,
    holds: Lease,
}

/// The slots of a queue that are free.
pub struct Slots {
    queue: i32,
    free: Vec<Slot>,
    /// When the first of the leases ends that are in slots.
    pub next_end: Option<Timestamp>,
    /// Those of them that others took, or are about to, meanwhile.
    lost: Vec<Slot>,
    /// That was since the last look.
    has_lost: bool,
}

impl Slots {
    /// None if the queue has no limit.
    pub fn of(queue: &Queue, table: &Table) -> Option<Self> {
        let limit = queue.settings.max_leased?.0;
        let mut slots =
            Self { queue: queue.id, free: Vec::new(), next_end: None, lost: Vec::new(), has_lost: false };
        let mut all = Vec::new();
        SLOTS.run(&[Some(queue.id.into())], |row| {
            all.push(Slot { number: row.i32(0), holds: (row.i64(1), row.i32(2)) });
        });
        let mut is_over_limit = false;
        for slot in all {
            if slots.is_in_use(slot, table) {
                is_over_limit |= slot.number > limit;
            } else if slot.number <= limit {
                slots.free.push(slot);
            }
        }
        if is_over_limit {
            slots.free.clear();
        }
        Some(slots)
    }

    /// After some were lost: looks whether others are free now.
    pub fn look_again(&mut self, queue: &Queue, table: &Table) -> bool {
        if !self.has_lost {
            return false;
        }
        let lost = std::mem::take(&mut self.lost);
        if let Some(slots) = Self::of(queue, table) {
            *self = slots;
        }
        self.free.retain(|slot| !lost.contains(slot));
        self.lost = lost;
        self.has_lost = false;
        self.count() > 0
    }

    pub fn count(&self) -> usize {
        self.free.len()
    }

    fn is_in_use(&mut self, slot: Slot, table: &Table) -> bool {
        let (id, delivery) = slot.holds;
        let mut dirty = Dirty::new();
        let is_it = Condition::equals(1, pg_sys::F_INT8EQ, id.into());
        let mut rows = Scan::begin_dirty(table, catalog::known().message_by_id, &mut dirty, &[is_it]);
        while let Some(row) = rows.next() {
            let until = row.i64(Column::LeaseUntil);
            let is_changing = dirty.is_being_made() || dirty.is_being_changed();
            let is_its_lease = row.i32(Column::Deliveries) == delivery && is_leased(until, now());
            if is_its_lease {
                self.next_end = Some(self.next_end.map_or(until, |first| first.min(until)));
            }
            if is_changing || is_its_lease {
                return true;
            }
        }
        // That look may have missed a row that has just got a new version: what is committed
        // by now a look afterwards does not miss.
        let snapshot = Snapshot::latest();
        let row = ById::open(table, &snapshot)
            .find(id)
            .map(|row| (row.i32(Column::Deliveries), row.i64(Column::LeaseUntil)));
        row.is_some_and(|(deliveries, until)| deliveries == delivery && is_leased(until, now()))
    }

    /// Puts a lease into a free slot; none if others have taken them all.
    pub fn take(&mut self, lease: Lease) -> Option<Taken> {
        while let Some(slot) = self.free.pop() {
            let taken = Taken { queue: self.queue, slot, lease };
            if taken.put(slot.holds, lease) {
                return Some(taken);
            }
            self.lost.push(slot);
            self.has_lost = true;
        }
        None
    }
}

/// A slot with a lease in it.
pub struct Taken {
    queue: i32,
    slot: Slot,
    lease: Lease,
}

impl Taken {
    /// The lease was not given after all.
    pub fn give_back(self, slots: &mut Slots) {
        if self.put(self.lease, self.slot.holds) {
            slots.free.push(self.slot);
        }
    }

    fn put(&self, before: Lease, after: Lease) -> bool {
        TAKE.run(
            &[
                Some(self.queue.into()),
                Some(self.slot.number.into()),
                Some(before.0.into()),
                Some(before.1.into()),
                Some(after.0.into()),
                Some(after.1.into()),
            ],
            |_| {},
        ) > 0
    }
}
