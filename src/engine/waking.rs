//! Waking: a commit tells consumers that sleep on a queue that messages may be ready.
//!
//! Shared memory holds condition variables; queues that fall on the same one wake
//! each other's sleepers for nothing, which costs a look. Without shared memory (not
//! preloaded) nothing is told, and sleepers look by themselves now and then.
//!
//! Invariants:
//! - a sleeper is on its condition variable before it looks: what commits after the
//!   look signals it, what committed before is seen;
//! - signals are sent when the commit (or the abort of a reserve) is visible;
//! - a wake-up means "look", never "there is one": every answer comes from the table.

use std::cell::{RefCell, UnsafeCell};
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgrx::{PGRXSharedMemory, PgAtomic, pg_guard, pg_shmem_init, pg_sys};

use super::now;
use crate::call::Timestamp;
use crate::setting;

/// How long a sleeper sleeps at most before it looks. Finds what comes without a
/// signal: COMMIT PREPARED, rows written behind our back.
pub const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// The pause between two looks where nobody can be woken.
const PAUSE: Duration = Duration::from_millis(50);

/// Condition variables for all queues of all databases, a few bytes each.
struct Variables([UnsafeCell<pg_sys::ConditionVariable>; setting::MOST_QUEUES_HINT]);

// SAFETY: condition variables are made to be shared; Postgres's functions lock them.
unsafe impl PGRXSharedMemory for Variables {}

impl Default for Variables {
    fn default() -> Self {
        Self(std::array::from_fn(|_| {
            let mut variable = pg_sys::ConditionVariable::default();
            // SAFETY: initializes in place; holds no pointer to itself, so it may move.
            unsafe { pg_sys::ConditionVariableInit(&mut variable) };
            UnsafeCell::new(variable)
        }))
    }
}

// SAFETY: the name is ours alone.
static VARIABLES_SHARED: PgAtomic<Variables> = unsafe { PgAtomic::new(c"pgqueue waking") };

/// Whether there is shared memory: the postmaster loaded us, and forked this process.
static PRELOADED: AtomicBool = AtomicBool::new(false);

/// What a transaction has to tell about a queue when it ends.
#[derive(Default)]
struct News {
    /// So many messages are ready once it commits.
    ready: usize,
    /// So many messages were taken, and are ready again should it abort.
    taken: usize,
    /// A message will be ready before a sleeper looks by itself, once it commits.
    soon: bool,
}

thread_local! {
    static NEWS: RefCell<HashMap<i32, News>> = RefCell::default();
}

/// Asks for shared memory. Only while the library is being preloaded.
pub fn request_shared_memory() {
    pg_shmem_init!(VARIABLES_SHARED);
    PRELOADED.store(true, Ordering::Relaxed);
    // SAFETY: the callbacks neither raise nor allocate. Registered in the postmaster,
    // they are there in every process it forks.
    unsafe {
        pg_sys::RegisterXactCallback(Some(at_end), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(at_end_of_subtransaction), std::ptr::null_mut());
    }
}

/// Tells at commit that messages of a queue are ready.
pub fn ready(queue: i32, count: usize) {
    if count > 0 {
        tell(queue, |news| news.ready = news.ready.saturating_add(count));
    }
}

/// Tells at commit that a message of a queue will be ready at a time.
pub fn later(queue: i32, at: Timestamp) {
    // Whoever sleeps looks again before a time further away.
    if at < now() + LONGEST_SLEEP.as_micros() as i64 {
        tell(queue, |news| news.soon = true);
    }
}

/// Tells, should the transaction abort, that what it took is ready again.
pub fn taken(queue: i32, count: usize) {
    if count > 0 {
        tell(queue, |news| news.taken += count);
    }
}

fn tell(queue: i32, change: impl FnOnce(&mut News)) {
    if PRELOADED.load(Ordering::Relaxed) {
        NEWS.with_borrow_mut(|news| change(news.entry(queue).or_default()));
    }
}

/// Postgres calls this when a transaction has ended and all can see that it has.
unsafe extern "C-unwind" fn at_end(event: pg_sys::XactEvent::Type, _: *mut c_void) {
    let wakes: fn(&News) -> usize = match event {
        pg_sys::XactEvent::XACT_EVENT_COMMIT => |news| news.ready.max(usize::from(news.soon)),
        pg_sys::XactEvent::XACT_EVENT_ABORT => |news| news.taken,
        // Decided later, by another session: sleepers find out by themselves.
        pg_sys::XactEvent::XACT_EVENT_PREPARE => |_| 0,
        _ => return,
    };
    NEWS.with_borrow_mut(|all| {
        for (&queue, news) in all.iter() {
            wake(queue, wakes(news));
        }
        all.clear();
    });
}

/// A savepoint was rolled back: what was taken since may be ready again, though the
/// transaction goes on. Whoever wakes for nothing sleeps on.
unsafe extern "C-unwind" fn at_end_of_subtransaction(
    event: pg_sys::SubXactEvent::Type,
    _: pg_sys::SubTransactionId,
    _: pg_sys::SubTransactionId,
    _: *mut c_void,
) {
    if event == pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB {
        NEWS.with_borrow(|all| all.iter().for_each(|(&queue, news)| wake(queue, news.taken)));
    }
}

/// Wakes one sleeper of a queue for each message, as far as there are any.
fn wake(queue: i32, messages: usize) {
    // SAFETY: the variable is in shared memory; a signal takes its spinlock for a moment.
    unsafe {
        let most = pg_sys::MaxBackends as usize;
        for _ in 0..messages.min(most) {
            pg_sys::ConditionVariableSignal(variable(queue));
        }
    }
}

fn variable(queue: i32) -> *mut pg_sys::ConditionVariable {
    // SAFETY: reads a variable of this backend.
    let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
    let n =
        (queue as u32).wrapping_add(database.wrapping_mul(0x9e37_79b1)) as usize % setting::max_queues_hint();
    VARIABLES_SHARED.get().0[n].get()
}

/// A consumer that sleeps on a queue, from before its first look to after its last.
pub struct Sleeper {
    queue: i32,
    /// The last sleep was to end at a time of its own, which nobody else may know of.
    knows_a_time: bool,
}

/// The queue of those who wait for a queue that is not there yet.
pub const NO_QUEUE: i32 = 0;

/// As many as there can be.
pub const ALL: usize = usize::MAX;

impl Sleeper {
    pub fn new(queue: i32) -> Self {
        let sleeper = Self { queue, knows_a_time: false };
        sleeper.prepare();
        sleeper
    }

    /// Puts this backend where signals reach it; a look must follow.
    fn prepare(&self) {
        if PRELOADED.load(Ordering::Relaxed) {
            // SAFETY: undone in `drop`, or by the abort if an error comes first.
            unsafe { pg_sys::ConditionVariablePrepareToSleep(variable(self.queue)) }
        }
    }

    pub fn is_for(&self, queue: i32) -> bool {
        self.queue == queue
    }

    /// Sleeps until it is woken, `most` is over or, if given, a time has come.
    pub fn sleep(&mut self, most: Duration, until: Option<Timestamp>) {
        let to_event = until.map(|at| Duration::from_micros((at - now()).max(0) as u64));
        self.knows_a_time = to_event.is_some_and(|to_event| to_event < LONGEST_SLEEP);
        let time = most.min(LONGEST_SLEEP).min(to_event.unwrap_or(LONGEST_SLEEP));
        // A millisecond more: at the time itself nothing is over yet.
        let millis = time.as_millis() as std::ffi::c_long + 1;
        if PRELOADED.load(Ordering::Relaxed) {
            // SAFETY: prepared in `new`; honours interrupts.
            unsafe {
                pg_sys::ConditionVariableTimedSleep(variable(self.queue), millis, pg_sys::PG_WAIT_EXTENSION);
            }
        } else {
            super::nap(time.min(PAUSE));
        }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        if !PRELOADED.load(Ordering::Relaxed) || std::thread::panicking() {
            return;
        }
        // SAFETY: prepared in `new`.
        unsafe { pg_sys::ConditionVariableCancelSleep() };
        if self.knows_a_time {
            // Somebody else has to keep it now.
            wake(self.queue, 1);
        }
    }
}
