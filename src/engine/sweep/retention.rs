//! Retention: drops rows that queues have kept for as long as they are set to.

use std::cell::Cell;
use std::thread::LocalKey;
use std::time::Instant;

use pgrx::pg_sys;

use crate::engine::sweep::turn::TURN;
use crate::engine::table::queue::{self, Queue};
use crate::engine::table::statement::Statement;
use crate::pg::datum::{i32_array, timestamp_array};
use crate::pg::session::now;
use crate::pg::timeout::is_worker;
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
    drop_overdue(&RETAINING, &DROP_DEAD, &DEAD_TO, page, |queue| queue.settings.dead_retention)
}

/// Drops up to `page` archived messages that have been kept long enough, and returns how many. A queue that
/// has no archive any more loses all of them.
pub fn drop_archived(page: i64) -> i64 {
    drop_overdue(&ARCHIVED, &DROP_ARCHIVED, &ARCHIVE_TO, page, |queue| {
        Some(queue.settings.archive.unwrap_or(Millis::ZERO))
    })
}

/// Forgets up to `page` keys that were pushed before their queue's window, and returns how many.
pub fn forget_keys(page: i64) -> i64 {
    drop_overdue(&KEYED, &FORGET_KEYS, &KEYS_TO, page, |queue| {
        Some(queue.settings.dedup_window.unwrap_or(Millis::ZERO))
    })
}

/// How many queues are looked at at a time.
const QUEUES: i64 = 100;

/// The number of the last queue that was looked at; 0 to begin anew.
type Place = &'static LocalKey<Cell<i32>>;

thread_local! {
    static DEAD_TO: Cell<i32> = const { Cell::new(0) };
    static ARCHIVE_TO: Cell<i32> = const { Cell::new(0) };
    static KEYS_TO: Cell<i32> = const { Cell::new(0) };
}

/// Drops up to `page` rows of the queues from `having` that are older than `kept` says. A queue that does not
/// exist, or whose settings are broken, keeps its rows.
///
/// The worker goes through the queues for a turn, and goes on there in its next round. So the queues of other
/// roles need not wait, however many queues a role has.
fn drop_overdue(
    having: &'static Statement,
    drop: &'static Statement,
    place: Place,
    page: i64,
    kept: impl Fn(&Queue) -> Option<Millis>,
) -> i64 {
    let (begun, mut dropped) = (Instant::now(), 0);
    let mut behind = if is_worker() { place.get() } else { 0 };
    loop {
        pgrx::check_for_interrupts!();
        let mut queues = Vec::new();
        having.run(&[Some(behind.into()), Some(QUEUES.into())], |row| queues.push(row.i32(0)));
        behind = queues.last().copied().filter(|_| queues.len() as i64 == QUEUES).unwrap_or(0);
        dropped += drop_of(&queues, drop, page - dropped, &kept);
        if behind == 0 || dropped >= page || is_worker() && begun.elapsed() >= TURN {
            break;
        }
    }
    if is_worker() {
        place.set(behind);
    }
    dropped
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
