//! Counters: what has happened to the messages of a queue since it was made.
//!
//! A transaction's counts go to the board when it commits, and the worker writes them
//! down once a round: a crash of the server loses what was counted since. Where there
//! is no board, or no room on it, each call adds a row of its own. Nobody waits either
//! way, and what was rolled back was not counted. The worker folds the rows.

use std::collections::HashMap;
use std::ops::{AddAssign, Neg};

use pgrx::pg_sys::Datum;

use super::table::Table;
use super::{board, catalog, news};

/// How much each counter grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counts {
    pub pushed: i64,
    pub delivered: i64,
    pub deleted: i64,
    pub retried: i64,
    pub died: i64,
    pub expired: i64,
}

impl Counts {
    pub fn as_array(self) -> [i64; 6] {
        let Self { pushed, delivered, deleted, retried, died, expired } = self;
        [pushed, delivered, deleted, retried, died, expired]
    }

    fn from_array([pushed, delivered, deleted, retried, died, expired]: [i64; 6]) -> Self {
        Self { pushed, delivered, deleted, retried, died, expired }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        let (these, those) = (self.as_array(), more.as_array());
        *self = Self::from_array(std::array::from_fn(|n| these[n].wrapping_add(those[n])));
    }
}

impl Neg for Counts {
    type Output = Self;

    fn neg(self) -> Self {
        Self::from_array(self.as_array().map(i64::wrapping_neg))
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

/// Adds to the counters of a queue.
pub fn add(queue: i32, counts: Counts) {
    if counts == Counts::default() {
        return;
    }
    if board::has_room_for(queue) {
        news::count(queue, counts);
    } else {
        write(queue, counts);
    }
}

/// Writes a row of counts.
pub fn write(queue: i32, counts: Counts) {
    let mut values = vec![Some(Datum::from(queue))];
    values.extend(counts.as_array().map(|n| Some(Datum::from(n))));
    Table::open(catalog::refresh().counter).insert(&values);
}

/// What committed transactions have counted and nobody has written down.
pub fn pending() -> Vec<(i32, Counts)> {
    board::collect(|place| (place.counts != Counts::default()).then_some((place.queue, place.counts)))
}

/// Writes down what the board has counted. It leaves the board when, and if, the
/// transaction commits.
pub fn drain() {
    for (queue, counts) in pending() {
        write(queue, counts);
        news::count(queue, -counts);
    }
}
