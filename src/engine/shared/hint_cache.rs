//! The hint cache: what all backends know together about queues, in shared memory.
//!
//! A cache entry belongs to a queue and a direction, and is found by hashing. Entries are few. Each use gives
//! an entry credit, each queue that asks for an entry takes a little from all, and the first entry without
//! credit is taken. So many seldom-used queues do not evict one that is used often. Losing an entry costs a
//! scan from the beginning of its queue, nothing else. Beside hints, at most half of the entries hold state
//! that must not be lost: counts that the worker has yet to write to `pgqueue.counter`, and the number of
//! prepared transactions.
//!
//! Each bucket of entries has one lock. It is held for the length of a closure that neither raises nor
//! allocates, and no process holds two. There is no hint cache on a standby, or if the library is not
//! preloaded.

use std::cell::Cell;

use crate::engine::shared::entry::{CacheEntry, MOST_NEEDED, WAYS};
use crate::engine::shared::layout::{self, SHARED, buckets, is_there};
use crate::engine::shared::overview::{self, Facts};
use crate::engine::shared::queue_key::database;
use crate::hint::Direction;
use crate::hint::address::Address;
use crate::hint::level::Level;
use crate::hint::queue::QueueHint;
use crate::hint::rest::Rest;
use crate::hint::slots::SlotHint;
use crate::pg::session::now;
use crate::value::timestamp::Timestamp;

/// Credit of an entry that has just been used.
pub const CREDIT: u8 = 8;

/// Runs `work` with the hint of a queue and direction, in a new entry if it has none. None if there is no
/// hint cache, or no room in it.
pub fn with_hint<R>(queue: i32, direction: Direction, work: impl FnOnce(&mut QueueHint) -> R) -> Option<R> {
    with_entry(queue, direction, |entry| work(&mut entry.hint))
}

/// Runs `work` with the hint of a queue's slots. None if there is no hint cache, or no room in it.
pub fn with_slots<R>(queue: i32, work: impl FnOnce(&mut SlotHint) -> R) -> Option<R> {
    with_entry(queue, Direction::OldestFirst, |entry| work(&mut entry.slots))
}

fn with_entry<R>(queue: i32, direction: Direction, work: impl FnOnce(&mut CacheEntry) -> R) -> Option<R> {
    let shared = SHARED.get().filter(|_| is_there())?;
    let database = database();
    shared.with_entries_of(queue, |entries| {
        let n = entry_of(entries, database, queue, direction, 0)?;
        entries[n].credit = CREDIT;
        Some(work(&mut entries[n]))
    })
}

/// Notes that a reserve has found no entry: each entry in the bucket loses some credit.
pub fn wants_entry(queue: i32) {
    if let Some(shared) = SHARED.get().filter(|_| is_there()) {
        shared.with_entries_of(queue, |entries| entries.iter_mut().for_each(CacheEntry::grow_old));
    }
}

pub fn find_entry(
    entries: &[CacheEntry; WAYS],
    database: u32,
    queue: i32,
    direction: Direction,
) -> Option<usize> {
    entries.iter().position(|entry| entry.is_of(database, queue) && entry.direction == direction)
}

/// Returns the entry of a queue and direction; takes one if it has none.
pub fn entry_of(
    entries: &mut [CacheEntry; WAYS],
    database: u32,
    queue: i32,
    direction: Direction,
    most_credit: u8,
) -> Option<usize> {
    find_entry(entries, database, queue, direction)
        .or_else(|| take_entry(entries, database, queue, direction, most_credit))
}

/// Takes a free entry, or the one with the least credit; none if all have more than `most_credit`.
pub fn take_entry(
    entries: &mut [CacheEntry; WAYS],
    database: u32,
    queue: i32,
    direction: Direction,
    most_credit: u8,
) -> Option<usize> {
    let free = (0..WAYS).filter(|&n| !entries[n].is_needed());
    let n = free.min_by_key(|&n| (entries[n].is_in_use, entries[n].credit))?;
    if entries[n].is_in_use && entries[n].credit > most_credit {
        return None;
    }
    entries[n].begin_anew(database, queue, direction);
    entries[n].rows = layout::next_rows();
    Some(n)
}

/// Runs `work` with the hint of a priority, if there is one.
pub fn with_level<R>(at: Address, work: impl FnOnce(&mut Level) -> R) -> Option<R> {
    with_hint(at.queue, at.direction, |hint| hint.level(at.priority).map(work))?
}

/// Runs `work` with the entries of a queue, one a direction.
pub fn with_known(queue: i32, work: impl FnMut(&mut CacheEntry)) {
    let Some(shared) = SHARED.get() else { return };
    let database = database();
    shared.with_entries_of(queue, |entries| {
        entries.iter_mut().filter(|entry| entry.is_of(database, queue)).for_each(work);
    });
}

/// Runs `work` with all entries of this database, in buckets of which `may` is true.
pub fn for_each_entry(may: impl Fn(&Facts) -> bool, mut work: impl FnMut(&mut CacheEntry)) {
    let now = now();
    (0..buckets()).for_each(|n| with_known_of_bucket(n, now, &may, &mut work));
}

/// Collects the values that `pick` returns for the entries of this database, in buckets of which `may` is
/// true.
pub fn collect<T>(
    may: impl Fn(&Facts) -> bool,
    mut pick: impl FnMut(&mut CacheEntry) -> Option<T>,
) -> Vec<T> {
    let (mut picked, now) = (Vec::new(), now());
    for n in 0..buckets() {
        picked.reserve(WAYS); // not under the lock
        with_known_of_bucket(n, now, &may, |entry| picked.extend(pick(entry)));
    }
    picked
}

/// Returns the first value that `pick` returns for an entry of this database, in a bucket of which `may` is
/// true. The search begins where the last one ended, so that each bucket gets its turn.
pub fn find<T>(
    may: impl Fn(&Facts) -> bool,
    mut pick: impl FnMut(&mut CacheEntry) -> Option<T>,
) -> Option<T> {
    thread_local! {
        static LAST: Cell<usize> = const { Cell::new(0) };
    }
    let (all, last, now) = (buckets(), LAST.get(), now());
    (0..all).map(|n| (last + n) % all).find_map(|n| {
        let mut found = None;
        with_known_of_bucket(n, now, &may, |entry| {
            if found.is_none() {
                found = pick(entry);
            }
        });
        if found.is_some() {
            LAST.set(n);
        }
        found
    })
}

/// Runs `work` with the entries of this database in a bucket, unless the overview says that `may` is false.
fn with_known_of_bucket(
    n: usize,
    now: Timestamp,
    may: impl Fn(&Facts) -> bool,
    work: impl FnMut(&mut CacheEntry),
) {
    let Some(shared) = SHARED.get() else { return };
    let changes = shared.changes(n);
    let is_unused = changes == 0;
    if is_unused || overview::known(n, changes, now).is_some_and(|facts| !may(&facts)) {
        return;
    }
    let database = database();
    let (changes, facts) = shared.look_into(n, |entries, changes| {
        if may(&Facts::of(entries, database)) {
            entries.iter_mut().filter(|entry| entry.is_of_database(database)).for_each(work);
        }
        (changes, Facts::of(entries, database))
    });
    overview::remember(n, changes, now, facts);
}

/// True of every bucket.
fn any(_: &Facts) -> bool {
    true
}

/// Notes that a consumer could not reserve a message because a push held its unique key.
pub fn waits_for_key(queue: i32) {
    const LATELY: Timestamp = 1_000_000;
    let lately = Rest::begin(now(), LATELY);
    with_known(queue, |entry| entry.waited_for_key = lately);
}

/// True if that happened lately: then pushes leave the message to consumers.
pub fn is_waited_for_key(queue: i32) -> bool {
    let (mut is_waited_for, now) = (false, now());
    with_known(queue, |entry| is_waited_for |= !entry.waited_for_key.is_over(now));
    is_waited_for
}

/// Keeps an entry for a queue while a transaction is prepared, even if its bucket is in use by other queues.
/// False if there is no entry, or if other queues in the bucket keep too many: hints need some.
pub fn keep_for_prepared(queue: i32) -> bool {
    let Some(shared) = SHARED.get().filter(|_| is_there()) else { return false };
    let database = database();
    shared.with_entries_of(queue, |entries| {
        let is_kept = |entry: &CacheEntry| entry.is_needed() && !entry.is_of(database, queue);
        entries.iter().filter(|entry| is_kept(entry)).count() < MOST_NEEDED
            && entry_of(entries, database, queue, Direction::OldestFirst, CREDIT).is_some()
    })
}

/// Runs `work` with the rest that follows a search for dead messages in a full queue.
pub fn with_room<R>(queue: i32, work: impl FnOnce(&mut Rest) -> R) -> Option<R> {
    with_entry(queue, Direction::OldestFirst, |entry| work(&mut entry.rest_of_looks_for_dead))
}

/// Frees the entries of databases that do not exist any more.
pub fn free_all_but(databases: &[u32]) {
    let Some(shared) = SHARED.get() else { return };
    for n in (0..buckets()).filter(|&n| shared.changes(n) > 0) {
        shared.with_bucket(n, |entries| {
            entries
                .iter_mut()
                .filter(|entry| !databases.contains(&entry.database))
                .for_each(CacheEntry::vacate);
        });
    }
}

/// Forgets the hints of all queues of this database.
pub fn forget_hints() {
    for_each_entry(any, |entry| entry.hint.clear());
}

/// Frees all entries of this database: its queues are numbered anew.
pub fn forget_all() {
    for_each_entry(any, CacheEntry::vacate);
}
