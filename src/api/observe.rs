//! `pgq_count`, `pgq_stats`, `pgq_list_queues`.

use crate::api::call::{Answer, Call};
use crate::engine::reserve::stats;
use crate::engine::table::queue;
use crate::value::right::Right;

crate::export_to_sql!(pgq_count, pgq_stats, pgq_list_queues);

fn pgq_count(call: &Call) -> Answer {
    let exact: bool = call.required(1, "exact")?;
    let group_key = call.optional_name(2, "group_key")?.map(|key| key.datum());
    let count = match queue::find(&call.name(0, "queue")?, Right::Monitor)? {
        Some(queue) if !queue.paused => stats::count(&queue, exact, group_key),
        _ => 0,
    };
    Ok(Some(count.into()))
}

fn pgq_stats(call: &Call) -> Answer {
    let name = call.optional_name(0, "queue")?;
    let exact: bool = call.required(1, "exact")?;
    if let Some(name) = &name {
        queue::find(name, Right::Monitor)?;
    }
    let mut rows = call.rows()?;
    stats::read(name.as_ref(), exact, |row| rows.push(row))?;
    rows.done()
}

fn pgq_list_queues(call: &Call) -> Answer {
    let mut rows = call.rows()?;
    stats::list(|row| rows.push(row));
    rows.done()
}
