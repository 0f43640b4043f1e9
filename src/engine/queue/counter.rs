//! Counters: what has happened to the messages of a queue since it was made, and how many are in each lane.
//!
//! A transaction's counts go to shared memory when it commits, and the worker writes them down once a round.
//! Without shared memory, or without a free cache entry, the transaction writes a row for each queue before
//! it commits. No transaction waits either way, and a rolled-back one counts nothing. The worker folds the
//! rows.
//!
//! A crash of the server loses the counts that were not written down. So the worker counts the messages of
//! each queue once after the server's start (`recount`).

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use crate::engine::commit::counts;
use crate::engine::shared::entry::CacheEntry;
use crate::engine::shared::hint_cache;
use crate::engine::shared::tally::{self, Tally};
use crate::engine::table::counter_rows::write;
use crate::engine::table::counts::Counts;
use crate::engine::table::statement::{Sees, Statement};
use crate::pg::datum::i32_array;
use crate::pg::session::{nap, now};
use crate::pg::snapshot::Snapshot;
use crate::stop::{self, Point};
use crate::value::timestamp::Timestamp;

/// Adds to the counters of each queue, by how often it occurs.
pub fn add_each(queues: impl IntoIterator<Item = i32>, counts: impl Fn(i64) -> Counts) {
    let mut times: HashMap<i32, i64> = HashMap::new();
    for queue in queues {
        *times.entry(queue).or_default() += 1;
    }
    for (queue, n) in times {
        add(queue, counts(n));
    }
}

/// Adds to the counters of a queue when the transaction commits.
pub fn add(queue: i32, counts: Counts) {
    if counts != Counts::default() {
        counts::count(queue, counts);
    }
}

/// The counts of committed transactions that are not written down yet.
pub fn pending() -> Vec<(i32, Counts)> {
    let counts = |entry: &mut CacheEntry| entry.has_counts().then_some((entry.queue, entry.counts));
    hint_cache::collect(|facts| facts.has_counts, counts)
}

/// The counters of a queue.
pub fn known(queue: i32) -> Counts {
    let of_one = at_rest(|| {
        let written = written(&[queue]).remove(&queue).unwrap_or_default();
        written + tally::counted(queue).counts + counts::counted_of(queue)
    });
    of_one.without_debts()
}

/// The counters of many queues: those of each that has any.
pub fn known_of(queues: &[i32]) -> HashMap<i32, Counts> {
    let mut of_all = at_rest(|| {
        let mut known = written(queues);
        for (queue, counts) in pending().into_iter().chain(counts::counted()) {
            *known.entry(queue).or_default() += counts;
        }
        known
    });
    of_all.values_mut().for_each(|counts| *counts = counts.without_debts());
    of_all
}

/// The counters that are written down.
fn written(queues: &[i32]) -> HashMap<i32, Counts> {
    static WRITTEN: Statement =
        Statement::by_index(include_str!("../../../sql/query/written_counts.sql"), &[pg_sys::INT4ARRAYOID]);
    let mut written = HashMap::new();
    WRITTEN.run_seeing(Sees::Latest, &[Some(i32_array(queues))], |row| {
        let counts = Counts::from_array(std::array::from_fn(|n| row.i64(n + 1)));
        written.insert(row.i32(0), counts);
    });
    written
}

/// The part of a queue's length that is written down.
#[derive(Clone, Copy)]
struct Written {
    length: i64,
    /// How often counts had been written down when it was read.
    drains: u64,
    /// `Tally::rows` when it was read.
    rows: u64,
    at: Instant,
}

thread_local! {
    static WRITTEN: RefCell<HashMap<i32, Written>> = RefCell::default();
}

/// The number of messages in a queue, by its counters.
///
/// The counts of shared memory are added to those written down. The latter are read again when counts were
/// written down, by the worker or by a transaction itself, and each time while a transaction that has changed
/// the queue is prepared.
pub fn length(queue: i32) -> i64 {
    const TRIES: usize = 3;
    for _ in 0..TRIES {
        let before = tally::drains();
        let Some(counted) =
            tally::known_counted(queue).filter(|_| is_quiet(before) && !counts::is_draining())
        else {
            break;
        };
        let written = written_length(queue, before[0], &counted);
        if tally::drains() == before {
            let pending = (counted.counts + counts::counted_of(queue)).length();
            return (written + pending).max(0);
        }
    }
    known(queue).length()
}

fn written_length(queue: i32, drains: u64, counted: &Tally) -> i64 {
    static LENGTH: Statement =
        Statement::by_index(include_str!("../../../sql/query/written_length.sql"), &[pg_sys::INT4OID]);
    const MOST_REMEMBERED: usize = 10_000;
    const GOOD_FOR: Duration = Duration::from_secs(1);
    let known = WRITTEN.with_borrow(|all| all.get(&queue).copied()).filter(|_| !counted.has_prepared);
    if let Some(known) = known
        .filter(|known| (known.drains, known.rows) == (drains, counted.rows) && known.at.elapsed() < GOOD_FOR)
    {
        return known.length;
    }
    let (mut length, at) = (0, Instant::now());
    LENGTH.run_seeing(Sees::Latest, &[Some(queue.into())], |row| length = row.i64(0));
    WRITTEN.with_borrow_mut(|all| {
        if all.len() > MOST_REMEMBERED {
            all.clear();
        }
        all.insert(queue, Written { length, drains, rows: counted.rows, at });
    });
    length
}

/// Runs `look`, which adds up the counts written down and those of shared memory, as they are now, at a moment
/// when none are on their way from one to the other.
fn at_rest<T>(look: impl Fn() -> T) -> T {
    /// Writing counts down takes a moment, unless a caller's transaction does it (`pgq_vacuum`).
    const TRIES: usize = 20;
    const PAUSE: Duration = Duration::from_millis(1);
    for _ in 1..TRIES {
        let before = tally::drains();
        if is_quiet(before) {
            let seen = look();
            if tally::drains() == before {
                return seen;
            }
        }
        nap(PAUSE);
    }
    look()
}

/// Whether no other transaction is writing counts down.
fn is_quiet([begun, ended]: [u64; 2]) -> bool {
    begun == ended + u64::from(counts::is_draining())
}

/// Writes down the counts of shared memory. They leave shared memory when, and if, the transaction commits.
pub fn drain() {
    counts::drains();
    for (queue, counts) in pending() {
        write(queue, counts);
        counts::count(queue, -counts);
    }
}

/// Counts the messages of queues and corrects their counters.
///
/// Returns the queues of which no snapshot could be had that fits their counts: they are left as they are.
pub fn recount(queues: &[i32]) -> Vec<i32> {
    static EXACT: Statement =
        Statement::by_index(include_str!("../../../sql/query/count_lanes.sql"), &[pg_sys::INT4ARRAYOID]);
    EXACT.run(&[Some(i32_array(&[]))], |_| {}); // locks the tables, and makes the plan
    let (_snapshot, counted) = snapshot_between_commits(queues);
    let known: Vec<i32> = counted.keys().copied().collect();
    let mut differences = Vec::new();
    EXACT.run_seeing(Sees::Snapshot, &[Some(i32_array(&known))], |row| {
        let [ready, leased, delayed, blocked, dead] = std::array::from_fn(|n| row.i64(n + 1));
        differences.push((row.i32(0), Counts { ready, leased, delayed, blocked, dead, ..Counts::default() }));
    });
    for (queue, difference) in differences {
        let difference = difference - counted[&queue].of_places();
        if difference != Counts::default() {
            write(queue, difference);
        }
    }
    queues.iter().copied().filter(|queue| !counted.contains_key(queue)).collect()
}

/// A snapshot, and the counts of shared memory that belong to it, of each queue of which no transaction was
/// committing at that moment. Changes after the snapshot do not matter.
fn snapshot_between_commits(queues: &[i32]) -> (Snapshot, HashMap<i32, Counts>) {
    const TRIES: usize = 200;
    /// After so many tries commits are asked to write their counts down.
    const PATIENCE: usize = 20;
    const PAUSE: Duration = Duration::from_millis(1);
    let mut n = 0;
    loop {
        n += 1;
        if n == PATIENCE {
            tally::have_counts_written(now() + (PAUSE * TRIES as u32).as_micros() as Timestamp);
        }
        let (drains, before) = (tally::drains(), tallies(queues));
        stop::at(Point::RecountKnowsBoard);
        let snapshot = Snapshot::latest();
        let is_quiet = is_quiet(drains) && tally::drains() == drains;
        let after = tallies(queues);
        let fits = |queue: &i32| is_quiet && before[queue].committing == 0 && before[queue] == after[queue];
        let counted: HashMap<i32, Counts> =
            queues.iter().filter(|queue| fits(queue)).map(|&queue| (queue, before[&queue].counts)).collect();
        if counted.len() == queues.len() || n == TRIES {
            if n >= PATIENCE {
                tally::have_counts_written(Timestamp::MIN);
            }
            return (snapshot, counted);
        }
        drop(snapshot);
        nap(PAUSE);
    }
}

fn tallies(queues: &[i32]) -> HashMap<i32, Tally> {
    queues.iter().map(|&queue| (queue, tally::counted(queue))).collect()
}
