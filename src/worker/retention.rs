//! Retention: dropping what queues have kept for as long as they are set to.

use pgrx::pg_sys;

use crate::call::Timestamp;
use crate::engine::now;
use crate::engine::queue;
use crate::engine::statement::{Statement, i32_array, timestamp_array};
use crate::value::duration::Millis;
use crate::value::settings::Settings;

static ARCHIVED: Statement = Statement::new(include_str!("../../sql/query/archived_queues.sql"), &[]);
static DROP_ARCHIVED: Statement = Statement::new(
    include_str!("../../sql/query/sweep_archive.sql"),
    &[pg_sys::INT4ARRAYOID, pg_sys::TIMESTAMPTZARRAYOID, pg_sys::INT8OID],
);

static KEYED: Statement = Statement::new(include_str!("../../sql/query/keyed_queues.sql"), &[]);
static FORGET_KEYS: Statement = Statement::new(
    include_str!("../../sql/query/sweep_keys.sql"),
    &[pg_sys::INT4ARRAYOID, pg_sys::TIMESTAMPTZARRAYOID, pg_sys::INT8OID],
);

/// Drops up to `page` archived messages whose time is over and returns how many: all of
/// a queue that is gone or keeps none any more.
pub fn drop_archived(page: i64) -> i64 {
    drop_outkept(&ARCHIVED, &DROP_ARCHIVED, page, |settings| settings.archive)
}

/// Forgets up to `page` keys that were pushed before their queue's window and returns how
/// many.
pub fn forget_keys(page: i64) -> i64 {
    drop_outkept(&KEYED, &FORGET_KEYS, page, |settings| settings.dedup_window)
}

/// Drops what the queues that `having` names have kept for longer than `kept` says.
fn drop_outkept(
    having: &'static Statement,
    drop: &'static Statement,
    page: i64,
    kept: fn(&Settings) -> Option<Millis>,
) -> i64 {
    let mut queues = Vec::new();
    having.run(&[], |row| queues.push(row.i32(0)));
    if queues.is_empty() {
        return 0;
    }
    let now = now();
    let up_to: Vec<Timestamp> = queues
        .iter()
        .map(|&queue| {
            let queue = queue::by_id(queue).ok().flatten();
            let kept = queue.and_then(|queue| kept(&queue.settings));
            now - kept.map_or(0, Millis::as_micros)
        })
        .collect();
    let args = [Some(i32_array(&queues)), Some(timestamp_array(&up_to)), Some(page.into())];
    drop.run(&args, |_| {}) as i64
}
