//! A simulation of concurrent transactions in random order, against a model of the table: after each run
//! every reservable message must be found, without a routine rescan.
//!
//! The actors do the steps of backends, one atomic step at a time. Index entries appear before their rows are
//! visible. Commits are visible before they are announced. Claims and snapshots are separate steps. Any
//! transaction may roll back.

use std::collections::BTreeMap;

use crate::hint::ids::Ids;
use crate::hint::level::{Chunk, Findings, Level, Look, Rescanner, STASH, Step};
use crate::hint::{Direction, Key, NOWHERE};
use crate::value::timestamp::{NEVER, Timestamp};

/// State of a row after a commit.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Ready,
    Leased { until: Timestamp },
    Gone,
}

/// A row: its states by commit, and whether a transaction is changing it.
#[derive(Default)]
struct Row {
    history: Vec<(u64, State)>,
    locked: bool,
}

impl Row {
    fn at(&self, snapshot: u64) -> Option<State> {
        self.history.iter().rev().find(|(tick, _)| *tick <= snapshot).map(|(_, state)| *state)
    }

    fn is_reservable(&self, snapshot: u64, now: Timestamp) -> bool {
        match self.at(snapshot) {
            Some(State::Ready) => true,
            Some(State::Leased { until }) => until <= now,
            _ => false,
        }
    }

    /// Locks the row as heap_update does: fails if another transaction has changed it since the snapshot.
    fn lock(&mut self, snapshot: u64, now: Timestamp) -> bool {
        let unchanged = self.history.last().is_some_and(|(tick, _)| *tick <= snapshot);
        let locks = !self.locked && unchanged && self.is_reservable(snapshot, now);
        self.locked |= locks;
        locks
    }
}

struct World {
    direction: Direction,
    habits: Habits,
    level: Level,
    rows: BTreeMap<Key, Row>,
    ids: i64,
    tick: u64,
    now: Timestamp,
    taken: usize,
    /// Reserves may stop before the end of their scan.
    gives_up: bool,
}

/// Settings of a run: each finds other mistakes.
struct Habits {
    longest_lease: Timestamp,
    biggest_push: i64,
    biggest_reserve: usize,
    /// One in this many transactions rolls back.
    rollback: u32,
    /// One in this many reserves removes the messages it takes.
    removal: u32,
    settling: u32,
    sweeping: u32,
    /// Spread of the actors' speeds.
    unequal: usize,
}

impl Habits {
    fn random() -> Self {
        let one_of = |choices: &[i64]| choices[fastrand::usize(0..choices.len())];
        Self {
            longest_lease: one_of(&[20, 200, 1_000_000_000]),
            biggest_push: one_of(&[2, 4, STASH as i64 * 3]),
            biggest_reserve: one_of(&[2, 5, 60]) as usize,
            rollback: one_of(&[3, 10, 100]) as u32,
            removal: one_of(&[1, 2, 5]) as u32,
            settling: one_of(&[0, 1, 5]) as u32,
            sweeping: one_of(&[0, 1, 3]) as u32,
            unequal: one_of(&[1, 2, 4]) as usize,
        }
    }
}

/// Next step of an actor.
enum Actor {
    Idle,
    /// Its index entries are there; it has not committed.
    Pushing(Vec<i64>),
    Walking {
        look: Look,
        max: usize,
        taken: Vec<i64>,
        touched: Ids,
    },
    Claiming {
        look: Look,
        walk: Walk,
        max: usize,
        taken: Vec<i64>,
        touched: Ids,
    },
    Claimed {
        walk: Walk,
        max: usize,
        taken: Vec<i64>,
        touched: Ids,
    },
    Reserved {
        taken: Vec<i64>,
        touched: Ids,
    },
    /// The transaction has ended and is visible; its announcement comes next.
    Appearing(Ids),
    Leasing(Key, Timestamp),
    Sweeping(Chunk, u64),
}

/// Result of a scan from the front.
struct Walk {
    snapshot: u64,
    /// Reservable keys, at most as many as the reserve needs.
    found: Vec<Key>,
    last: Option<Key>,
    to_end: bool,
}

impl World {
    fn new(direction: Direction) -> Self {
        let (level, habits) = (Level::new(0, 0), Habits::random());
        Self {
            direction,
            habits,
            level,
            rows: BTreeMap::new(),
            ids: 0,
            tick: 0,
            now: 1,
            taken: 0,
            gives_up: true,
        }
    }

    fn chance(&self, one_in: u32) -> bool {
        fastrand::u32(0..one_in) == 0
    }

    fn commit(&mut self, key: Key, state: State) {
        let row = self.rows.entry(key).or_default();
        row.history.push((self.tick, state));
        row.locked = false;
    }

    fn ids(ids: &[i64]) -> Ids {
        let mut all = Ids::default();
        ids.iter().for_each(|&id| all.add(id));
        all
    }

    fn step(&mut self, actor: Actor) -> Actor {
        self.tick += 1;
        match actor {
            Actor::Idle => self.begin(),
            Actor::Pushing(ids) => {
                if self.chance(self.habits.rollback) {
                    return Actor::Idle;
                }
                ids.iter().for_each(|&id| self.commit(self.direction.key(id), State::Ready));
                Actor::Appearing(Self::ids(&ids))
            }
            Actor::Walking { look, max, taken, touched } => {
                let walk = self.walk(look, max - taken.len());
                Actor::Claiming { look, walk, max, taken, touched }
            }
            Actor::Claiming { look, walk, max, taken, mut touched } => {
                let Some(last) = walk.last else {
                    self.level.found_nothing(look);
                    return Actor::Reserved { taken, touched };
                };
                walk.found.iter().for_each(|&key| touched.add(self.direction.id(key)));
                let claim = if walk.to_end { Level::claim_to_end } else { Level::claim };
                if !claim(&mut self.level, look, last) {
                    return self.go_on(max, taken, touched);
                }
                Actor::Claimed { walk, max, taken, touched }
            }
            Actor::Claimed { walk, max, mut taken, touched } => {
                walk.found.iter().for_each(|&key| self.take(key, walk.snapshot, &mut taken));
                self.go_on(max, taken, touched)
            }
            Actor::Reserved { taken, touched } => self.end(taken, touched),
            Actor::Appearing(ids) => {
                self.level.appeared(&ids, self.direction);
                Actor::Idle
            }
            Actor::Leasing(first, until) => {
                self.level.leased(first, until);
                Actor::Idle
            }
            Actor::Sweeping(chunk, snapshot) => {
                self.sweep(chunk, snapshot);
                Actor::Idle
            }
        }
    }

    fn begin(&mut self) -> Actor {
        let Habits { settling, sweeping, .. } = self.habits;
        match fastrand::u32(0..9 + settling + sweeping) {
            0..4 => {
                let count = fastrand::i64(1..self.habits.biggest_push);
                let ids: Vec<i64> = (0..count).map(|n| self.ids + n).collect();
                self.ids += count;
                for &id in &ids {
                    self.rows.entry(self.direction.key(id)).or_default();
                }
                Actor::Pushing(ids)
            }
            4..9 => {
                let max = fastrand::usize(1..self.habits.biggest_reserve);
                self.go_on(max, Vec::new(), Ids::default())
            }
            n if n < 9 + settling => self.settle(),
            _ => match self.level.chunk(Rescanner::Call, self.now) {
                Some(chunk) => Actor::Sweeping(chunk, self.tick),
                None => Actor::Idle,
            },
        }
    }

    /// Scans from the front until it has found enough reservable keys, or gives up.
    fn walk(&mut self, look: Look, missing: usize) -> Walk {
        let (snapshot, now) = (self.tick, self.now);
        let patience = fastrand::usize(1..100);
        let mut walk = Walk { snapshot, found: Vec::new(), last: None, to_end: true };
        let mut passed = Vec::new();
        for (n, (&key, row)) in self.rows.range(look.front..).enumerate() {
            if walk.found.len() == missing || n == patience {
                walk.to_end = false;
                break;
            }
            walk.last = Some(key);
            match row.at(snapshot) {
                Some(State::Leased { until }) if until > now => passed.push((key, until)),
                _ if row.is_reservable(snapshot, now) && !row.locked => walk.found.push(key),
                _ => {}
            }
        }
        passed.into_iter().for_each(|(key, until)| self.level.leased(key, until));
        walk
    }

    /// Continues a reserve that still needs messages.
    fn go_on(&mut self, max: usize, mut taken: Vec<i64>, mut touched: Ids) -> Actor {
        if taken.len() < max {
            match self.level.next_step(max - taken.len(), NOWHERE) {
                Step::Walk => return Actor::Walking { look: self.level.look(), max, taken, touched },
                Step::Probe(known) => {
                    for &key in known.keys() {
                        touched.add(self.direction.id(key));
                        self.take(key, self.tick, &mut taken);
                    }
                    if !self.gives_up || self.chance(2) {
                        return self.go_on(max, taken, touched);
                    }
                }
                Step::Nothing => {}
            }
        }
        Actor::Reserved { taken, touched }
    }

    fn take(&mut self, key: Key, snapshot: u64, taken: &mut Vec<i64>) {
        let now = self.now;
        let Some(row) = self.rows.get_mut(&key) else { return };
        if row.lock(snapshot, now) {
            taken.push(self.direction.id(key));
        } else if let Some(State::Leased { until }) = row.at(snapshot)
            && until > now
        {
            self.level.leased(key, until);
        }
    }

    fn end(&mut self, taken: Vec<i64>, touched: Ids) -> Actor {
        let until = self.now + fastrand::i64(1..self.habits.longest_lease);
        let keys: Vec<Key> = taken.iter().map(|&id| self.direction.key(id)).collect();
        if self.chance(self.habits.rollback) {
            keys.iter().for_each(|key| self.rows.get_mut(key).unwrap().locked = false);
            return Actor::Appearing(touched);
        }
        self.taken += taken.len();
        let removed = self.chance(self.habits.removal);
        let state = if removed { State::Gone } else { State::Leased { until } };
        keys.iter().for_each(|&key| self.commit(key, state));
        match keys.iter().min() {
            Some(&first) if !removed => Actor::Leasing(first, until),
            _ => Actor::Idle,
        }
    }

    /// Deletes, releases or extends a leased message.
    fn settle(&mut self) -> Actor {
        let now = self.now;
        let leased = |row: &Row| {
            let is_leased = matches!(row.history.last(), Some((_, State::Leased { until })) if *until > now);
            is_leased && !row.locked
        };
        let keys: Vec<Key> = self.rows.iter().filter(|(_, row)| leased(row)).map(|(&key, _)| key).collect();
        if keys.is_empty() {
            return Actor::Idle;
        }
        let key = keys[fastrand::usize(0..keys.len())];
        match fastrand::u32(0..3) {
            0 => {
                self.commit(key, State::Gone);
                Actor::Idle
            }
            1 => {
                self.commit(key, State::Ready);
                Actor::Appearing(Self::ids(&[self.direction.id(key)]))
            }
            _ => {
                let until = now + fastrand::i64(1..self.habits.longest_lease);
                self.commit(key, State::Leased { until });
                Actor::Leasing(key, until)
            }
        }
    }

    fn sweep(&mut self, chunk: Chunk, snapshot: u64) {
        let most = fastrand::u64(1..100);
        let mut findings = Findings {
            found: Vec::new(),
            reached: NOWHERE,
            first_visible: None,
            first_end: NEVER,
            entries: 0,
        };
        for (&key, row) in self.rows.range(chunk.from..chunk.to) {
            if findings.entries == most || findings.found.len() == STASH {
                findings.reached = key;
                break;
            }
            findings.entries += 1;
            match row.at(snapshot) {
                None | Some(State::Gone) => continue,
                Some(State::Leased { until }) if until > self.now => {
                    findings.first_end = findings.first_end.min(until);
                }
                // Rescan: the transaction that changes it may roll back.
                Some(_) if row.locked => findings.first_end = findings.first_end.min(self.now + 1),
                Some(_) => findings.found.push(key),
            }
            findings.first_visible.get_or_insert(key);
        }
        self.level.rescanned(chunk, findings, self.now);
    }

    /// Reserves everything, as a single consumer without concurrency.
    fn drain(&mut self) {
        self.gives_up = false;
        loop {
            self.tick += 1;
            let mut actor = self.go_on(10_000, Vec::new(), Ids::default());
            let before = self.taken;
            while !matches!(actor, Actor::Idle) {
                actor = match actor {
                    Actor::Reserved { taken, .. } => {
                        self.taken += taken.len();
                        taken.iter().for_each(|&id| self.commit(self.direction.key(id), State::Gone));
                        Actor::Idle
                    }
                    other => self.step(other),
                };
            }
            if self.taken > before {
                continue;
            }
            self.tick += 1;
            match self.level.chunk(Rescanner::Call, self.now) {
                Some(chunk) => self.sweep(chunk, self.tick),
                None => return,
            }
        }
    }

    fn stranded(&self, matters: impl Fn(State) -> bool) -> Vec<Key> {
        let is_left =
            |row: &Row| row.is_reservable(self.tick, self.now) && row.at(self.tick).is_some_and(&matters);
        self.rows.iter().filter(|(_, row)| is_left(row)).map(|(&key, _)| key).collect()
    }
}

fn run(seed: u64, direction: Direction) -> usize {
    fastrand::seed(seed);
    let mut world = World::new(direction);
    let mut actors: Vec<Actor> = (0..6).map(|_| Actor::Idle).collect();
    for _ in 0..2_000 {
        // The first actors are quick, the last ones slow.
        let n = (0..world.habits.unequal).fold(actors.len(), |most, _| 1 + fastrand::usize(0..most)) - 1;
        let actor = std::mem::replace(&mut actors[n], Actor::Idle);
        actors[n] = world.step(actor);
        world.now += fastrand::i64(0..3);
    }
    for mut actor in actors {
        while !matches!(actor, Actor::Idle) {
            actor = world.step(actor);
        }
    }
    world.drain();
    // Only an expired lease may wait for the end of a rest.
    assert_eq!(world.stranded(|state| state == State::Ready), [] as [Key; 0], "seed {seed}, {direction:?}");
    // Leases and rests end long before a routine rescan would begin.
    world.now += 1_000_000;
    world.drain();
    assert!(world.now < 5_000_000);
    assert_eq!(world.stranded(|_| true), [] as [Key; 0], "later, seed {seed}, {direction:?}");
    world.taken
}

#[test]
fn nothing_is_stranded_whatever_happens_at_once() {
    let runs = std::env::var("PGQUEUE_SIMULATIONS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(300);
    let mut taken = 0;
    for seed in 0..runs {
        taken += run(seed, Direction::OldestFirst) + run(seed, Direction::NewestFirst);
    }
    assert!(taken > runs as usize * 200, "the simulation hardly did anything: {taken}");
}
