//! Scans over messages: one by its id, a queue's ready ones in order, its due ones.

use pgrx::pg_sys;

use super::catalog;
use super::table::{Key, Scan, Snapshot, Table};
use crate::call::Timestamp;

/// Which priorities a scan of the ready lane walks.
#[derive(Clone, Copy)]
pub enum Level {
    Any,
    Is(i16),
    Above(i16),
}

/// What is in a queue's ready lane, leased or not, by priority and id, or backwards.
pub fn ready(table: &Table, snapshot: &Snapshot, queue: i32, level: Level, backward: bool) -> Scan {
    let mut keys = vec![queue_key(queue)];
    match level {
        Level::Any => {}
        Level::Is(priority) => keys.push(Key::equals(2, pg_sys::F_INT2EQ, priority.into())),
        Level::Above(priority) => {
            let strategy = pg_sys::BTGreaterStrategyNumber;
            keys.push(Key::new(2, strategy, pg_sys::F_INT2GT, priority.into()));
        }
    }
    Scan::begin(table, catalog::refresh().message_ready, snapshot, &keys, backward)
}

/// What waits in a queue's delayed lane and is due at `now`, the longest due first.
pub fn due(table: &Table, snapshot: &Snapshot, queue: i32, now: Timestamp) -> Scan {
    let until = Key::new(2, pg_sys::BTLessEqualStrategyNumber, pg_sys::F_TIMESTAMPTZ_LE, now.into());
    delayed(table, snapshot, queue, until)
}

/// What waits in a queue's delayed lane and is not due at `now`, the next first.
pub fn next_due(table: &Table, snapshot: &Snapshot, queue: i32, now: Timestamp) -> Scan {
    let after = Key::new(2, pg_sys::BTGreaterStrategyNumber, pg_sys::F_TIMESTAMPTZ_GT, now.into());
    delayed(table, snapshot, queue, after)
}

fn delayed(table: &Table, snapshot: &Snapshot, queue: i32, due_at: Key) -> Scan {
    Scan::begin(table, catalog::refresh().message_due, snapshot, &[queue_key(queue), due_at], false)
}

/// One message, if it is there.
pub fn by_id(table: &Table, snapshot: &Snapshot, id: i64) -> Scan {
    let key = Key::equals(1, pg_sys::F_INT8EQ, id.into());
    Scan::begin(table, catalog::refresh().message_by_id, snapshot, &[key], false)
}

fn queue_key(queue: i32) -> Key {
    Key::equals(1, pg_sys::F_INT4EQ, queue.into())
}
