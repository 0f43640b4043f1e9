//! The launcher: starts a worker in each database that has the extension.
//!
//! The launcher belongs to no database, so that it depends on none. Only a process inside a database can tell
//! whether the extension exists there. So the launcher starts a worker, which leaves at once if there is no
//! extension.

use std::collections::HashMap;
use std::ffi::CStr;
use std::time::{Duration, Instant};

use pgrx::bgworkers::BackgroundWorkerBuilder;
use pgrx::pg_sys::{self, Oid};

use crate::engine::shared::hint_cache;
use crate::worker::lock::WorkerLock;
use crate::worker::signals::{Terminate, handle_signals, sleep};
use crate::worker::start::{Asked, start};

/// Interval at which the list of databases is read.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Pause before a worker that left a database is started there again. It may have ended before it was seen, so
/// that this is tried a few times.
const RETRY: Duration = Duration::from_secs(3);
const MOST_RETRIES: u32 = 3;

/// Pause before a database that seems to lack the extension is asked again. It doubles each time, up to the
/// longest. The first call of the extension starts a worker sooner.
const ASK_AGAIN: Duration = Duration::from_secs(30);
const ASK_AT_LEAST: Duration = Duration::from_secs(600);

/// Number of refusals in a row after which the log reports that no worker slot is free. Before that, workers
/// of databases that lack the extension may leave and free one.
const MOST_REFUSALS: u32 = 15;

/// Launcher's knowledge of a database.
#[derive(Default)]
struct Known {
    /// When the launcher last started a worker, or first saw one that a call had started.
    started: Option<Instant>,
    /// Number of starts in a row after which no worker was seen.
    in_vain: u32,
    /// Number of times in a row that no worker slot was free.
    refusals: u32,
}

impl Known {
    fn pause(&self) -> Duration {
        match self.in_vain.checked_sub(MOST_RETRIES + 1) {
            None => RETRY,
            Some(times) => (ASK_AGAIN * 2u32.pow(times.min(16))).min(ASK_AT_LEAST),
        }
    }
}

/// A database in the catalog.
struct Database {
    oid: Oid,
    name: String,
    /// It accepts connections and is no template.
    may_have_worker: bool,
}

#[unsafe(no_mangle)]
#[pgrx::pg_guard]
pub extern "C-unwind" fn pgqueue_launcher(_argument: pg_sys::Datum) {
    handle_signals(Terminate::AtOnce);
    // SAFETY: first thing in a background worker that asked for a connection.
    unsafe { pg_sys::BackgroundWorkerInitializeConnection(std::ptr::null(), std::ptr::null(), 0) };
    let mut known: HashMap<Oid, Known> = HashMap::new();
    let mut before = Vec::new();
    loop {
        let databases = databases();
        known.retain(|database, _| databases.iter().any(|found| found.oid == *database));
        let those = databases.iter().map(|database| database.oid.to_u32()).collect::<Vec<_>>();
        if those != before {
            hint_cache::free_all_but(&those);
            before = those;
        }
        for database in databases.iter().filter(|database| database.may_have_worker) {
            look_after(database, known.entry(database.oid).or_default());
        }
        sleep(LOOK_EVERY);
    }
}

/// Starts a worker in a database that has none. If the server has no free slot, the next look tries again.
fn look_after(database: &Database, known: &mut Known) {
    if !WorkerLock::of(database.oid).is_free() {
        known.started.get_or_insert_with(Instant::now);
        (known.in_vain, known.refusals) = (0, 0);
        return;
    }
    if known.started.is_some_and(|started| started.elapsed() < known.pause()) {
        return;
    }
    if start(database.oid, Asked::ByLauncher) {
        let in_vain = known.in_vain.saturating_add(1);
        *known = Known { started: Some(Instant::now()), in_vain, refusals: 0 };
        return;
    }
    known.refusals += 1;
    if known.refusals == MOST_REFUSALS {
        let name = &database.name;
        pgrx::log!(
            "pgqueue: no slot is free for the worker of database \"{name}\"; max_worker_processes is too low"
        );
    }
}

fn databases() -> Vec<Database> {
    let mut databases = Vec::new();
    // SAFETY: as Postgres's own launcher does: a transaction without a database may
    // scan the shared catalogs; the tuple is looked at while the scan stands on it.
    unsafe {
        pg_sys::StartTransactionCommand();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        let catalog = pg_sys::table_open(pg_sys::DatabaseRelationId, pg_sys::AccessShareLock as i32);
        let scan = pg_sys::systable_beginscan(
            catalog,
            Oid::INVALID,
            false,
            std::ptr::null_mut(),
            0,
            std::ptr::null_mut(),
        );
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            let database = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_database>();
            // A database whose DROP was interrupted has -2 here.
            let may_have_worker =
                database.datallowconn && !database.datistemplate && database.datconnlimit != -2;
            let name = CStr::from_ptr(database.datname.data.as_ptr()).to_string_lossy().into_owned();
            databases.push(Database { oid: database.oid, name, may_have_worker });
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(catalog, pg_sys::AccessShareLock as i32);
        pg_sys::PopActiveSnapshot();
        pg_sys::CommitTransactionCommand();
    }
    databases
}

/// Registers the launcher. Only while the library is being preloaded.
pub fn register_launcher() {
    BackgroundWorkerBuilder::new("pgqueue launcher")
        .set_library("pgqueue")
        .set_function("pgqueue_launcher")
        .enable_spi_access()
        .set_restart_time(Some(Duration::from_secs(1)))
        .load();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how often a database that lacks the extension is asked in that time.
    fn times_asked(seconds: u64) -> u32 {
        let (mut known, mut over) = (Known::default(), Duration::ZERO);
        while over < Duration::from_secs(seconds) {
            known.in_vain += 1;
            over += known.pause();
        }
        known.in_vain
    }

    #[test]
    fn a_database_that_lacks_the_extension_is_asked_less_and_less_often() {
        assert_eq!(times_asked(30), 4);
        assert_eq!(times_asked(24 * 3600), 151);
        assert_eq!(Known { in_vain: 1, ..Known::default() }.pause(), RETRY, "a worker may have ended unseen");
        assert_eq!(Known { in_vain: u32::MAX, ..Known::default() }.pause(), ASK_AT_LEAST);
    }
}
