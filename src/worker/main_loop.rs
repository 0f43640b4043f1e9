//! The worker of one database: a round, a pause, a round.

use std::time::{Duration, Instant};

use pgrx::pg_sys::{self, Oid};

use crate::guc;
use crate::pg::timeout::{self, is_asked_to_end};
use crate::worker::lock::{WorkerLock, is_wanted};
use crate::worker::recount::Recount;
use crate::worker::session::{extension_exists, plan_by_index, set_own_settings};
use crate::worker::signals::{Terminate, handle_signals, sleep, sleep_until_news};
use crate::worker::start::ASKED_BY_CALL;
use crate::worker::{errands, round, watchers};

/// Longest sleep before the worker checks whether it should go on, and whether an errand is due.
const NAP: Duration = Duration::from_millis(100);

/// Pause after a round that left work behind.
const SHORT_PAUSE: Duration = Duration::from_millis(10);

/// Pause after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

#[unsafe(no_mangle)]
#[pgrx::pg_guard]
pub extern "C-unwind" fn pgqueue_worker(argument: pg_sys::Datum) {
    let database = Oid::from(argument.value() as u32);
    let asked_by_call = argument.value() as u64 & ASKED_BY_CALL != 0;
    handle_signals(Terminate::AtOnce); // a session that renames the database may keep it waiting for long
    // SAFETY: first thing in a background worker that asked for a connection.
    unsafe { pg_sys::BackgroundWorkerInitializeConnectionByOid(database, Oid::INVALID, 0) };
    handle_signals(Terminate::Gracefully);
    timeout::become_worker();
    set_own_settings(c"pgqueue worker");
    plan_by_index();
    let is_there = if asked_by_call { extension_appears(database) } else { extension_exists() };
    // The lock is taken last: for the launcher a worker is one that has work here.
    if !is_there || !WorkerLock::of(database).take() {
        return;
    }
    let mut recount = Recount::default();
    while extension_exists() && !should_leave(database) {
        if guc::auto_vacuum() && round::mend() {
            recount = Recount::default();
        }
        recount.repeat();
        recount.go_on();
        let left_work = guc::auto_vacuum() && round::round().left_work;
        rest(database, if left_work { SHORT_PAUSE } else { interval() }, &mut recount);
    }
    watchers::end_all();
    if extension_exists() {
        round::write_counts();
    }
}

/// True if the server, or a command that changes databases, needs the worker to end.
fn should_leave(database: Oid) -> bool {
    is_asked_to_end() || is_wanted(database)
}

fn interval() -> Duration {
    guc::vacuum_interval().as_duration()
}

/// Sleeps for the pause, and does the errands that fall due meanwhile. A reload may change its length.
fn rest(database: Oid, pause: Duration, recount: &mut Recount) {
    let (begun, before) = (Instant::now(), interval());
    loop {
        let left = pause.saturating_sub(begun.elapsed());
        if left.is_zero() || interval() != before || should_leave(database) {
            return;
        }
        sleep_until_news(left.min(NAP));
        recount.go_on();
        if guc::auto_vacuum() && !errands::errands() {
            // The extension may be gone, or the disk full: then it fails again.
            let pause = if is_asked_to_end() { Duration::ZERO } else { AFTER_FAILURE };
            return sleep(pause);
        }
    }
}

/// Waits a moment for the extension. The transaction that creates it, and whose first call started this
/// worker, may not have committed yet.
fn extension_appears(database: Oid) -> bool {
    const PATIENCE: Duration = Duration::from_secs(2);
    let begun = Instant::now();
    while !extension_exists() {
        if begun.elapsed() > PATIENCE || should_leave(database) {
            return false;
        }
        sleep(SHORT_PAUSE * 10);
    }
    true
}
