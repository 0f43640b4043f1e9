//! The hints of one queue in one scan direction.

use crate::hint::START;
use crate::hint::level::Level;
use crate::hint::rest::Rest;
use crate::value::timestamp::{NEVER, Timestamp};

/// Maximum number of priorities with a hint. Later priorities are scanned from their beginning.
pub const LEVELS: usize = 16;

/// How many of a queue's first priorities decide which have a hint, and whether there are more.
pub const ENOUGH: usize = LEVELS + 1;

/// Interval at which the engine looks for rows that no transaction announced.
const DOUBT: Timestamp = 5_000_000;

/// Rest between two looks at the delayed lane from its beginning, as a multiple of the time that one takes.
const LOOK_REST: Timestamp = 50;

#[derive(Clone, Debug)]
#[repr(C)]
pub struct QueueHint {
    levels: [Level; LEVELS],
    count: usize,
    /// Lowest priority of those without a hint.
    rest: i32,
    /// Number of appearances at priorities without a hint.
    in_rest: u64,
    /// Until this time the hint knows all priorities that have messages.
    known_until: Timestamp,
    due: Due,
    /// Until then a look for due messages begins no earlier than `due` says.
    due_is_trusted: Rest,
    times_cleared: u64,
    /// Number of transactions prepared since there was none.
    prepared: u64,
}

/// Higher than every priority.
const NO_REST: i32 = i32::MAX;

/// State of the priorities before a scan looks up which there are.
#[derive(Clone, Copy, Debug)]
pub struct Census {
    /// Each priority with a hint, and the number of its appearances.
    appearances: [(i16, u64); LEVELS],
    count: usize,
    in_rest: u64,
    times_cleared: u64,
}

/// The hint of the delayed lane.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Due {
    /// No message is due earlier; `START` if that is to be looked up.
    pub first: Timestamp,
    /// Nor before this time. Entries of messages that are gone lie there, while an old snapshot keeps them.
    low: Timestamp,
    appearances: u64,
}

impl Due {
    /// Where a look for due messages begins.
    pub fn from(self) -> Timestamp {
        self.first.max(self.low)
    }

    /// Forgets the first due time, and all if `low` is `START`.
    fn unknown(self, low: Timestamp) -> Self {
        Self { first: START, low, appearances: self.appearances + 1 }
    }
}

impl QueueHint {
    pub fn new() -> Self {
        Self {
            levels: std::array::from_fn(|_| Level::new(0, 0)),
            count: 0,
            rest: NO_REST,
            in_rest: 0,
            known_until: Timestamp::MIN,
            due: Due { first: START, low: START, appearances: 0 },
            due_is_trusted: Rest::OVER,
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
        self.due = self.due.unknown(START);
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
            self.in_rest += 1;
            return None;
        }
        let place = match self.place(priority) {
            Ok(place) => place,
            Err(LEVELS) => {
                self.in_rest += 1;
                self.rest = i32::from(priority);
                return None;
            }
            Err(place) => {
                if self.count == LEVELS {
                    self.in_rest += 1;
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

    pub fn census(&self) -> Census {
        let mut appearances = [(0, 0); LEVELS];
        for (at, level) in appearances.iter_mut().zip(&self.levels[..self.count]) {
            *at = (level.priority, level.appearances());
        }
        Census { appearances, count: self.count, in_rest: self.in_rest, times_cleared: self.times_cleared }
    }

    /// Notes which priorities a scan of the index has found since the census: the first `ENOUGH`, in order. Has
    /// no effect if the hint was cleared meanwhile.
    ///
    /// A priority without an entry in the index has no message. If others are without a hint, its own is
    /// forgotten, unless something has appeared there since the census.
    pub fn has_become_known(&mut self, now: Timestamp, census: &Census, found: &[i16]) {
        if self.times_cleared != census.times_cleared {
            return;
        }
        if self.rest != NO_REST {
            self.forget_levels(|level| {
                let before = (level.priority, level.appearances());
                census.appearances[..census.count].contains(&before) && !found.contains(&level.priority)
            });
        }
        if self.in_rest == census.in_rest {
            self.rest = NO_REST;
        }
        for &priority in found {
            self.level_or_new(priority, now);
        }
        self.known_until = now + DOUBT;
        let is_trusted = !self.due_is_trusted.is_over(now);
        self.due = self.due.unknown(if is_trusted { self.due.low } else { START });
        self.levels().iter_mut().for_each(Level::doubt);
    }

    fn forget_levels(&mut self, is_needless: impl Fn(&Level) -> bool) {
        let mut kept = 0;
        for n in 0..self.count {
            if !is_needless(&self.levels[n]) {
                self.levels.swap(kept, n);
                kept += 1;
            }
        }
        self.count = kept;
    }

    pub fn due(&self) -> Due {
        // A prepared message is invisible, and may be due once it is visible.
        if self.prepared > 0 { Due { first: START, low: START, ..self.due } } else { self.due }
    }

    /// Forgets due times up to `now`: those messages are in the ready lane.
    pub fn forget_due(&mut self, now: Timestamp) {
        if self.due.first <= now {
            self.due = self.due.unknown(self.due.from());
        }
    }

    /// Notes a message that waits in the delayed lane until `at`.
    pub fn delayed(&mut self, at: Timestamp) {
        self.due.first = self.due.first.min(at);
        self.due.low = self.due.low.min(at);
        self.due.appearances += 1;
    }

    /// Notes that a scan of the delayed lane, which took `length`, saw no message due before `first`.
    pub fn saw_due(&mut self, seen: Due, first: Option<Timestamp>, now: Timestamp, length: Timestamp) {
        if self.due.appearances != seen.appearances {
            return;
        }
        self.due.first = first.unwrap_or(NEVER);
        if seen.from() == START {
            self.due_is_trusted = Rest::begin(now, DOUBT.max(length * LOOK_REST));
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
        self.due = self.due.unknown(START);
        self.levels().iter_mut().for_each(Level::nothing_is_prepared);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hint::Direction;
    use crate::hint::ids::Ids;

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

    fn full() -> QueueHint {
        let mut hint = QueueHint::new();
        for priority in (0..16).chain([20, 30]) {
            hint.level_or_new(priority, 0);
        }
        assert_eq!(hint.rest(), Some(20));
        hint
    }

    fn known(hint: &QueueHint) -> Vec<i16> {
        hint.priorities().collect()
    }

    #[test]
    fn priorities_without_messages_leave_their_places_to_others() {
        let mut hint = full();
        hint.has_become_known(0, &hint.census(), &[7, 20, 30]);
        assert_eq!((known(&hint), hint.rest()), (vec![7, 20, 30], None));
        hint.has_become_known(0, &hint.census(), &[7]);
        assert_eq!(known(&hint), [7, 20, 30], "there is room for all");
        hint.level_or_new(50, 0);
        (60..75).for_each(|priority| _ = hint.level_or_new(priority, 0));
        let seventeen: Vec<i16> = (40..57).collect();
        hint.has_become_known(0, &hint.census(), &seventeen);
        assert_eq!((known(&hint), hint.rest()), ((40..56).collect(), Some(56)));
    }

    #[test]
    fn a_priority_that_appears_during_a_look_is_not_forgotten() {
        let mut hint = full();
        let census = hint.census();
        let mut ids = Ids::default();
        ids.add(1);
        hint.level_or_new(3, 0).unwrap().appeared(&ids, Direction::OldestFirst);
        hint.level_or_new(-1, 0).unwrap(); // in the place of 15
        hint.has_become_known(0, &census, &[7]);
        assert_eq!((known(&hint), hint.rest()), (vec![-1, 3, 7], Some(15)));
        let census = hint.census();
        assert!(hint.level_or_new(40, 0).is_none());
        hint.has_become_known(0, &census, &[7]);
        assert_eq!((known(&hint), hint.rest()), (vec![7], Some(15)), "40 belongs to the rest");
        hint.has_become_known(0, &hint.census(), &[7, 40]);
        assert_eq!((known(&hint), hint.rest()), (vec![7, 40], None));
    }

    #[test]
    fn a_due_time_that_appears_during_a_look_is_not_forgotten() {
        let mut hint = QueueHint::new();
        let seen = hint.due();
        hint.delayed(50);
        hint.saw_due(seen, None, 0, 1);
        assert_eq!(hint.due().first, START);
        let seen = hint.due();
        hint.saw_due(seen, Some(50), 0, 1);
        assert_eq!(hint.due().first, 50);
        hint.delayed(20);
        assert_eq!(hint.next_change(), 20);
    }

    #[test]
    fn a_look_for_due_messages_begins_behind_those_that_are_gone() {
        let mut hint = QueueHint::new();
        hint.saw_due(hint.due(), Some(50), 0, 1);
        hint.forget_due(60);
        assert_eq!((hint.due().first, hint.due().from()), (START, 50));
        hint.delayed(20);
        assert_eq!(hint.due().from(), 20);
        hint.saw_due(hint.due(), Some(70), 60, 1);
        hint.has_become_known(DOUBT - 1, &hint.census(), &[]);
        assert_eq!(hint.due().from(), 20, "the beginning was looked at lately");
        hint.has_become_known(DOUBT, &hint.census(), &[]);
        assert_eq!(hint.due().from(), START);
        hint.saw_due(hint.due(), Some(70), DOUBT, DOUBT);
        hint.forget_due(80);
        hint.has_become_known(40 * DOUBT, &hint.census(), &[]);
        assert_eq!(hint.due().from(), 70, "the look took long");
    }

    #[test]
    fn knowledge_is_doubted_after_a_while_and_when_the_clock_is_set_back() {
        let mut hint = QueueHint::new();
        assert!(!hint.is_known(0));
        hint.has_become_known(100, &hint.census(), &[]);
        assert!(hint.is_known(101));
        assert!(!hint.is_known(100 + DOUBT));
        assert!(!hint.is_known(-1_000_000));
    }
}
