//! Short locks: one session at a time decides something and writes it down.
//!
//! They are locks of Postgres's lock manager: they need no shared memory of ours, and an error releases them
//! with the (sub)transaction. A session that holds one takes no second one and waits for no transaction. So
//! they cause no deadlock, and each is held for microseconds. Only the lock of a queue's slots is kept for
//! longer (`keep`), and it is never the second.

use std::hash::{DefaultHasher, Hash, Hasher};

use pgrx::pg_sys;

use crate::pg::lock::Lock;
use crate::pg::session::database;

/// Purpose of a lock. The number distinguishes it from the other kinds, and from advisory locks of users,
/// which have 1 or 2 in its place.
#[derive(Clone, Copy)]
#[repr(u16)]
pub enum Kind {
    Group = 0x7068,
    Ids = 0x7069,
    Key = 0x706a,
    Slots = 0x706b,
    Name = 0x706c,
}

/// A short lock. Two purposes with the same numbers share one.
pub struct ShortLock(Lock);

impl ShortLock {
    pub fn new(kind: Kind, queue: i32, number: u32) -> Self {
        Self(Lock::of_ours(kind as u16, database(), queue as u32, number))
    }

    /// The lock of a name or key. Two with the same hash share one.
    pub fn of_text(kind: Kind, queue: i32, text: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        Self::new(kind, queue, hasher.finish() as u32)
    }

    /// Runs `work` under the lock.
    pub fn hold<R>(&self, work: impl FnOnce() -> R) -> R {
        self.keep();
        self.release_after(work)
    }

    /// Runs `work` under the lock; none if another session holds it at this moment.
    pub fn try_hold<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        self.try_keep().then(|| self.release_after(work))
    }

    /// Takes the lock until the transaction ends.
    pub fn keep(&self) {
        self.0.acquire(pg_sys::ExclusiveLock);
    }

    /// Takes the lock until the transaction ends; false if another session holds it at this moment.
    pub fn try_keep(&self) -> bool {
        self.0.try_acquire(pg_sys::ExclusiveLock)
    }

    fn release_after<R>(&self, work: impl FnOnce() -> R) -> R {
        let result = work();
        self.0.release(pg_sys::ExclusiveLock);
        result
    }
}
