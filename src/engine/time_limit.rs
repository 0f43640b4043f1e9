//! A limit on how long work may take in the worker, which no person watches.

use pgrx::pg_sys;

use crate::value::duration::Millis;

/// Postgres's number for the timer that cancels a statement.
const STATEMENT_TIMEOUT: i32 = 3;

// utils/timeout.h, which pgrx leaves out
unsafe extern "C-unwind" {
    fn enable_timeout_after(timer: i32, millis: i32);
    fn disable_timeout(timer: i32, keep_indicator: bool);
}

/// Cancels what runs when the time is over; dropped, it lets go.
pub struct TimeLimit;

impl TimeLimit {
    /// In the worker, a limit; in a person's session his `statement_timeout` holds.
    pub fn in_worker(limit: Millis) -> Option<Self> {
        is_worker().then(|| {
            // SAFETY: the worker sets no such timer itself; dropping takes it back.
            unsafe { enable_timeout_after(STATEMENT_TIMEOUT, limit.as_millis() as i32) };
            Self
        })
    }
}

impl Drop for TimeLimit {
    fn drop(&mut self) {
        // SAFETY: both only change state of this process. What the timer asked for too
        // late must not hit what comes next.
        unsafe {
            disable_timeout(STATEMENT_TIMEOUT, false);
            (&raw mut pg_sys::QueryCancelPending).write_volatile(0);
        }
    }
}

/// Whether this process is the worker, not a person's session.
pub fn is_worker() -> bool {
    // SAFETY: reads a variable of this process, which only background workers set.
    unsafe { !pg_sys::MyBgworkerEntry.is_null() }
}
