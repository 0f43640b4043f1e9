//! Counts of committed transactions that the worker has yet to write to `pgqueue.counter`.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::shared::entry::{CacheEntry, MOST_NEEDED};
use crate::engine::shared::hint_cache::{CREDIT, entry_of, find_entry, take_entry, with_known};
use crate::engine::shared::layout::{SHARED, header, is_there, next_rows};
use crate::engine::shared::queue_key::database;
use crate::engine::table::counts::Counts;
use crate::hint::Direction;
use crate::pg::session::now;
use crate::value::timestamp::Timestamp;

/// Keeps room in shared memory for the counts of a queue, until `add_counts`; false if there is none. A queue
/// without an entry gets one only if its bucket does not hold many counts already: hints need entries too.
pub fn keep_entry(queue: i32) -> bool {
    let Some(shared) = SHARED.get().filter(|_| is_there() && !are_counts_written()) else { return false };
    let database = database();
    shared.with_entries_of(queue, |entries| {
        let has_room = entries.iter().filter(|entry| entry.is_needed()).count() < MOST_NEEDED;
        let entry = find_entry(entries, database, queue, Direction::OldestFirst).or_else(|| {
            has_room.then(|| take_entry(entries, database, queue, Direction::OldestFirst, 0)).flatten()
        });
        entry.map(|n| entries[n].kept_for += 1).is_some()
    })
}

/// Has transactions of this database write down their counts themselves up to this time: so none is left that
/// commits and has yet to add counts.
pub fn have_counts_written(until: Timestamp) {
    if let Some(header) = header() {
        header.written_in.store(database(), Ordering::Release);
        header.written_until.store(until, Ordering::Release);
    }
}

fn are_counts_written() -> bool {
    header().is_some_and(|header| {
        let until = header.written_until.load(Ordering::Acquire);
        until != Timestamp::MIN && now() < until && header.written_in.load(Ordering::Acquire) == database()
    })
}

/// Notes that a transaction has committed which has written down its counts of a queue itself.
pub fn has_written(queue: i32) {
    let rows = next_rows();
    with_known(queue, |entry| entry.rows = rows);
}

/// Adds the counts of a queue, for which `keep_entry` has kept room.
pub fn add_counts(queue: i32, counts: Counts) {
    tell(queue, Some(counts), |_| {});
}

/// Runs `work` with the entries of a queue and, under the same lock, adds counts for which room was kept.
pub fn tell(queue: i32, counts: Option<Counts>, work: impl FnMut(&mut CacheEntry)) {
    let Some(shared) = SHARED.get() else { return };
    let database = database();
    shared.with_entries_of(queue, |entries| {
        entries.iter_mut().filter(|entry| entry.is_of(database, queue)).for_each(work);
        let Some(counts) = counts else { return };
        // A transaction that created the extension again may have freed the entry.
        if let Some(n) = entry_of(entries, database, queue, Direction::OldestFirst, CREDIT) {
            entries[n].kept_for = entries[n].kept_for.saturating_sub(1);
            entries[n].counts += counts;
            entries[n].times_counted += 1;
        }
    });
}

/// Returns how many transactions have begun, and how many have ended, to write counts down. In between, the
/// counts may be both in shared memory and in `pgqueue.counter`, or in neither.
pub fn drains() -> [u64; 2] {
    header().map_or([0, 0], |header| header.drains.each_ref().map(|drains| drains.load(Ordering::Acquire)))
}

/// Notes that counts were written down otherwise than by a drain.
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
    if let Some(header) = header() {
        header.drains[n].fetch_add(1, Ordering::AcqRel);
    }
}

/// Notes that a transaction is prepared which has written counts of a queue without a place in the cache.
pub fn prepared_without_place() {
    if let Some(unplaced) = unplaced_counter() {
        unplaced.fetch_add(1, Ordering::AcqRel);
    }
}

/// Number of transactions, in all databases, of which `prepared_without_place` has told since there was none.
pub fn unplaced() -> u64 {
    unplaced_counter().map_or(0, |unplaced| unplaced.load(Ordering::Acquire))
}

/// Notes that no transaction is prepared, unless `unplaced` has grown.
pub fn nothing_is_unplaced(unplaced: u64) {
    note_written();
    if let Some(counter) = unplaced_counter() {
        // A failure says that another was prepared since.
        let _ = counter.compare_exchange(unplaced, 0, Ordering::AcqRel, Ordering::Acquire);
    }
}

fn unplaced_counter() -> Option<&'static AtomicU64> {
    header().map(|header| &header.unplaced)
}

/// Counts of a queue that are not written down.
#[derive(Clone, Copy, Default, PartialEq)]
pub struct Tally {
    pub counts: Counts,
    /// Counter of additions.
    times: u64,
    /// Number of committing transactions, whose messages may be visible before they are counted.
    pub committing: u32,
    /// It changes when a transaction commits that has written counts itself.
    pub rows: u64,
    /// A prepared transaction may have written counts: they are visible once it is committed.
    pub has_prepared: bool,
}

pub fn counted(queue: i32) -> Tally {
    known_counted(queue).unwrap_or_default()
}

/// Like `counted`; none if the queue has no entry, so that each transaction writes its counts itself.
pub fn known_counted(queue: i32) -> Option<Tally> {
    let (mut counted, unplaced) = (None, unplaced());
    with_known(queue, |entry| {
        if entry.direction == Direction::OldestFirst {
            let (times, committing) = (entry.times_counted, entry.kept_for);
            let has_prepared = unplaced > 0 || entry.hint.times_prepared() > 0;
            let (counts, rows) = (entry.counts, entry.rows);
            counted = Some(Tally { counts, times, committing, rows, has_prepared });
        }
    });
    counted
}
