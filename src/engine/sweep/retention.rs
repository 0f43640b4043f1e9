//! Retention: drops rows that queues have kept for as long as they are set to.

use std::thread::LocalKey;

use pgrx::pg_sys;

use crate::engine::sweep::tour::Tour;
use crate::engine::table::queue::{self, Queue};
use crate::engine::table::statement::Statement;
use crate::pg::datum::{i32_array, timestamp_array};
use crate::pg::session::now;
use crate::value::duration::Millis;
use crate::value::timestamp::Timestamp;

static ARCHIVED: Statement = Statement::new(
    include_str!("../../../sql/query/archived_queues.sql"),
    &[pg_sys::INT4OID, pg_sys::INT8OID],
);
static DROP_ARCHIVED: Statement = Statement::new(
    include_str!("../../../sql/query/sweep_archive.sql"),
    &[pg_sys::INT4ARRAYOID, pg_sys::TIMESTAMPTZARRAYOID, pg_sys::INT8OID],
);
static RETAINING: Statement = Statement::new(
    include_str!("../../../sql/query/retaining_queues.sql"),
    &[pg_sys::INT4OID, pg_sys::INT8OID],
);
static DROP_DEAD: Statement = Statement::new(
    include_str!("../../../sql/query/sweep_dead.sql"),
    &[pg_sys::INT4ARRAYOID, pg_sys::TIMESTAMPTZARRAYOID, pg_sys::INT8OID],
);
static KEYED: Statement =
    Statement::new(include_str!("../../../sql/query/keyed_queues.sql"), &[pg_sys::INT4OID, pg_sys::INT8OID]);
static FORGET_KEYS: Statement = Statement::new(
    include_str!("../../../sql/query/sweep_keys.sql"),
    &[pg_sys::INT4ARRAYOID, pg_sys::TIMESTAMPTZARRAYOID, pg_sys::INT8OID],
);

/// Drops up to `page` dead letters that have been kept long enough, and returns how many.
pub fn drop_dead(page: i64) -> i64 {
    drop_overdue(&RETAINING, &DROP_DEAD, &DEAD, page, |queue| queue.settings.dead_retention)
}

/// Drops up to `page` archived messages that have been kept long enough, and returns how many. A queue that
/// has no archive any more loses all of them.
pub fn drop_archived(page: i64) -> i64 {
    drop_overdue(&ARCHIVED, &DROP_ARCHIVED, &ARCHIVE, page, |queue| {
        Some(queue.settings.archive.unwrap_or(Millis::ZERO))
    })
}

/// Forgets up to `page` keys that were pushed before their queue's window, and returns how many.
pub fn forget_keys(page: i64) -> i64 {
    drop_overdue(&KEYED, &FORGET_KEYS, &KEYS, page, |queue| {
        Some(queue.settings.dedup_window.unwrap_or(Millis::ZERO))
    })
}

thread_local! {
    static DEAD: Tour = const { Tour::new() };
    static ARCHIVE: Tour = const { Tour::new() };
    static KEYS: Tour = const { Tour::new() };
}

/// Drops up to `page` rows of the queues from `having` that are older than `kept` says. A queue that does not
/// exist, or whose settings are broken, keeps its rows.
fn drop_overdue(
    having: &'static Statement,
    drop: &'static Statement,
    tour: &'static LocalKey<Tour>,
    page: i64,
    kept: impl Fn(&Queue) -> Option<Millis>,
) -> i64 {
    tour.with(|tour| tour.go_on(having, page, |queues, max| drop_of(queues, drop, max, &kept)))
}

/// Drops up to `max` rows of some queues.
fn drop_of(
    queues: &[i32],
    drop: &'static Statement,
    max: i64,
    kept: impl Fn(&Queue) -> Option<Millis>,
) -> i64 {
    let now = now();
    let up_to = |id| Some(now - kept(&*queue::by_id(id).ok()??)?.as_micros());
    let (queues, times): (Vec<i32>, Vec<Timestamp>) =
        queues.iter().filter_map(|&id| Some((id, up_to(id)?))).unzip();
    if queues.is_empty() {
        return 0;
    }
    drop.run(&[Some(i32_array(&queues)), Some(timestamp_array(&times)), Some(max.into())], |_| {}) as i64
}
