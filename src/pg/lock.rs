//! Locks of Postgres's lock manager. They need no shared memory of ours, and Postgres releases them when
//! their transaction or process ends, however it ends.

use std::ptr;

use pgrx::pg_sys::{self, LOCKTAG, Oid};

/// A lock, by what it is about.
pub struct Lock(LOCKTAG);

impl Lock {
    /// A lock of ours, which lies among the advisory locks. The class distinguishes its purpose, and the
    /// lock from those of users, which have class 1 or 2.
    pub fn of_ours(class: u16, database: Oid, first: u32, second: u32) -> Self {
        Self(LOCKTAG {
            locktag_field1: database.to_u32(),
            locktag_field2: first,
            locktag_field3: second,
            locktag_field4: class,
            locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
            locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
        })
    }

    /// The lock of an object that is listed in a catalog or table. It survives PREPARE TRANSACTION and a
    /// crash with its transaction.
    pub fn of_object(database: Oid, catalog: Oid, object: u32) -> Self {
        Self(LOCKTAG {
            locktag_field1: database.to_u32(),
            locktag_field2: catalog.to_u32(),
            locktag_field3: object,
            locktag_field4: 0,
            locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
            locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
        })
    }

    pub fn tag(&self) -> &LOCKTAG {
        &self.0
    }

    /// Takes the lock until the (sub)transaction ends, or `release`.
    pub fn acquire(&self, mode: u32) {
        self.acquire_or_skip(mode, false);
    }

    /// Takes the lock as `acquire` does; false if another session holds it at this moment.
    pub fn try_acquire(&self, mode: u32) -> bool {
        self.acquire_or_skip(mode, true)
    }

    fn acquire_or_skip(&self, mode: u32, skips: bool) -> bool {
        // SAFETY: the tag is complete; the end of the (sub)transaction releases the lock after an error.
        let result = unsafe { pg_sys::LockAcquire(&self.0, mode as i32, false, skips) };
        result != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
    }

    /// Releases a lock that this transaction has taken.
    pub fn release(&self, mode: u32) {
        // SAFETY: the tag is complete; a lock that is not held is warned of.
        unsafe { pg_sys::LockRelease(&self.0, mode as i32, false) };
    }

    /// Takes the lock until the process ends; false if another process holds it. Needs no transaction.
    pub fn try_for_session(&self, mode: u32) -> bool {
        // SAFETY: the tag is complete; a session lock needs no transaction.
        let result = unsafe {
            pg_sys::LockAcquireExtended(
                &self.0,
                mode as i32,
                true,
                true,
                false,
                ptr::null_mut(),
                #[cfg(feature = "pg18")]
                false,
            )
        };
        result != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
    }

    /// True if no other process holds the lock at this moment. Needs no transaction.
    pub fn is_free(&self, mode: u32) -> bool {
        let is_free = self.try_for_session(mode);
        if is_free {
            // SAFETY: taken just now, in the same mode, for the session.
            unsafe { pg_sys::LockRelease(&self.0, mode as i32, true) };
        }
        is_free
    }
}
