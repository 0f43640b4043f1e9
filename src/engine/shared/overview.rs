//! An overview of the hint cache: what a process remembers of each bucket since its last look at it.
//!
//! The worker asks ten times a second whether anything is due, in a cache that may have a hundred thousand
//! entries. So it looks only into buckets that have changed since its last look, that have something due by
//! now, or that it has not looked into for some time (the clock may have been set back).

use std::cell::RefCell;

use crate::engine::shared::entry::{CacheEntry, WAYS};
use crate::hint::START;
use crate::value::timestamp::{NEVER, Timestamp};

/// What a bucket holds for this database.
#[derive(Clone, Copy)]
pub struct Facts {
    /// First due time of a delayed message that a hint knows.
    pub due: Timestamp,
    /// When a rescan is due that has a reason to find a message.
    pub suspicion: Timestamp,
    /// When a routine rescan is due.
    pub routine: Timestamp,
    pub has_prepared: bool,
    pub has_counts: bool,
    pub has_credit: bool,
}

impl Facts {
    pub const NONE: Self = Self {
        due: NEVER,
        suspicion: NEVER,
        routine: NEVER,
        has_prepared: false,
        has_counts: false,
        has_credit: false,
    };

    pub fn of(entries: &mut [CacheEntry; WAYS], database: u32) -> Self {
        let mut facts = Self::NONE;
        for entry in entries.iter_mut().filter(|entry| entry.is_of_database(database)) {
            let due = entry.hint.due().first;
            if due != START {
                facts.due = facts.due.min(due);
            }
            for level in entry.hint.levels() {
                facts.suspicion = facts.suspicion.min(level.next_suspicion());
                facts.routine = facts.routine.min(level.next_routine());
            }
            facts.has_prepared |= entry.hint.times_prepared() > 0;
            facts.has_counts |= entry.has_counts();
            facts.has_credit |= entry.has_credit();
        }
        facts
    }
}

#[derive(Clone, Copy)]
struct Seen {
    changes: u64,
    at: Timestamp,
    facts: Facts,
}

thread_local! {
    static SEEN: RefCell<Vec<Seen>> = const { RefCell::new(Vec::new()) };
}

/// After this time a bucket is looked into again, whether it has changed or not.
const GOOD_FOR: Timestamp = 5_000_000;

/// Returns what is known of a bucket that has changed so many times; none if it has to be looked into.
pub fn known(n: usize, changes: u64, now: Timestamp) -> Option<Facts> {
    let seen = SEEN.with_borrow(|seen| seen.get(n).copied())?;
    let is_good = seen.changes == changes && (seen.at..seen.at + GOOD_FOR).contains(&now);
    is_good.then_some(seen.facts)
}

/// Remembers what a look into a bucket has shown.
pub fn remember(n: usize, changes: u64, now: Timestamp, facts: Facts) {
    const NOTHING: Seen = Seen { changes: 0, at: Timestamp::MIN, facts: Facts::NONE };
    SEEN.with_borrow_mut(|seen| {
        if seen.len() <= n {
            seen.resize(n + 1, NOTHING);
        }
        seen[n] = Seen { changes, at: now, facts };
    });
}
