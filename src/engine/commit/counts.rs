//! The counts of this transaction.

use std::cell::{Cell, RefCell};

use crate::engine::shared::tally;
use crate::engine::table::counts::Counts;
use crate::engine::table::{catalog, counter_rows};
use crate::pg::session::level;

/// Counts of a queue, by the level of the savepoint that counted them.
pub struct Counted {
    pub(super) level: i32,
    pub(super) queue: i32,
    pub(super) counts: Counts,
    /// A cache entry is kept for them.
    pub(super) has_entry: bool,
}

thread_local! {
    pub(super) static COUNTED: RefCell<Vec<Counted>> = const { RefCell::new(Vec::new()) };
    /// This transaction writes down the counts of shared memory.
    pub(super) static DRAINS: Cell<bool> = const { Cell::new(false) };
}

/// Adds to the counters of a queue when the transaction commits.
pub fn count(queue: i32, counts: Counts) {
    add(Counted { level: level(), queue, counts, has_entry: false });
}

pub fn add(more: Counted) {
    COUNTED.with_borrow_mut(|all| {
        match all.iter_mut().find(|counted| (counted.queue, counted.level) == (more.queue, more.level)) {
            Some(counted) => counted.counts += more.counts,
            None => all.push(more),
        }
    });
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
    COUNTED.with_borrow(|all| all.iter().map(|counted| (counted.queue, counted.counts)).collect())
}

/// The counts of this transaction for one queue.
pub fn counted_of(queue: i32) -> Counts {
    COUNTED.with_borrow(|all| {
        let its = all.iter().filter(|counted| counted.queue == queue);
        its.fold(Counts::default(), |sum, counted| sum + counted.counts)
    })
}

/// Writes the counts of the chosen queues into the table.
pub fn write_counts(is_chosen: impl FnMut(&mut Counted) -> bool) {
    let chosen: Vec<Counted> = COUNTED.with_borrow_mut(|all| all.extract_if(.., is_chosen).collect());
    if !chosen.is_empty() && catalog::is_there() {
        chosen.iter().for_each(|counted| counter_rows::write(counted.queue, counted.counts));
    }
}
