//! What is known of a queue.

use crate::engine::table::counts::Counts;
use crate::hint::Direction;
use crate::hint::queue::QueueHint;
use crate::hint::rest::Rest;
use crate::hint::slots::SlotHint;

/// Places in a bucket.
pub const WAYS: usize = 8;

/// How many of them may hold what must not be lost. The others are left to hints.
pub const MOST_NEEDED: usize = WAYS / 2;

/// What is known of a queue.
#[repr(C)]
pub struct CacheEntry {
    pub(super) database: u32,
    pub queue: i32,
    pub direction: Direction,
    pub(super) is_in_use: bool,
    /// How often others may come for it before it is theirs.
    pub(super) credit: u8,
    /// Counted by committed transactions and not yet written to `pgqueue.counter`.
    pub counts: Counts,
    /// How often something was counted.
    pub(super) times_counted: u64,
    /// Transactions that are about to count something.
    pub(super) kept_for: u32,
    /// When a reserve last came by a message with a unique key that a push was holding.
    pub(super) waited_for_key: Rest,
    pub hint: QueueHint,
    /// Of a queue that limits how many are out; at the place of its usual direction.
    pub slots: SlotHint,
    /// Not before then is it looked for dead messages to make room.
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

    pub fn is_of(&self, database: u32, queue: i32) -> bool {
        self.queue == queue && self.database == database && self.is_in_use
    }

    /// Whether it holds something that must not be lost.
    pub fn is_needed(&self) -> bool {
        self.is_in_use
            && (self.counts != Counts::default() || self.kept_for > 0 || self.hint.times_prepared() > 0)
    }

    /// Gives it to another queue, or to none that it was of before.
    pub fn begin_anew(&mut self, database: u32, queue: i32, direction: Direction) {
        (self.database, self.queue, self.direction) = (database, queue, direction);
        (self.is_in_use, self.credit, self.kept_for) = (true, 1, 0);
        self.waited_for_key = Rest::OVER;
        self.hint.begin_anew();
        self.slots.forget();
        self.rest_of_looks_for_dead = Rest::OVER;
    }

    /// Lets places lose their credit that are not used any more.
    pub fn grow_old(&mut self) {
        self.credit = self.credit.saturating_sub(1);
    }
}
