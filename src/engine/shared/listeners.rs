//! News of queues with listeners: how often messages may have become ready, and whether a worker is to send
//! NOTIFY.
//!
//! Some queues share a counter. Then a listener is notified for a queue without news, which costs it a look.
//! The counters are no cache entries, so other queues never evict them.

use crate::engine::shared::listen_counter::{Listened, counter_of};
use crate::engine::shared::sleeper::WORKER;
use crate::engine::shared::{layout, sleeper};
use crate::value::timestamp::Timestamp;

/// Returns a counter of news. None if there is no hint cache.
pub fn news(counter: usize) -> Option<u64> {
    layout::listened(counter).map(Listened::news)
}

/// Notes that a worker listens, until a time, to the queues with this counter.
pub fn listen(counter: usize, until: Timestamp) {
    layout::listened(counter).into_iter().for_each(|listened| listened.listen(until));
}

/// Counts news of a queue: messages may be ready, and its listeners are notified soon.
pub fn has_news(queue: i32) {
    layout::listened(counter_of(queue)).map(Listened::has_news);
}

/// Counts news of a queue, and wakes the worker when this transaction has ended.
pub fn will_have_news(queue: i32) {
    if layout::listened(counter_of(queue)).is_some_and(Listened::has_news) {
        sleeper::owe(WORKER, 1);
    }
}
