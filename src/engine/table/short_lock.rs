//! Short locks: one session at a time decides something and writes it down.
//!
//! They are locks of Postgres's lock manager: they need no shared memory of ours, and an error releases them
//! with the (sub)transaction. A session that holds one takes no second one and waits for no transaction. So
//! they cause no deadlock, and each is held for microseconds. Only the lock of a queue's slots is kept for
//! longer (`keep`), and it is never the second.

use pgrx::pg_sys::{self, LOCKTAG};

/// Purpose of a lock. The number distinguishes it from the other kinds, and from advisory locks of users,
/// which have 1 or 2 in its place.
#[derive(Clone, Copy)]
#[repr(u16)]
pub enum Kind {
    Group = 0x7068,
    Ids = 0x7069,
    Key = 0x706a,
    Slots = 0x706b,
}

/// A short lock. Two purposes with the same numbers share one.
pub struct ShortLock(LOCKTAG);

impl ShortLock {
    pub fn new(kind: Kind, queue: i32, number: u32) -> Self {
        Self(LOCKTAG {
            // SAFETY: reads a variable of this backend.
            locktag_field1: unsafe { pg_sys::MyDatabaseId }.to_u32(),
            locktag_field2: queue as u32,
            locktag_field3: number,
            locktag_field4: kind as u16,
            locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
            locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
        })
    }

    /// Runs `work` under the lock.
    pub fn hold<R>(&self, work: impl FnOnce() -> R) -> R {
        self.acquire(false);
        self.release_after(work)
    }

    /// Runs `work` under the lock; none if another session holds it at this moment.
    pub fn try_hold<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        self.acquire(true).then(|| self.release_after(work))
    }

    /// Takes the lock until the transaction ends.
    pub fn keep(&self) {
        self.acquire(false);
    }

    /// Takes the lock until the transaction ends; false if another session holds it at this moment.
    pub fn try_keep(&self) -> bool {
        self.acquire(true)
    }

    fn acquire(&self, skips: bool) -> bool {
        // SAFETY: the tag is complete; the (sub)transaction's end releases what an error leaves.
        let result = unsafe { pg_sys::LockAcquire(&self.0, MODE, false, skips) };
        result != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
    }

    fn release_after<R>(&self, work: impl FnOnce() -> R) -> R {
        let result = work();
        // SAFETY: this call has acquired it.
        unsafe { pg_sys::LockRelease(&self.0, MODE, false) };
        result
    }
}

const MODE: i32 = pg_sys::ExclusiveLock as i32;
