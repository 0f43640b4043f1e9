//! Locks by which workers and those who start them know of each other.
//!
//! Plain lock-manager locks: they need no shared memory of ours, and Postgres
//! releases them when their process ends, however it ends.

use std::ptr;

use pgrx::pg_sys::{self, LOCKTAG, Oid};

/// The place of a database's worker: whoever holds it is the worker.
pub struct WorkerLock(LOCKTAG);

/// Tells our locks from the advisory locks of users, which have 1 or 2 here.
const CLASS: u16 = 0x7067;

impl WorkerLock {
    pub fn of(database: Oid) -> Self {
        Self(LOCKTAG {
            locktag_field1: database.to_u32(),
            locktag_field2: 0,
            locktag_field3: 0,
            locktag_field4: CLASS,
            locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
            locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
        })
    }

    /// Takes the place until this process ends; false if it is taken.
    pub fn take(&self) -> bool {
        try_lock(&self.0, pg_sys::ExclusiveLock)
    }

    /// Whether nobody has the place at this moment.
    pub fn is_free(&self) -> bool {
        can_lock(&self.0, pg_sys::ShareLock)
    }
}

/// Whether somebody waits to drop, move or copy the database: they need all others
/// out of it, a worker too.
pub fn is_wanted(database: Oid) -> bool {
    let tag = LOCKTAG {
        locktag_field1: 0, // databases belong to no database
        locktag_field2: pg_sys::DatabaseRelationId.to_u32(),
        locktag_field3: database.to_u32(),
        locktag_field4: 0,
        locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
        locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
    };
    !can_lock(&tag, pg_sys::RowExclusiveLock)
}

fn can_lock(tag: &LOCKTAG, mode: u32) -> bool {
    let locked = try_lock(tag, mode);
    if locked {
        // SAFETY: locked just now, in the same mode, for the session.
        unsafe { pg_sys::LockRelease(tag, mode as i32, true) };
    }
    locked
}

/// Takes a lock for the session if that needs no waiting.
fn try_lock(tag: &LOCKTAG, mode: u32) -> bool {
    // SAFETY: the tag is complete; a session lock needs no transaction.
    let result = unsafe {
        pg_sys::LockAcquireExtended(
            tag,
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
