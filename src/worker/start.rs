//! Starting the worker of a database.

use std::cell::Cell;
use std::time::{Duration, Instant};

use pgrx::bgworkers::BackgroundWorkerBuilder;
use pgrx::pg_sys::{self, Oid};

use crate::pg::session::is_standby;
use crate::worker::lock::WorkerLock;

/// Interval at which a session checks whether its database has a worker.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Starts a worker for this database if it has none. Never fails, and checks only once an interval.
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
    if !is_single && !is_standby() && WorkerLock::of(database).is_free() {
        start(database, Asked::ByCall);
    }
}

/// Origin of the request for a worker.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A call of the extension, in a transaction that may have created it: the worker waits a moment for the
    /// extension to appear.
    ByCall,
    /// The launcher, which only asks whether the extension exists.
    ByLauncher,
}

/// Bit in a worker's argument that marks `Asked::ByCall`, above the number of its database.
pub const ASKED_BY_CALL: u64 = 1 << 32;

/// Starts a worker for a database; false if the server has no room for it.
pub fn start(database: Oid, asked: Asked) -> bool {
    let flag = if asked == Asked::ByCall { ASKED_BY_CALL } else { 0 };
    BackgroundWorkerBuilder::new("pgqueue worker")
        .set_library("pgqueue")
        .set_function("pgqueue_worker")
        .set_argument(Some((u64::from(database.to_u32()) | flag).into()))
        .enable_spi_access()
        .set_restart_time(None) // the launcher or the next call starts it again
        .load_dynamic()
        .is_ok()
}
