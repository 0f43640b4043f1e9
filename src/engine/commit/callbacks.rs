//! Callbacks for the end of a transaction or savepoint.
//!
//! A transaction notes its changes (`pending`, `counts`). The callbacks publish them in shared memory, and
//! note the sleepers to be woken; `sleeper` wakes them when the locks are released. Postgres calls the
//! callbacks when the end of the transaction is visible to all sessions, so a session that hears of a message
//! can see it.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ffi::c_void;

use pgrx::pg_sys;

use crate::engine::commit::async_commit::{spare_the_wait, wait_as_before};
use crate::engine::commit::counts::{AllCounted, COUNTED, DRAINS, write_counts};
use crate::engine::commit::pending::{self, AllPending, QUEUES};
use crate::engine::commit::publish::{End, publish};
use crate::engine::shared::{hint_cache, sleeper, tally};
use crate::engine::table::counts::Counts;
use crate::engine::table::{catalog, queue};
use crate::error::Error;
use crate::pg::session::level;
use crate::stop::{self, Point};

thread_local! {
    /// The queues that this transaction has dropped, each with the level of its savepoint; none has a lower
    /// level than the one before it.
    static DROPPED: RefCell<Vec<(i32, i32)>> = const { RefCell::new(Vec::new()) };
    /// The level of the savepoint in which this transaction has created the extension.
    static BEGINS_ANEW: Cell<Option<i32>> = const { Cell::new(None) };
}

/// Registers the callbacks, once in a process, or in the postmaster for all that it forks.
pub fn listen() {
    // SAFETY: the callbacks convert panics to errors, as Postgres expects them.
    unsafe {
        pg_sys::RegisterXactCallback(Some(at_end), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(at_end_of_savepoint), std::ptr::null_mut());
    }
    sleeper::listen();
}

/// Notes that this transaction drops a queue, with the messages that it has pushed to it.
pub fn dropped(queue: i32) {
    DROPPED.with_borrow_mut(|all| all.push((level(), queue)));
}

/// Notes that this transaction creates the extension: shared memory knows the queues of an earlier one.
pub fn begins_anew() {
    BEGINS_ANEW.set(Some(level()));
}

/// The queues pushed to, without those that this transaction drops itself.
fn pushed_to() -> Vec<i32> {
    let dropped: HashSet<i32> = DROPPED.with_borrow(|all| all.iter().map(|&(_, queue)| queue).collect());
    COUNTED.with_borrow(|all| {
        let pushed = all.iter().filter(|(queue, its)| its.counts.pushed > 0 && !dropped.contains(queue));
        pushed.map(|(queue, _)| queue).collect()
    })
}

/// Raises an error if another transaction has dropped a queue since this one pushed to it: the pushed
/// messages would be lost silently.
fn check_queues(pushed: &[i32]) {
    let is_gone = |&queue: &i32| matches!(queue::by_id(queue), Ok(None));
    if !pushed.is_empty() && catalog::has_changed() && catalog::is_there() && pushed.iter().any(is_gone) {
        Error::queue_was_dropped().raise();
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn at_end(event: pg_sys::XactEvent::Type, _argument: *mut c_void) {
    match event {
        pg_sys::XactEvent::XACT_EVENT_PRE_COMMIT => before_commit(),
        pg_sys::XactEvent::XACT_EVENT_PRE_PREPARE => before_prepare(),
        pg_sys::XactEvent::XACT_EVENT_COMMIT => after(End::Commit),
        pg_sys::XactEvent::XACT_EVENT_ABORT => after(End::Abort),
        pg_sys::XactEvent::XACT_EVENT_PREPARE => after(End::Prepare),
        _ => {}
    }
}

fn before_commit() {
    check_queues(&pushed_to());
    write_counts(tally::keep_entry);
    spare_the_wait();
}

/// Prepares for the end by another session: the counts become part of the transaction.
fn before_prepare() {
    let pushed = pushed_to();
    if catalog::is_there() && !queue::keep(&pushed) {
        Error::queue_was_dropped().raise();
    }
    check_queues(&pushed);
    COUNTED.with_borrow(|all| all.iter().for_each(|(queue, _)| pending::counted(queue)));
    write_counts(|_| false);
}

fn after(end: End) {
    wait_as_before();
    catalog::end_transaction();
    DROPPED.with_borrow_mut(Vec::clear);
    if BEGINS_ANEW.take().is_some() {
        match end {
            End::Abort => hint_cache::forget_hints(), // the hints are of its own queues
            End::Commit | End::Prepare => hint_cache::forget_all(),
        }
    }
    tell_all(end);
    if DRAINS.take() {
        tally::end_drain();
    }
    if end == End::Abort {
        sleeper::pass_on();
    }
}

/// Publishes in shared memory the changes and counts of the transaction, queue by queue.
fn tell_all(end: End) {
    let counted = COUNTED.take();
    if end == End::Commit && !counted.is_empty() {
        stop::at(Point::CommitIsToCount);
    }
    QUEUES.with_borrow_mut(|all| {
        for (queue, changes) in all.iter() {
            publish(queue, changes, end, counts_to_tell(&counted, queue, end));
        }
        if end == End::Commit && !all.is_empty() {
            stop::at(Point::CommitHasPublished);
        }
        let others = counted.iter().filter(|&(queue, _)| all.get(queue).is_none());
        for (queue, counts) in
            others.filter_map(|(queue, _)| Some((queue, counts_to_tell(&counted, queue, end)?)))
        {
            tally::add_counts(queue, counts);
        }
        *all = AllPending::default();
    });
    if end == End::Commit {
        counted
            .iter()
            .filter(|(_, counted)| counted.is_written)
            .for_each(|(queue, _)| tally::has_written(queue));
    }
}

/// The counts of a queue for which a cache entry is kept.
fn counts_to_tell(counted: &AllCounted, queue: i32, end: End) -> Option<Counts> {
    let its = counted.get(queue).filter(|counted| counted.has_entry)?;
    Some(if end == End::Commit { its.counts } else { Counts::default() })
}

/// Handles a savepoint that was rolled back or released. Messages taken since may be ready again, though the
/// transaction goes on. It may tell of too many, which costs a look.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn at_end_of_savepoint(
    event: pg_sys::SubXactEvent::Type,
    _savepoint: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _argument: *mut c_void,
) {
    let level = level(); // still that of the savepoint
    match event {
        pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB => {
            QUEUES.with_borrow_mut(|all| {
                all.roll_back(level, |queue, changes, ()| publish(queue, changes, End::Abort, None));
            });
            sleeper::wake_owed();
            COUNTED.with_borrow_mut(|all| {
                all.roll_back(level, |_, counted, before| counted.counts = before);
            });
            DROPPED.with_borrow_mut(|all| while all.pop_if(|&mut (at, _)| at >= level).is_some() {});
            if BEGINS_ANEW.get().is_some_and(|at| at >= level) {
                BEGINS_ANEW.set(None);
                hint_cache::forget_hints();
            }
            sleeper::pass_on();
        }
        pg_sys::SubXactEvent::SUBXACT_EVENT_COMMIT_SUB => {
            QUEUES.with_borrow_mut(|all| all.release(level));
            COUNTED.with_borrow_mut(|all| all.release(level));
            DROPPED.with_borrow_mut(|all| {
                let own = all.iter_mut().rev().take_while(|(at, _)| *at >= level);
                own.for_each(|(at, _)| *at = level - 1);
            });
            BEGINS_ANEW.set(BEGINS_ANEW.get().map(|at| at.min(level - 1)));
        }
        _ => {}
    }
}
