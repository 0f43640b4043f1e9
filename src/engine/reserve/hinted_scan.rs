//! Ready messages, taken from where the hint says.
//!
//! A `HintedScan` claims the messages that it is about to take, so that consumers do not visit each other's
//! rows. docs/engine.md argues why no message is missed.

use crate::engine::commit::pending;
use crate::engine::reserve::rescan;
use crate::engine::reserve::reservation::{Position, Reservation};
use crate::engine::reserve::snapshot_scan::{SnapshotScan, View};
use crate::engine::shared::hint_cache;
use crate::engine::table::heap::Table;
use crate::engine::table::message_index;
use crate::engine::table::queue::Queue;
use crate::engine::table::scan::{Entry, Scan};
use crate::hint::address::Address;
use crate::hint::level::{Chunk, Level, Look, Rescanner, Step};
use crate::hint::queue::{ENOUGH, LEVELS};
use crate::hint::{Direction, Key, NOWHERE, START};
use crate::pg::snapshot::Snapshot;
use crate::value::timestamp::Timestamp;

/// After this many entries in a row that gave nothing, a walk looks for a place to jump to.
const VAIN: usize = 2_000;

/// How many entries that give nothing a walk scans before it claims them.
pub const STRIDE: usize = 256;

/// How many entries of a rescan a call does before it takes messages.
const IN_PASSING: u64 = 64;

/// How many entries of a rescan at a time, when a call has found nothing else.
const THOROUGH: u64 = 2_000;

/// How many vain entries of rescans a call does that has found some messages, but not enough.
const FOR_MORE: u64 = 20_000;

/// The priorities of a queue, as the hint knows them.
#[derive(Clone, Copy)]
struct Priorities {
    all: [i16; LEVELS],
    count: usize,
    rest: Option<i16>,
}

impl Priorities {
    fn hinted(&self) -> &[i16] {
        &self.all[..self.count]
    }

    /// Asks the hint, and looks up the priorities that it does not know.
    fn of(table: &Table, queue: i32, direction: Direction, reservation: &Reservation) -> Option<Self> {
        let ask = || {
            hint_cache::with_hint(queue, direction, |hint| {
                let mut known = Self { all: [0; LEVELS], count: 0, rest: hint.rest() };
                for priority in hint.priorities() {
                    known.all[known.count] = priority;
                    known.count += 1;
                }
                (known, hint.is_known(reservation.now), hint.census())
            })
        };
        let (known, is_known, census) = ask()?;
        if is_known {
            return Some(known);
        }
        let mut found = Vec::with_capacity(ENOUGH);
        while found.len() < ENOUGH
            && let Some(priority) = message_index::next_priority(table, None, queue, found.last().copied())
        {
            found.push(priority);
        }
        hint_cache::with_hint(queue, direction, |hint| {
            hint.has_become_known(reservation.now, &census, &found)
        })?;
        ask().map(|(known, _, _)| known)
    }
}

/// Takes the messages that a hint points at.
pub struct HintedScan<'a> {
    table: &'a Table,
    queue: &'a Queue,
    direction: Direction,
    priorities: Priorities,
    /// Entries in a row that gave nothing.
    vain: usize,
    has_jumped: bool,
    /// Claims in a row that were refused.
    refused: u32,
    /// The hint was cleared or given to another queue during the call.
    pub is_lost: bool,
}

/// The part of a level that a walk has scanned.
struct Walk<'a> {
    scan: Scan<'a>,
    /// Entries of messages that can be taken, by the walk's snapshot.
    found: Vec<Entry>,
    /// The last key whose entries were all scanned.
    last: Option<Key>,
    /// Nothing lies beyond `last`.
    to_end: bool,
    /// The key of the entry that the scan stands on.
    current: Option<Key>,
}

impl<'a> Walk<'a> {
    fn begin(scan: Scan<'a>) -> Self {
        Self { scan, found: Vec::new(), last: None, to_end: false, current: None }
    }

    /// Steps to the next entry; none at the end. A row whose lease did not fit on its page has two entries
    /// with one key: a key counts as scanned when another key follows.
    fn step(&mut self, at: Address) -> Option<(Entry, Key)> {
        let entry = self.scan.next_entry();
        let key = entry.map(|entry| at.key(&entry));
        if key != self.current {
            self.last = std::mem::replace(&mut self.current, key);
        }
        self.to_end = entry.is_none();
        entry.zip(key)
    }
}

/// The next thing to do on a level.
#[expect(clippy::large_enum_variant, reason = "made under a lock, where nothing is allocated")]
enum Task {
    Rescan(Chunk),
    Step(Step, Look),
}

impl<'a> HintedScan<'a> {
    /// Opens the hint of a queue. None without shared memory, or if no cache entry is free.
    pub fn open(table: &'a Table, queue: &'a Queue, reservation: &Reservation) -> Option<Self> {
        let direction = reservation.direction;
        let Some(priorities) = Priorities::of(table, queue.id, direction, reservation) else {
            hint_cache::wants_entry(queue.id);
            return None;
        };
        Some(Self {
            table,
            queue,
            direction,
            priorities,
            vain: 0,
            has_jumped: false,
            refused: 0,
            is_lost: false,
        })
    }

    /// Takes ready messages that come before `limit`, until the reservation has enough.
    pub fn take_before(&mut self, reservation: &mut Reservation, limit: Option<Position>) {
        let priorities = self.priorities;
        for &priority in priorities.hinted() {
            let limit = match limit {
                Some((last, _)) if last < priority => return,
                Some((last, key)) if last == priority => key,
                _ => NOWHERE,
            };
            self.take_level(reservation, priority, limit);
            if reservation.is_full() {
                return;
            }
        }
        if let Some(rest) = priorities.rest {
            let view = View::from_priority(self.queue, reservation, rest);
            SnapshotScan::open(self.table, self.queue, reservation, &view).take_before(reservation, limit);
        }
    }

    fn take_level(&mut self, reservation: &mut Reservation, priority: i16, limit: Key) {
        let mut has_rescanned = false;
        while !reservation.is_full() {
            let (max, now) = (reservation.missing(), reservation.now);
            let task = self.with_level(priority, |level| match level.chunk(Rescanner::Call, now) {
                Some(chunk) if !has_rescanned => Task::Rescan(chunk),
                _ => Task::Step(level.next_step(max, limit), level.look()),
            });
            match task {
                Some(Task::Rescan(chunk)) => {
                    has_rescanned = true;
                    rescan::look_at_part(self.table, self.at(priority), chunk, IN_PASSING);
                }
                Some(Task::Step(Step::Probe(known), _)) => {
                    let ids = known.keys().iter().map(|&key| self.direction.id(key));
                    ids.clone().for_each(|id| pending::touched(self.queue.id, priority, id));
                    reservation.with_noted(|reservation| reservation.probe(priority, ids));
                    self.tell_of_leases(reservation, priority, known.keys()[0]);
                }
                Some(Task::Step(Step::Walk, look)) => {
                    if !self.walk(reservation, priority, look, limit) {
                        return;
                    }
                }
                Some(Task::Step(Step::Nothing, _)) => return,
                None => {
                    self.is_lost = true;
                    return;
                }
            }
        }
    }

    /// Tells the hint the first end of the leases that the reservation has skipped at `first` or beyond.
    fn tell_of_leases(&self, reservation: &mut Reservation, priority: i16, first: Key) {
        if let Some(end) = reservation.take_first_lease_passed() {
            self.with_level(priority, |level| level.leased(first, end));
        }
    }

    fn with_level<R>(&self, priority: i16, work: impl FnOnce(&mut Level) -> R) -> Option<R> {
        hint_cache::with_level(self.at(priority), work)
    }

    fn at(&self, priority: i16) -> Address {
        Address { queue: self.queue.id, direction: self.direction, priority }
    }

    /// Walks on from the front to messages that can be taken, claims them and takes them. False if nothing is
    /// left to scan.
    fn walk(&mut self, reservation: &mut Reservation, priority: i16, look: Look, limit: Key) -> bool {
        let snapshot = Snapshot::take();
        let walk = self.look_ahead(reservation, priority, look, limit, &snapshot);
        let Some(last) = walk.last else {
            if walk.to_end {
                self.with_level(priority, |level| level.found_nothing(look));
            }
            return false;
        };
        walk.found.iter().for_each(|entry| pending::touched(self.queue.id, priority, entry.id));
        let claim = if walk.to_end { Level::claim_to_end } else { Level::claim };
        if self.with_level(priority, |level| claim(level, look, last)) != Some(true) {
            self.refused += 1;
            return true; // another session was faster, or a message has appeared: walk again
        }
        self.refused = 0;
        let mut scan = walk.scan;
        reservation.with_noted(|reservation| {
            for entry in &walk.found {
                pgrx::check_for_interrupts!();
                reservation.begin_walk();
                if let Some(row) = scan.fetch_entry(entry, &snapshot) {
                    reservation.offer(&row);
                }
            }
        });
        drop(scan);
        self.tell_of_leases(reservation, priority, look.front);
        self.vain = if walk.found.is_empty() { self.vain + STRIDE } else { 0 };
        if self.vain >= VAIN && !self.has_jumped {
            self.jump(reservation, priority);
        }
        true
    }

    /// Scans from the front on until it has found enough messages that can be taken, or has seen a stretch
    /// without any.
    fn look_ahead<'s>(
        &self,
        reservation: &mut Reservation,
        priority: i16,
        look: Look,
        limit: Key,
        snapshot: &'s Snapshot,
    ) -> Walk<'s>
    where
        'a: 's,
    {
        reservation.begin_walk();
        let at = self.at(priority);
        let mut walk = Walk::begin(at.entries(self.table, Some(snapshot), look.front));
        let mut in_vain = 0;
        while let Some((entry, key)) = walk.step(at) {
            if key >= limit || (in_vain >= STRIDE && walk.last.is_some()) {
                break;
            }
            if !walk.scan.fetch().is_some_and(|row| reservation.could_take(&row)) {
                in_vain += 1;
                continue;
            }
            walk.found.push(entry);
            if walk.found.len() == self.wanted(reservation) {
                walk.last = Some(key);
                break;
            }
        }
        walk
    }

    /// How many messages to claim at once. After refused claims fewer, because too much happened during those
    /// walks.
    fn wanted(&self, reservation: &Reservation) -> usize {
        (reservation.missing() >> self.refused.min(usize::BITS - 1)).max(1)
    }

    /// Looks for a place further on where a message is ready, by halving: leased messages mostly lie
    /// together. The keys it jumps over are left to the rescan.
    fn jump(&mut self, reservation: &mut Reservation, priority: i16) {
        self.has_jumped = true;
        let Some(look) = self.with_level(priority, |level| level.look()) else { return };
        let at = self.at(priority);
        let end = at.reversed().entries(self.table, None, START).next_entry();
        let Some(end) = end.map(|entry| at.key(&entry)) else { return };
        let snapshot = Snapshot::take();
        let (mut low, mut high, mut found) = (look.front, end.saturating_add(1), None);
        while low < high {
            // Rounded down, also for negative keys.
            let middle = low + ((i128::from(high) - i128::from(low)) / 2) as Key;
            let mut scan = at.entries(self.table, None, middle);
            let Some(entry) = scan.next_entry().filter(|entry| at.key(entry) < high) else {
                high = middle;
                continue;
            };
            reservation.begin_walk();
            if scan.fetch_entry(&entry, &snapshot).is_some_and(|row| reservation.could_take(&row)) {
                found = Some(at.key(&entry));
                high = middle;
            } else {
                low = at.key(&entry) + 1;
            }
        }
        if let Some(to) = found {
            self.with_level(priority, |level| level.jump(look, to));
        }
    }

    /// Raises the fronts past messages that cannot be taken, up to the first that can: the next look does not
    /// scan them again.
    pub fn pass_over(&self, reservation: &mut Reservation) {
        for &priority in self.priorities.hinted() {
            while self.passes_some(reservation, priority) {}
        }
    }

    /// Raises a front past a stretch of messages. False if one of them can be taken, or nothing is left.
    fn passes_some(&self, reservation: &mut Reservation, priority: i16) -> bool {
        let Some(look) = self.with_level(priority, |level| level.look()) else { return false };
        let snapshot = Snapshot::take();
        let walk = self.look_ahead(reservation, priority, look, NOWHERE, &snapshot);
        let Some(last) = walk.last.filter(|_| walk.found.is_empty()) else { return false };
        let claim = if walk.to_end { Level::claim_to_end } else { Level::claim };
        let has_passed = self.with_level(priority, |level| claim(level, look, last)) == Some(true);
        self.tell_of_leases(reservation, priority, look.front);
        has_passed && !walk.to_end
    }

    /// Finishes the rescans that are likely to find something.
    pub fn finish_rescans(&self, reservation: &Reservation) {
        for &priority in self.priorities.hinted() {
            while let Some(chunk) = self.suspected_chunk(priority, reservation.now) {
                rescan::look_at_part(self.table, self.at(priority), chunk, THOROUGH);
            }
        }
    }

    fn suspected_chunk(&self, priority: i16, now: Timestamp) -> Option<Chunk> {
        self.with_level(priority, |level| level.chunk(Rescanner::Call, now).filter(|_| level.is_suspected()))?
    }

    /// Finishes the rescans that are likely to find something, and takes what they find, when nothing else is
    /// left. So an empty answer is true.
    pub fn take_suspected(&mut self, reservation: &mut Reservation) {
        let mut budget = FOR_MORE;
        let priorities = self.priorities;
        for &priority in priorities.hinted() {
            while !reservation.is_full() && (reservation.taken == 0 || budget > 0) {
                if let Some(chunk) = self.suspected_chunk(priority, reservation.now) {
                    let swept = rescan::look_at_part(self.table, self.at(priority), chunk, THOROUGH);
                    budget = budget.saturating_sub(swept.vain);
                } else if self.with_level(priority, |level| level.knows_some()) != Some(true) {
                    break; // no other session's part of the rescan has found something either
                }
                self.take_level(reservation, priority, NOWHERE);
            }
        }
    }
}
