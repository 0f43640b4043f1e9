//! Condition variables that consumers and the worker sleep on.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use pgrx::pg_sys;

use crate::engine::shared::queue_key::key;
use crate::pg::session::now;

/// What sleepers of a queue sleep on. Some queues share one.
#[repr(C)]
pub struct Variable {
    pub condition: UnsafeCell<pg_sys::ConditionVariable>,
    /// Who went to sleep last.
    last: AtomicU64,
    /// When somebody did for whom a signal may not be meant.
    mixed_at: AtomicI64,
    /// The queue of which one sleeper is asked to look after another's wake-up.
    deputy_for: AtomicU64,
    /// When it was asked last.
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

    /// Notes that somebody goes to sleep: for a queue, for one message or for more.
    pub fn note_sleeper(&self, queue: i32, wants_more: bool) {
        let before = self.last.swap(key(queue), Ordering::Relaxed);
        if (before != NOBODY && before != key(queue)) || wants_more {
            self.mixed_at.store(now(), Ordering::Relaxed);
        }
    }

    /// Asks for a deputy, a sleeper that looks when the grace is over. False if one is asked
    /// already, which then looks before this grace is over.
    pub fn asks_for_deputy(&self, queue: i32) -> bool {
        let (now, since) = (now(), self.deputy_since.load(Ordering::Relaxed));
        if (since..since.saturating_add(GRACE.as_micros() as i64)).contains(&now) {
            return false;
        }
        self.deputy_since.store(now, Ordering::Relaxed);
        self.deputy_for.store(key(queue), Ordering::Relaxed);
        true
    }

    /// Whether a sleeper of the queue that has just been woken is the deputy that was asked for.
    pub fn becomes_deputy(&self, queue: i32) -> bool {
        let key = key(queue);
        self.deputy_for.compare_exchange(key, NOBODY, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// A sleeper comes that looks at once: nobody has gone to be the deputy.
    pub fn forget_deputy(&self, queue: i32) {
        if self.becomes_deputy(queue) {
            self.dismiss_deputy();
        }
    }

    /// The deputy does something else: the next wake-up needs another.
    pub fn dismiss_deputy(&self) {
        self.deputy_since.store(LONG_AGO, Ordering::Relaxed);
    }

    /// Whether a signal could wake one it is not meant for. Sleepers go to sleep anew
    /// every few seconds.
    pub fn is_mixed(&self) -> bool {
        now() - self.mixed_at.load(Ordering::Relaxed) < 2 * LONGEST_SLEEP.as_micros() as i64
    }
}

/// How long a sleeper sleeps at most before it looks. Finds what comes without a
/// signal: COMMIT PREPARED, rows written behind our back.
pub const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// How long a session that was woken has to take what it was woken for, before another looks.
pub const GRACE: Duration = Duration::from_millis(20);

/// The queue of those who wait for a queue that is not there yet.
pub const NO_QUEUE: i32 = 0;

/// The queue on which the worker sleeps. Queues are numbered from 1.
pub const WORKER: i32 = -1;
