//! Queues that are listened to: which of them a worker sends NOTIFY for, and how often there was
//! something to tell.
//!
//! Some queues share one of these; then a listener hears of a queue that has no news, which costs
//! a look. They are beside the board's places, so nothing that other queues do makes them forget.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::waking::{self, WORKER};
use super::{board, now};
use crate::hint::Timestamp;

/// How many there are, for the queues of all databases.
pub const MANY: usize = 4096;

/// Which of them a queue has.
pub fn counter_of(queue: i32) -> usize {
    board::hash(queue) as usize % MANY
}

/// A counter of news, which some queues share.
pub struct Listened {
    /// Until then a worker wants to be woken.
    until: AtomicI64,
    news: AtomicU64,
}

impl Listened {
    pub const fn new() -> Self {
        Self { until: AtomicI64::new(Timestamp::MIN), news: AtomicU64::new(0) }
    }

    /// A worker listens until then.
    fn listen(&self, until: Timestamp) {
        self.until.fetch_max(until, Ordering::Relaxed);
    }

    /// How often there was something to tell.
    fn news(&self) -> u64 {
        self.news.load(Ordering::Acquire)
    }

    /// True if a worker wants to be woken.
    fn has_news(&self) -> bool {
        self.news.fetch_add(1, Ordering::Release);
        self.until.load(Ordering::Relaxed) > now()
    }
}

/// How often queues with this counter had news. None if there is no board.
pub fn news(counter: usize) -> Option<u64> {
    board::listened(counter).map(Listened::news)
}

/// A worker listens to the queues with this counter until then.
pub fn listen(counter: usize, until: Timestamp) {
    board::listened(counter).into_iter().for_each(|listened| listened.listen(until));
}

/// Messages of a queue may be ready: its listeners are to hear of it, soon.
pub fn has_news(queue: i32) {
    board::listened(counter_of(queue)).map(Listened::has_news);
}

/// The same when this transaction has ended.
pub fn will_have_news(queue: i32) {
    if board::listened(counter_of(queue)).is_some_and(Listened::has_news) {
        waking::owe(WORKER, 1);
    }
}
