//! The counts of this transaction.

use std::cell::{Cell, RefCell};

use crate::engine::commit::noted::Noted;
use crate::engine::shared::tally;
use crate::engine::table::counts::Counts;
use crate::engine::table::{catalog, counter_rows};
use crate::pg::session::level;

/// Counts of a queue.
#[derive(Default)]
pub struct Counted {
    pub(super) counts: Counts,
    /// A cache entry is kept for them.
    pub(super) has_entry: bool,
    /// This transaction has written them down itself.
    pub(super) is_written: bool,
}

/// The counts of a transaction, by queue. A rollback needs the counts before.
pub(super) type AllCounted = Noted<i32, Counted, Counts>;

thread_local! {
    pub(super) static COUNTED: RefCell<AllCounted> = RefCell::default();
    /// This transaction writes down the counts of shared memory.
    pub(super) static DRAINS: Cell<bool> = const { Cell::new(false) };
}

/// Adds to the counters of a queue when the transaction commits.
pub fn count(queue: i32, counts: Counts) {
    COUNTED.with_borrow_mut(|all| all.change(queue, level(), |before| before.counts).counts += counts);
}

/// Notes that this transaction begins to write down the counts of shared memory.
pub fn drains() {
    if !DRAINS.replace(true) {
        tally::begin_drain();
    }
}

/// Whether this transaction writes down the counts of shared memory.
pub fn is_draining() -> bool {
    DRAINS.get()
}

/// The counts of this transaction so far. Negative where it has written down counts of shared memory.
pub fn counted() -> Vec<(i32, Counts)> {
    COUNTED.with_borrow(|all| all.iter().map(|(queue, counted)| (queue, counted.counts)).collect())
}

/// The counts of this transaction for one queue.
pub fn counted_of(queue: i32) -> Counts {
    COUNTED.with_borrow(|all| all.get(queue).map_or(Counts::default(), |counted| counted.counts))
}

/// Writes the counts into the table for which no cache entry is kept. `keeps_entry` tries to keep one.
pub(super) fn write_counts(keeps_entry: impl Fn(i32) -> bool) {
    let mut rows = Vec::new();
    COUNTED.with_borrow_mut(|all| {
        for (queue, counted) in all.iter_mut().filter(|(_, counted)| counted.counts != Counts::default()) {
            counted.has_entry = counted.has_entry || keeps_entry(queue);
            if !counted.has_entry {
                counted.is_written = true;
                rows.push((queue, std::mem::take(&mut counted.counts)));
            }
        }
    });
    if !rows.is_empty() && catalog::is_there() {
        rows.into_iter().for_each(|(queue, counts)| counter_rows::write(queue, counts));
    }
}
