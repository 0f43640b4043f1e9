//! An entry of the hint cache.

use crate::engine::table::counts::Counts;
use crate::hint::Direction;
use crate::hint::queue::QueueHint;
use crate::hint::rest::Rest;
use crate::hint::slots::SlotHint;

/// Cache entries in a bucket.
pub const WAYS: usize = 8;

/// Maximum number of entries in a bucket that hold state which must not be lost. The rest is left to hints.
pub const MOST_NEEDED: usize = WAYS / 2;

/// A cache entry: the shared state of a queue in one direction.
#[repr(C)]
pub struct CacheEntry {
    pub(super) database: u32,
    pub queue: i32,
    pub direction: Direction,
    pub(super) is_in_use: bool,
    /// Number of queues that may ask for the entry before one of them takes it.
    pub(super) credit: u8,
    /// Counts of committed transactions that are not yet in `pgqueue.counter`.
    pub counts: Counts,
    /// Counter of additions to `counts`.
    pub(super) times_counted: u64,
    /// A number that changes when a transaction commits that has written down its counts itself.
    pub(super) rows: u64,
    /// Number of transactions that are about to add counts.
    pub(super) kept_for: u32,
    /// Runs from the last time when a reserve skipped a message because a push held its unique key.
    pub(super) waited_for_key: Rest,
    pub hint: QueueHint,
    /// Hint of the slots of a queue with `max_leased`; in the entry of its `OldestFirst` direction.
    pub slots: SlotHint,
    /// Until its end no push looks for dead messages to make room.
    pub(super) rest_of_looks_for_dead: Rest,
}

impl CacheEntry {
    pub(super) fn free() -> Self {
        Self {
            database: 0,
            queue: 0,
            direction: Direction::OldestFirst,
            is_in_use: false,
            credit: 0,
            counts: Counts::default(),
            times_counted: 0,
            rows: 0,
            kept_for: 0,
            waited_for_key: Rest::OVER,
            hint: QueueHint::new(),
            slots: SlotHint::new(),
            rest_of_looks_for_dead: Rest::OVER,
        }
    }

    pub fn vacate(&mut self) {
        self.counts = Counts::default();
        self.kept_for = 0;
        self.is_in_use = false;
    }

    pub fn is_of_database(&self, database: u32) -> bool {
        self.is_in_use && self.database == database
    }

    pub fn has_counts(&self) -> bool {
        self.counts != Counts::default()
    }

    pub fn has_credit(&self) -> bool {
        self.credit > 0
    }

    pub fn is_of(&self, database: u32, queue: i32) -> bool {
        self.queue == queue && self.database == database && self.is_in_use
    }

    /// True if the entry holds state that must not be lost.
    pub fn is_needed(&self) -> bool {
        self.is_in_use && (self.has_counts() || self.kept_for > 0 || self.hint.times_prepared() > 0)
    }

    /// Gives the entry to another queue, or to its first one.
    pub fn begin_anew(&mut self, database: u32, queue: i32, direction: Direction) {
        (self.database, self.queue, self.direction) = (database, queue, direction);
        (self.is_in_use, self.credit, self.kept_for) = (true, 1, 0);
        self.waited_for_key = Rest::OVER;
        self.hint.begin_anew();
        self.slots.forget();
        self.rest_of_looks_for_dead = Rest::OVER;
    }

    /// Takes credit from the entry, so that unused entries lose theirs.
    pub fn grow_old(&mut self) {
        self.credit = self.credit.saturating_sub(1);
    }
}
