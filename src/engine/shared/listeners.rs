//! Queues that are listened to: which of them a worker sends NOTIFY for, and how often there was
//! something to tell.
//!
//! Some queues share one of these; then a listener hears of a queue that has no news, which costs
//! a look. They are beside the board's places, so nothing that other queues do makes them forget.

use crate::engine::shared::condition::WORKER;
use crate::engine::shared::listen_counter::{Listened, counter_of};
use crate::engine::shared::{layout, sleeper};
use crate::value::timestamp::Timestamp;

/// How often queues with this counter had news. None if there is no board.
pub fn news(counter: usize) -> Option<u64> {
    layout::listened(counter).map(Listened::news)
}

/// A worker listens to the queues with this counter until then.
pub fn listen(counter: usize, until: Timestamp) {
    layout::listened(counter).into_iter().for_each(|listened| listened.listen(until));
}

/// Messages of a queue may be ready: its listeners are to hear of it, soon.
pub fn has_news(queue: i32) {
    layout::listened(counter_of(queue)).map(Listened::has_news);
}

/// The same when this transaction has ended.
pub fn will_have_news(queue: i32) {
    if layout::listened(counter_of(queue)).is_some_and(Listened::has_news) {
        sleeper::owe(WORKER, 1);
    }
}
