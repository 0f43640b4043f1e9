//! Functions that only the extension's own SQL calls: triggers, the install script,
//! statements.

use pgrx::pg_sys::Datum;

use crate::call::{Answer, Call};
use crate::engine::message::{Column, Lane, is_leased};
use crate::engine::{board, catalog, counter, news, now};
use crate::worker;

crate::export_to_sql!(begin_anew, forget_queues, announce_message, pending_counts);

/// Called by the install script: a new extension numbers its queues anew, and its
/// database has a worker at once.
fn begin_anew(_: &Call) -> Answer {
    board::forget_all();
    worker::ensure_running();
    Ok(None)
}

/// Trigger on `pgqueue.queue`: whoever changed it, every session hears of it at commit.
fn forget_queues(_: &Call) -> Answer {
    catalog::announce_change(catalog::refresh().queue);
    Ok(Some(Datum::null()))
}

/// Trigger on `pgqueue.message`: what a statement writes, ours or anybody's, is told of
/// when it commits. What the engine writes directly, it tells of itself.
fn announce_message(call: &Call) -> Answer {
    let row = call.new_row(Column::DueAt as usize + 1);
    let value = |column: Column| row[column as usize].map_or(0, |datum| datum.value() as i64);
    let (queue, priority, id) =
        (value(Column::Queue) as i32, value(Column::Priority) as i16, value(Column::Id));
    let lease_until = value(Column::LeaseUntil);
    match value(Column::Lane) as u8 {
        lane if lane == Lane::Delayed as u8 => news::delayed(queue, value(Column::DueAt)),
        _ if is_leased(lease_until, now()) => news::leased(queue, priority, id, lease_until),
        _ => news::ready(queue, priority, id),
    }
    Ok(Some(Datum::null()))
}

/// Rows (queue, pushed, delivered, deleted, retried, died, expired): what is counted in
/// shared memory and not written down yet, and what this transaction adds to it.
fn pending_counts(call: &Call) -> Answer {
    let mut rows = call.rows()?;
    for (queue, counts) in counter::pending().into_iter().chain(news::counted()) {
        let mut row = vec![Some(Datum::from(queue))];
        row.extend(counts.as_array().map(|n| Some(Datum::from(n))));
        rows.push(&row);
    }
    rows.done()
}
