//! Time limits for users' code in a background process, where no user could cancel it.

use std::ffi::c_int;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use pgrx::pg_sys;

use crate::value::duration::Millis;

/// Postgres's number of the timer that cancels a statement.
const STATEMENT_TIMEOUT: i32 = 3;

/// First number of the timers that extensions can register (one less before 17).
const USER_TIMEOUT: i32 = if cfg!(any(feature = "pg17", feature = "pg18")) { 13 } else { 12 };

// Not taken from pgrx: handlers are called outside of any frame that could catch an error.
unsafe extern "C-unwind" {
    // utils/timeout.h
    fn enable_timeout_after(timer: i32, millis: i32);
    fn disable_timeout(timer: i32, keep_indicator: bool);
    fn RegisterTimeout(timer: i32, handler: unsafe extern "C-unwind" fn()) -> i32;
    // tcop/tcopprot.h
    fn die(signal: c_int);
}

/// Number of the timer that ends this process; 0 in a client's session.
static END: AtomicI32 = AtomicI32::new(0);

/// A time limit. It cancels the running code when the time is over. If the code catches that and goes on, its
/// process is ended a few seconds later. Dropping it removes the limit.
pub struct TimeLimit;

/// Time between the cancel and the end of the process.
const GRACE: Millis = Millis::from_secs(5);

impl TimeLimit {
    /// Sets a limit in a background process. In a client's session the user's `statement_timeout` holds, and
    /// this returns none.
    pub fn in_worker(limit: Millis) -> Option<Self> {
        let end = END.load(Ordering::Relaxed);
        is_worker().then(|| {
            let last = limit.as_millis().saturating_add(GRACE.as_millis());
            // SAFETY: nothing else here sets such timers; dropping takes them back.
            unsafe {
                enable_timeout_after(STATEMENT_TIMEOUT, milliseconds(limit.as_millis()));
                enable_timeout_after(end, milliseconds(last));
            }
            Self
        })
    }
}

/// A time limit for our own statements: it only cancels. Dropping it removes the limit.
pub struct CancelAfter;

impl CancelAfter {
    /// Sets a limit in a background process.
    pub fn in_worker(limit: Duration) -> Option<Self> {
        is_worker().then(|| {
            // SAFETY: nothing else here sets this timer; dropping takes it back.
            unsafe { enable_timeout_after(STATEMENT_TIMEOUT, milliseconds(limit.as_millis() as i64)) }
            Self
        })
    }
}

impl Drop for CancelAfter {
    fn drop(&mut self) {
        // SAFETY: as for `TimeLimit`. A signal that asks the process to end keeps its own flag.
        unsafe {
            disable_timeout(STATEMENT_TIMEOUT, false);
            (&raw mut pg_sys::QueryCancelPending).write_volatile(0);
        }
    }
}

fn milliseconds(span: i64) -> i32 {
    i32::try_from(span).unwrap_or(i32::MAX)
}

impl Drop for TimeLimit {
    fn drop(&mut self) {
        // SAFETY: all only change state of this process. A cancel request of the timer that came too late
        // must not hit the next statement.
        unsafe {
            disable_timeout(STATEMENT_TIMEOUT, false);
            disable_timeout(END.load(Ordering::Relaxed), false);
            (&raw mut pg_sys::QueryCancelPending).write_volatile(0);
        }
    }
}

/// Makes this process a background process with time limits. Called once, after it has connected.
pub fn become_worker() {
    // SAFETY: takes a free number; the handler only sets flags.
    END.store(unsafe { RegisterTimeout(USER_TIMEOUT, end) }, Ordering::Relaxed);
}

unsafe extern "C-unwind" fn end() {
    // SAFETY: Postgres's own handler of SIGTERM, in a handler of SIGALRM.
    unsafe { die(pg_sys::SIGTERM as c_int) }
}

/// True if this process is the worker or runs watches, and is no client's session.
pub fn is_worker() -> bool {
    END.load(Ordering::Relaxed) != 0
}

/// True if the worker was asked to end.
pub fn is_asked_to_end() -> bool {
    // SAFETY: the flag is set by the signal handler alone.
    unsafe { (&raw const pg_sys::ShutdownRequestPending).read_volatile() != 0 }
}
