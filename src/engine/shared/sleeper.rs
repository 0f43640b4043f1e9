//! Waking: a commit wakes consumers that sleep on a queue, because messages may be ready.
//!
//! A commit wakes the sleepers whose wish it meets (`wait_list`). On a standby, without shared memory, or
//! without a place in it, nothing is signalled, and sleepers look now and then.
//!
//! Invariants:
//! - a sleeper is in the wait list before it looks: it sees commits before the look, and later commits signal
//!   it;
//! - signals are sent when the commit (or the abort of a reserve) is visible and other sessions can hear
//!   which queues it has changed: a sleeper that looks sooner would look by outdated knowledge;
//! - a wake-up is passed on. A sleeper whose client is gone ends, and its signal wakes another. For any other
//!   sleeper that returns, it is unknown whether a reserve follows: its client may have given up, or leave.
//!   So one of the remaining sleepers becomes its deputy, and looks when the grace is over. A sleeper that
//!   waits for several messages leaves nothing to others: each has a mark of its own;
//! - of the sleepers of a queue, one wakes at the next due time or end of a lease: the keeper. It wakes others
//!   for what it finds then. When it leaves, another takes the time over;
//! - a wake-up means "look", never "there is a message": every answer comes from the table.

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use crate::engine::shared::layout;
use crate::engine::shared::wait_list::{Call, End, Left, Sleeping, Wish};
use crate::pg::session::{self, is_standby, now};
use crate::value::timestamp::{NEVER, Timestamp};

/// Pause between two looks if no signal can come.
const PAUSE: Duration = Duration::from_millis(50);

/// Longest sleep before a sleeper looks. It finds messages that come without a signal: by COMMIT PREPARED, or
/// in rows that no trigger announced.
pub const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// Time in which a woken session has to take its message, before another session looks.
const GRACE: Duration = Duration::from_millis(20);

/// Queue number of sleepers that wait for a queue which does not exist yet.
pub const NO_QUEUE: i32 = 0;

/// Queue number on which the worker sleeps. Queues are numbered from 1.
pub const WORKER: i32 = -1;

/// The wake-ups that a transaction owes to the sleepers of a queue.
#[derive(Clone, Copy)]
enum Owed {
    Messages(usize),
    /// A time at which messages come by themselves.
    Time(Timestamp),
}

thread_local! {
    /// Queue on which this session sleeps.
    static SLEEPS_ON: Cell<Option<i32>> = const { Cell::new(None) };
    /// Queues whose sleepers are to be woken.
    static OWED: RefCell<Vec<(i32, Owed)>> = const { RefCell::new(Vec::new()) };
    /// This process leaves its place when it ends.
    static LEAVES_AT_EXIT: Cell<bool> = const { Cell::new(false) };
    /// Queue on which this process dozes.
    static DOZES_ON: Cell<Option<i32>> = const { Cell::new(None) };
}

/// Registers the callback that wakes sleepers when a transaction has ended.
pub fn listen() {
    // SAFETY: the callback converts panics to errors, as Postgres expects them.
    unsafe { pg_sys::RegisterResourceReleaseCallback(Some(at_release), std::ptr::null_mut()) }
}

/// Wakes sleepers at the end of a transaction. Postgres calls it after the callbacks for that end, when it
/// has sent the transaction's invalidation messages and released its locks.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn at_release(
    phase: pg_sys::ResourceReleasePhase::Type,
    _is_commit: bool,
    is_top_level: bool,
    _argument: *mut c_void,
) {
    if is_top_level && phase == pg_sys::ResourceReleasePhase::RESOURCE_RELEASE_LOCKS {
        wake_owed();
    }
}

/// Wakes sleepers of a queue when this transaction has ended, or with `wake_owed`.
pub fn owe(queue: i32, messages: usize) {
    if messages > 0 {
        OWED.with_borrow_mut(|owed| owed.push((queue, Owed::Messages(messages))));
    }
}

/// Has a sleeper of a queue know a time at which messages come by themselves, when this transaction has
/// ended. A time beyond the longest sleep need not be told: each sleeper looks before.
pub fn owe_time(queue: i32, at: Timestamp) {
    if at < now() + LONGEST_SLEEP.as_micros() as i64 {
        OWED.with_borrow_mut(|owed| owed.push((queue, Owed::Time(at))));
    }
}

/// Wakes all sleepers noted by `owe`.
pub fn wake_owed() {
    OWED.with_borrow_mut(|owed| {
        for (queue, owed) in owed.drain(..) {
            match owed {
                Owed::Messages(messages) => wake(queue, messages),
                Owed::Time(at) => tell_time(queue, at),
            };
        }
    });
}

/// Wakes the sleepers of a queue whose wish so many messages meet; `usize::MAX` wakes all. Returns whether
/// one was there.
pub fn wake(queue: i32, messages: usize) -> bool {
    let mut call = if messages == usize::MAX { Call::All } else { Call::News(messages) };
    let mut has_woken = false;
    while messages > 0
        && layout::may_have_sleepers(queue)
        && let Some(woken) = layout::with_room(queue, |room, key| room.wake(key, &mut call))
    {
        woken.all().iter().for_each(|&number| layout::set_latch(number));
        has_woken |= !woken.all().is_empty();
        if !woken.is_full() {
            break;
        }
    }
    has_woken
}

/// Has a sleeper of a queue know a time at which messages come. Returns whether it had to be woken for that.
fn tell_time(queue: i32, at: Timestamp) -> bool {
    layout::may_have_sleepers(queue)
        && wake_this(layout::with_room(queue, |room, key| room.tell_time(key, at)).flatten())
}

/// Wakes a sleeper that looks when the grace is over, unless a deputy is about to look anyway.
fn wake_deputy(queue: i32) -> bool {
    let (now, grace) = (now(), GRACE.as_micros() as i64);
    wake_this(layout::with_room(queue, |room, key| room.ask_deputy(key, now, grace)).flatten())
}

fn wake_this(number: Option<u32>) -> bool {
    number.into_iter().for_each(layout::set_latch);
    number.is_some()
}

fn dismiss_deputy(queue: i32) {
    layout::with_room(queue, |room, key| room.dismiss_deputy(key));
}

/// Passes the signals of a sleeper on that an error has ended. Called when its transaction aborts.
pub fn pass_on() {
    if let Some(queue) = SLEEPS_ON.take() {
        let left = leave(queue);
        dismiss_deputy(queue); // this sleeper may have been the deputy
        pass_to_others(queue, Left { signal: true, ..left }, false);
    }
}

/// Gives others what a session has left: a signal that it has not followed, or the time that it has kept.
/// `returns` says that it has followed a signal, and nobody knows whether a reserve follows.
fn pass_to_others(queue: i32, left: Left, returns: bool) {
    let has_woken = if left.signal { wake(queue, 1) } else { returns && wake_deputy(queue) };
    if let Some(at) = left.time.filter(|_| !has_woken) {
        tell_time(queue, at);
    }
}

/// Puts this session on the wait list of a queue. False if it has no place in shared memory.
fn join(queue: i32, wish: Wish) -> bool {
    let Some((number, _)) = layout::place() else { return false };
    if !LEAVES_AT_EXIT.replace(true) {
        // SAFETY: the callback converts panics to errors, as Postgres expects them.
        unsafe { pg_sys::before_shmem_exit(Some(at_exit), pg_sys::Datum::from(0)) }
    }
    layout::count_sleepers(queue, 1);
    layout::with_room(queue, |room, key| room.join(number, key, wish));
    true
}

fn leave(queue: i32) -> Left {
    let left = layout::place().and_then(|(number, _)| {
        let left = layout::with_room(queue, |room, _| room.leave(number));
        layout::count_sleepers(queue, -1);
        left
    });
    left.unwrap_or(Left { signal: false, time: None })
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn at_exit(_code: c_int, _argument: pg_sys::Datum) {
    pass_on();
    if let Some(queue) = DOZES_ON.take() {
        leave(queue);
    }
}

/// A consumer that sleeps on a queue, from before its first look to after its last.
pub struct Sleeper {
    queue: i32,
    min: usize,
    has_place: bool,
    /// A signal has ended the last sleep.
    is_woken: bool,
    /// It has woken at the time that it has kept for others too.
    has_kept: bool,
}

impl Sleeper {
    /// Makes a sleeper that waits for `min` messages. A look must follow.
    pub fn new(queue: i32, min: usize) -> Self {
        let has_place = join(queue, if min > 1 { Wish::More } else { Wish::One });
        if has_place {
            SLEEPS_ON.set(Some(queue));
            if min == 1 {
                dismiss_deputy(queue); // a new sleeper looks at once
            }
        }
        Self { queue, min, has_place, is_woken: false, has_kept: false }
    }

    pub fn is_for(&self, queue: i32) -> bool {
        self.queue == queue
    }

    /// How many messages its next look has to look for: some are for others, if it has kept the time.
    pub fn wish(&self) -> usize {
        let others = || {
            let (number, _) = layout::place()?;
            layout::with_room(self.queue, |room, _| room.others_wish(number) as usize)
        };
        if self.has_kept { self.min + others().unwrap_or(0) } else { self.min }
    }

    /// Wakes others for what it has found at the time that it has kept.
    pub fn share(&mut self, found: usize) {
        if !std::mem::take(&mut self.has_kept) {
            return;
        }
        let left = found.saturating_sub(if found >= self.min { self.min } else { 0 });
        if wake(self.queue, left)
            && let Some((number, _)) = layout::place()
        {
            layout::with_room(self.queue, |room, _| room.has_seen(number, left as u64));
        }
    }

    /// Sleeps until a signal comes, `most` is over or, if no other sleeper wakes then, the time `until` has
    /// come. Its last look has found so many messages.
    pub fn sleep(&mut self, most: Duration, found: usize, until: Option<Timestamp>) {
        if !self.has_place || is_standby() {
            return session::nap(most.min(PAUSE));
        }
        let until = until.filter(|&at| at < now() + LONGEST_SLEEP.as_micros() as i64);
        let lacks = (self.min - found.min(self.min - 1)) as u64;
        let mut end = sleep_once(self.queue, most, lacks, until);
        self.is_woken = matches!(end, End::Signal | End::Deputy);
        if end == End::Deputy {
            end = sleep_once(self.queue, GRACE, lacks, None);
            match end {
                End::Time { .. } => end = End::Deputy,
                End::Signal | End::Deputy => dismiss_deputy(self.queue),
            }
        }
        self.has_kept = end == End::Time { kept: true };
    }
}

/// Sleeps once, at most for a time. It lacks so many messages, and knows when the next comes by itself.
fn sleep_once(queue: i32, most: Duration, lacks: u64, until: Option<Timestamp>) -> End {
    let place = || layout::place().expect("it has joined a list");
    let (number, session) = place();
    let kept = layout::with_room(queue, |room, _| room.fall_asleep(number, lacks, until.unwrap_or(NEVER)));
    let to_event = kept.flatten().map(|at| Duration::from_micros((at - now()).max(0) as u64));
    let time = most.min(LONGEST_SLEEP).min(to_event.unwrap_or(LONGEST_SLEEP));
    // One millisecond more: at the time itself the lease or delay is not over yet.
    wait_for_signal(session, time + Duration::from_millis(1));
    let end = layout::with_room(queue, |room, _| room.wake_up(number, now()));
    end.expect("it has joined a list")
}

/// Sleeps until a signal comes or the time is over, and honours interrupts.
fn wait_for_signal(session: &Sleeping, time: Duration) {
    let end = Instant::now() + time;
    while !session.is_woken()
        && let left = end.saturating_duration_since(Instant::now())
        && !left.is_zero()
    {
        session::nap(left + Duration::from_micros(999)); // it counts whole milliseconds
    }
}

/// Ends the session as Postgres does if its client is gone: no consumer is left to take a message.
pub fn check_client() {
    // From libpq/libpq.h; pgrx lacks it.
    unsafe extern "C-unwind" {
        fn pq_check_connection() -> bool;
    }
    // SAFETY: reads and sets variables of this process, which has a connection if it has a port;
    // the boundary turns an error into a panic.
    unsafe {
        let has_client = !pg_sys::MyProcPort.is_null();
        if has_client && !pg_sys::ffi::pg_guard_ffi_boundary(|| pq_check_connection()) {
            (&raw mut pg_sys::ClientConnectionLost).write_volatile(1);
            (&raw mut pg_sys::InterruptPending).write_volatile(1);
        }
    }
    pg_sys::check_for_interrupts!();
}

/// Sleeps until the time is over or, with shared memory, a signal comes. A signal from before the first call
/// may not wake: the caller has to look now and then.
pub fn doze(queue: i32, time: Duration) {
    if DOZES_ON.get().is_none() && join(queue, Wish::One) {
        DOZES_ON.set(Some(queue));
    }
    match DOZES_ON.get() {
        Some(queue) => {
            sleep_once(queue, time, 1, None);
        }
        None => session::nap(time),
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        if !self.has_place || std::thread::panicking() {
            return; // the abort passes signals on
        }
        SLEEPS_ON.set(None);
        let left = leave(self.queue);
        // The news that have woken a sleeper for several messages have woken others too.
        let is_for_one = self.min == 1;
        let left = Left { signal: left.signal && is_for_one, ..left };
        pass_to_others(self.queue, left, is_for_one && self.is_woken);
    }
}
