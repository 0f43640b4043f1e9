//! The hints of one queue in one scan direction.

use crate::hint::START;
use crate::hint::level::Level;
use crate::value::timestamp::{NEVER, Timestamp};

/// Maximum number of priorities with a hint. Later priorities are scanned from their beginning.
pub const LEVELS: usize = 16;

/// Interval at which the engine looks for rows that no transaction announced.
const DOUBT: Timestamp = 5_000_000;

#[derive(Clone, Debug)]
#[repr(C)]
pub struct QueueHint {
    levels: [Level; LEVELS],
    count: usize,
    /// Lowest priority of those without a hint.
    rest: i32,
    /// Until this time the hint knows all priorities that have messages.
    known_until: Timestamp,
    due: Due,
    times_cleared: u64,
    /// Number of transactions prepared since there was none.
    prepared: u64,
}

/// Higher than every priority.
const NO_REST: i32 = i32::MAX;

/// The hint of the delayed lane.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Due {
    /// No message is due earlier.
    pub first: Timestamp,
    appearances: u64,
}

impl QueueHint {
    pub fn new() -> Self {
        Self {
            levels: std::array::from_fn(|_| Level::new(0, 0)),
            count: 0,
            rest: NO_REST,
            known_until: Timestamp::MIN,
            due: Due { first: START, appearances: 0 },
            times_cleared: 0,
            prepared: 0,
        }
    }

    /// Forgets everything: the cache entry now belongs to another queue.
    pub fn begin_anew(&mut self) {
        self.clear();
        self.prepared = 0;
    }

    /// Forgets everything except the number of prepared transactions.
    pub fn clear(&mut self) {
        self.times_cleared += 1;
        self.count = 0;
        self.rest = NO_REST;
        self.known_until = Timestamp::MIN;
        self.due = Due { first: START, appearances: self.due.appearances + 1 };
    }

    pub fn levels(&mut self) -> &mut [Level] {
        &mut self.levels[..self.count]
    }

    /// Returns the priorities that have a hint, in order.
    pub fn priorities(&self) -> impl Iterator<Item = i16> {
        self.levels[..self.count].iter().map(|level| level.priority)
    }

    /// Returns the first priority without a hint, if there is one.
    pub fn rest(&self) -> Option<i16> {
        i16::try_from(self.rest).ok()
    }

    pub fn level(&mut self, priority: i16) -> Option<&mut Level> {
        let place = self.place(priority).ok()?;
        Some(&mut self.levels[place])
    }

    fn place(&self, priority: i16) -> Result<usize, usize> {
        self.levels[..self.count].binary_search_by_key(&priority, |level| level.priority)
    }

    /// Returns the hint of a priority and makes it if it is missing; none if the priority belongs to the
    /// rest.
    pub fn level_or_new(&mut self, priority: i16, now: Timestamp) -> Option<&mut Level> {
        if i32::from(priority) >= self.rest {
            return None;
        }
        let place = match self.place(priority) {
            Ok(place) => place,
            Err(LEVELS) => {
                self.rest = i32::from(priority);
                return None;
            }
            Err(place) => {
                if self.count == LEVELS {
                    self.count -= 1;
                    self.rest = i32::from(self.levels[self.count].priority);
                }
                self.levels[place..=self.count].rotate_right(1);
                self.levels[place] = Level::new(priority, now);
                if self.prepared > 0 {
                    self.levels[place].may_be_prepared(now);
                }
                self.count += 1;
                place
            }
        };
        Some(&mut self.levels[place])
    }

    /// True if the hint knows all priorities that have messages.
    pub fn is_known(&self, now: Timestamp) -> bool {
        now < self.known_until && self.known_until <= now + DOUBT
    }

    /// Counter of `clear` calls.
    pub fn times_cleared(&self) -> u64 {
        self.times_cleared
    }

    /// Notes that a scan has found all priorities. Has no effect if the hint was cleared meanwhile.
    pub fn has_become_known(&mut self, now: Timestamp, times_cleared: u64) {
        if self.times_cleared != times_cleared {
            return;
        }
        self.known_until = now + DOUBT;
        self.due.first = START;
        self.due.appearances += 1;
        self.levels().iter_mut().for_each(Level::doubt);
    }

    pub fn due(&self) -> Due {
        // A prepared message is invisible, and may be due once it is visible.
        let first = if self.prepared > 0 { START } else { self.due.first };
        Due { first, ..self.due }
    }

    /// Forgets due times up to `now`: those messages are in the ready lane.
    pub fn forget_due(&mut self, now: Timestamp) {
        if self.due.first <= now {
            self.due = Due { first: START, appearances: self.due.appearances + 1 };
        }
    }

    /// Notes a message that waits in the delayed lane until `at`.
    pub fn delayed(&mut self, at: Timestamp) {
        self.due.first = self.due.first.min(at);
        self.due.appearances += 1;
    }

    /// Notes that a scan of the delayed lane saw no message due before `first`.
    pub fn saw_due(&mut self, seen: Due, first: Option<Timestamp>) {
        if self.due.appearances == seen.appearances {
            self.due.first = first.unwrap_or(NEVER);
        }
    }

    /// Returns the next time when a message may become ready without an announcement.
    pub fn next_change(&mut self) -> Timestamp {
        let due = self.due.first;
        self.levels().iter().map(Level::next_end).min().unwrap_or(NEVER).min(due)
    }

    /// Notes a prepared transaction that holds or made messages.
    pub fn is_prepared(&mut self) {
        self.prepared += 1;
    }

    /// Number of transactions prepared since there was none.
    pub fn times_prepared(&self) -> u64 {
        self.prepared
    }

    /// Has messages of prepared transactions rescanned: they may be free.
    pub fn look_for_prepared(&mut self) {
        self.levels().iter_mut().for_each(Level::look_for_prepared);
    }

    /// Notes that no prepared transaction is left.
    pub fn nothing_is_prepared(&mut self) {
        self.prepared = 0;
        self.due = Due { first: START, appearances: self.due.appearances + 1 };
        self.levels().iter_mut().for_each(Level::nothing_is_prepared);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_priorities_have_hints_and_the_rest_is_named() {
        let mut hint = QueueHint::new();
        for priority in (0..20).rev() {
            assert!(hint.level_or_new(priority, 0).is_some() || priority >= 20 - 4);
        }
        assert_eq!(hint.priorities().collect::<Vec<_>>(), (0..16).collect::<Vec<_>>());
        assert_eq!(hint.rest(), Some(16));
        assert!(hint.level_or_new(16, 0).is_none());
        assert!(hint.level_or_new(100, 0).is_none());
        assert!(hint.level_or_new(-5, 0).is_some());
        assert_eq!(hint.rest(), Some(15));
    }

    #[test]
    fn a_full_hint_takes_no_higher_priority() {
        let mut hint = QueueHint::new();
        (0..16).for_each(|priority| assert!(hint.level_or_new(priority, 0).is_some()));
        assert!(hint.level_or_new(20, 0).is_none());
        assert_eq!(hint.rest(), Some(20));
        assert!(hint.level_or_new(18, 0).is_none(), "18 lies before the rest, and has messages");
        assert_eq!(hint.rest(), Some(18));
    }

    #[test]
    fn a_due_time_that_appears_during_a_look_is_not_forgotten() {
        let mut hint = QueueHint::new();
        let seen = hint.due();
        hint.delayed(50);
        hint.saw_due(seen, None);
        assert_eq!(hint.due().first, START);
        let seen = hint.due();
        hint.saw_due(seen, Some(50));
        assert_eq!(hint.due().first, 50);
        hint.delayed(20);
        assert_eq!(hint.next_change(), 20);
    }

    #[test]
    fn knowledge_is_doubted_after_a_while_and_when_the_clock_is_set_back() {
        let mut hint = QueueHint::new();
        assert!(!hint.is_known(0));
        hint.has_become_known(100, 0);
        assert!(hint.is_known(101));
        assert!(!hint.is_known(100 + DOUBT));
        assert!(!hint.is_known(-1_000_000));
    }
}
