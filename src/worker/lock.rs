//! Locks that tell whether a database has a worker.
//!
//! They are locks of Postgres's lock manager: they need no shared memory of ours, and Postgres releases them
//! when their process ends, however it ends.

use pgrx::pg_sys::{self, Oid};

use crate::pg::lock::Lock;

/// The lock of a database's worker: the process that holds it is the worker.
pub struct WorkerLock(Lock);

/// Distinguishes our locks from advisory locks of users, which have 1 or 2 here.
const CLASS: u16 = 0x7067;

impl WorkerLock {
    pub fn of(database: Oid) -> Self {
        Self(Lock::of_ours(CLASS, database, 0, 0))
    }

    /// Takes the lock until this process ends; false if it is taken.
    pub fn take(&self) -> bool {
        self.0.try_for_session(pg_sys::ExclusiveLock)
    }

    /// True if no process holds the lock at this moment.
    pub fn is_free(&self) -> bool {
        self.0.is_free(pg_sys::ShareLock)
    }
}

/// True if a role that may drop, move or copy the database is about to. All other processes, the worker too,
/// have to leave the database for that. Postgres takes the lock of such a command before it checks the role's
/// privilege, so the repeated attempts of a role without it must not send the worker away. Only outside of a
/// transaction.
pub fn is_wanted(database: Oid) -> bool {
    // Databases belong to no database.
    let lock = Lock::of_object(Oid::INVALID, pg_sys::DatabaseRelationId, database.to_u32());
    if lock.is_free(pg_sys::RowExclusiveLock) {
        return false;
    }
    // SAFETY: catalog look-ups in a transaction of its own.
    unsafe {
        pg_sys::StartTransactionCommand();
        let is_wanted =
            holders(&lock, pg_sys::RowExclusiveLock).into_iter().any(|role| may_command(role, database));
        pg_sys::CommitTransactionCommand();
        is_wanted
    }
}

/// Returns the login roles of the sessions that hold a lock in a mode that conflicts with `mode`.
fn holders(lock: &Lock, mode: u32) -> Vec<Oid> {
    let mut count = 0;
    // SAFETY: Postgres allocates as many as it counts, in a transaction. The entry of a process that has
    // ended meanwhile stays in shared memory; its role is one word.
    unsafe {
        let sessions = pg_sys::GetLockConflicts(lock.tag(), mode as i32, &mut count);
        let roles = (0..count as usize).filter_map(|n| {
            let process = process_of(&*sessions.add(n));
            (!process.is_null()).then(|| (&raw const (*process).roleId).read_volatile())
        });
        roles.collect()
    }
}

#[cfg(any(feature = "pg15", feature = "pg16"))]
unsafe fn process_of(session: &pg_sys::VirtualTransactionId) -> *mut pg_sys::PGPROC {
    // From storage/sinvaladt.h; pgrx lacks it.
    unsafe extern "C-unwind" {
        fn BackendIdGetProc(backend: i32) -> *mut pg_sys::PGPROC;
    }
    // SAFETY: gives null for a number that no session has; raises nothing.
    unsafe { BackendIdGetProc(session.backendId) }
}

#[cfg(any(feature = "pg17", feature = "pg18"))]
unsafe fn process_of(session: &pg_sys::VirtualTransactionId) -> *mut pg_sys::PGPROC {
    // SAFETY: gives null for a number that no session has.
    unsafe { pg_sys::ProcNumberGetProc(session.procNumber) }
}

/// True if sessions of a role may drop, move or copy the database: the role can become its owner, or the
/// database is a template, which other roles may copy too.
fn may_command(role: Oid, database: Oid) -> bool {
    let cache = pg_sys::SysCacheIdentifier::DATABASEOID as i32;
    // SAFETY: a catalog look-up in a transaction; the tuple is read before it is released.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(cache, database.into());
        if tuple.is_null() {
            return true; // the database is gone
        }
        let row = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_database>();
        let may = row.datistemplate || (role != Oid::INVALID && pg_sys::is_member_of_role(role, row.datdba));
        pg_sys::ReleaseSysCache(tuple);
        may
    }
}
