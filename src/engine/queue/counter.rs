//! Counters: what has happened to the messages of a queue since it was made, and how
//! many are where.
//!
//! A transaction's counts go to the board when it commits, and the worker writes them
//! down once a round. Where there is no board, or no room on it, the transaction writes
//! a row for each queue before it commits. Nobody waits either way, and what was rolled
//! back was not counted. The worker folds the rows.
//!
//! A crash of the server loses what was not written down. So the worker counts the
//! messages of each queue once after the server's start (`recount`).

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use pgrx::pg_sys::{self, Datum};

use crate::engine::commit::counts;
use crate::engine::shared::{hint_cache, tally};
use crate::engine::table::counter_rows::write;
use crate::engine::table::counts::Counts;
use crate::engine::table::statement::{Row, Sees, Statement};
use crate::pg::session::nap;
use crate::stop::{self, Point};

/// Adds to the counters of each queue that occurs, by how often it does.
pub fn add_each(queues: impl IntoIterator<Item = i32>, counts: impl Fn(i64) -> Counts) {
    let mut times: HashMap<i32, i64> = HashMap::new();
    for queue in queues {
        *times.entry(queue).or_default() += 1;
    }
    for (queue, n) in times {
        add(queue, counts(n));
    }
}

/// Adds to the counters of a queue, once the transaction commits.
pub fn add(queue: i32, counts: Counts) {
    if counts != Counts::default() {
        counts::count(queue, counts);
    }
}

/// What committed transactions have counted and nobody has written down.
pub fn pending() -> Vec<(i32, Counts)> {
    hint_cache::collect(|place| (place.counts != Counts::default()).then_some((place.queue, place.counts)))
}

/// What the counters say of where a queue's messages are.
pub fn known(queue: i32) -> Counts {
    static KNOWN: Statement =
        Statement::new(include_str!("../../../sql/query/known_counts.sql"), &[pg_sys::INT4OID]);
    let mut known = Counts::default();
    read(&KNOWN, &[Some(queue.into())], |row| {
        let [ready, leased, delayed, blocked] = std::array::from_fn(|n| row.i64(n).max(0));
        known = Counts { ready, leased, delayed, blocked, ..Counts::default() };
    });
    known
}

/// What is written down of a queue's length.
#[derive(Clone, Copy)]
struct Written {
    length: i64,
    /// After how many times that counts were written down.
    drains: u64,
    at: Instant,
}

thread_local! {
    static WRITTEN: RefCell<HashMap<i32, Written>> = RefCell::default();
}

/// How many messages are in a queue, as the counters say.
///
/// What the board has counted is added to what is written down, which is read anew when
/// something was written down, and each time while a transaction of the queue is prepared.
pub fn length(queue: i32) -> i64 {
    const TRIES: usize = 3;
    for _ in 0..TRIES {
        let before = tally::drains();
        let Some(counted) =
            tally::known_counted(queue).filter(|_| is_quiet(before) && !counts::is_draining())
        else {
            break;
        };
        let written = written_length(queue, before[0], counted.has_prepared);
        if tally::drains() == before {
            let pending = (counted.counts + counts::counted_of(queue)).length();
            return (written + pending).max(0);
        }
    }
    known(queue).length()
}

fn written_length(queue: i32, drains: u64, has_prepared: bool) -> i64 {
    static LENGTH: Statement =
        Statement::new(include_str!("../../../sql/query/written_length.sql"), &[pg_sys::INT4OID]);
    const MOST_REMEMBERED: usize = 10_000;
    const GOOD_FOR: Duration = Duration::from_secs(1);
    let known = WRITTEN.with_borrow(|all| all.get(&queue).copied()).filter(|_| !has_prepared);
    if let Some(known) = known.filter(|known| known.drains == drains && known.at.elapsed() < GOOD_FOR) {
        return known.length;
    }
    let (mut length, at) = (0, Instant::now());
    LENGTH.run_seeing(Sees::Latest, &[Some(queue.into())], |row| length = row.i64(0));
    WRITTEN.with_borrow_mut(|all| {
        if all.len() > MOST_REMEMBERED {
            all.clear();
        }
        all.insert(queue, Written { length, drains, at });
    });
    length
}

/// Runs a statement that adds up what is written down and what is on the board, as they
/// are now, and at a moment at which nothing is on its way from one to the other.
pub fn read(statement: &'static Statement, args: &[Option<Datum>], mut each: impl FnMut(&Row)) {
    /// Writing counts down takes a moment, unless somebody does it by hand.
    const TRIES: usize = 20;
    const PAUSE: Duration = Duration::from_millis(1);
    for last in (1..=TRIES).map(|n| n == TRIES) {
        let before = tally::drains();
        let mut is_good = None;
        if last || is_quiet(before) {
            statement.run_seeing(Sees::Latest, args, |row| {
                if *is_good.get_or_insert_with(|| last || tally::drains() == before) {
                    each(row);
                }
            });
            if is_good != Some(false) {
                return;
            }
        }
        nap(PAUSE);
    }
}

/// Whether nobody else is writing counts down.
fn is_quiet([begun, ended]: [u64; 2]) -> bool {
    begun == ended + u64::from(counts::is_draining())
}

/// Writes down what the board has counted. It leaves the board when, and if, the
/// transaction commits.
pub fn drain() {
    counts::drains();
    for (queue, counts) in pending() {
        write(queue, counts);
        counts::count(queue, -counts);
    }
}

/// Counts the messages of a queue and corrects what is known of it. False if something
/// was counted meanwhile: then nobody can tell what the difference means, unless a little
/// too much or too few is better than nothing.
pub fn recount(queue: i32, roughly: bool) -> bool {
    static EXACT: Statement =
        Statement::new(include_str!("../../../sql/query/count_lanes.sql"), &[pg_sys::INT4OID]);
    let (before, drains) = (tally::counted(queue), tally::drains());
    stop::at(Point::RecountKnowsBoard);
    let mut difference = Counts::default();
    EXACT.run(&[Some(queue.into())], |row| {
        let [ready, leased, delayed, blocked, dead] = std::array::from_fn(|n| row.i64(n));
        difference = Counts { ready, leased, delayed, blocked, dead, ..Counts::default() };
    });
    let nobody_counts = before.committing == 0 && tally::counted(queue) == before;
    let is_undisturbed = nobody_counts && tally::drains() == drains && is_quiet(drains);
    if !is_undisturbed && !roughly {
        return false;
    }
    let difference = difference - before.counts.of_places();
    if difference != Counts::default() {
        write(queue, difference);
    }
    true
}
