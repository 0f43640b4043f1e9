//! Prepared transactions: no callback tells of their end.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use crate::engine::shared::entry::CacheEntry;
use crate::engine::shared::{hint_cache, listeners, sleeper, tally};
use crate::hint::Direction;

/// Whether it is time to look which prepared transactions have ended.
pub fn prepared_transactions_may_be_decided() -> bool {
    const LOOK_EVERY: Duration = Duration::from_secs(1);
    thread_local! {
        static LOOKED: Cell<Option<Instant>> = const { Cell::new(None) };
    }
    if LOOKED.get().is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
        return false;
    }
    LOOKED.set(Some(Instant::now()));
    let is_prepared = |entry: &mut CacheEntry| (entry.hint.times_prepared() > 0).then_some(());
    tally::unplaced() > 0 || hint_cache::find(|facts| facts.has_prepared, is_prepared).is_some()
}

/// Queues that prepared transactions have changed, with how often a hint was told of one.
type Waiting = Vec<(i32, Direction, u64)>;

/// State of shared memory before a look at the prepared transactions: of one that is prepared after that, the
/// look may not know.
pub struct Told {
    waiting: Waiting,
    unplaced: u64,
}

impl Told {
    pub fn now() -> Self {
        let unplaced = tally::unplaced();
        let times_prepared = |entry: &mut CacheEntry| {
            let times = entry.hint.times_prepared();
            (times > 0).then_some((entry.queue, entry.direction, times))
        };
        let waiting = hint_cache::collect(|facts| facts.has_prepared, times_prepared);
        Self { waiting, unplaced }
    }
}

thread_local! {
    static LEFT: RefCell<Vec<i64>> = const { RefCell::new(Vec::new()) };
}

/// The prepared transactions that were there at the last look.
pub fn left_prepared() -> Vec<i64> {
    LEFT.with_borrow(Clone::clone)
}

/// Tells hints and sleepers that prepared transactions may have ended: no callback does. `left` are those of
/// this database that were prepared after `told`; `any_left` tells of all databases.
pub fn settle_prepared(told: Told, left: Vec<i64>, any_left: bool) {
    thread_local! {
        static SEEN: RefCell<(Waiting, Vec<i64>)> = const { RefCell::new((Vec::new(), Vec::new())) };
    }
    LEFT.set(left.clone());
    if !any_left && told.unplaced > 0 {
        tally::nothing_is_unplaced(told.unplaced);
    }
    let left = if told.waiting.is_empty() { Vec::new() } else { left };
    let now_seen = (told.waiting, left);
    let (waiting, left) = &now_seen;
    for &(queue, direction, times) in waiting.iter().filter(|_| SEEN.with_borrow(|seen| *seen != now_seen)) {
        hint_cache::with_hint(queue, direction, |hint| {
            // Unless another transaction has been prepared since.
            if left.is_empty() && hint.times_prepared() == times {
                tally::note_written(); // the last of them may have written counts
                hint.nothing_is_prepared();
            } else {
                hint.look_for_prepared();
            }
        });
        listeners::has_news(queue);
        sleeper::wake(queue, usize::MAX);
    }
    SEEN.set(now_seen);
}
