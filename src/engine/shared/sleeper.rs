//! Waking: a commit wakes consumers that sleep on a queue, because messages may be ready.
//!
//! Sleepers of different queues, or for more than one message, can share a condition variable. Then a commit
//! wakes all of them, because a signal could wake a sleeper it is not meant for. On a standby, or without
//! shared memory, nothing is signalled, and sleepers look now and then.
//!
//! Invariants:
//! - a sleeper is on its condition variable before it looks: it sees commits before the look, and later
//!   commits signal it;
//! - signals are sent when the commit (or the abort of a reserve) is visible and other sessions can hear
//!   which queues it has changed: a sleeper that looks sooner would look by outdated knowledge;
//! - a wake-up is passed on. A sleeper whose client is gone ends, and its signal wakes another. For any other
//!   sleeper that returns, it is unknown whether a reserve follows: its client may have given up, or leave.
//!   So one of the remaining sleepers becomes its deputy, and looks when the grace is over;
//! - a wake-up means "look", never "there is a message": every answer comes from the table.

use std::cell::{Cell, RefCell};
use std::ffi::{c_long, c_void};
use std::time::Duration;

use pgrx::pg_sys;

use crate::engine::shared::condition::{GRACE, LONGEST_SLEEP, Variable};
use crate::engine::shared::layout;
use crate::pg::session::{self, is_standby, now};
use crate::value::timestamp::Timestamp;

/// Pause between two looks if no signal can come.
const PAUSE: Duration = Duration::from_millis(50);

/// Wakes as many sleepers of a queue as there are messages, at most all of them.
pub fn wake(queue: i32, messages: usize) {
    let Some(variable) = layout::variable(queue) else { return };
    let condition = variable.condition.get();
    // SAFETY: the variable is in shared memory; a signal takes its spinlock for a moment.
    unsafe {
        let most = pg_sys::MaxBackends as usize;
        if messages > 0 && (messages >= most || variable.is_mixed()) {
            pg_sys::ConditionVariableBroadcast(condition);
        } else {
            (0..messages).for_each(|_| pg_sys::ConditionVariableSignal(condition));
        }
    }
}

thread_local! {
    /// Queue on which this session sleeps.
    static SLEEPS_ON: Cell<Option<i32>> = const { Cell::new(None) };
    /// Queues whose sleepers are to be woken, and how many.
    static OWED: RefCell<Vec<(i32, usize)>> = const { RefCell::new(Vec::new()) };
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
        OWED.with_borrow_mut(|owed| owed.push((queue, messages)));
    }
}

/// Wakes all sleepers noted by `owe`.
pub fn wake_owed() {
    OWED.with_borrow_mut(|owed| owed.drain(..).for_each(|(queue, messages)| wake(queue, messages)));
}

/// Passes the signals of a sleeper on that an error has ended. Called when its transaction aborts.
pub fn pass_on() {
    if let Some(queue) = SLEEPS_ON.take() {
        if let Some(variable) = layout::variable(queue) {
            variable.dismiss_deputy(); // this sleeper may have been the deputy
        }
        wake(queue, 1);
    }
}

/// Wakes a sleeper that looks when the grace is over, unless a deputy is about to look anyway.
fn wake_deputy(queue: i32) {
    if layout::variable(queue).is_some_and(|variable| variable.asks_for_deputy(queue)) {
        wake(queue, 1);
    }
}

/// A consumer that sleeps on a queue, from before its first look to after its last.
pub struct Sleeper {
    queue: i32,
    wants_more: bool,
    /// A signal has ended the last sleep.
    is_woken: bool,
    /// The last sleep was to end at a set time, which other sleepers may not know.
    knows_a_time: bool,
}

impl Sleeper {
    /// Makes a sleeper that waits for `min` messages.
    pub fn new(queue: i32, min: usize) -> Self {
        let sleeper = Self { queue, wants_more: min > 1, is_woken: false, knows_a_time: false };
        sleeper.prepare();
        sleeper
    }

    /// Puts this backend on the condition variable. A look must follow.
    fn prepare(&self) {
        if let Some(variable) = layout::variable(self.queue) {
            variable.note_sleeper(self.queue, self.wants_more);
            variable.forget_deputy(self.queue);
            SLEEPS_ON.set(Some(self.queue));
            // SAFETY: undone in `drop`, or by the abort if an error comes first.
            unsafe { pg_sys::ConditionVariablePrepareToSleep(variable.condition.get()) }
        }
    }

    pub fn is_for(&self, queue: i32) -> bool {
        self.queue == queue
    }

    /// Sleeps until a signal comes, `most` is over or the time `until` has come.
    pub fn sleep(&mut self, most: Duration, until: Option<Timestamp>) {
        let to_event = until.map(|at| Duration::from_micros((at - now()).max(0) as u64));
        self.knows_a_time = to_event.is_some_and(|to_event| to_event < LONGEST_SLEEP);
        let time = most.min(LONGEST_SLEEP).min(to_event.unwrap_or(LONGEST_SLEEP));
        match layout::variable(self.queue).filter(|_| !is_standby()) {
            Some(variable) => {
                variable.note_sleeper(self.queue, self.wants_more);
                self.is_woken = is_signalled(variable, time);
                if self.is_woken && variable.becomes_deputy(self.queue) && is_signalled(variable, GRACE) {
                    variable.dismiss_deputy();
                }
            }
            None => session::nap(time.min(PAUSE)),
        }
    }
}

/// Sleeps on a variable this backend was put on, and honours interrupts. True if a signal has ended the sleep
/// early.
fn is_signalled(variable: &Variable, time: Duration) -> bool {
    // One millisecond more: at the time itself the lease or delay is not over yet.
    let millis = time.as_millis() as c_long + 1;
    // SAFETY: the latch is this process's own. Whatever else waited for it since the last sleep may
    // have reset it after a signal had come: set, it has the variable looked at before the sleep.
    unsafe {
        pg_sys::SetLatch(pg_sys::MyLatch);
        !pg_sys::ConditionVariableTimedSleep(variable.condition.get(), millis, session::wait_event())
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
    match layout::variable(queue) {
        // SAFETY: the variable is in shared memory; honours interrupts.
        Some(variable) => unsafe {
            let millis = time.as_millis() as c_long;
            variable.note_sleeper(queue, false);
            pg_sys::ConditionVariableTimedSleep(variable.condition.get(), millis, session::wait_event());
        },
        None => session::nap(time),
    }
}

/// Ends a sleep; true if it has swallowed a signal, which Postgres itself passes on before 16.
fn cancel_sleep() -> bool {
    #[cfg(feature = "pg15")]
    // SAFETY: plain call, as below.
    unsafe {
        pg_sys::ConditionVariableCancelSleep();
        false
    }
    #[cfg(not(feature = "pg15"))]
    // SAFETY: plain call; does nothing where nothing is prepared.
    unsafe {
        pg_sys::ConditionVariableCancelSleep()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        if !layout::is_preloaded() || std::thread::panicking() {
            return; // the abort passes signals on
        }
        SLEEPS_ON.set(None);
        if cancel_sleep() {
            wake(self.queue, 1); // another sleeper has to get the signal
        } else if self.is_woken || self.knows_a_time {
            wake_deputy(self.queue); // or to look at the time that only this sleeper knew
        }
    }
}
