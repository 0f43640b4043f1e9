//! Callbacks for the end of a transaction or savepoint.
//!
//! Calls note what they do (`pending`, `counts`); the callbacks bring it to shared memory and wake
//! sleepers. Postgres calls them when the end of the transaction is visible to everybody, so a
//! session that hears of a message can see it.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;

use pgrx::pg_sys;

use crate::engine::commit::async_commit::{spare_the_wait, wait_as_before};
use crate::engine::commit::counts::{COUNTED, Counted, DRAINS, add, write_counts};
use crate::engine::commit::pending::QUEUES;
use crate::engine::commit::publish::{End, publish};
use crate::engine::shared::{hint_cache, sleeper, tally};
use crate::engine::table::counts::Counts;
use crate::engine::table::{catalog, queue};
use crate::error::Error;
use crate::pg::session::level;
use crate::stop::{self, Point};

thread_local! {
    /// The queues that this transaction has dropped, by the level of the savepoint.
    static DROPPED: RefCell<Vec<(i32, i32)>> = const { RefCell::new(Vec::new()) };
    /// The level of the savepoint in which this transaction has made the extension.
    static BEGINS_ANEW: Cell<Option<i32>> = const { Cell::new(None) };
}

/// Registers the callbacks. Once in a process, or in the postmaster for all it forks.
pub fn listen() {
    // SAFETY: the callbacks convert panics to errors, as Postgres expects them.
    unsafe {
        pg_sys::RegisterXactCallback(Some(at_end), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(at_end_of_savepoint), std::ptr::null_mut());
    }
    sleeper::listen();
}

/// This transaction drops a queue, with what it has pushed to it.
pub fn dropped(queue: i32) {
    DROPPED.with_borrow_mut(|all| all.push((level(), queue)));
}

/// This transaction makes the extension: what the board knows of queues was about another one.
pub fn begins_anew() {
    BEGINS_ANEW.set(Some(level()));
}

/// The queues pushed to, but for those that this transaction drops itself.
fn pushed_to() -> Vec<i32> {
    let is_dropped = |queue| DROPPED.with_borrow(|all| all.iter().any(|&(_, dropped)| dropped == queue));
    COUNTED.with_borrow(|all| {
        let pushed = all.iter().filter(|counted| counted.counts.pushed > 0 && !is_dropped(counted.queue));
        pushed.map(|counted| counted.queue).collect()
    })
}

/// An error if somebody has dropped a queue since it was pushed to: what was pushed would be
/// lost without a word.
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
    write_counts(|counted| {
        counted.has_place = counted.has_place || tally::keep_place(counted.queue);
        !counted.has_place
    });
    spare_the_wait();
}

/// A transaction that is prepared is decided by another session: its counts become part of it.
fn before_prepare() {
    let pushed = pushed_to();
    if catalog::is_there() && !queue::keep(&pushed) {
        Error::queue_was_dropped().raise();
    }
    check_queues(&pushed);
    write_counts(|_| true);
}

fn after(end: End) {
    wait_as_before();
    catalog::end_transaction();
    DROPPED.with_borrow_mut(Vec::clear);
    if BEGINS_ANEW.take().is_some() {
        match end {
            End::Abort => hint_cache::forget_hints(), // it has looked at its own queues
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

/// Brings to shared memory what the transaction has done to each queue and has counted of it.
fn tell_all(end: End) {
    let mut counted = COUNTED.take();
    if end == End::Commit && !counted.is_empty() {
        stop::at(Point::CommitIsToCount);
    }
    counted.retain(|counted| counted.has_place);
    let counts_of = |counted: &Counted| if end == End::Commit { counted.counts } else { Counts::default() };
    QUEUES.with_borrow_mut(|all| {
        for changes in all.iter() {
            let its = counted.iter().position(|counted| counted.queue == changes.queue);
            let counts = its.map(|n| counts_of(&counted.swap_remove(n)));
            publish(changes, end, counts);
        }
        if end == End::Commit && !all.is_empty() {
            stop::at(Point::CommitToldOfNews);
        }
        all.clear();
    });
    counted.iter().for_each(|counted| tally::add_counts(counted.queue, counts_of(counted)));
}

/// A savepoint was rolled back or released. What was taken since may be ready again,
/// though the transaction goes on; too much is told, which costs a look.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn at_end_of_savepoint(
    event: pg_sys::SubXactEvent::Type,
    _savepoint: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _argument: *mut c_void,
) {
    let level = level(); // still the savepoint's
    match event {
        pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB => {
            QUEUES.with_borrow(|all| all.iter().for_each(|changes| publish(changes, End::Abort, None)));
            sleeper::wake_owed();
            COUNTED.with_borrow_mut(|all| all.retain(|counted| counted.level < level));
            DROPPED.with_borrow_mut(|all| all.retain(|&(at, _)| at < level));
            if BEGINS_ANEW.get().is_some_and(|at| at >= level) {
                BEGINS_ANEW.set(None);
                hint_cache::forget_hints();
            }
            sleeper::pass_on();
        }
        pg_sys::SubXactEvent::SUBXACT_EVENT_COMMIT_SUB => {
            let ended = COUNTED.with_borrow_mut(|all| {
                all.extract_if(.., |counted| counted.level >= level).collect::<Vec<_>>()
            });
            ended.into_iter().for_each(|counted| add(Counted { level: level - 1, ..counted }));
            DROPPED.with_borrow_mut(|all| all.iter_mut().for_each(|(at, _)| *at = (*at).min(level - 1)));
            BEGINS_ANEW.set(BEGINS_ANEW.get().map(|at| at.min(level - 1)));
        }
        _ => {}
    }
}
