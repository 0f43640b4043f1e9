//! Publishes the changes of a transaction to hints and sleepers.

use crate::engine::commit::pending::{PendingChanges, PendingLevel};
use crate::engine::shared::entry::CacheEntry;
use crate::engine::shared::{hint_cache, listeners, sleeper, tally};
use crate::engine::table::counts::Counts;
use crate::hint::Direction;
use crate::hint::ids::Ids;
use crate::hint::level::Level;
use crate::hint::slots::SlotHint;
use crate::pg::session::now;
use crate::value::timestamp::Timestamp;

/// How a transaction ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    Commit,
    Abort,
    /// It is decided later, by another session.
    Prepare,
}

/// Tells the hints of a queue the changes of a transaction, adds its counts, and notes which sleepers to
/// wake.
pub fn publish(queue: i32, changes: &PendingChanges, end: End, counts: Option<Counts>) {
    let now = now();
    // Its messages are looked at again when the transaction is decided; without a cache entry, by a routine
    // rescan.
    let is_kept = end == End::Prepare && hint_cache::keep_for_prepared(queue);
    if end == End::Prepare && !is_kept {
        tally::prepared_without_place();
    }
    tally::tell(queue, counts, |entry| {
        changes.tell_levels(entry, end, now);
        if is_kept {
            entry.hint.is_prepared();
        }
        changes.tell_queue(entry, end);
    });
    sleeper::owe(queue, changes.messages_for_sleepers(end));
    if end == End::Commit
        && let Some(at) = changes.next_time()
    {
        sleeper::owe_time(queue, at);
    }
    if end == End::Commit && changes.makes_ready() {
        listeners::will_have_news(queue);
    }
}

impl PendingLevel {
    fn tell(&self, level: &mut Level, direction: Direction, end: End, now: Timestamp) {
        let first = |ids: &Ids| (!ids.is_empty()).then(|| ids.first(direction));
        if end != End::Abort
            && let Some(first) = first(&self.leased)
        {
            level.leased(first, self.first_end);
        }
        match end {
            End::Commit if !self.ready.is_empty() => level.appeared(&self.ready, direction),
            End::Abort if !self.touched.is_empty() => level.appeared(&self.touched, direction),
            End::Prepare => {
                let firsts = [first(&self.ready), first(&self.touched)];
                firsts.into_iter().flatten().for_each(|first| level.prepared(first, now));
            }
            End::Commit | End::Abort => {}
        }
    }
}

impl PendingChanges {
    fn tell_levels(&self, entry: &mut CacheEntry, end: End, now: Timestamp) {
        for (priority, changes) in self.levels.iter() {
            if let Some(level) = entry.hint.level_or_new(priority, now) {
                changes.tell(level, entry.direction, end, now);
            }
        }
    }

    fn tell_queue(&self, entry: &mut CacheEntry, end: End) {
        if let Some(at) = self.delayed.filter(|_| end != End::Abort) {
            entry.hint.delayed(at);
        }
        if entry.direction == Direction::OldestFirst {
            self.tell_of_slots(&mut entry.slots, end);
        }
        let must_look_again = if end == End::Abort { self.removed } else { self.forget };
        if must_look_again {
            entry.hint.clear();
        }
    }

    fn makes_ready(&self) -> bool {
        self.resumed || self.slots_freed > 0 || self.levels.iter().any(|(_, level)| !level.ready.is_empty())
    }

    fn tell_of_slots(&self, slots: &mut SlotHint, end: End) {
        match end {
            End::Commit | End::Prepare if self.forget => slots.forget(),
            End::Commit if self.slots_freed > 0 => slots.freed(&self.free_slots),
            End::Abort if !self.slots_taken.is_empty() => slots.freed(&self.slots_taken),
            End::Abort if self.removed || self.forget => slots.forget(),
            _ => {}
        }
    }

    /// How many messages sleepers have to hear of; `usize::MAX` if all sleepers have to look.
    fn messages_for_sleepers(&self, end: End) -> usize {
        let sum =
            |ids: fn(&PendingLevel) -> &Ids| self.levels.iter().map(|(_, level)| ids(level).count()).sum();
        match end {
            End::Abort if self.removed => usize::MAX,
            End::Abort => sum(|level| &level.touched),
            // Sleepers look by themselves when their sleep is over.
            End::Prepare => 0,
            End::Commit if self.resumed => usize::MAX,
            End::Commit => sum(|level| &level.ready).max(self.slots_freed).max(self.freed),
        }
    }

    /// The next time at which a message of its own comes by itself.
    fn next_time(&self) -> Option<Timestamp> {
        let leases = self.levels.iter().filter(|(_, level)| !level.leased.is_empty());
        leases.map(|(_, level)| level.first_end).chain(self.delayed).min()
    }
}
