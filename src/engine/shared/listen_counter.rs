//! Counters of news: of commits that may have made messages ready in queues with listeners.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::engine::shared::queue_key;
use crate::pg::session::now;
use crate::value::timestamp::Timestamp;

/// Number of counters, for the queues of all databases.
pub const MANY: usize = 4096;

/// Returns the number of a queue's counter.
pub fn counter_of(queue: i32) -> usize {
    queue_key::hash(queue) as usize % MANY
}

/// A counter of news, which some queues share.
pub struct Listened {
    /// Until this time a worker wants to be woken by news.
    until: AtomicI64,
    news: AtomicU64,
}

impl Listened {
    pub const fn new() -> Self {
        Self { until: AtomicI64::new(Timestamp::MIN), news: AtomicU64::new(0) }
    }

    /// Notes that a worker listens until a time.
    pub(super) fn listen(&self, until: Timestamp) {
        self.until.fetch_max(until, Ordering::Relaxed);
    }

    /// Returns the counter.
    pub(super) fn news(&self) -> u64 {
        self.news.load(Ordering::Acquire)
    }

    /// Counts one more. True if a worker wants to be woken.
    pub(super) fn has_news(&self) -> bool {
        self.news.fetch_add(1, Ordering::Release);
        self.until.load(Ordering::Relaxed) > now()
    }
}
