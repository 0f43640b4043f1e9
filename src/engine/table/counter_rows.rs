//! Rows of `pgqueue.counter`.

use pgrx::pg_sys::Datum;

use crate::engine::table::catalog;
use crate::engine::table::counts::Counts;
use crate::engine::table::heap::Table;

/// Writes counts: event counters and message counts, each in a row of its own.
pub fn write(queue: i32, counts: Counts) {
    let table = Table::open(catalog::refresh().counter);
    let places = counts.of_places();
    for (counts, here) in [(counts - places, false), (places, true)] {
        if counts != Counts::default() {
            table.insert(&row(queue, counts, here));
        }
    }
}

/// Returns the columns of a row.
pub fn row(queue: i32, counts: Counts, here: bool) -> Vec<Option<Datum>> {
    let mut row = vec![Some(Datum::from(queue))];
    row.extend(counts.as_array().map(|n| Some(Datum::from(n))));
    row.push(Some(here.into()));
    row
}
