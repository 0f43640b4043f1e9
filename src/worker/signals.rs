//! Signals, and sleep that honours them.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgrx::pg_sys;

use crate::engine::shared::sleeper;
use crate::pg::session::nap;
use crate::pg::timeout::is_asked_to_end;

/// Effect of SIGTERM on a process.
#[derive(Clone, Copy)]
pub enum Terminate {
    /// The process ends as any backend does.
    AtOnce,
    /// The process is asked to end (`is_asked_to_end`), and its running step is cancelled.
    Gracefully,
}

// Declared here, not taken from pgrx: signal handlers are called by the kernel, outside of any
// frame that could catch an error.
unsafe extern "C-unwind" {
    fn die(signal: c_int);
    fn SignalHandlerForConfigReload(signal: c_int);
    fn SignalHandlerForShutdownRequest(signal: c_int);
}

/// True while a step runs that may be cancelled.
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

/// Runs a step that SIGTERM may cancel. A step that begins after the signal is not cancelled.
pub fn cancellable<R>(step: impl FnOnce() -> R) -> R {
    STEP.store(!is_asked_to_end(), Ordering::Relaxed);
    let result = step();
    STEP.store(false, Ordering::Relaxed);
    // SAFETY: a flag of this process. A signal that came too late must not hit what comes next.
    unsafe { (&raw mut pg_sys::QueryCancelPending).write_volatile(0) }
    result
}

/// Lets SIGTERM end this process, and SIGHUP reload settings.
pub fn handle_signals(terminate: Terminate) {
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
pub fn sleep(time: Duration) {
    nap(time);
    reload_settings();
}

/// Sleeps until the time is over or a commit has news for listeners.
pub fn sleep_until_news(time: Duration) {
    sleeper::doze(sleeper::WORKER, time);
    reload_settings();
}

pub fn reload_settings() {
    // SAFETY: the flag is set by the signal handler alone.
    unsafe {
        if (&raw const pg_sys::ConfigReloadPending).read_volatile() != 0 {
            (&raw mut pg_sys::ConfigReloadPending).write_volatile(0);
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
    }
}
