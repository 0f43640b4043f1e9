//! Retention: dropping what queues have kept for as long as they are set to.

use pgrx::pg_sys;

use crate::engine::table::queue::{self, Queue};
use crate::engine::table::statement::Statement;
use crate::pg::datum::{i32_array, timestamp_array};
use crate::pg::session::now;
use crate::value::duration::Millis;
use crate::value::timestamp::Timestamp;

static ARCHIVED: Statement = Statement::new(include_str!("../../../sql/query/archived_queues.sql"), &[]);
static DROP_ARCHIVED: Statement = Statement::new(
    include_str!("../../../sql/query/sweep_archive.sql"),
    &[pg_sys::INT4ARRAYOID, pg_sys::TIMESTAMPTZARRAYOID, pg_sys::INT8OID],
);
static RETAINING: Statement = Statement::new(include_str!("../../../sql/query/retaining_queues.sql"), &[]);
static DROP_DEAD: Statement = Statement::new(
    include_str!("../../../sql/query/sweep_dead.sql"),
    &[pg_sys::INT4ARRAYOID, pg_sys::TIMESTAMPTZARRAYOID, pg_sys::INT8OID],
);
static KEYED: Statement = Statement::new(include_str!("../../../sql/query/keyed_queues.sql"), &[]);
static FORGET_KEYS: Statement = Statement::new(
    include_str!("../../../sql/query/sweep_keys.sql"),
    &[pg_sys::INT4ARRAYOID, pg_sys::TIMESTAMPTZARRAYOID, pg_sys::INT8OID],
);

/// Drops up to `page` dead letters whose time is over and returns how many.
pub fn drop_dead(page: i64) -> i64 {
    drop_overdue(&RETAINING, &DROP_DEAD, page, |queue| queue.settings.dead_retention)
}

/// Drops up to `page` archived messages whose time is over and returns how many: all of
/// a queue that keeps none any more.
pub fn drop_archived(page: i64) -> i64 {
    drop_overdue(&ARCHIVED, &DROP_ARCHIVED, page, |queue| {
        Some(queue.settings.archive.unwrap_or(Millis::ZERO))
    })
}

/// Forgets up to `page` keys that were pushed before their queue's window and returns how
/// many.
pub fn forget_keys(page: i64) -> i64 {
    drop_overdue(&KEYED, &FORGET_KEYS, page, |queue| {
        Some(queue.settings.dedup_window.unwrap_or(Millis::ZERO))
    })
}

/// Drops what queues, those that `having` gives, have kept for longer than `kept` says.
/// A queue that is not there, or whose settings somebody has broken, keeps what it has.
fn drop_overdue(
    having: &'static Statement,
    drop: &'static Statement,
    page: i64,
    kept: impl Fn(&Queue) -> Option<Millis>,
) -> i64 {
    let mut queues = Vec::new();
    having.run(&[], |row| queues.push(row.i32(0)));
    let now = now();
    let up_to = |id| Some(now - kept(&*queue::by_id(id).ok()??)?.as_micros());
    let (queues, times): (Vec<i32>, Vec<Timestamp>) =
        queues.into_iter().filter_map(|id| Some((id, up_to(id)?))).unzip();
    if queues.is_empty() {
        return 0;
    }
    drop.run(&[Some(i32_array(&queues)), Some(timestamp_array(&times)), Some(page.into())], |_| {}) as i64
}
