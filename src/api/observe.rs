//! `pgq_count`, `pgq_stats`, `pgq_list_queues`.

use pgrx::pg_sys;

use crate::call::{Answer, Call, varlena_bytes};
use crate::engine::owner::caller_is_member_of;
use crate::engine::queue;
use crate::engine::statement::Statement;

crate::export_to_sql!(pgq_count, pgq_stats, pgq_list_queues);

static COUNT: Statement = Statement::new(include_str!("../../sql/query/count.sql"), &[pg_sys::INT4OID]);
static STATS: Statement = Statement::new(include_str!("../../sql/query/stats.sql"), &[pg_sys::TEXTOID]);
static LIST: Statement = Statement::new(include_str!("../../sql/query/list_queues.sql"), &[]);

fn pgq_count(call: &Call) -> Answer {
    let mut count = 0;
    if let Some(queue) = queue::find(&call.name(0, "queue")?)?
        && !queue.paused
    {
        COUNT.run(&[Some(queue.id.into())], |row| count = row.i64(0));
    }
    Ok(Some(count.into()))
}

fn pgq_stats(call: &Call) -> Answer {
    let name = match call.optional::<Vec<u8>>(0, "queue")? {
        Some(_) => Some(call.name(0, "queue")?),
        None => None,
    };
    if let Some(name) = &name {
        queue::find(name)?;
    }
    let mut rows = call.rows()?;
    STATS.run(&[name.map(|name| name.datum())], |row| {
        // SAFETY: the first column is the owner, a text.
        if caller_is_member_of(&unsafe { varlena_bytes(row.value(0)) }) {
            rows.push(&row.all()[1..]);
        }
    });
    rows.done()
}

fn pgq_list_queues(call: &Call) -> Answer {
    let mut rows = call.rows()?;
    LIST.run(&[], |row| {
        // SAFETY: the second column is the owner, a text.
        if caller_is_member_of(&unsafe { varlena_bytes(row.value(1)) }) {
            rows.push(&row.all());
        }
    });
    rows.done()
}
