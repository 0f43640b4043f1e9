//! News: what a transaction tells the others when it ends.
//!
//! Calls note here what they do; the callbacks bring it to the board and wake sleepers.
//! Postgres calls them when the end of the transaction is visible to everybody, so a session that
//! hears of a message can see it.
//!
//! Also here: how a transaction that did nothing but lease is spared the wait for the
//! disk.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;

use pgrx::pg_sys;

use super::counter::{self, Counts};
use super::waking::{self, LONGEST_SLEEP};
use super::{board, catalog, firing, listened, now, queue};
use crate::error::Error;
use crate::hint::ids::Ids;
use crate::hint::slots::SlotHint;
use crate::hint::{Direction, Key, NOWHERE, Timestamp};
use crate::stop::{self, Point};

/// What a transaction has done to one queue.
#[derive(Default)]
struct QueueNews {
    queue: i32,
    levels: Vec<LevelNews>,
    /// The first time for which a message was delayed.
    delayed: Option<Timestamp>,
    /// Messages have left the delayed lane; until it commits others see them there.
    undelayed: bool,
    /// Sleepers have to look, all of them.
    resumed: bool,
    /// What is known of its messages does not hold any more.
    forget: bool,
    /// A statement has removed messages, which reserves went past meanwhile.
    removed: bool,
    /// Something is free that others may wait for: a group's turn, a slot.
    freed: bool,
    /// Leases have ended in a queue that limits them: so many slots are free.
    slots_freed: usize,
    /// Those of which the number is known, a few.
    free_slots: Vec<i32>,
    /// Slots that it has taken, a few: free again, should it abort.
    slots_taken: Vec<i32>,
}

/// What a transaction has done to the messages of one priority.
#[derive(Default)]
struct LevelNews {
    priority: i16,
    /// They are ready when it commits.
    ready: Ids,
    /// They were taken, or looked at to be taken: as before, should it abort.
    touched: Ids,
    /// They were leased, the first of the leases until then.
    leased: Ids,
    first_end: Timestamp,
}

/// Counts of a queue, by the level of the savepoint that counted them.
struct Counted {
    level: i32,
    queue: i32,
    counts: Counts,
    /// A place on the board is kept for it.
    has_place: bool,
}

thread_local! {
    static QUEUES: RefCell<Vec<QueueNews>> = const { RefCell::new(Vec::new()) };
    static COUNTED: RefCell<Vec<Counted>> = const { RefCell::new(Vec::new()) };
    /// The queues that this transaction has dropped, by the level of the savepoint.
    static DROPPED: RefCell<Vec<(i32, i32)>> = const { RefCell::new(Vec::new()) };
    /// The level of the savepoint in which this transaction has made the extension.
    static BEGINS_ANEW: Cell<Option<i32>> = const { Cell::new(None) };
    /// This transaction writes down what the board has counted.
    static DRAINS: Cell<bool> = const { Cell::new(false) };
    /// Where the log ended after our own harmless writes, if nothing else was written.
    static HARMLESS: Cell<Option<u64>> = const { Cell::new(None) };
    /// What `synchronous_commit` was before this commit.
    static SYNCHRONOUS: Cell<Option<i32>> = const { Cell::new(None) };
}

/// Registers the callbacks. Once in a process, or in the postmaster for all it forks.
pub fn listen() {
    // SAFETY: the callbacks convert panics to errors, as Postgres expects them.
    unsafe {
        pg_sys::RegisterXactCallback(Some(at_end), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(at_end_of_savepoint), std::ptr::null_mut());
    }
    waking::listen();
}

/// A message is ready once the transaction commits.
pub fn ready(queue: i32, priority: i16, id: i64) {
    tell_of(queue, priority, |level| level.ready.add(id));
}

/// A message is about to be taken: told before its row is touched.
pub fn touched(queue: i32, priority: i16, id: i64) {
    tell_of(queue, priority, |level| level.touched.add(id));
}

/// A message is leased.
pub fn leased(queue: i32, priority: i16, id: i64, until: Timestamp) {
    tell_of(queue, priority, |level| {
        level.first_end = if level.leased.is_empty() { until } else { level.first_end.min(until) };
        level.leased.add(id);
    });
}

/// A message waits until `at`.
pub fn delayed(queue: i32, at: Timestamp) {
    tell(queue, |news| news.delayed = Some(news.delayed.map_or(at, |first| first.min(at))));
}

/// A message that was delayed is not any more, or is gone.
pub fn undelayed(queue: i32) {
    tell(queue, |news| news.undelayed = true);
}

/// Whoever sleeps on the queue has to look.
pub fn resumed(queue: i32) {
    tell(queue, |news| news.resumed = true);
}

/// What was known of the queue's messages may not hold any more.
pub fn forget(queue: i32) {
    tell(queue, |news| news.forget = true);
}

/// A statement removes messages of the queue: should it be rolled back, they have to be
/// looked for.
pub fn removed(queue: i32) {
    tell(queue, |news| news.removed = true);
}

/// Something is free that others may wait for: the turn in a group, a slot.
pub fn freed(queue: i32) {
    tell(queue, |news| news.freed = true);
}

/// So many messages less are out of a queue that limits how many are.
pub fn slots_are_free(queue: i32, slots: usize) {
    freed(queue);
    tell(queue, |news| news.slots_freed += slots);
}

/// One of the slots that are free is this.
pub fn slot_is_known_free(queue: i32, number: i32) {
    tell(queue, |news| note_slot(&mut news.free_slots, number));
}

/// A slot is in use.
pub fn slot_is_taken(queue: i32, number: i32) {
    tell(queue, |news| note_slot(&mut news.slots_taken, number));
}

fn note_slot(slots: &mut Vec<i32>, number: i32) {
    /// As many as the board remembers.
    const MOST: usize = 16;
    if slots.len() < MOST {
        slots.push(number);
    }
}

/// Whether this transaction has itself ended leases of a queue with slots.
pub fn has_freed_slots(queue: i32) -> bool {
    has(queue, |news| news.slots_freed > 0)
}

/// Whether this transaction has itself made messages of the queue ready, or given it other
/// settings. Others do not know of that.
pub fn is_ahead(queue: i32) -> bool {
    has_forgotten(queue) || has(queue, |news| news.levels.iter().any(|level| !level.ready.is_empty()))
}

/// Whether what others know of the queue's messages does not hold for this transaction.
pub fn has_forgotten(queue: i32) -> bool {
    has(queue, |news| news.forget)
}

/// The first message of a priority that this transaction has itself made ready, or leased until
/// a time that has come.
pub fn first_of_our_own(queue: i32, priority: i16, direction: Direction, now: Timestamp) -> Key {
    QUEUES.with_borrow(|all| {
        let levels = all.iter().filter(|news| news.queue == queue).flat_map(|news| &news.levels);
        let own = levels.filter(|level| level.priority == priority).flat_map(|level| {
            let ended = (level.first_end <= now).then_some(&level.leased);
            [Some(&level.ready), ended].into_iter().flatten()
        });
        own.filter(|ids| !ids.is_empty()).map(|ids| ids.first(direction)).min().unwrap_or(NOWHERE)
    })
}

/// Whether this transaction has itself made messages of the queue wait.
pub fn has_delayed(queue: i32) -> bool {
    has(queue, |news| news.delayed.is_some())
}

/// Whether this transaction has itself taken messages of the queue out of the delayed lane.
/// Should it be rolled back, they are there again.
pub fn has_undelayed(queue: i32) -> bool {
    has(queue, |news| news.undelayed)
}

fn has(queue: i32, what: impl Fn(&QueueNews) -> bool) -> bool {
    QUEUES.with_borrow(|all| all.iter().any(|news| news.queue == queue && what(news)))
}

/// Adds to the counters of a queue, once the transaction commits.
pub fn count(queue: i32, counts: Counts) {
    add(Counted { level: level(), queue, counts, has_place: false });
}

/// How deep the current savepoint lies.
fn level() -> i32 {
    // SAFETY: reads state of the transaction.
    unsafe { pg_sys::GetCurrentTransactionNestLevel() }
}

fn add(more: Counted) {
    COUNTED.with_borrow_mut(|all| {
        match all.iter_mut().find(|counted| (counted.queue, counted.level) == (more.queue, more.level)) {
            Some(counted) => counted.counts += more.counts,
            None => all.push(more),
        }
    });
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

/// This transaction begins to write down what the board has counted.
pub fn drains() {
    if !DRAINS.replace(true) {
        board::begin_drain();
    }
}

/// Whether this transaction writes down what the board has counted.
pub fn is_draining() -> bool {
    DRAINS.get()
}

/// What this transaction has counted so far; less than nothing where it has written
/// down what the board had counted.
pub fn counted() -> Vec<(i32, Counts)> {
    COUNTED.with_borrow(|all| all.iter().map(|counted| (counted.queue, counted.counts)).collect())
}

/// What it has counted of one queue.
pub fn counted_of(queue: i32) -> Counts {
    COUNTED.with_borrow(|all| {
        let its = all.iter().filter(|counted| counted.queue == queue);
        its.fold(Counts::default(), |sum, counted| sum + counted.counts)
    })
}

fn tell(queue: i32, change: impl FnOnce(&mut QueueNews)) {
    if !board::is_preloaded() {
        return;
    }
    QUEUES.with_borrow_mut(|all| {
        let n = all.iter().position(|news| news.queue == queue).unwrap_or_else(|| {
            all.push(QueueNews { queue, ..QueueNews::default() });
            all.len() - 1
        });
        change(&mut all[n]);
    });
}

fn tell_of(queue: i32, priority: i16, change: impl FnOnce(&mut LevelNews)) {
    tell(queue, |news| {
        let n = news.levels.iter().position(|level| level.priority == priority).unwrap_or_else(|| {
            news.levels.push(LevelNews { priority, ..LevelNews::default() });
            news.levels.len() - 1
        });
        change(&mut news.levels[n]);
    });
}

/// How a transaction ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Commit,
    Abort,
    /// Decided later, by another session.
    Prepare,
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn at_end(event: pg_sys::XactEvent::Type, _argument: *mut c_void) {
    let end = match event {
        pg_sys::XactEvent::XACT_EVENT_PRE_COMMIT => {
            check_queues(&pushed_to());
            write_counts(|counted| {
                counted.has_place = counted.has_place || board::keep_place(counted.queue);
                !counted.has_place
            });
            return spare_the_wait();
        }
        // Who prepares a transaction does not decide about it: what it has counted becomes
        // part of it.
        pg_sys::XactEvent::XACT_EVENT_PRE_PREPARE => {
            let pushed = pushed_to();
            if catalog::is_there() && !queue::keep(&pushed) {
                Error::queue_was_dropped().raise();
            }
            check_queues(&pushed);
            return write_counts(|_| true);
        }
        pg_sys::XactEvent::XACT_EVENT_COMMIT => End::Commit,
        pg_sys::XactEvent::XACT_EVENT_ABORT => End::Abort,
        pg_sys::XactEvent::XACT_EVENT_PREPARE => End::Prepare,
        _ => return,
    };
    wait_as_before();
    catalog::end_transaction();
    DROPPED.with_borrow_mut(Vec::clear);
    if BEGINS_ANEW.take().is_some() {
        match end {
            End::Abort => board::forget_hints(), // it has looked at its own queues
            End::Commit | End::Prepare => board::forget_all(),
        }
    }
    QUEUES.with_borrow_mut(|all| {
        all.iter().for_each(|news| publish(news, end));
        if end == End::Commit && !all.is_empty() {
            stop::at(Point::CommitToldOfNews);
        }
        all.clear();
    });
    COUNTED.with_borrow_mut(|all| {
        if end == End::Commit && !all.is_empty() {
            stop::at(Point::CommitIsToCount);
        }
        for counted in all.drain(..).filter(|counted| counted.has_place) {
            let counts = if end == End::Commit { counted.counts } else { Counts::default() };
            board::add_counts(counted.queue, counts);
        }
    });
    if DRAINS.take() {
        board::end_drain();
    }
    if end == End::Abort {
        waking::pass_on();
    }
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
            QUEUES.with_borrow(|all| all.iter().for_each(|news| publish(news, End::Abort)));
            waking::wake_owed();
            COUNTED.with_borrow_mut(|all| all.retain(|counted| counted.level < level));
            DROPPED.with_borrow_mut(|all| all.retain(|&(at, _)| at < level));
            if BEGINS_ANEW.get().is_some_and(|at| at >= level) {
                BEGINS_ANEW.set(None);
                board::forget_hints();
            }
            waking::pass_on();
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

/// Brings news to the board, and notes which sleepers are to be woken.
fn publish(news: &QueueNews, end: End) {
    let now = now();
    let makes_ready = end == End::Commit && news.makes_ready();
    if end == End::Prepare {
        board::make_place(news.queue); // it is to be looked at
    }
    board::with_known(news.queue, |place| {
        let direction = place.direction;
        for told in &news.levels {
            let Some(level) = place.hint.level_or_new(told.priority, now) else { continue };
            let first = |ids: &Ids| -> Option<Key> { (!ids.is_empty()).then(|| ids.first(direction)) };
            match end {
                End::Commit => {
                    if let Some(first) = first(&told.leased) {
                        level.leased(first, told.first_end);
                    }
                    if !told.ready.is_empty() {
                        level.appeared(&told.ready, direction);
                    }
                }
                End::Abort if !told.touched.is_empty() => level.appeared(&told.touched, direction),
                End::Abort => {}
                End::Prepare => {
                    for first in [first(&told.ready), first(&told.touched)].into_iter().flatten() {
                        level.prepared(first, now);
                    }
                    if let Some(first) = first(&told.leased) {
                        level.leased(first, told.first_end);
                    }
                }
            }
        }
        if end == End::Prepare {
            place.hint.is_prepared();
        }
        if let Some(at) = news.delayed.filter(|_| end != End::Abort) {
            place.hint.delayed(at);
        }
        if place.direction == Direction::OldestFirst {
            news.tell_of_slots(&mut place.slots, end);
        }
        let must_look_again = if end == End::Abort { news.removed } else { news.forget };
        if must_look_again {
            place.hint.clear();
        }
    });
    waking::owe(news.queue, news.sleepers_to_wake(end, now));
    if makes_ready {
        listened::will_have_news(news.queue);
    }
}

impl QueueNews {
    fn makes_ready(&self) -> bool {
        self.resumed || self.slots_freed > 0 || self.levels.iter().any(|level| !level.ready.is_empty())
    }

    fn tell_of_slots(&self, slots: &mut SlotHint, end: End) {
        match end {
            End::Commit | End::Prepare if self.forget => slots.forget(),
            End::Commit if self.slots_freed > 0 => slots.freed(&self.free_slots),
            End::Abort if !self.slots_taken.is_empty() => slots.freed(&self.slots_taken),
            End::Abort if self.removed || self.forget => slots.forget(),
            _ => {}
        }
    }

    fn sleepers_to_wake(&self, end: End, now: Timestamp) -> usize {
        let sum = |ids: fn(&LevelNews) -> &Ids| self.levels.iter().map(|level| ids(level).count()).sum();
        match end {
            End::Abort if self.removed => usize::MAX,
            End::Abort => sum(|level| &level.touched),
            // Sleepers find out by themselves.
            End::Prepare => 0,
            End::Commit if self.resumed => usize::MAX,
            End::Commit => {
                let leases = self.levels.iter().filter(|level| !level.leased.is_empty());
                let next = leases.map(|level| level.first_end).chain(self.delayed).min();
                // Somebody has to know the time; who sleeps looks again before a later one.
                let soon = next.is_some_and(|at| at < now + LONGEST_SLEEP.as_micros() as i64);
                sum(|level| &level.ready).max(self.slots_freed).max(usize::from(soon || self.freed))
            }
        }
    }
}

/// Writes down what the transaction has counted of the queues chosen.
fn write_counts(is_chosen: impl FnMut(&mut Counted) -> bool) {
    let chosen: Vec<Counted> = COUNTED.with_borrow_mut(|all| all.extract_if(.., is_chosen).collect());
    if !chosen.is_empty() && catalog::is_there() {
        chosen.iter().for_each(|counted| counter::write(counted.queue, counted.counts));
    }
}

/// Writes something whose loss in a crash does no harm, such as a lease: the message
/// is delivered again.
///
/// A transaction that writes nothing else commits without waiting for the disk. That
/// is known by where its last log record ends. What it has logged before it had a number is of
/// no consequence either: pages with checksums are logged for their hint bits.
pub fn harmless<R>(write: impl FnOnce() -> R) -> R {
    // SAFETY: reads a variable of this backend.
    let log_end = || unsafe { pg_sys::XactLastRecEnd };
    // SAFETY: reads state of the transaction.
    let has_number = unsafe { pg_sys::GetTopTransactionIdIfAny() } != pg_sys::InvalidTransactionId;
    let (before, fired) = (log_end(), firing::times_fired());
    let nothing_else = before == 0 || !has_number || HARMLESS.get() == Some(before);
    let result = write();
    let is_harmless = nothing_else && firing::times_fired() == fired;
    HARMLESS.set((is_harmless && log_end() != 0).then(log_end));
    result
}

fn spare_the_wait() {
    // SAFETY: reads a variable of this backend.
    let log_end = unsafe { pg_sys::XactLastRecEnd };
    if log_end == 0 || HARMLESS.get() != Some(log_end) {
        return;
    }
    // SAFETY: the variable behind the setting, for this commit only; put back when the
    // transaction has ended, however it does.
    unsafe {
        if pg_sys::synchronous_commit > pg_sys::SyncCommitLevel::SYNCHRONOUS_COMMIT_OFF as i32 {
            SYNCHRONOUS.set(Some(pg_sys::synchronous_commit));
            pg_sys::synchronous_commit = pg_sys::SyncCommitLevel::SYNCHRONOUS_COMMIT_OFF as i32;
        }
    }
}

fn wait_as_before() {
    HARMLESS.set(None);
    if let Some(before) = SYNCHRONOUS.take() {
        // SAFETY: the value that was there.
        unsafe { pg_sys::synchronous_commit = before }
    }
}
