//! The hint of one priority level.
//!
//! ```text
//!      low            cursor                  front
//!  ─────┼───────────────┼───────────────────────┼─────────────────────▶ key
//!  gone │ in flight, gone · a few in the stash  │ pushed, not scanned yet
//!       └── rescan: from the cursor to ─────────┘
//!           the front
//! ```
//!
//! Invariant, for every reservable message that no running reserve has claimed, one of these holds:
//! - its key is at or beyond `front`;
//! - its key is in `stash`;
//! - its key is at or beyond `cursor`;
//! - its lease ended no earlier than `first_end`;
//! - the transaction that made it reservable has yet to call `appeared`.

use crate::hint::ids::Ids;
use crate::hint::rest::Rest;
use crate::hint::{Direction, Key, NOWHERE, START};
use crate::value::timestamp::{NEVER, Timestamp};

/// Maximum number of keys before the front that are kept one by one.
pub const STASH: usize = 32;

/// Number of appearances that a claim can be compared with.
const LATELY: usize = 16;

const MILLISECOND: Timestamp = 1_000;

/// Interval of routine rescans: they find rows that no transaction announced.
const ROUTINE: Timestamp = 5_000 * MILLISECOND;

/// Delay of a reserve's routine rescan after the worker's.
const GRACE: Timestamp = 2_000 * MILLISECOND;

/// Interval of rescans over the messages that prepared transactions hold.
const PREPARED: Timestamp = 1_000 * MILLISECOND;

/// Rest between two rescans over expired leases, in microseconds per index entry of the first. It keeps
/// rescans below about a tenth of a core, however many messages are in flight.
const REST_PER_ENTRY: Timestamp = 2;

/// Rest after a routine rescan, per index entry: below about a fiftieth of a core.
const ROUTINE_REST_PER_ENTRY: Timestamp = 20;

#[derive(Clone, Debug)]
#[repr(C)]
pub struct Level {
    pub priority: i16,
    /// The rescan has a reason to find a reservable message.
    suspected: bool,
    /// The rescan began at the first key of the level.
    from_start: bool,
    /// Front: every message before it is gone, in flight, or covered by another field.
    front: Key,
    /// Keys before the front that may be reservable.
    stash: Stash,
    /// Counter of appearances. It starts at the time when the hint was made: a `Look` at an earlier hint in
    /// this cache entry is older.
    appearances: u64,
    /// First key of each of the last appearances, at its number modulo `LATELY`.
    lately: [Key; LATELY],
    /// Number of appearances at which the scan found no entry from the front on.
    nothing_at: Option<u64>,
    /// Next key of the rescan; `NOWHERE` if none is under way.
    cursor: Key,
    /// Counter of keys left to the rescan.
    left_to_rescan: u64,
    /// No message before it is visible to any transaction: rescans begin here.
    low: Key,
    /// No known lease ends earlier.
    first_end: Timestamp,
    /// Index entries that the rescan has scanned.
    passed: u64,
    /// The next rescan over expired leases begins no earlier.
    rest: Rest,
    /// The next routine rescan begins no earlier.
    routine: Rest,
    /// First key that a prepared transaction holds.
    prepared: Key,
    prepared_for: Rest,
}

/// State of the front before a reserve scans from there.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub front: Key,
    appearances: u64,
}

/// Next step of a reserve.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "made under a lock, where nothing is allocated")]
pub enum Step {
    /// Look up these keys one by one. The reserve has claimed them.
    Probe(Stash),
    /// Scan from the front, and claim the entries found.
    Walk,
    /// No message is reservable.
    Nothing,
}

/// A chunk of a rescan: the keys from `from` on and before `to`.
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    pub from: Key,
    pub to: Key,
    look: Look,
    left_to_rescan: u64,
}

/// Findings of a rescan in one chunk.
#[derive(Clone, Debug)]
pub struct Findings {
    /// Reservable keys, at most as many as the stash holds, in order.
    pub found: Vec<Key>,
    /// Key where the scan stopped; `NOWHERE` if it reached the end of the chunk.
    pub reached: Key,
    /// First visible message, reservable or not.
    pub first_visible: Option<Key>,
    /// Earliest end of the leases that the scan saw.
    pub first_end: Timestamp,
    /// Number of index entries scanned.
    pub entries: u64,
}

/// Process that rescans a chunk: the worker or a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rescanner {
    Worker,
    /// The worker, in a rest from routine rescans.
    RestingWorker,
    Call,
}

impl Level {
    pub fn new(priority: i16, now: Timestamp) -> Self {
        Self {
            priority,
            suspected: false,
            from_start: false,
            front: START,
            stash: Stash::default(),
            appearances: now.unsigned_abs(),
            lately: [NOWHERE; LATELY],
            nothing_at: None,
            cursor: NOWHERE,
            left_to_rescan: 0,
            low: START,
            first_end: NEVER,
            passed: 0,
            rest: Rest::OVER,
            routine: Rest::begin(now, ROUTINE),
            prepared: NOWHERE,
            prepared_for: Rest::OVER,
        }
    }

    // Changes that transactions announce after their end.

    /// Notes messages that are reservable from now on and were not before.
    pub fn appeared(&mut self, ids: &Ids, direction: Direction) {
        let first = ids.first(direction);
        self.note_appearance(first);
        if first >= self.front {
            return;
        }
        match ids.each() {
            Some(each) => {
                for key in each.iter().map(|&id| direction.key(id)) {
                    if key < self.front {
                        self.keep(key);
                    }
                }
            }
            None => self.leave_to_rescan(first),
        }
    }

    fn note_appearance(&mut self, first: Key) {
        self.appearances += 1;
        self.lately[(self.appearances % LATELY as u64) as usize] = first;
    }

    /// Notes leases that end at `end` or later; `first` is the first leased key.
    pub fn leased(&mut self, first: Key, end: Timestamp) {
        self.low = self.low.min(first);
        self.first_end = self.first_end.min(end);
    }

    /// Notes a prepared transaction that holds messages. Its end will not be announced.
    pub fn prepared(&mut self, first: Key, now: Timestamp) {
        // Counts as an appearance: a scan that began before must not remember that nothing is there.
        self.note_appearance(first);
        self.low = self.low.min(first);
        self.prepared = self.prepared.min(first);
        self.prepared_for = Rest::begin(now, PREPARED);
    }

    /// Assumes that prepared transactions hold any of the messages here.
    pub fn may_be_prepared(&mut self, now: Timestamp) {
        self.prepared(START, now);
    }

    /// Has messages of prepared transactions rescanned next.
    pub fn look_for_prepared(&mut self) {
        self.prepared_for = Rest::OVER;
    }

    /// Notes that no prepared transaction is left.
    pub fn nothing_is_prepared(&mut self) {
        if self.prepared != NOWHERE {
            let first = std::mem::replace(&mut self.prepared, NOWHERE);
            self.leave_to_rescan(first);
        }
    }

    // Steps of a reserve.

    /// Returns the next step to find up to `max` messages before `limit`.
    pub fn next_step(&mut self, max: usize, limit: Key) -> Step {
        let known = self.stash.take(max, limit);
        if known.count > 0 {
            return Step::Probe(known);
        }
        if limit <= self.front || self.nothing_at == Some(self.appearances) {
            return Step::Nothing;
        }
        Step::Walk
    }

    pub fn look(&self) -> Look {
        Look { front: self.front, appearances: self.appearances }
    }

    /// Claims everything from the front to `last` for a reserve. The reserve must have scanned that range
    /// since `look`, with a snapshot taken since. False if the scan may have missed a message.
    pub fn claim(&mut self, look: Look, last: Key) -> bool {
        let behind = last.saturating_add(1);
        let is_ours = self.front == look.front && self.nothing_appeared(look, behind);
        if is_ours {
            self.front = behind;
        }
        is_ours
    }

    /// Claims like `claim`, for a scan that reached the end: it found no entry beyond `last`.
    pub fn claim_to_end(&mut self, look: Look, last: Key) -> bool {
        let is_ours = self.claim(look, last);
        if is_ours {
            self.nothing_at = Some(look.appearances);
        }
        is_ours
    }

    /// True if certainly no message before `limit` appeared since `look`.
    fn nothing_appeared(&self, look: Look, limit: Key) -> bool {
        self.appearances.checked_sub(look.appearances).is_some_and(|since| since <= LATELY as u64)
            && (look.appearances + 1..=self.appearances)
                .all(|n| self.lately[(n % LATELY as u64) as usize] >= limit)
    }

    /// Notes that a scan from `look` on found no entry.
    pub fn found_nothing(&mut self, look: Look) {
        if self.front == look.front {
            self.nothing_at = Some(look.appearances);
        }
    }

    /// Moves the front to `to`; the messages before it are left to the rescan.
    pub fn jump(&mut self, look: Look, to: Key) {
        if self.front == look.front && to > self.front {
            self.leave_to_rescan(self.front);
            self.front = to;
        }
    }

    /// Keeps a key before the front in the stash.
    fn keep(&mut self, key: Key) {
        if let Some(crowded_out) = self.stash.put(key) {
            self.leave_to_rescan(crowded_out);
        }
    }

    fn leave_to_rescan(&mut self, from: Key) {
        self.cursor = self.cursor.min(from);
        self.suspected = true;
        self.left_to_rescan += 1;
    }

    // Steps of a rescan.

    /// Returns the next chunk of the rescan, if one is due.
    pub fn chunk(&mut self, sweeper: Rescanner, now: Timestamp) -> Option<Chunk> {
        self.begin_rescan(now);
        let is_wanted = self.suspected
            || match sweeper {
                Rescanner::Worker => true,
                Rescanner::RestingWorker => false,
                Rescanner::Call => self.routine.is_overdue(GRACE, now),
            };
        if self.cursor == NOWHERE || !is_wanted || self.is_crowded() {
            return None;
        }
        if self.cursor >= self.front {
            self.end_rescan(now);
            return None;
        }
        let (look, left_to_rescan) = (self.look(), self.left_to_rescan);
        Some(Chunk { from: self.cursor, to: self.front, look, left_to_rescan })
    }

    fn begin_rescan(&mut self, now: Timestamp) {
        if !self.suspected && self.first_end <= now && self.rest.is_over(now) {
            self.cursor = self.cursor.min(self.low);
            self.suspected = true;
            self.left_to_rescan += 1; // a chunk of an earlier rescan must not move this one's cursor
            // The rescan finds the end of every lease again, later ones included.
            self.first_end = NEVER;
        }
        if !self.suspected && self.prepared != NOWHERE && self.prepared_for.is_over(now) {
            self.cursor = self.cursor.min(self.prepared);
            self.suspected = true;
            self.prepared_for = Rest::begin(now, PREPARED);
        }
        if self.cursor == NOWHERE && self.routine.is_over(now) {
            self.cursor = START;
            self.from_start = true;
        }
    }

    /// Notes the findings of a rescan in a chunk.
    pub fn rescanned(&mut self, chunk: Chunk, findings: Findings, now: Timestamp) {
        let undisturbed = self.left_to_rescan == chunk.left_to_rescan;
        self.first_end = self.first_end.min(findings.first_end);
        self.passed += findings.entries;
        let reached = findings.reached.min(chunk.to);
        let visible = findings.first_visible.unwrap_or(reached);
        if undisturbed && chunk.from <= self.low && self.nothing_appeared(chunk.look, visible) {
            self.low = self.low.max(visible);
        }
        if undisturbed && self.cursor == chunk.from {
            self.cursor = reached;
            // Calls have claimed the keys from there to the front since, and account for them.
            if reached == chunk.to {
                self.end_rescan(now);
            }
        }
        findings.found.into_iter().for_each(|key| self.keep(key));
    }

    fn end_rescan(&mut self, now: Timestamp) {
        let entries = Timestamp::try_from(self.passed).unwrap_or(ROUTINE);
        self.rest = Rest::begin(now, entries * REST_PER_ENTRY);
        if self.from_start {
            self.routine = Rest::begin(now, ROUTINE.max(entries * ROUTINE_REST_PER_ENTRY));
        }
        self.cursor = NOWHERE;
        self.suspected = false;
        self.from_start = false;
        self.passed = 0;
    }

    // Questions of the engine.

    /// True if a rescan is under way that has a reason to find a message.
    pub fn is_suspected(&self) -> bool {
        self.suspected
    }

    /// Returns a key before which no message is reservable.
    pub fn lowest(&self, now: Timestamp) -> Key {
        let expired = if self.first_end <= now && self.rest.is_over(now) { self.low } else { NOWHERE };
        let left_to_rescan = if self.suspected { self.cursor } else { NOWHERE };
        self.front.min(self.stash.first()).min(left_to_rescan).min(self.prepared).min(expired)
    }

    /// Returns the next time when a lease may end or a rescan over ended leases may begin.
    pub fn next_end(&self) -> Timestamp {
        if self.first_end == NEVER { NEVER } else { self.first_end.max(self.rest.until) }
    }

    /// Returns when a rescan is due that has a reason to find a message.
    pub fn next_suspicion(&self) -> Timestamp {
        if self.suspected {
            return if self.is_crowded() { NEVER } else { Timestamp::MIN };
        }
        let of_prepared = if self.prepared == NOWHERE { NEVER } else { self.prepared_for.until };
        self.next_end().min(of_prepared)
    }

    /// Returns when a routine rescan is due.
    pub fn next_routine(&self) -> Timestamp {
        match self.cursor {
            NOWHERE => self.routine.until,
            _ if self.is_crowded() => NEVER,
            _ => Timestamp::MIN,
        }
    }

    /// True if the stash has to be emptied before a rescan.
    fn is_crowded(&self) -> bool {
        self.stash.count > STASH / 2
    }

    /// Counter of appearances.
    pub fn appearances(&self) -> u64 {
        self.appearances
    }

    pub fn knows_some(&self) -> bool {
        self.stash.count > 0
    }

    /// Forgets that no entry lay beyond the front, so that unannounced rows are found.
    pub fn doubt(&mut self) {
        self.nothing_at = None;
    }
}

/// A few distinct keys, in order.
#[derive(Clone, Debug, PartialEq)]
#[repr(C)]
pub struct Stash {
    count: usize,
    keys: [Key; STASH],
}

impl Default for Stash {
    fn default() -> Self {
        Self { count: 0, keys: [NOWHERE; STASH] }
    }
}

impl Stash {
    pub fn keys(&self) -> &[Key] {
        &self.keys[..self.count]
    }

    fn first(&self) -> Key {
        self.keys().first().copied().unwrap_or(NOWHERE)
    }

    /// Adds a key. If the stash is full, returns the key that had to leave, the last one.
    fn put(&mut self, key: Key) -> Option<Key> {
        let Err(place) = self.keys().binary_search(&key) else { return None };
        if place == STASH {
            return Some(key);
        }
        let crowded_out = (self.count == STASH).then(|| self.keys[STASH - 1]);
        self.count = (self.count + 1).min(STASH);
        self.keys.copy_within(place..self.count - 1, place + 1);
        self.keys[place] = key;
        crowded_out
    }

    /// Removes and returns the first keys before `limit`, at most `max`.
    fn take(&mut self, max: usize, limit: Key) -> Self {
        let count = self.keys().partition_point(|&key| key < limit).min(max);
        let mut taken = Self { count, ..Self::default() };
        taken.keys[..taken.count].copy_from_slice(&self.keys[..taken.count]);
        self.keys.copy_within(taken.count..self.count, 0);
        self.count -= taken.count;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Key = NOWHERE;

    fn ids(ids: impl IntoIterator<Item = i64>) -> Ids {
        let mut all = Ids::default();
        ids.into_iter().for_each(|id| all.add(id));
        all
    }

    fn level_with_front(front: Key) -> Level {
        let mut level = Level::new(0, 0);
        assert!(level.claim(level.look(), front - 1));
        level
    }

    fn probed(level: &mut Level) -> Vec<Key> {
        match level.next_step(usize::MAX, ALL) {
            Step::Probe(stash) => stash.keys().to_vec(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn a_message_that_appears_before_the_front_is_known_by_its_key() {
        let mut level = level_with_front(100);
        level.appeared(&ids([7, 5, 7, 150]), Direction::OldestFirst);
        assert_eq!(probed(&mut level), [5, 7]);
        assert_eq!(level.next_step(1, ALL), Step::Walk);
    }

    #[test]
    fn a_claim_is_refused_when_a_message_appeared_among_the_scanned_keys() {
        let mut level = level_with_front(100);
        let look = level.look();
        level.appeared(&ids([200]), Direction::OldestFirst);
        let second = level.look();
        assert!(!level.clone().claim(look, 200), "200 may have come after the walk");
        assert!(level.claim(look, 199), "200 lies beyond");
        assert!(!level.claim(second, 250), "another was faster");
    }

    #[test]
    fn a_claim_that_too_much_has_happened_since_is_refused() {
        let mut level = level_with_front(100);
        let look = level.look();
        for n in 0..=LATELY as i64 {
            level.appeared(&ids([1_000 + n]), Direction::OldestFirst);
        }
        assert!(!level.claim(look, 150));
        assert!(level.claim(level.look(), 150));
    }

    #[test]
    fn a_rescan_is_due_at_the_time_that_the_level_names() {
        let mut level = level_with_front(1_000);
        assert_eq!((level.next_suspicion(), level.next_routine()), (NEVER, ROUTINE));
        level.leased(10, 500);
        assert_eq!(level.next_suspicion(), 500);
        assert!(level.chunk(Rescanner::RestingWorker, 499).is_none());
        assert!(level.chunk(Rescanner::RestingWorker, 500).is_some());
        assert_eq!(level.next_suspicion(), Timestamp::MIN, "under way");
        level.end_rescan(500);
        assert!(level.chunk(Rescanner::RestingWorker, ROUTINE).is_none(), "it has no reason to look");
        assert_eq!(level.next_routine(), Timestamp::MIN, "under way");
        assert!(level.chunk(Rescanner::Worker, ROUTINE).is_some());
        level.appeared(&ids(1..=STASH as i64), Direction::OldestFirst);
        assert_eq!((level.next_suspicion(), level.next_routine()), (NEVER, NEVER), "crowded");
        level.prepared(10, 600);
        assert!(!probed(&mut level).is_empty());
        level.end_rescan(600);
        assert_eq!(level.next_suspicion(), 600 + PREPARED);
    }

    #[test]
    fn newest_first_is_the_mirror() {
        let mut level = Level::new(0, 0);
        assert!(level.claim(level.look(), -100));
        level.appeared(&ids([101, 103, 50]), Direction::NewestFirst);
        assert_eq!(probed(&mut level), [-103, -101]);
    }

    #[test]
    fn a_crowded_stash_keeps_the_first_keys_and_leaves_the_rest_to_the_pass() {
        let mut level = level_with_front(1_000);
        for id in (1..=40).rev() {
            level.appeared(&ids([id]), Direction::OldestFirst);
        }
        assert_eq!(level.chunk(Rescanner::Call, 0).map(|chunk| chunk.from), None, "crowded");
        assert_eq!(probed(&mut level), (1..=32).collect::<Vec<_>>());
        let chunk = level.chunk(Rescanner::Call, 0).expect("33 to 40 are left");
        assert_eq!((chunk.from, chunk.to), (33, 1_000));
    }

    #[test]
    fn a_pass_begins_when_the_first_lease_ends_and_goes_on_where_it_stopped() {
        let mut level = level_with_front(1_000);
        level.leased(10, 500);
        assert!(level.chunk(Rescanner::Call, 499).is_none());
        let chunk = level.chunk(Rescanner::Call, 500).expect("a lease has ended");
        let findings =
            Findings { found: vec![10], reached: 300, first_visible: Some(10), first_end: 900, entries: 5 };
        level.rescanned(chunk, findings.clone(), 500);
        assert_eq!(probed(&mut level), [10]);
        let chunk = level.chunk(Rescanner::Call, 501).expect("the pass is not over");
        assert_eq!(chunk.from, 300);
        level.rescanned(chunk, Findings { found: vec![], reached: NOWHERE, ..findings }, 501);
        assert!(!level.is_suspected());
        assert_eq!(level.next_end(), 900);
    }

    #[test]
    fn a_rescan_does_not_skip_keys_that_were_left_to_it_meanwhile() {
        let mut level = level_with_front(1_000);
        let many = ids(500..600);
        level.appeared(&many, Direction::OldestFirst);
        let chunk = level.chunk(Rescanner::Call, 0).unwrap();
        level.appeared(&many, Direction::OldestFirst);
        let nothing =
            Findings { found: vec![], reached: NOWHERE, first_visible: None, first_end: NEVER, entries: 1 };
        level.rescanned(chunk, nothing, 0);
        assert_eq!(level.chunk(Rescanner::Call, 0).map(|chunk| chunk.from), Some(500));
    }

    #[test]
    fn a_walk_to_the_end_finds_nothing_more_until_something_appears() {
        let mut level = level_with_front(100);
        let look = level.look();
        level.appeared(&ids([300]), Direction::OldestFirst);
        assert!(level.claim_to_end(look, 150), "300 lies beyond");
        assert_eq!(level.next_step(1, ALL), Step::Walk, "it may have come after the walk");
        assert!(level.claim_to_end(level.look(), 300));
        assert_eq!(level.next_step(1, ALL), Step::Nothing);
    }

    #[test]
    fn an_empty_walk_is_remembered_until_something_appears() {
        let mut level = level_with_front(100);
        level.found_nothing(level.look());
        assert_eq!(level.next_step(1, ALL), Step::Nothing);
        level.appeared(&ids([150]), Direction::OldestFirst);
        assert_eq!(level.next_step(1, ALL), Step::Walk);
    }

    #[test]
    fn an_empty_walk_is_not_remembered_when_something_appeared_during_it() {
        let mut level = level_with_front(100);
        let look = level.look();
        level.appeared(&ids([150]), Direction::OldestFirst);
        level.found_nothing(look);
        assert_eq!(level.next_step(1, ALL), Step::Walk);
    }

    #[test]
    fn a_part_of_a_pass_that_is_over_does_not_end_the_next_one() {
        let mut level = level_with_front(1_000);
        let saw_10_only = Findings {
            found: vec![],
            reached: NOWHERE,
            first_visible: Some(10),
            first_end: NEVER,
            entries: 1,
        };
        level.leased(10, 100);
        let first = level.chunk(Rescanner::Call, 100).unwrap();
        level.rescanned(first, saw_10_only.clone(), 100);
        level.leased(10, 200);
        let slow = level.chunk(Rescanner::Call, 200).unwrap();
        let quick = level.chunk(Rescanner::Call, 200).unwrap();
        level.rescanned(quick, saw_10_only.clone(), 200);
        level.leased(20, 300);
        let next = level.chunk(Rescanner::Call, 300).expect("20 may be ready again");
        assert_eq!(next.from, slow.from);
        level.rescanned(slow, saw_10_only, 300);
        assert_eq!(level.chunk(Rescanner::Call, 300).map(|chunk| chunk.from), Some(next.from));
    }

    #[test]
    fn the_start_of_rescans_is_not_raised_over_messages_that_appeared_during_one() {
        let mut level = level_with_front(1_000);
        level.leased(500, 10);
        let chunk = level.chunk(Rescanner::Call, 10).unwrap();
        level.appeared(&ids([7]), Direction::OldestFirst);
        level.leased(7, 50);
        let saw_500_only =
            Findings { found: vec![], reached: NOWHERE, first_visible: Some(500), first_end: 60, entries: 1 };
        level.rescanned(chunk, saw_500_only, 10);
        assert_eq!(probed(&mut level), [7]);
        let chunk = level.chunk(Rescanner::Call, 50).expect("7 may be ready again");
        assert!(chunk.from <= 7, "the pass begins at {}", chunk.from);
    }

    #[test]
    fn rescans_skip_removed_messages() {
        let mut level = level_with_front(1_000);
        level.leased(500, 10);
        let chunk = level.chunk(Rescanner::Call, 10).unwrap();
        let nothing_before_500 =
            Findings { found: vec![], reached: NOWHERE, first_visible: Some(500), first_end: 60, entries: 1 };
        level.rescanned(chunk, nothing_before_500, 10);
        assert_eq!(level.chunk(Rescanner::Call, 60).map(|chunk| chunk.from), Some(500));
    }

    #[test]
    fn messages_of_a_prepared_transaction_are_scanned_again_and_again() {
        let mut level = level_with_front(1_000);
        level.prepared(300, 0);
        let nothing =
            Findings { found: vec![], reached: NOWHERE, first_visible: None, first_end: NEVER, entries: 1 };
        for second in 1..4 {
            let chunk = level.chunk(Rescanner::Call, second * PREPARED).expect("every second");
            assert_eq!(chunk.from, 300);
            level.rescanned(chunk, nothing.clone(), second * PREPARED);
            assert!(level.chunk(Rescanner::Call, second * PREPARED + 1).is_none());
        }
        level.nothing_is_prepared();
        let chunk = level.chunk(Rescanner::Call, 3 * PREPARED + 1).expect("once more");
        level.rescanned(chunk, nothing, 3 * PREPARED + 1);
        assert!(level.chunk(Rescanner::Call, 4 * PREPARED + 1).is_none());
    }

    #[test]
    fn a_routine_pass_begins_at_the_beginning_and_a_call_does_it_only_when_the_worker_does_not() {
        let mut level = level_with_front(1_000);
        assert!(level.chunk(Rescanner::Worker, ROUTINE - 1).is_none());
        assert!(level.chunk(Rescanner::Call, ROUTINE).is_none());
        assert_eq!(level.clone().chunk(Rescanner::Worker, ROUTINE).map(|chunk| chunk.from), Some(START));
        assert_eq!(level.chunk(Rescanner::Call, ROUTINE + GRACE).map(|chunk| chunk.from), Some(START));
    }

    #[test]
    fn a_pass_over_much_is_followed_by_a_rest() {
        let mut level = level_with_front(1_000_000);
        level.leased(1, 10);
        let chunk = level.chunk(Rescanner::Call, 10).unwrap();
        let findings = Findings {
            found: vec![],
            reached: NOWHERE,
            first_visible: Some(1),
            first_end: 11,
            entries: 1_000_000,
        };
        level.rescanned(chunk, findings, 10);
        assert!(level.chunk(Rescanner::Call, 11).is_none());
        assert_eq!(level.next_end(), 2_000_010);
        assert!(level.chunk(Rescanner::Call, 2_000_010).is_some());
    }

    #[test]
    fn a_clock_that_was_ahead_for_a_moment_makes_no_rest_longer() {
        const AHEAD: Timestamp = 1_800_000 * MILLISECOND;
        let nothing =
            Findings { found: vec![], reached: NOWHERE, first_visible: None, first_end: NEVER, entries: 1 };
        let mut level = level_with_front(1_000);
        level.leased(1, 10);
        let chunk = level.chunk(Rescanner::Call, AHEAD).unwrap();
        level.rescanned(chunk, Findings { first_visible: Some(1), first_end: 20, ..nothing.clone() }, AHEAD);
        assert_eq!(level.lowest(20), 1, "a lease that has ended is known");
        assert!(level.chunk(Rescanner::Call, 20).is_some(), "and looked for");
        let mut level = level_with_front(1_000);
        let chunk = level.chunk(Rescanner::Worker, AHEAD).expect("a routine pass");
        level.rescanned(chunk, nothing, AHEAD);
        assert!(level.chunk(Rescanner::Call, 30).is_some(), "the next is not half an hour away");
        let mut level = level_with_front(1_000);
        level.prepared(5, AHEAD);
        assert!(level.chunk(Rescanner::Call, 40).is_some(), "what was prepared is looked for");
    }
}
