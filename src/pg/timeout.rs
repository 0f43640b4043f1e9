//! Time limits in a background process, where no user could cancel a statement.

use std::cell::RefCell;
use std::ffi::c_int;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use pgrx::pg_sys;

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

thread_local! {
    /// The ends of all limits that hold, the innermost last.
    static ENDS: RefCell<Vec<Instant>> = const { RefCell::new(Vec::new()) };
}

/// A time limit. It cancels the running code when the time is over. Dropping it removes the limit; an outer
/// limit holds again.
pub struct TimeLimit {
    ends_process: bool,
}

/// Time between the cancel of users' code and the end of its process.
const GRACE: Duration = Duration::from_secs(5);

impl TimeLimit {
    /// Sets a limit in a background process. In a client's session the user's `statement_timeout` holds, and
    /// this returns none.
    pub fn in_worker(limit: Duration) -> Option<Self> {
        is_worker().then(|| {
            ENDS.with_borrow_mut(|ends| ends.push(Instant::now() + limit));
            set_timer();
            Self { ends_process: false }
        })
    }

    /// The same for users' code. If that catches the cancel and goes on, its process is ended a few seconds
    /// later.
    pub fn of_users_code(limit: Duration) -> Option<Self> {
        let mut set = Self::in_worker(limit)?;
        // SAFETY: nothing else sets this timer; dropping takes it back.
        unsafe { enable_timeout_after(END.load(Ordering::Relaxed), milliseconds(limit + GRACE)) }
        set.ends_process = true;
        Some(set)
    }
}

/// Sets the timer to the first end of all limits. An end that has passed already cancels at once: an inner
/// limit may have caught the cancel.
fn set_timer() {
    let first = ENDS.with_borrow(|ends| ends.iter().min().copied());
    if let Some(first) = first {
        let left = first.saturating_duration_since(Instant::now());
        // SAFETY: only these limits set this timer in a background process.
        unsafe { enable_timeout_after(STATEMENT_TIMEOUT, milliseconds(left).max(1)) }
    }
}

impl Drop for TimeLimit {
    fn drop(&mut self) {
        // SAFETY: all only change state of this process. A cancel request of the timer that came too late
        // must not hit the next statement. A signal that asks the process to end keeps its own flag.
        unsafe {
            disable_timeout(STATEMENT_TIMEOUT, false);
            if self.ends_process {
                disable_timeout(END.load(Ordering::Relaxed), false);
            }
            (&raw mut pg_sys::QueryCancelPending).write_volatile(0);
        }
        ENDS.with_borrow_mut(Vec::pop);
        set_timer();
    }
}

fn milliseconds(span: Duration) -> i32 {
    i32::try_from(span.as_millis()).unwrap_or(i32::MAX)
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
