//! Bringing what a transaction has done to the hints, and to sleepers.

use crate::engine::commit::pending::{PendingChanges, PendingLevel};
use crate::engine::shared::condition::LONGEST_SLEEP;
use crate::engine::shared::{hint_cache, listeners, sleeper};
use crate::hint::ids::Ids;
use crate::hint::slots::SlotHint;
use crate::hint::{Direction, Key};
use crate::pg::session::now;
use crate::value::timestamp::Timestamp;

/// How a transaction ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    Commit,
    Abort,
    /// Decided later, by another session.
    Prepare,
}

/// Brings news to the board, and notes which sleepers are to be woken.
pub fn publish(news: &PendingChanges, end: End) {
    let now = now();
    let makes_ready = end == End::Commit && news.makes_ready();
    if end == End::Prepare {
        hint_cache::make_place(news.queue); // it is to be looked at
    }
    hint_cache::with_known(news.queue, |place| {
        let direction = place.direction;
        for told in &news.levels {
            let Some(level) = place.hint.level_or_new(told.priority, now) else { continue };
            let first = |ids: &Ids| -> Option<Key> { (!ids.is_empty()).then(|| ids.first(direction)) };
            match end {
                End::Commit => {
                    if let Some(first) = first(&told.leased) {
                        level.leased(first, told.first_end);
                    }
                    if !told.ready.is_empty() {
                        level.appeared(&told.ready, direction);
                    }
                }
                End::Abort if !told.touched.is_empty() => level.appeared(&told.touched, direction),
                End::Abort => {}
                End::Prepare => {
                    for first in [first(&told.ready), first(&told.touched)].into_iter().flatten() {
                        level.prepared(first, now);
                    }
                    if let Some(first) = first(&told.leased) {
                        level.leased(first, told.first_end);
                    }
                }
            }
        }
        if end == End::Prepare {
            place.hint.is_prepared();
        }
        if let Some(at) = news.delayed.filter(|_| end != End::Abort) {
            place.hint.delayed(at);
        }
        if place.direction == Direction::OldestFirst {
            news.tell_of_slots(&mut place.slots, end);
        }
        let must_look_again = if end == End::Abort { news.removed } else { news.forget };
        if must_look_again {
            place.hint.clear();
        }
    });
    sleeper::owe(news.queue, news.sleepers_to_wake(end, now));
    if makes_ready {
        listeners::will_have_news(news.queue);
    }
}

impl PendingChanges {
    fn makes_ready(&self) -> bool {
        self.resumed || self.slots_freed > 0 || self.levels.iter().any(|level| !level.ready.is_empty())
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

    fn sleepers_to_wake(&self, end: End, now: Timestamp) -> usize {
        let sum = |ids: fn(&PendingLevel) -> &Ids| self.levels.iter().map(|level| ids(level).count()).sum();
        match end {
            End::Abort if self.removed => usize::MAX,
            End::Abort => sum(|level| &level.touched),
            // Sleepers find out by themselves.
            End::Prepare => 0,
            End::Commit if self.resumed => usize::MAX,
            End::Commit => {
                let leases = self.levels.iter().filter(|level| !level.leased.is_empty());
                let next = leases.map(|level| level.first_end).chain(self.delayed).min();
                // Somebody has to know the time; who sleeps looks again before a later one.
                let soon = next.is_some_and(|at| at < now + LONGEST_SLEEP.as_micros() as i64);
                sum(|level| &level.ready).max(self.slots_freed).max(usize::from(soon || self.freed))
            }
        }
    }
}
