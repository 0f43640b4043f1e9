//! The layout of shared memory, and access to its parts.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use pgrx::pg_sys;

use crate::engine::shared::condition::{Variable, WORKER};
use crate::engine::shared::entry::{CacheEntry, WAYS};
use crate::engine::shared::listen_counter::{self, Listened};
use crate::engine::shared::queue_key::hash;
use crate::guc;
use crate::pg::session::is_standby;

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
    /// Until this time transactions write their counts down themselves.
    pub(super) written_until: AtomicI64,
    /// Number of prepared transactions that found no place in the cache, since there was none.
    pub(super) unplaced: AtomicU64,
    tranche: i32,
}

impl Header {
    pub fn new(tranche: i32) -> Self {
        let listened = [const { Listened::new() }; listen_counter::MANY];
        Self {
            listened,
            drains: [AtomicU64::new(0), AtomicU64::new(0)],
            unplaced: AtomicU64::new(0),
            written_until: AtomicI64::new(i64::MIN),
            tranche,
        }
    }
}

/// Addresses of the parts of shared memory: the same in all processes that the postmaster forks.
#[derive(Clone, Copy)]
pub struct SharedMemory {
    pub(super) header: *mut Header,
    pub(super) heads: *mut Head,
    pub(super) buckets: *mut Bucket,
    pub(super) variables: *mut Variable,
}

thread_local! {
    pub(super) static SHARED: Cell<Option<SharedMemory>> = const { Cell::new(None) };
}

/// Number of buckets; 0 without shared memory.
pub fn buckets() -> usize {
    if SHARED.get().is_some() { wanted_buckets() } else { 0 }
}

pub fn wanted_buckets() -> usize {
    guc::max_queues_hint().div_ceil(WAYS)
}

/// Number of condition variables: one per cache entry, and one for the worker.
pub fn variables() -> usize {
    wanted_buckets() * WAYS + 1
}

/// True if there is a hint cache and it describes this server's queues: not on a standby.
pub fn is_there() -> bool {
    SHARED.get().is_some() && !is_standby()
}

/// True if the postmaster has loaded the library.
pub fn is_preloaded() -> bool {
    SHARED.get().is_some()
}

/// Returns the condition variable of a queue, or of the worker.
pub fn variable(queue: i32) -> Option<&'static Variable> {
    let shared = SHARED.get()?;
    let last = variables() - 1;
    let n = if queue == WORKER { last } else { hash(queue) as usize % last };
    // SAFETY: there are as many as `variables()` says, for as long as the server runs; what
    // changes in them is atomic or has a lock of its own.
    Some(unsafe { &*shared.variables.add(n) })
}

impl SharedMemory {
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
                (0..WAYS).for_each(|way| (&raw mut (*bucket)[way]).write(CacheEntry::free()));
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

/// Returns a counter of news. None if there is no hint cache.
pub fn listened(counter: usize) -> Option<&'static Listened> {
    let shared = SHARED.get().filter(|_| is_there())?;
    // SAFETY: written before any backend runs; its fields are atomic.
    Some(unsafe { &(*shared.header).listened[counter] })
}
