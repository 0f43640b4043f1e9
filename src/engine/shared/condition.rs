//! Condition variables on which consumers and the worker sleep.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use pgrx::pg_sys;

use crate::engine::shared::queue_key::key;
use crate::pg::session::now;

/// A condition variable on which the sleepers of a queue sleep. Some queues share one.
#[repr(C)]
pub struct Variable {
    pub condition: UnsafeCell<pg_sys::ConditionVariable>,
    /// Queue of the last sleeper.
    last: AtomicU64,
    /// Last time at which a sleeper came for which a signal may not be meant.
    mixed_at: AtomicI64,
    /// Queue of which one sleeper is asked to become the deputy: it looks after another sleeper's wake-up.
    deputy_for: AtomicU64,
    /// Last time at which a deputy was asked for.
    deputy_since: AtomicI64,
}

/// No queue has this key.
const NOBODY: u64 = 0;

const LONG_AGO: i64 = i64::MIN / 2;

impl Variable {
    pub fn new(condition: pg_sys::ConditionVariable) -> Self {
        Self {
            condition: UnsafeCell::new(condition),
            last: AtomicU64::new(NOBODY),
            mixed_at: AtomicI64::new(LONG_AGO),
            deputy_for: AtomicU64::new(NOBODY),
            deputy_since: AtomicI64::new(LONG_AGO),
        }
    }

    /// Notes that a session goes to sleep on a queue; `wants_more` if it waits for more than one message.
    pub fn note_sleeper(&self, queue: i32, wants_more: bool) {
        let before = self.last.swap(key(queue), Ordering::Relaxed);
        if (before != NOBODY && before != key(queue)) || wants_more {
            self.mixed_at.store(now(), Ordering::Relaxed);
        }
    }

    /// Asks for a deputy, a sleeper that looks when the grace is over. False if a deputy is asked for
    /// already: it looks before this grace is over.
    pub fn asks_for_deputy(&self, queue: i32) -> bool {
        let (now, since) = (now(), self.deputy_since.load(Ordering::Relaxed));
        if (since..since.saturating_add(GRACE.as_micros() as i64)).contains(&now) {
            return false;
        }
        self.deputy_since.store(now, Ordering::Relaxed);
        self.deputy_for.store(key(queue), Ordering::Relaxed);
        true
    }

    /// True if the sleeper, which has just been woken, is the deputy that was asked for.
    pub fn becomes_deputy(&self, queue: i32) -> bool {
        let key = key(queue);
        self.deputy_for.compare_exchange(key, NOBODY, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Withdraws the request for a deputy: a new sleeper looks at once.
    pub fn forget_deputy(&self, queue: i32) {
        if self.becomes_deputy(queue) {
            self.dismiss_deputy();
        }
    }

    /// Notes that the deputy does something else, so that the next wake-up asks for another.
    pub fn dismiss_deputy(&self) {
        self.deputy_since.store(LONG_AGO, Ordering::Relaxed);
    }

    /// True if a signal could wake a sleeper it is not meant for. Sleepers go to sleep again every few
    /// seconds.
    pub fn is_mixed(&self) -> bool {
        now() - self.mixed_at.load(Ordering::Relaxed) < 2 * LONGEST_SLEEP.as_micros() as i64
    }
}

/// Longest sleep before a sleeper looks. It finds messages that come without a signal: by COMMIT PREPARED, or
/// in rows that no trigger announced.
pub const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// Time in which a woken session has to take its message, before another session looks.
pub const GRACE: Duration = Duration::from_millis(20);

/// Queue number of sleepers that wait for a queue which does not exist yet.
pub const NO_QUEUE: i32 = 0;

/// Queue number on which the worker sleeps. Queues are numbered from 1.
pub const WORKER: i32 = -1;
