//! Counters: what has happened to the messages of a queue since it was made.
//!
//! Each call adds a row of its own, in its own transaction: nobody waits, and what
//! was rolled back was not counted. The worker folds the rows.

use std::collections::HashMap;

use pgrx::pg_sys::Datum;

use super::catalog;
use super::table::Table;

/// How much each counter grows.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub pushed: i64,
    pub delivered: i64,
    pub deleted: i64,
    pub retried: i64,
    pub died: i64,
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
    let Counts { pushed, delivered, deleted, retried, died } = counts;
    let expired = 0i64; // counted by the round that drops what outlived its time
    let row = [pushed, delivered, deleted, retried, died, expired].map(|n| Some(Datum::from(n)));
    let mut values = vec![Some(Datum::from(queue))];
    values.extend(row);
    Table::open(catalog::refresh().counter).insert(&values);
}
