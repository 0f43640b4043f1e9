//! The board: what all backends know together about queues, in shared memory.
//!
//! A place a queue and direction, found by hashing. Places are few. Each use gives a place credit,
//! and each queue that comes for one takes a little of everybody's; the first without credit is
//! taken. So many queues that are used seldom do not drive out one that is used often. Losing a
//! place costs a scan from the beginning of its queue, nothing else. Beside the hints it holds
//! counters that the worker has yet to write down, in half of the places at most; and condition
//! variables for sleepers.
//!
//! Each bucket of places has one lock, held for the length of a closure that neither
//! raises nor allocates; nobody holds two. Without shared memory (not preloaded), and
//! on a standby, there is no board.

use std::cell::{Cell, UnsafeCell};
use std::ffi::c_void;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use pgrx::pg_sys;

use super::counter::Counts;
use super::lane::Address;
use super::listened::{self, Listened};
use super::waking::{GRACE, LONGEST_SLEEP, WORKER};
use super::{is_standby, now};
use crate::hint::level::Level;
use crate::hint::queue::QueueHint;
use crate::hint::rest::Rest;
use crate::hint::slots::SlotHint;
use crate::hint::{Direction, Timestamp};
use crate::setting;

/// Places in a bucket.
const WAYS: usize = 8;

/// How many of them may hold what must not be lost. The others are left to hints.
const MOST_NEEDED: usize = WAYS / 2;

/// The credit of a place that has just been used.
const CREDIT: u8 = 8;

const TRANCHE: &std::ffi::CStr = c"pgqueue board";

/// What is known of a queue.
#[repr(C)]
pub struct Place {
    database: u32,
    pub queue: i32,
    pub direction: Direction,
    is_in_use: bool,
    /// How often others may come for it before it is theirs.
    credit: u8,
    /// Counted by committed transactions and not yet written to `pgqueue.counter`.
    pub counts: Counts,
    /// How often something was counted.
    times_counted: u64,
    /// Transactions that are about to count something.
    kept_for: u32,
    /// When a reserve last came by a message with a unique key that a push was holding.
    waited_for_key: Rest,
    pub hint: QueueHint,
    /// Of a queue that limits how many are out; at the place of its usual direction.
    pub slots: SlotHint,
    /// Not before then is it looked for dead messages to make room.
    rest_of_looks_for_dead: Rest,
}

#[repr(C)]
struct Bucket {
    lock: pg_sys::LWLock,
    places: [Place; WAYS],
}

#[repr(C)]
struct Header {
    listened: [Listened; listened::MANY],
    /// Transactions that have begun, and ended, to write counts down.
    drains: [AtomicU64; 2],
    tranche: i32,
}

/// Where the parts of the board lie. The same in all processes that the postmaster forks.
#[derive(Clone, Copy)]
struct Board {
    header: *mut Header,
    buckets: *mut Bucket,
    variables: *mut Variable,
}

/// What sleepers of a queue sleep on. Some queues share one.
#[repr(C)]
pub struct Variable {
    pub condition: UnsafeCell<pg_sys::ConditionVariable>,
    /// Who went to sleep last.
    last: AtomicU64,
    /// When somebody did for whom a signal may not be meant.
    mixed_at: AtomicI64,
    /// The queue of which one sleeper is asked to look after another's wake-up.
    deputy_for: AtomicU64,
    /// When it was asked last.
    deputy_since: AtomicI64,
}

/// No queue has this key.
const NOBODY: u64 = 0;

const LONG_AGO: i64 = i64::MIN / 2;

impl Variable {
    /// Notes that somebody goes to sleep: for a queue, for one message or for more.
    pub fn note_sleeper(&self, queue: i32, wants_more: bool) {
        let before = self.last.swap(key(queue), Ordering::Relaxed);
        if (before != NOBODY && before != key(queue)) || wants_more {
            self.mixed_at.store(now(), Ordering::Relaxed);
        }
    }

    /// Asks for a deputy, a sleeper that looks when the grace is over. False if one is asked
    /// already, which then looks before this grace is over.
    pub fn asks_for_deputy(&self, queue: i32) -> bool {
        let (now, since) = (now(), self.deputy_since.load(Ordering::Relaxed));
        if (since..since.saturating_add(GRACE.as_micros() as i64)).contains(&now) {
            return false;
        }
        self.deputy_since.store(now, Ordering::Relaxed);
        self.deputy_for.store(key(queue), Ordering::Relaxed);
        true
    }

    /// Whether a sleeper of the queue that has just been woken is the deputy that was asked for.
    pub fn becomes_deputy(&self, queue: i32) -> bool {
        let key = key(queue);
        self.deputy_for.compare_exchange(key, NOBODY, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// A sleeper comes that looks at once: nobody has gone to be the deputy.
    pub fn forget_deputy(&self, queue: i32) {
        if self.becomes_deputy(queue) {
            self.dismiss_deputy();
        }
    }

    /// The deputy does something else: the next wake-up needs another.
    pub fn dismiss_deputy(&self) {
        self.deputy_since.store(LONG_AGO, Ordering::Relaxed);
    }

    /// Whether a signal could wake one it is not meant for. Sleepers go to sleep anew
    /// every few seconds.
    pub fn is_mixed(&self) -> bool {
        now() - self.mixed_at.load(Ordering::Relaxed) < 2 * LONGEST_SLEEP.as_micros() as i64
    }
}

thread_local! {
    static BOARD: Cell<Option<Board>> = const { Cell::new(None) };
}

static mut NEXT_STARTUP_HOOK: pg_sys::shmem_startup_hook_type = None;

/// Asks for shared memory. Only while the library is being preloaded.
pub fn request() {
    // SAFETY: the postmaster has one thread; the hooks before ours are called by ours.
    unsafe {
        NEXT_STARTUP_HOOK = pg_sys::shmem_startup_hook;
        pg_sys::shmem_startup_hook = Some(startup);
        #[cfg(feature = "pg14")]
        pg_sys::RequestAddinShmemSpace(size());
        #[cfg(not(feature = "pg14"))]
        {
            NEXT_REQUEST_HOOK = pg_sys::shmem_request_hook;
            pg_sys::shmem_request_hook = Some(request_space);
        }
    }
}

#[cfg(not(feature = "pg14"))]
static mut NEXT_REQUEST_HOOK: pg_sys::shmem_request_hook_type = None;

#[cfg(not(feature = "pg14"))]
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn request_space() {
    // SAFETY: called once by the postmaster, in the phase for such requests.
    unsafe {
        if let Some(next) = NEXT_REQUEST_HOOK {
            next();
        }
        pg_sys::RequestAddinShmemSpace(size());
    }
}

/// How many buckets there are.
fn buckets() -> usize {
    if BOARD.get().is_some() { wanted_buckets() } else { 0 }
}

fn wanted_buckets() -> usize {
    setting::max_queues_hint().div_ceil(WAYS)
}

/// Condition variables: as many as places, and one for the worker.
fn variables() -> usize {
    wanted_buckets() * WAYS + 1
}

fn size() -> usize {
    const ALIGNMENT: usize = 128 * 3; // of each of the three parts
    size_of::<Header>()
        + wanted_buckets() * size_of::<Bucket>()
        + variables() * size_of::<Variable>()
        + ALIGNMENT
}

/// Lays out the board, at the start of the server and again after a crash.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn startup() {
    // SAFETY: called by the postmaster before it forks; each part has the size that is
    // asked for, is aligned for anything, and nobody else looks at it yet.
    unsafe {
        if let Some(next) = NEXT_STARTUP_HOOK {
            next();
        }
        let part = |name: &std::ffi::CStr, size: usize| -> *mut c_void {
            let mut found = false;
            pg_sys::ShmemInitStruct(name.as_ptr(), size, &mut found)
        };
        let board = Board {
            header: part(c"pgqueue board", size_of::<Header>()).cast(),
            buckets: part(c"pgqueue hints", wanted_buckets() * size_of::<Bucket>()).cast(),
            variables: part(c"pgqueue waking", variables() * size_of::<Variable>()).cast(),
        };
        let tranche = pg_sys::LWLockNewTrancheId();
        pg_sys::LWLockRegisterTranche(tranche, TRANCHE.as_ptr());
        let drains = [AtomicU64::new(0), AtomicU64::new(0)];
        let listened = [const { Listened::new() }; listened::MANY];
        board.header.write(Header { listened, drains, tranche });
        for n in 0..wanted_buckets() {
            let bucket = board.buckets.add(n);
            pg_sys::LWLockInitialize(&raw mut (*bucket).lock, tranche);
            for way in 0..WAYS {
                (&raw mut (*bucket).places[way]).write(Place::free());
            }
        }
        for n in 0..variables() {
            let mut condition = pg_sys::ConditionVariable::default();
            pg_sys::ConditionVariableInit(&mut condition); // it may move: it holds no pointer to itself
            board.variables.add(n).write(Variable {
                condition: UnsafeCell::new(condition),
                last: AtomicU64::new(NOBODY),
                mixed_at: AtomicI64::new(LONG_AGO),
                deputy_for: AtomicU64::new(NOBODY),
                deputy_since: AtomicI64::new(LONG_AGO),
            });
        }
        BOARD.set(Some(board));
    }
}

impl Place {
    fn free() -> Self {
        Self {
            database: 0,
            queue: 0,
            direction: Direction::OldestFirst,
            is_in_use: false,
            credit: 0,
            counts: Counts::default(),
            times_counted: 0,
            kept_for: 0,
            waited_for_key: Rest::OVER,
            hint: QueueHint::new(),
            slots: SlotHint::new(),
            rest_of_looks_for_dead: Rest::OVER,
        }
    }

    fn vacate(&mut self) {
        self.counts = Counts::default();
        self.kept_for = 0;
        self.is_in_use = false;
    }

    fn is_of(&self, database: u32, queue: i32) -> bool {
        self.queue == queue && self.database == database && self.is_in_use
    }

    /// Whether it holds something that must not be lost.
    fn is_needed(&self) -> bool {
        self.is_in_use
            && (self.counts != Counts::default() || self.kept_for > 0 || self.hint.times_prepared() > 0)
    }

    /// Gives it to another queue, or to none that it was of before.
    fn begin_anew(&mut self, database: u32, queue: i32, direction: Direction) {
        (self.database, self.queue, self.direction) = (database, queue, direction);
        (self.is_in_use, self.credit, self.kept_for) = (true, 1, 0);
        self.waited_for_key = Rest::OVER;
        self.hint.begin_anew();
        self.slots.forget();
        self.rest_of_looks_for_dead = Rest::OVER;
    }

    /// Lets places lose their credit that are not used any more.
    pub fn grow_old(&mut self) {
        self.credit = self.credit.saturating_sub(1);
    }
}

/// Whether there is a board that tells of this server's queues.
fn is_there() -> bool {
    BOARD.get().is_some() && !is_standby()
}

/// Whether the postmaster loaded us.
pub fn is_preloaded() -> bool {
    BOARD.get().is_some()
}

/// The condition variable of a queue, or of the worker.
pub fn variable(queue: i32) -> Option<&'static Variable> {
    let board = BOARD.get()?;
    let last = variables() - 1;
    let n = if queue == WORKER { last } else { hash(queue) as usize % last };
    // SAFETY: there are as many as `variables()` says, for as long as the server runs; what
    // changes in them is atomic or has a lock of its own.
    Some(unsafe { &*board.variables.add(n) })
}

fn database() -> u32 {
    // SAFETY: reads a variable of this backend.
    unsafe { pg_sys::MyDatabaseId }.to_u32()
}

/// The queue among those of all databases.
fn key(queue: i32) -> u64 {
    u64::from(database()) << 32 | u64::from(queue as u32)
}

/// A number that spreads queues.
pub fn hash(queue: i32) -> u64 {
    key(queue).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
}

impl Board {
    /// Does something with the places of a bucket, under its lock.
    fn with_bucket<R>(self, n: usize, work: impl FnOnce(&mut [Place; WAYS]) -> R) -> R {
        // SAFETY: the bucket is there; the lock is held while the reference lives. An error
        // would release it, but none is raised in between: work is ours, and only computes.
        unsafe {
            let bucket = self.buckets.add(n);
            pg_sys::LWLockAcquire(&raw mut (*bucket).lock, pg_sys::LWLockMode::LW_EXCLUSIVE);
            let result = work(&mut (*bucket).places);
            pg_sys::LWLockRelease(&raw mut (*bucket).lock);
            result
        }
    }

    fn with_places_of<R>(self, queue: i32, work: impl FnOnce(&mut [Place; WAYS]) -> R) -> R {
        self.with_bucket(hash(queue) as usize % wanted_buckets(), work)
    }
}

/// Does something with the hint of a queue, which is made if it is not there. None if
/// there is no board, or no room on it.
pub fn with_hint<R>(queue: i32, direction: Direction, work: impl FnOnce(&mut QueueHint) -> R) -> Option<R> {
    with_place(queue, direction, |place| work(&mut place.hint))
}

/// Does something with what is known of a queue's slots. None if there is no board, or no room
/// on it.
pub fn with_slots<R>(queue: i32, work: impl FnOnce(&mut SlotHint) -> R) -> Option<R> {
    with_place(queue, Direction::OldestFirst, |place| work(&mut place.slots))
}

fn with_place<R>(queue: i32, direction: Direction, work: impl FnOnce(&mut Place) -> R) -> Option<R> {
    let board = BOARD.get().filter(|_| is_there())?;
    let database = database();
    board.with_places_of(queue, |places| {
        let n = place_of(places, database, queue, direction, 0)?;
        places[n].credit = CREDIT;
        Some(work(&mut places[n]))
    })
}

/// A reserve has found no place: each in the bucket comes a little nearer to be taken.
pub fn wants_place(queue: i32) {
    if let Some(board) = BOARD.get().filter(|_| is_there()) {
        board.with_places_of(queue, |places| places.iter_mut().for_each(Place::grow_old));
    }
}

fn find_place(places: &[Place; WAYS], database: u32, queue: i32, direction: Direction) -> Option<usize> {
    places.iter().position(|place| place.is_of(database, queue) && place.direction == direction)
}

/// The place of a queue, taken if it has none.
fn place_of(
    places: &mut [Place; WAYS],
    database: u32,
    queue: i32,
    direction: Direction,
    most_credit: u8,
) -> Option<usize> {
    find_place(places, database, queue, direction)
        .or_else(|| take_place(places, database, queue, direction, most_credit))
}

/// Takes a place that is free, or the one with the least credit; none if each has more than that.
fn take_place(
    places: &mut [Place; WAYS],
    database: u32,
    queue: i32,
    direction: Direction,
    most_credit: u8,
) -> Option<usize> {
    let free = (0..WAYS).filter(|&n| !places[n].is_needed());
    let n = free.min_by_key(|&n| (places[n].is_in_use, places[n].credit))?;
    if places[n].is_in_use && places[n].credit > most_credit {
        return None;
    }
    places[n].begin_anew(database, queue, direction);
    Some(n)
}

/// Does something with one level of a queue, if its hint has it.
pub fn with_level<R>(at: Address, work: impl FnOnce(&mut Level) -> R) -> Option<R> {
    with_hint(at.queue, at.direction, |hint| hint.level(at.priority).map(work))?
}

/// Does something with what is known of a queue, in each direction.
pub fn with_known(queue: i32, work: impl FnMut(&mut Place)) {
    let Some(board) = BOARD.get() else { return };
    let database = database();
    board.with_places_of(queue, |places| {
        places.iter_mut().filter(|place| place.is_of(database, queue)).for_each(work);
    });
}

/// Does something with the place of each known queue of this database.
pub fn for_each_place(mut work: impl FnMut(&mut Place)) {
    (0..buckets()).for_each(|n| with_known_of_bucket(n, &mut work));
}

/// What `pick` finds at the places of this database's known queues.
pub fn collect<T>(mut pick: impl FnMut(&mut Place) -> Option<T>) -> Vec<T> {
    let mut picked = Vec::new();
    for n in 0..buckets() {
        picked.reserve(WAYS); // not under the lock
        with_known_of_bucket(n, |place| picked.extend(pick(place)));
    }
    picked
}

/// The first that `pick` finds there.
pub fn find<T>(mut pick: impl FnMut(&mut Place) -> Option<T>) -> Option<T> {
    (0..buckets()).find_map(|n| {
        let mut found = None;
        with_known_of_bucket(n, |place| {
            if found.is_none() {
                found = pick(place);
            }
        });
        found
    })
}

fn with_known_of_bucket(n: usize, work: impl FnMut(&mut Place)) {
    let Some(board) = BOARD.get() else { return };
    let database = database();
    board.with_bucket(n, |places| {
        places.iter_mut().filter(|place| place.is_in_use && place.database == database).for_each(work);
    });
}

/// A consumer is kept from a message with a unique key by a push that holds it.
pub fn waits_for_key(queue: i32) {
    const LATELY: Timestamp = 1_000_000;
    let lately = Rest::begin(now(), LATELY);
    with_known(queue, |place| place.waited_for_key = lately);
}

/// Whether that was lately: then the message is left to consumers.
pub fn is_waited_for_key(queue: i32) -> bool {
    let (mut is_waited_for, now) = (false, now());
    with_known(queue, |place| is_waited_for |= !place.waited_for_key.is_over(now));
    is_waited_for
}

/// Makes a place for a queue of which something must be known, whoever has used it lately.
pub fn make_place(queue: i32) {
    let Some(board) = BOARD.get().filter(|_| is_there()) else { return };
    let database = database();
    board.with_places_of(queue, |places| {
        place_of(places, database, queue, Direction::OldestFirst, CREDIT);
    });
}

/// Does something with the rest after a look for dead messages of a full queue.
pub fn with_room<R>(queue: i32, work: impl FnOnce(&mut Rest) -> R) -> Option<R> {
    with_place(queue, Direction::OldestFirst, |place| work(&mut place.rest_of_looks_for_dead))
}

/// Keeps room to count what happens to a queue, until `add_counts`; false if there is none. A queue
/// that has no place gets one only if its bucket does not hold many counts already: hints need some.
pub fn keep_place(queue: i32) -> bool {
    let Some(board) = BOARD.get().filter(|_| is_there()) else { return false };
    let database = database();
    board.with_places_of(queue, |places| {
        let has_room = places.iter().filter(|place| place.is_needed()).count() < MOST_NEEDED;
        let place = find_place(places, database, queue, Direction::OldestFirst).or_else(|| {
            has_room.then(|| take_place(places, database, queue, Direction::OldestFirst, 0)).flatten()
        });
        place.map(|n| places[n].kept_for += 1).is_some()
    })
}

/// Counts what happened to a queue, for which room was kept.
pub fn add_counts(queue: i32, counts: Counts) {
    let Some(board) = BOARD.get() else { return };
    let database = database();
    board.with_places_of(queue, |places| {
        // A transaction that made the extension anew may have freed the place.
        if let Some(n) = place_of(places, database, queue, Direction::OldestFirst, CREDIT) {
            places[n].kept_for = places[n].kept_for.saturating_sub(1);
            places[n].counts += counts;
            places[n].times_counted += 1;
        }
    });
}

/// A counter of news of queues that are listened to. None if there is no board.
pub fn listened(counter: usize) -> Option<&'static Listened> {
    let board = BOARD.get().filter(|_| is_there())?;
    // SAFETY: written before anybody else runs; what changes in it is atomic.
    Some(unsafe { &(*board.header).listened[counter] })
}

/// How many transactions have begun, and how many have ended, to write counts down. In
/// between counts may be seen on the board and in their table, or in neither.
pub fn drains() -> [u64; 2] {
    // SAFETY: written before anybody else runs; the counters are atomic.
    BOARD.get().map_or([0, 0], |board| unsafe {
        (*board.header).drains.each_ref().map(|drains| drains.load(Ordering::Acquire))
    })
}

/// Counts were written down by others than a drain.
pub fn note_written() {
    begin_drain();
    end_drain();
}

pub fn begin_drain() {
    count_drain(0);
}

pub fn end_drain() {
    count_drain(1);
}

fn count_drain(n: usize) {
    if let Some(board) = BOARD.get() {
        // SAFETY: as above.
        unsafe { (*board.header).drains[n].fetch_add(1, Ordering::AcqRel) };
    }
}

/// What was counted of a queue and is not written down.
#[derive(Clone, Copy, Default, PartialEq)]
pub struct Counted {
    pub counts: Counts,
    /// How often something was counted.
    times: u64,
    /// Transactions that are committing, whose messages may be seen before they are counted.
    pub committing: u32,
    /// A prepared transaction has written counts down, which are there when it is decided.
    pub has_prepared: bool,
}

pub fn counted(queue: i32) -> Counted {
    known_counted(queue).unwrap_or_default()
}

/// The same; none if the queue has no place, so that counts are written down by each transaction.
pub fn known_counted(queue: i32) -> Option<Counted> {
    let mut counted = None;
    with_known(queue, |place| {
        if place.direction == Direction::OldestFirst {
            let (times, committing) = (place.times_counted, place.kept_for);
            let has_prepared = place.hint.times_prepared() > 0;
            counted = Some(Counted { counts: place.counts, times, committing, has_prepared });
        }
    });
    counted
}

/// Frees the places of databases that are not there any more.
pub fn free_all_but(databases: &[u32]) {
    let Some(board) = BOARD.get() else { return };
    for n in 0..buckets() {
        board.with_bucket(n, |places| {
            places.iter_mut().filter(|place| !databases.contains(&place.database)).for_each(Place::vacate);
        });
    }
}

/// Forgets what is known of the messages of all queues of this database.
pub fn forget_hints() {
    for_each_place(|place| place.hint.clear());
}

/// Forgets all queues of this database: their numbers begin anew.
pub fn forget_all() {
    for_each_place(Place::vacate);
}
