//! The session: its clock, its sleep, and whether its transaction may write.

use std::ffi::{CStr, CString};

use pgrx::pg_sys::{self, Oid};

use crate::error::{Error, Result};
use crate::value::timestamp;

/// Returns the time by the clock. In a long transaction `now()` lies in the past, and a lease counted from it
/// would already be partly spent.
pub fn now() -> timestamp::Timestamp {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}

/// Returns the wait event that `pg_stat_activity` shows for a sleeping process. From 17 on its name is
/// `PgqueueWait` for a client's session, and `PgqueueWorker` for a background worker.
pub fn wait_event() -> u32 {
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    {
        use std::sync::OnceLock;
        static EVENT: OnceLock<u32> = OnceLock::new();
        // SAFETY: reads variables of this process; names are C strings. Postgres gives all
        // processes that ask for a name the same event.
        *EVENT.get_or_init(|| unsafe {
            let entry = pg_sys::MyBgworkerEntry;
            let is_ours = !entry.is_null()
                && std::ffi::CStr::from_ptr((&raw const (*entry).bgw_library_name).cast()) == c"pgqueue";
            let name = if is_ours { c"PgqueueWorker" } else { c"PgqueueWait" };
            pg_sys::WaitEventExtensionNew(name.as_ptr())
        })
    }
    #[cfg(not(any(feature = "pg17", feature = "pg18")))]
    pg_sys::PG_WAIT_EXTENSION
}

/// Sleeps until the time is over or a signal arrives, and honours interrupts.
pub fn nap(time: std::time::Duration) {
    // SAFETY: the latch is this process's own.
    unsafe {
        pg_sys::WaitLatch(
            pg_sys::MyLatch,
            (pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH) as i32,
            time.as_millis() as std::ffi::c_long,
            wait_event(),
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    pg_sys::check_for_interrupts!();
}

/// The number of this process among those that may have a session; none for any other process.
pub fn process_number() -> Option<u32> {
    // SAFETY: reads variables of this process.
    unsafe {
        if pg_sys::MyProc.is_null() {
            return None;
        }
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        let number = pg_sys::MyProcNumber;
        #[cfg(not(any(feature = "pg17", feature = "pg18")))]
        let number = (*pg_sys::MyProc).pgprocno;
        u32::try_from(number).ok()
    }
}

/// How many processes may have a session. Only when the server starts.
pub fn most_sessions() -> usize {
    // SAFETY: reads a variable of the server.
    unsafe { pg_sys::MaxBackends as usize }
}

/// Whether transactions can be prepared. Only when the server starts.
pub fn may_prepare() -> bool {
    // From access/twophase.h; pgrx lacks it.
    unsafe extern "C" {
        static max_prepared_xacts: std::ffi::c_int;
    }
    // SAFETY: reads a variable of the server.
    unsafe { max_prepared_xacts > 0 }
}

/// The database of this session.
pub fn database() -> Oid {
    // SAFETY: reads a variable of this backend.
    unsafe { pg_sys::MyDatabaseId }
}

/// Returns the system identifier of this server, which its physical copies share.
pub fn server() -> u64 {
    // SAFETY: reads a variable of the server.
    unsafe { pg_sys::GetSystemIdentifier() }
}

/// True if this server is a standby, which replays another server's WAL.
pub fn is_standby() -> bool {
    // SAFETY: reads state of the server.
    unsafe { pg_sys::RecoveryInProgress() }
}

/// Returns an error if this transaction or server cannot write.
pub fn check_writable(function: &str) -> Result<()> {
    // SAFETY: reads state of the transaction.
    let is_read_only = unsafe { pg_sys::XactReadOnly };
    if is_standby() || is_read_only {
        return Err(Error::read_only(function, is_standby()));
    }
    Ok(())
}

/// True if the transaction keeps the snapshot it began with (REPEATABLE READ, SERIALIZABLE): another scan
/// would show the same rows.
pub fn has_one_snapshot() -> bool {
    // SAFETY: reads a variable of the transaction.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}

/// Returns the nesting level of the current savepoint.
pub fn level() -> i32 {
    // SAFETY: reads state of the transaction.
    unsafe { pg_sys::GetCurrentTransactionNestLevel() }
}

/// Sets a setting that only shows a value.
pub fn set_internal(name: &CStr, value: &str) {
    let value = CString::new(value).expect("no NUL byte");
    // SAFETY: C strings; the setting is defined.
    unsafe {
        pg_sys::SetConfigOption(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_INTERNAL,
            pg_sys::GucSource::PGC_S_OVERRIDE,
        );
    }
}

/// Reserves a prefix of settings: Postgres warns of undefined settings with it, and refuses new ones.
pub fn reserve_prefix(prefix: &CStr) {
    // SAFETY: a C string.
    unsafe {
        pg_sys::MarkGUCPrefixReserved(prefix.as_ptr());
    }
}
