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
use std::ops::{Add, AddAssign, Neg, Sub};
use std::time::{Duration, Instant};

use pgrx::pg_sys::{self, Datum};

use super::message::{Lane, NOT_LEASED};
use super::statement::{Row, Sees, Statement};
use super::table::Table;
use super::{board, catalog, nap, news};
use crate::call::Timestamp;
use crate::stop::{self, Point};

/// How much each counter grows. The order is that of the columns of `pgqueue.counter`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counts {
    pub pushed: i64,
    pub delivered: i64,
    pub deleted: i64,
    pub retried: i64,
    pub died: i64,
    pub expired: i64,
    /// Messages in the ready lane, leased or not.
    pub ready: i64,
    /// Of those, the ones whose lease nobody has seen end.
    pub leased: i64,
    pub delayed: i64,
    pub blocked: i64,
    pub dead: i64,
}

/// How many counters there are.
pub const COUNTERS: usize = 11;

impl Counts {
    pub fn as_array(self) -> [i64; COUNTERS] {
        let Self { pushed, delivered, deleted, retried, died, expired, .. } = self;
        let Self { ready, leased, delayed, blocked, dead, .. } = self;
        [pushed, delivered, deleted, retried, died, expired, ready, leased, delayed, blocked, dead]
    }

    pub fn from_array(counts: [i64; COUNTERS]) -> Self {
        let [pushed, delivered, deleted, retried, died, expired, ready, leased, delayed, blocked, dead] =
            counts;
        Self { pushed, delivered, deleted, retried, died, expired, ready, leased, delayed, blocked, dead }
    }

    /// A message that lies there.
    pub fn message(lane: Lane, lease_until: Timestamp) -> Self {
        let leased = i64::from(lease_until != NOT_LEASED);
        match lane {
            Lane::Ready => Self { ready: 1, leased, ..Self::default() },
            Lane::Delayed => Self { delayed: 1, leased, ..Self::default() },
            Lane::Blocked => Self { blocked: 1, leased, ..Self::default() },
        }
    }

    /// How many messages there are.
    pub fn length(self) -> i64 {
        self.ready + self.delayed + self.blocked
    }

    /// Only what says where messages are, not what has happened to them.
    fn of_places(self) -> Self {
        Self { pushed: 0, delivered: 0, deleted: 0, retried: 0, died: 0, expired: 0, ..self }
    }

    fn map2(self, other: Self, f: impl Fn(i64, i64) -> i64) -> Self {
        let (these, those) = (self.as_array(), other.as_array());
        Self::from_array(std::array::from_fn(|n| f(these[n], those[n])))
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        self.map2(more, i64::wrapping_add)
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, less: Self) -> Self {
        self.map2(less, i64::wrapping_sub)
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        *self = *self + more;
    }
}

impl Neg for Counts {
    type Output = Self;

    fn neg(self) -> Self {
        Self::default() - self
    }
}

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
        news::count(queue, counts);
    }
}

/// Writes counts down: what has happened, and where messages are, each in a row of its own.
pub fn write(queue: i32, counts: Counts) {
    let table = Table::open(catalog::refresh().counter);
    let places = counts.of_places();
    for (counts, here) in [(counts - places, false), (places, true)] {
        if counts != Counts::default() {
            table.insert(&row(queue, counts, here));
        }
    }
}

/// The columns of `pgqueue.counter`.
pub fn row(queue: i32, counts: Counts, here: bool) -> Vec<Option<Datum>> {
    let mut row = vec![Some(Datum::from(queue))];
    row.extend(counts.as_array().map(|n| Some(Datum::from(n))));
    row.push(Some(here.into()));
    row
}

/// What committed transactions have counted and nobody has written down.
pub fn pending() -> Vec<(i32, Counts)> {
    board::collect(|place| (place.counts != Counts::default()).then_some((place.queue, place.counts)))
}

/// What the counters say of where a queue's messages are.
pub fn known(queue: i32) -> Counts {
    static KNOWN: Statement =
        Statement::new(include_str!("../../sql/query/known_counts.sql"), &[pg_sys::INT4OID]);
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
        let before = board::drains();
        let Some(counted) = board::known_counted(queue).filter(|_| is_quiet(before) && !news::is_draining())
        else {
            break;
        };
        let written = written_length(queue, before[0], counted.has_prepared);
        if board::drains() == before {
            let pending = (counted.counts + news::counted_of(queue)).length();
            return (written + pending).max(0);
        }
    }
    known(queue).length()
}

fn written_length(queue: i32, drains: u64, has_prepared: bool) -> i64 {
    static LENGTH: Statement =
        Statement::new(include_str!("../../sql/query/written_length.sql"), &[pg_sys::INT4OID]);
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
        let before = board::drains();
        let mut is_good = None;
        if last || is_quiet(before) {
            statement.run_seeing(Sees::Latest, args, |row| {
                if *is_good.get_or_insert_with(|| last || board::drains() == before) {
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
    begun == ended + u64::from(news::is_draining())
}

/// Writes down what the board has counted. It leaves the board when, and if, the
/// transaction commits.
pub fn drain() {
    news::drains();
    for (queue, counts) in pending() {
        write(queue, counts);
        news::count(queue, -counts);
    }
}

/// Counts the messages of a queue and corrects what is known of it. False if something
/// was counted meanwhile: then nobody can tell what the difference means, unless a little
/// too much or too few is better than nothing.
pub fn recount(queue: i32, roughly: bool) -> bool {
    static EXACT: Statement =
        Statement::new(include_str!("../../sql/query/count_lanes.sql"), &[pg_sys::INT4OID]);
    let (before, drains) = (board::counted(queue), board::drains());
    stop::at(Point::RecountKnowsBoard);
    let mut difference = Counts::default();
    EXACT.run(&[Some(queue.into())], |row| {
        let [ready, leased, delayed, blocked, dead] = std::array::from_fn(|n| row.i64(n));
        difference = Counts { ready, leased, delayed, blocked, dead, ..Counts::default() };
    });
    let nobody_counts = before.committing == 0 && board::counted(queue) == before;
    let is_undisturbed = nobody_counts && board::drains() == drains && is_quiet(drains);
    if !is_undisturbed && !roughly {
        return false;
    }
    let difference = difference - before.counts.of_places();
    if difference != Counts::default() {
        write(queue, difference);
    }
    true
}
