//! The background worker: housekeeping, one process a database.
//!
//! ```text
//! preloaded:      postmaster ── launcher ──starts──▶ worker of every database
//!                                                      with the extension
//! not preloaded:  first call of a session ──starts──▶ worker of its database
//! ```
//!
//! worker ──starts──▶ watcher of each role that has watches which are due
//!
//! Nothing depends on a worker for being correct. There is one a database because
//! each holds its database's `Place`; a second one finds it taken and leaves.

mod database;
mod launcher;
mod listeners;
mod place;
mod recount;
mod retention;
pub mod sweep;
mod watchers;

use std::cell::Cell;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pgrx::bgworkers::BackgroundWorkerBuilder;
use pgrx::pg_sys::{self, Oid};

use crate::engine::time_limit::is_asked_to_end;
use crate::engine::{is_standby, nap, waking};
use place::Place;

/// How often a session looks whether its database has a worker.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Registers the launcher. Only while the library is being preloaded.
pub fn register_launcher() {
    BackgroundWorkerBuilder::new("pgqueue launcher")
        .set_library("pgqueue")
        .set_function("pgqueue_launcher")
        .enable_spi_access()
        .set_restart_time(Some(Duration::from_secs(1)))
        .load();
}

/// Starts a worker for this database if it has none. Never fails, seldom looks.
pub fn ensure_running() {
    thread_local! {
        static LOOKED: Cell<Option<Instant>> = const { Cell::new(None) };
    }
    if LOOKED.get().is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
        return;
    }
    LOOKED.set(Some(Instant::now()));
    // SAFETY: read variables of the server and this backend.
    let (database, is_single) = unsafe { (pg_sys::MyDatabaseId, !pg_sys::IsUnderPostmaster) };
    if !is_single && !is_standby() && Place::of(database).is_free() {
        start(database, Asked::ByCall);
    }
}

/// Who asked for a worker.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// A call of the extension, in a transaction that may have made it: the worker
    /// waits a moment for the extension to appear.
    ByCall,
    /// The launcher, which only wants to know whether the extension is there.
    ByLauncher,
}

/// The bit of a worker's argument beside the number of its database.
const ASKED_BY_CALL: u64 = 1 << 32;

/// Starts a worker for a database; false if the server has no room for it.
fn start(database: Oid, asked: Asked) -> bool {
    let flag = if asked == Asked::ByCall { ASKED_BY_CALL } else { 0 };
    BackgroundWorkerBuilder::new("pgqueue worker")
        .set_library("pgqueue")
        .set_function("pgqueue_worker")
        .set_argument(Some((u64::from(database.to_u32()) | flag).into()))
        .enable_spi_access()
        .set_restart_time(None) // whoever misses it starts it again
        .load_dynamic()
        .is_ok()
}

/// What SIGTERM does to a process.
#[derive(Clone, Copy)]
enum Terminate {
    /// It ends as any backend does.
    AtOnce,
    /// It is asked to end (`is_asked_to_end`), and the step that is under way is cancelled.
    Gracefully,
}

// Declared here, not taken from pgrx: signal handlers are called by the kernel, outside of any
// frame that could catch an error.
unsafe extern "C-unwind" {
    fn die(signal: c_int);
    fn SignalHandlerForConfigReload(signal: c_int);
    fn SignalHandlerForShutdownRequest(signal: c_int);
}

/// A step is under way that may be cancelled.
static STEP: AtomicBool = AtomicBool::new(false);

unsafe extern "C-unwind" fn end_gracefully(signal: c_int) {
    // SAFETY: Postgres's own handlers, which only set flags; these flags are what its handler of
    // SIGINT sets.
    unsafe {
        SignalHandlerForShutdownRequest(signal);
        if STEP.load(Ordering::Relaxed) {
            (&raw mut pg_sys::QueryCancelPending).write_volatile(1);
            (&raw mut pg_sys::InterruptPending).write_volatile(1);
        }
    }
}

/// Does what SIGTERM may cancel. What is done after it has come is not cancelled any more.
fn cancellable<R>(step: impl FnOnce() -> R) -> R {
    STEP.store(!is_asked_to_end(), Ordering::Relaxed);
    let result = step();
    STEP.store(false, Ordering::Relaxed);
    // SAFETY: a flag of this process. A signal that came too late must not hit what comes next.
    unsafe { (&raw mut pg_sys::QueryCancelPending).write_volatile(0) }
    result
}

/// Lets SIGTERM end this process, and SIGHUP reload settings.
fn handle_signals(terminate: Terminate) {
    // SAFETY: Postgres's own handlers, set before signals are unblocked.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        use pg_sys::pqsignal;
        #[cfg(feature = "pg18")]
        use pg_sys::pqsignal_be as pqsignal;
        let handler = match terminate {
            Terminate::AtOnce => die,
            Terminate::Gracefully => end_gracefully,
        };
        pqsignal(pg_sys::SIGTERM as i32, Some(handler));
        pqsignal(pg_sys::SIGHUP as i32, Some(SignalHandlerForConfigReload));
        pg_sys::BackgroundWorkerUnblockSignals();
    }
}

/// Sleeps until the time is over or a signal arrives; settings are reloaded.
fn sleep(time: Duration) {
    nap(time);
    reload_settings();
}

/// Sleeps until the time is over or a commit has news for listeners.
fn sleep_until_news(time: Duration) {
    waking::doze(waking::WORKER, time);
    reload_settings();
}

fn reload_settings() {
    // SAFETY: the flag is set by the signal handler alone.
    unsafe {
        if (&raw const pg_sys::ConfigReloadPending).read_volatile() != 0 {
            (&raw mut pg_sys::ConfigReloadPending).write_volatile(0);
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
    }
}
