//! The layout of shared memory, and access to its parts.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

use pgrx::pg_sys;

use crate::engine::shared::entry::{CacheEntry, WAYS};
use crate::engine::shared::listen_counter::{self, Listened};
use crate::engine::shared::queue_key::{hash, key};
use crate::engine::shared::wait_list::{Room, Sleeping, WaitList};
use crate::guc;
use crate::pg::session::{self, is_standby, may_prepare};

pub const TRANCHE: &std::ffi::CStr = c"pgqueue hint cache";

/// The lock of a bucket. Locks lie together, so that a process can go over all of them quickly, each in a cache
/// line of its own.
#[repr(C, align(64))]
pub struct Head {
    pub(super) lock: pg_sys::LWLock,
    /// Counter of uses. The entries of a bucket that was never used are not written yet, so that they take
    /// no memory.
    changes: AtomicU64,
}

impl Head {
    pub fn new(lock: pg_sys::LWLock) -> Self {
        Self { lock, changes: AtomicU64::new(0) }
    }
}

pub type Bucket = [CacheEntry; WAYS];

#[repr(C)]
pub struct Header {
    listened: [Listened; listen_counter::MANY],
    /// Counters of transactions that began, and that ended, to write counts to `pgqueue.counter`.
    pub(super) drains: [AtomicU64; 2],
    /// Until this time transactions of this database write their counts down themselves.
    pub(super) written_until: AtomicI64,
    pub(super) written_in: AtomicU32,
    /// Counter of such transactions, and of entries: `CacheEntry::rows` has its values.
    pub(super) rows: AtomicU64,
    /// Number of prepared transactions that found no place in the cache, since there was none.
    pub(super) unplaced: AtomicU64,
    tranche: i32,
}

impl Header {
    /// Writes a new header to shared memory, in place: made as a value, the array alone would be thousands of
    /// instructions, over which the compiler takes minutes.
    ///
    /// # Safety
    ///
    /// The memory is the caller's.
    pub unsafe fn write(at: *mut Self, tranche: i32) {
        // SAFETY: as the caller says; each field is written before any is read.
        unsafe {
            let listened = (&raw mut (*at).listened).cast::<Listened>();
            for n in 0..listen_counter::MANY {
                listened.add(n).write(Listened::new());
            }
            (&raw mut (*at).drains).write([AtomicU64::new(0), AtomicU64::new(0)]);
            // Those of before the start are not known.
            (&raw mut (*at).unplaced).write(AtomicU64::new(u64::from(may_prepare())));
            (&raw mut (*at).written_until).write(AtomicI64::new(i64::MIN));
            (&raw mut (*at).written_in).write(AtomicU32::new(0));
            (&raw mut (*at).rows).write(AtomicU64::new(1));
            (&raw mut (*at).tranche).write(tranche);
        }
    }
}

/// Addresses of the parts of shared memory: the same in all processes that the postmaster forks.
#[derive(Clone, Copy)]
pub struct SharedMemory {
    pub(super) header: *mut Header,
    pub(super) heads: *mut Head,
    pub(super) buckets: *mut Bucket,
    pub(super) rooms: *mut SharedRoom,
    pub(super) sleepers: Sleepers,
}

/// The places of the sessions that may sleep, by the number of their process.
#[derive(Clone, Copy)]
pub struct Sleepers {
    pub(super) sessions: *mut Sleeping,
    pub(super) lists: *mut WaitList,
    pub(super) latches: *mut AtomicPtr<pg_sys::Latch>,
    pub(super) most: usize,
}

/// A room of wait lists. There are as many rooms as sessions.
#[repr(C)]
pub struct SharedRoom {
    pub(super) lock: pg_sys::LWLock,
    pub(super) first: Cell<u32>,
    /// How many sessions sleep on its queues.
    pub(super) sleepers: AtomicU32,
}

thread_local! {
    pub(super) static SHARED: Cell<Option<SharedMemory>> = const { Cell::new(None) };
}

pub(super) fn header() -> Option<&'static Header> {
    // SAFETY: written before any backend runs, and there as long as the server runs; what changes is atomic.
    SHARED.get().map(|shared| unsafe { &*shared.header })
}

/// A number for `CacheEntry::rows` that no entry has had.
pub(super) fn next_rows() -> u64 {
    header().map_or(0, |header| header.rows.fetch_add(1, Ordering::AcqRel))
}

/// Number of buckets; 0 without shared memory.
pub fn buckets() -> usize {
    if SHARED.get().is_some() { wanted_buckets() } else { 0 }
}

pub fn wanted_buckets() -> usize {
    guc::max_queues_hint().div_ceil(WAYS)
}

/// True if there is a hint cache and it describes this server's queues: not on a standby.
pub fn is_there() -> bool {
    SHARED.get().is_some() && !is_standby()
}

/// True if the postmaster has loaded the library.
pub fn is_preloaded() -> bool {
    SHARED.get().is_some()
}

/// Whether a session may sleep on the queue. A session joins before it looks, and a commit asks after it is
/// visible: so one of the two sees the other.
pub fn may_have_sleepers(queue: i32) -> bool {
    let Some(room) = SHARED.get().map(|shared| shared.room(queue)) else { return false };
    fence(Ordering::SeqCst);
    room.sleepers.load(Ordering::Relaxed) > 0
}

/// Runs `work` with the room of a queue, under its lock, and the key of the queue.
pub fn with_room<R>(queue: i32, work: impl FnOnce(Room, u64) -> R) -> Option<R> {
    let shared = SHARED.get()?;
    let room = shared.room(queue);
    // SAFETY: the lock is held while `work` runs, which only computes and raises no error; the places are
    // there for as long as the server runs, and what changes in them is a cell or atomic.
    unsafe {
        let (lock, sleepers) = (&raw const room.lock, shared.sleepers);
        pg_sys::LWLockAcquire(lock.cast_mut(), pg_sys::LWLockMode::LW_EXCLUSIVE);
        let lists = Room {
            first: &room.first,
            sessions: std::slice::from_raw_parts(sleepers.sessions, sleepers.most),
            lists: std::slice::from_raw_parts(sleepers.lists, sleepers.most),
        };
        let result = work(lists, key(queue));
        pg_sys::LWLockRelease(lock.cast_mut());
        Some(result)
    }
}

/// Notes in the room of a queue that so many more sessions sleep there.
pub fn count_sleepers(queue: i32, more: i32) {
    if let Some(shared) = SHARED.get() {
        shared.room(queue).sleepers.fetch_add(more as u32, Ordering::SeqCst);
    }
}

/// The place of this session among the sleepers. None without shared memory, or if there is no such place.
pub fn place() -> Option<(u32, &'static Sleeping)> {
    let sleepers = SHARED.get()?.sleepers;
    let number = session::process_number().filter(|&number| (number as usize) < sleepers.most)?;
    // SAFETY: the place is there for as long as the server runs; the latch is this process's.
    unsafe {
        (*sleepers.latches.add(number as usize)).store(pg_sys::MyLatch, Ordering::Release);
        Some((number, &*sleepers.sessions.add(number as usize)))
    }
}

/// Sets the latch of a session that sleeps.
pub fn set_latch(number: u32) {
    let Some(shared) = SHARED.get() else { return };
    // SAFETY: a session notes its latch before it joins a list. The latches of processes are in shared
    // memory, and stay there when a process ends.
    unsafe {
        let latch = (*shared.sleepers.latches.add(number as usize)).load(Ordering::Acquire);
        pg_sys::SetLatch(latch);
    }
}

impl SharedMemory {
    fn room(self, queue: i32) -> &'static SharedRoom {
        // SAFETY: there are as many rooms as places of sessions.
        unsafe { &*self.rooms.add(hash(queue) as usize % self.sleepers.most) }
    }

    /// Runs `work` with the entries of a bucket, under its lock, and counts that as a change.
    pub(super) fn with_bucket<R>(self, n: usize, work: impl FnOnce(&mut [CacheEntry; WAYS]) -> R) -> R {
        self.locked(n, |entries, changes| {
            let result = work(entries);
            changes.fetch_add(1, Ordering::Release);
            result
        })
    }

    /// Runs `look` with the entries of a bucket, under its lock, and how often they have changed. It may
    /// change what no other process has to know.
    pub(super) fn look_into<R>(self, n: usize, look: impl FnOnce(&mut [CacheEntry; WAYS], u64) -> R) -> R {
        self.locked(n, |entries, changes| look(entries, changes.load(Ordering::Acquire)))
    }

    fn locked<R>(self, n: usize, work: impl FnOnce(&mut [CacheEntry; WAYS], &AtomicU64) -> R) -> R {
        // SAFETY: the bucket is there, and written before it is first used; the lock is held while the
        // references live. An error would release it, but none is raised in between: `work` belongs to this
        // module, and only computes.
        unsafe {
            let (head, bucket) = (self.heads.add(n), self.buckets.add(n));
            pg_sys::LWLockAcquire(&raw mut (*head).lock, pg_sys::LWLockMode::LW_EXCLUSIVE);
            if (*head).changes.load(Ordering::Acquire) == 0 {
                (0..WAYS).for_each(|way| write_free(&raw mut (*bucket)[way]));
                (*head).changes.store(1, Ordering::Release);
            }
            let result = work(&mut *bucket, &(*head).changes);
            pg_sys::LWLockRelease(&raw mut (*head).lock);
            result
        }
    }

    /// Returns how often a bucket has changed; 0 if it was never used.
    pub(super) fn changes(self, n: usize) -> u64 {
        // SAFETY: the head is there as long as the server runs; the counter is atomic.
        unsafe { (*self.heads.add(n)).changes.load(Ordering::Acquire) }
    }

    pub(super) fn with_entries_of<R>(self, queue: i32, work: impl FnOnce(&mut [CacheEntry; WAYS]) -> R) -> R {
        self.with_bucket(hash(queue) as usize % wanted_buckets(), work)
    }
}

/// Writes an entry before its first use. Not part of each caller: it is a thousand instructions.
///
/// # Safety
///
/// The entry is there, and the caller holds the lock of its bucket.
#[cold]
#[inline(never)]
unsafe fn write_free(entry: *mut CacheEntry) {
    // SAFETY: as the caller says.
    unsafe { entry.write(CacheEntry::free()) }
}

/// Returns a counter of news. None if there is no hint cache.
pub fn listened(counter: usize) -> Option<&'static Listened> {
    let shared = SHARED.get().filter(|_| is_there())?;
    // SAFETY: written before any backend runs; its fields are atomic.
    Some(unsafe { &(*shared.header).listened[counter] })
}
