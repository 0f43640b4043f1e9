//! Watchers: the processes that run watches, one at a time for each role that owns some.
//!
//! ```text
//! worker ──starts──▶ watcher of a role: its session is that role's
//! ```
//!
//! The query of a watch is its owner's code. So it runs in a process of its own, whose session, memory, time
//! and end affect neither the worker nor other roles. A database has at most `pgqueue.watch_workers` of them.
//! The role that has had none for longest comes first, and a watcher leaves after a few seconds, so that all
//! roles get a turn.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder};
use pgrx::pg_sys::{self, Oid};

use crate::engine::schedule::due::{self, WatchOwner};
use crate::engine::schedule::run;
use crate::guc;
use crate::pg::session::now;
use crate::pg::timeout;
use crate::value::timestamp::Timestamp;
use crate::worker::lock::{WorkerLock, is_wanted};
use crate::worker::session::{extension_exists, set_own_settings};
use crate::worker::signals::{Terminate, handle_signals, reload_settings};
use crate::worker::step::{logged, logged_however_long};

/// Time after which a watcher leaves, so that other roles get a turn.
const TURN: Duration = Duration::from_secs(10);

/// Argument of a watcher whose role could not connect by itself.
const MAY_NOT_CONNECT: &str = "may not connect";

/// A watcher that this worker has started.
struct Watcher {
    owner: Oid,
    started: Timestamp,
    begun: Instant,
    /// Allocated in `TopMemoryContext`.
    handle: *mut pg_sys::BackgroundWorkerHandle,
}

/// A process that lasted longer has run a slow watch.
const SLOW: Duration = Duration::from_secs(12);

/// The last process of a role.
#[derive(Clone, Copy)]
struct Served {
    ended: Instant,
    was_slow: bool,
}

thread_local! {
    static SERVED: RefCell<HashMap<Oid, Served>> = RefCell::default();
    static WATCHERS: RefCell<Option<Vec<Watcher>>> = const { RefCell::new(None) };
}

impl Watcher {
    fn has_ended(&self) -> bool {
        let mut pid = 0;
        // SAFETY: the handle lives until it is freed below.
        let status = unsafe { pg_sys::GetBackgroundWorkerPid(self.handle, &mut pid) };
        status == pg_sys::BgwHandleStatus::BGWH_STOPPED
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // SAFETY: allocated by the registration, and used by no other code.
        unsafe { pg_sys::pfree(self.handle.cast()) }
    }
}

/// Notes which watchers have ended.
pub fn look_after() {
    let (ended, is_first) = WATCHERS.with_borrow_mut(|watchers| {
        let is_first = watchers.is_none();
        let ended: Vec<_> =
            watchers.get_or_insert_default().extract_if(.., |watcher| watcher.has_ended()).collect();
        (ended, is_first)
    });
    if ended.is_empty() && !is_first {
        return;
    }
    let busy = busy();
    ended.iter().for_each(note_served);
    logged("watches", || {
        run::note_ended(&busy);
        ended.iter().for_each(|watcher| run::note_none_begun(watcher.owner, watcher.started));
    });
    run::look_again();
}

fn note_served(watcher: &Watcher) {
    const LATELY: Duration = Duration::from_secs(3600);
    let last = Served { ended: Instant::now(), was_slow: watcher.begun.elapsed() >= SLOW };
    SERVED.with_borrow_mut(|served| {
        served.retain(|_, role| role.ended.elapsed() < LATELY);
        served.insert(watcher.owner, last);
    });
}

fn last_of(owner: &WatchOwner) -> Option<Served> {
    SERVED.with_borrow(|served| served.get(&owner.role?).copied())
}

/// Starts watchers for roles whose watches are due, as many as may run. Only in a transaction.
///
/// The role whose last process ended first comes first, however long the watches of others have been due. If
/// there is more than one place, roles with slow watches leave one to the others.
pub fn start_due() {
    let (busy, places) = (busy(), guc::watch_workers());
    if busy.len() >= places {
        return;
    }
    if run::is_being_restored() {
        return;
    }
    let mut owners = due::watch_owners(&busy);
    owners.sort_by_key(|owner| last_of(owner).map(|last| last.ended));
    let mut for_slow = places.saturating_sub(1).max(1).saturating_sub(slow_ones());
    owners.retain(|owner| {
        let is_slow = last_of(owner).is_some_and(|last| last.was_slow);
        let may_run = !is_slow || for_slow > 0;
        for_slow -= usize::from(is_slow && may_run);
        may_run
    });
    for owner in owners.into_iter().take(places - busy.len()) {
        match owner.role {
            None => run::note_gone_owner(),
            Some(role) if !start(role, owner.may_connect) => run::note_no_process(role),
            Some(_) => {}
        }
    }
}

/// Ends all watchers, because the worker leaves.
pub fn end_all() {
    WATCHERS.with_borrow_mut(|watchers| {
        for watcher in watchers.take().unwrap_or_default() {
            // SAFETY: the handle lives as long as the watcher.
            unsafe { pg_sys::TerminateBackgroundWorker(watcher.handle) }
        }
    });
}

/// How many watchers run a slow watch.
fn slow_ones() -> usize {
    let is_slow = |watcher: &&Watcher| {
        let was_slow =
            SERVED.with_borrow(|served| served.get(&watcher.owner).is_some_and(|last| last.was_slow));
        was_slow || watcher.begun.elapsed() >= SLOW
    };
    WATCHERS.with_borrow(|watchers| watchers.iter().flatten().filter(is_slow).count())
}

fn busy() -> Vec<Oid> {
    WATCHERS.with_borrow(|watchers| watchers.iter().flatten().map(|watcher| watcher.owner).collect())
}

/// Starts a watcher for a role; false if the server has no room for it.
fn start(owner: Oid, may_connect: bool) -> bool {
    // SAFETY: reads variables of this process.
    let (database, pid) = unsafe { (pg_sys::MyDatabaseId, pg_sys::MyProcPid) };
    let argument = u64::from(database.to_u32()) << 32 | u64::from(owner.to_u32());
    let builder = BackgroundWorkerBuilder::new("pgqueue watch")
        .set_library("pgqueue")
        .set_function("pgqueue_watcher")
        .set_argument(Some(argument.into()))
        .set_extra(if may_connect { "" } else { MAY_NOT_CONNECT })
        .enable_spi_access()
        .set_notify_pid(pid)
        .set_restart_time(None);
    let started = now();
    let mut worker: pg_sys::BackgroundWorker = (&builder).into();
    let mut handle = std::ptr::null_mut();
    // SAFETY: the worker is complete; the handle is to outlive the transaction.
    let is_started = unsafe {
        let before = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        let is_started = pg_sys::RegisterDynamicBackgroundWorker(&mut worker, &mut handle);
        pg_sys::MemoryContextSwitchTo(before);
        is_started
    };
    if is_started {
        WATCHERS.with_borrow_mut(|watchers| {
            watchers.get_or_insert_default().push(Watcher { owner, started, begun: Instant::now(), handle });
        });
    }
    is_started
}

#[unsafe(no_mangle)]
#[pgrx::pg_guard]
pub extern "C-unwind" fn pgqueue_watcher(argument: pg_sys::Datum) {
    let argument = argument.value() as u64;
    let (database, owner) = (Oid::from((argument >> 32) as u32), Oid::from(argument as u32));
    handle_signals(Terminate::AtOnce);
    if BackgroundWorker::get_extra() == MAY_NOT_CONNECT {
        connect_for(database, owner);
    } else {
        // SAFETY: first thing in a background worker that asked for a connection.
        unsafe { pg_sys::BackgroundWorkerInitializeConnectionByOid(database, owner, 0) };
    }
    timeout::become_worker();
    set_own_settings(c"pgqueue watch");
    let begun = Instant::now();
    let has_time = || begun.elapsed() < TURN || run::is_worth_finishing();
    while has_time() && is_wanted_here(database) && extension_exists() && run_one(owner) {
        reload_settings();
    }
}

/// True if a watcher may go on: its worker is there, and no session waits for the database.
fn is_wanted_here(database: Oid) -> bool {
    guc::auto_vacuum() && !is_wanted(database) && !WorkerLock::of(database).is_free()
}

/// Runs a watch of a role; false if none is due.
fn run_one(owner: Oid) -> bool {
    let mut name = None;
    logged("watches", || name = run::claim_watch(owner));
    name.is_some_and(|name| logged_however_long("watches", || run::run_claimed_watch(&name)))
}

/// Connects for a role that has watches but may not log in, or not to this database. It connects as a
/// superuser and becomes the role until the process ends. The query of a watch cannot undo that: commands
/// that would are refused, and nothing else runs here.
fn connect_for(database: Oid, owner: Oid) {
    // SAFETY: first thing in a background worker that asked for a connection; the role's name is a
    // C string in a transaction, from which the setting is copied.
    unsafe {
        pg_sys::BackgroundWorkerInitializeConnectionByOid(database, Oid::INVALID, 0);
        pg_sys::StartTransactionCommand();
        let name = pg_sys::GetUserNameFromId(owner, false);
        pg_sys::SetConfigOption(
            c"session_authorization".as_ptr(),
            name,
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_OVERRIDE,
        );
        pg_sys::CommitTransactionCommand();
        assert!(pg_sys::GetSessionUserId() == owner, "the session is the role's");
    }
}
