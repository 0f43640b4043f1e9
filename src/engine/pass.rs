//! Passes: looking again at what lies before the front of a hint, a part at a time.
//! What may be reserved there goes into the hint's stash.

use super::board;
use super::lane;
use super::message::{Column, is_leased};
use super::now;
use super::table::{Snapshot, Table};
use crate::hint::level::{Chunk, Findings, STASH, Sweeper};
use crate::hint::{Direction, NEVER, NOWHERE, START, Timestamp};

/// After so long a message that somebody was changing is looked at again.
pub const RECHECK: Timestamp = 1_000_000;

/// Looks at up to `most` entries of a chunk and brings to the board what it finds.
/// Returns how many entries gave nothing.
pub fn sweep(table: &Table, queue: i32, direction: Direction, priority: i16, chunk: Chunk, most: u64) -> u64 {
    let findings = look(table, queue, direction, priority, chunk, most);
    let vain = findings.entries - findings.found.len() as u64;
    let found = !findings.found.is_empty();
    board::with_level(queue, direction, priority, |level| level.swept(chunk, findings, now()));
    if found {
        board::with_known(queue, |place, _| place.has_news = true);
    }
    vain
}

fn look(table: &Table, queue: i32, direction: Direction, priority: i16, chunk: Chunk, most: u64) -> Findings {
    let now = now();
    let mut findings = Findings {
        found: Vec::with_capacity(STASH),
        reached: NOWHERE,
        first_visible: None,
        first_end: NEVER,
        entries: 0,
    };
    let snapshot = Snapshot::take();
    let mut scan = lane::entries(table, Some(&snapshot), queue, priority, chunk.from, direction);
    let mut last = None;
    while let Some(entry) = scan.next_entry() {
        let key = direction.key(entry.id);
        if key >= chunk.to {
            break;
        }
        // A row may have several entries with one key: a part ends between keys.
        let is_same = last == Some(key);
        if !is_same && (findings.entries >= most || findings.found.len() == STASH) {
            findings.reached = key;
            break;
        }
        last = Some(key);
        findings.entries += 1;
        let Some(row) = scan.fetch() else { continue };
        findings.first_visible.get_or_insert(key);
        let lease_until = row.i64(Column::LeaseUntil);
        if is_leased(lease_until, now) {
            findings.first_end = findings.first_end.min(lease_until);
        } else if row.is_busy() {
            findings.first_end = findings.first_end.min(now + RECHECK);
        } else if !row.has_expired(now) {
            findings.found.push(key);
        }
    }
    findings
}

/// The worker's part: goes on with the passes of this database for so many entries.
pub fn work(table: &Table, mut budget: u64) {
    for n in 0..board::buckets() {
        while budget > 0
            && let Some((queue, direction, priority, chunk)) = next_chunk(n)
        {
            let part = budget.min(PART);
            budget -= part;
            sweep(table, queue, direction, priority, chunk, part);
        }
    }
}

/// Whether a pass of this database is due.
pub fn is_due() -> bool {
    (0..board::buckets()).any(|n| next_chunk(n).is_some())
}

/// All that was due has been moved: what the hints know of due times is over.
pub fn forget_due() {
    let now = now();
    for n in 0..board::buckets() {
        board::with_bucket_of_this_database(n, |place, _, _| place.hint.forget_due(now));
    }
}

/// Whether a message of the delayed lane may be due.
pub fn a_message_is_due() -> bool {
    let now = now();
    let mut is_due = false;
    for n in 0..board::buckets() {
        board::with_bucket_of_this_database(n, |place, _, _| {
            let first = place.hint.due().first;
            is_due |= first != START && first <= now; // what nobody has looked for, rounds find
        });
    }
    is_due
}

/// How many entries the worker looks at with one snapshot.
const PART: u64 = 5_000;

/// A chunk of some pass in bucket `n` that is due.
fn next_chunk(n: usize) -> Option<(i32, Direction, i16, Chunk)> {
    let now = now();
    let mut next = None;
    board::with_bucket_of_this_database(n, |place, queue, direction| {
        for level in place.hint.levels() {
            if next.is_none()
                && let Some(chunk) = level.chunk(Sweeper::Worker, now)
            {
                next = Some((queue, direction, level.priority, chunk));
            }
        }
    });
    next
}

/// Tells hints that no prepared transaction is left, if `check` says so.
pub fn settle_prepared(check: impl FnOnce() -> bool) {
    let mut waiting = Vec::new();
    for n in 0..board::buckets() {
        waiting.reserve(board::WAYS);
        board::with_bucket_of_this_database(n, |place, queue, direction| {
            if place.hint.times_prepared() > 0 {
                waiting.push((queue, direction, place.hint.times_prepared()));
            }
        });
    }
    if waiting.is_empty() || !check() {
        return;
    }
    for (queue, direction, times) in waiting {
        board::with_hint(queue, direction, |hint| {
            // Unless another one has been prepared since.
            if hint.times_prepared() == times {
                hint.nothing_is_prepared();
            }
        });
    }
}
