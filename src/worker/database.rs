//! The worker of one database: a round, a pause, a round.

use std::ffi::CStr;
use std::time::{Duration, Instant};

use pgrx::pg_sys::{self, Oid};

use super::place::{Place, is_wanted};
use super::recount::Recount;
use super::{
    ASKED_BY_CALL, Terminate, handle_signals, is_asked_to_end, sleep, sleep_until_news, sweep, watchers,
};
use crate::engine::{time_limit, version};
use crate::setting;

/// How long the worker sleeps at most before it looks whether it should go on, and
/// whether anything fell due.
const NAP: Duration = Duration::from_millis(100);

/// Pause after a round that left work behind.
const SHORT_PAUSE: Duration = Duration::from_millis(10);

/// Pause after something failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

#[unsafe(no_mangle)]
#[pgrx::pg_guard]
pub extern "C-unwind" fn pgqueue_worker(argument: pg_sys::Datum) {
    let database = Oid::from(argument.value() as u32);
    let asked_by_call = argument.value() as u64 & ASKED_BY_CALL != 0;
    handle_signals(Terminate::AtOnce); // whoever renames the database may keep it waiting for long
    // SAFETY: first thing in a background worker that asked for a connection.
    unsafe { pg_sys::BackgroundWorkerInitializeConnectionByOid(database, Oid::INVALID, 0) };
    handle_signals(Terminate::Gracefully);
    time_limit::become_worker();
    set_own_settings(c"pgqueue worker");
    let is_there = if asked_by_call { extension_appears(database) } else { extension_exists() };
    // The place is taken last: to the launcher a worker is one that has work here.
    if !is_there || !Place::of(database).take() {
        return;
    }
    let mut recount = Recount::default();
    while extension_exists() && !should_leave(database) {
        if setting::auto_vacuum() && sweep::mend() {
            recount = Recount::default();
        }
        recount.go_on();
        let left_work = setting::auto_vacuum() && sweep::round().left_work;
        rest(database, if left_work { SHORT_PAUSE } else { interval() });
    }
    watchers::end_all();
    if extension_exists() {
        sweep::write_counts();
    }
}

/// Whether the server or a command that changes databases needs it to go.
fn should_leave(database: Oid) -> bool {
    is_asked_to_end() || is_wanted(database)
}

fn interval() -> Duration {
    Duration::from_millis(setting::vacuum_interval().as_millis() as u64)
}

/// Sleeps, and does what falls due meanwhile. A reload may change how long.
fn rest(database: Oid, pause: Duration) {
    let (begun, before) = (Instant::now(), interval());
    loop {
        let left = pause.saturating_sub(begun.elapsed());
        if left.is_zero() || interval() != before || should_leave(database) {
            return;
        }
        sleep_until_news(left.min(NAP));
        if setting::auto_vacuum() && !sweep::errands() {
            // Perhaps the extension is gone; perhaps the disk is full, and it fails again.
            let pause = if is_asked_to_end() { Duration::ZERO } else { AFTER_FAILURE };
            return sleep(pause);
        }
    }
}

/// Waits a moment for the extension: the transaction that makes it, and whose first
/// call started this worker, may have yet to commit.
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

pub fn extension_exists() -> bool {
    // SAFETY: a catalog look-up in a transaction of its own.
    unsafe {
        pg_sys::StartTransactionCommand();
        let is_usable = version::is_usable();
        pg_sys::CommitTransactionCommand();
        is_usable
    }
}

/// A round waits for nobody for long, whatever the database's defaults are. Nor does a commit
/// for the disk, or for a standby: what it has changed would be kept from consumers meanwhile,
/// and a crash that undoes it has it done again.
pub fn set_own_settings(name: &CStr) {
    let own: &[(&CStr, &CStr)] = &[
        (c"application_name", name),
        (c"lock_timeout", c"1s"),
        (c"statement_timeout", c"0"),
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        (c"transaction_timeout", c"0"),
        (c"synchronous_commit", c"off"),
        (c"default_transaction_isolation", c"read committed"),
        (c"default_transaction_read_only", c"off"),
    ];
    for (name, value) in own {
        // SAFETY: names and values are C strings of ours.
        unsafe {
            pg_sys::SetConfigOption(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_SUSET,
                pg_sys::GucSource::PGC_S_OVERRIDE,
            );
        }
    }
}
