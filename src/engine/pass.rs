//! Passes: looking again at what lies before the front of a hint, a part at a time.
//! What may be reserved there goes into the hint's stash.

use super::board;
use super::lane::Address;
use super::message::{Column, is_leased};
use super::now;
use super::table::{Snapshot, Table};
use crate::hint::level::{Chunk, Findings, STASH, Sweeper};
use crate::hint::{NEVER, NOWHERE, START, Timestamp};

/// After so long a message that somebody was changing is looked at again.
pub const RECHECK: Timestamp = 1_000_000;

/// Looks at up to `most` entries of a chunk and brings to the board what it finds.
/// Returns how many entries gave nothing.
pub fn sweep(table: &Table, at: Address, chunk: Chunk, most: u64) -> u64 {
    let findings = look(table, at, chunk, most);
    let vain = findings.entries - findings.found.len() as u64;
    let found = !findings.found.is_empty();
    board::with_level(at, |level| level.swept(chunk, findings, now()));
    if found {
        board::with_known(at.queue, |place| place.has_news = true);
    }
    vain
}

fn look(table: &Table, at: Address, chunk: Chunk, most: u64) -> Findings {
    let now = now();
    let mut findings = Findings {
        found: Vec::with_capacity(STASH),
        reached: NOWHERE,
        first_visible: None,
        first_end: NEVER,
        entries: 0,
    };
    let snapshot = Snapshot::take();
    let mut scan = at.entries(table, Some(&snapshot), chunk.from);
    let mut last = None;
    while let Some(entry) = scan.next_entry() {
        let key = at.key(&entry);
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
    while budget > 0
        && let Some((at, chunk)) = next_chunk()
    {
        let part = budget.min(PART);
        budget -= part;
        sweep(table, at, chunk, part);
    }
}

/// Whether a pass of this database is due.
pub fn is_due() -> bool {
    next_chunk().is_some()
}

/// How many entries the worker looks at with one snapshot.
const PART: u64 = 5_000;

/// A chunk of some pass that is due.
fn next_chunk() -> Option<(Address, Chunk)> {
    let now = now();
    board::find(|place| {
        let (queue, direction) = (place.queue, place.direction);
        place.hint.levels().iter_mut().find_map(|level| {
            let at = Address { queue, direction, priority: level.priority };
            Some((at, level.chunk(Sweeper::Worker, now)?))
        })
    })
}

/// All that was due has been moved: what the hints know of due times is over.
pub fn forget_due() {
    let now = now();
    board::for_each_place(|place| place.hint.forget_due(now));
}

/// Whether a message of the delayed lane may be due. What nobody has looked for, rounds
/// find.
pub fn a_message_is_due() -> bool {
    let now = now();
    board::find(|place| {
        let first = place.hint.due().first;
        (first != START && first <= now).then_some(())
    })
    .is_some()
}

/// Tells hints that no prepared transaction is left, if `check` says so.
pub fn settle_prepared(check: impl FnOnce() -> bool) {
    let waiting = board::collect(|place| {
        let times = place.hint.times_prepared();
        (times > 0).then_some((place.queue, place.direction, times))
    });
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
