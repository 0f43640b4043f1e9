//! Scans over messages: by id, by priority, by due time.

use pgrx::pg_sys;

use crate::engine::table::catalog;
use crate::engine::table::heap::Table;
use crate::engine::table::message::Column;
use crate::engine::table::name::Name;
use crate::engine::table::row::TableRow;
use crate::engine::table::scan::{Condition, Entry, Scan};
use crate::hint::address::Address;
use crate::hint::{Direction, Key, START};
use crate::pg::memory::room_for;
use crate::pg::snapshot::Snapshot;
use crate::value::timestamp::Timestamp;

impl Address {
    /// Scans its index entries, from a key on.
    pub fn entries<'a>(self, table: &'a Table, snapshot: Option<&'a Snapshot>, from: Key) -> Scan<'a> {
        let conditions = self.conditions(from);
        Scan::begin_entries(table, catalog::known().message_ready, snapshot, &conditions, self.is_backward())
    }

    /// Scans its messages, leased or not, from a key on.
    pub fn rows<'a>(self, table: &'a Table, snapshot: &'a Snapshot, from: Key) -> Scan<'a> {
        let conditions = self.conditions(from);
        Scan::begin(table, catalog::known().message_ready, snapshot, &conditions, self.is_backward())
    }

    pub fn key(self, entry: &Entry) -> Key {
        self.direction.key(entry.id)
    }

    fn conditions(self, from: Key) -> Vec<Condition> {
        let priority = Condition::equals(2, pg_sys::F_INT2EQ, self.priority.into());
        let mut conditions = vec![queue_is(self.queue), priority];
        if from != START {
            let (strategy, procedure) = match self.direction {
                Direction::OldestFirst => (pg_sys::BTGreaterEqualStrategyNumber, pg_sys::F_INT8GE),
                Direction::NewestFirst => (pg_sys::BTLessEqualStrategyNumber, pg_sys::F_INT8LE),
            };
            conditions.push(Condition::new(3, strategy, procedure, self.direction.id(from).into()));
        }
        conditions
    }

    fn is_backward(self) -> bool {
        self.direction == Direction::NewestFirst
    }
}

/// Returns the first priority after `after` that has entries in a queue's ready lane. With a snapshot, a
/// serializable transaction takes a predicate lock on the range it has scanned.
pub fn next_priority(
    table: &Table,
    snapshot: Option<&Snapshot>,
    queue: i32,
    after: Option<i16>,
) -> Option<i16> {
    let mut conditions = vec![queue_is(queue)];
    if let Some(after) = after {
        let strategy = pg_sys::BTGreaterStrategyNumber;
        conditions.push(Condition::new(2, strategy, pg_sys::F_INT2GT, after.into()));
    }
    let mut scan = Scan::begin_entries(table, catalog::known().message_ready, snapshot, &conditions, false);
    scan.next_entry().map(|entry| entry.priority)
}

/// Returns the last priority before `before` that has entries in a queue's ready lane, of living messages or
/// dead ones.
pub fn previous_priority(table: &Table, queue: i32, before: Option<i16>) -> Option<i16> {
    let mut conditions = vec![queue_is(queue)];
    if let Some(before) = before {
        conditions.push(Condition::new(2, pg_sys::BTLessStrategyNumber, pg_sys::F_INT2LT, before.into()));
    }
    let mut scan = Scan::begin_entries(table, catalog::known().message_ready, None, &conditions, true);
    scan.next_entry().map(|entry| entry.priority)
}

/// Returns the first queue after one that has entries in the delayed lane, of living messages or dead ones.
pub fn next_delayed_queue(table: &Table, after: i32) -> Option<i32> {
    let strategy = pg_sys::BTGreaterStrategyNumber;
    let is_after = Condition::new(1, strategy, pg_sys::F_INT4GT, after.into());
    // The second column is a due time, no priority.
    let mut scan = Scan::begin_entries(table, catalog::known().message_due, None, &[is_after], false);
    scan.next_entry().map(|entry| entry.queue)
}

/// Scans a queue's delayed lane, from a due time on.
pub fn delayed<'a>(table: &'a Table, snapshot: &'a Snapshot, queue: i32, from: Timestamp) -> Scan<'a> {
    let strategy = pg_sys::BTGreaterEqualStrategyNumber;
    let from = Condition::new(2, strategy, pg_sys::F_TIMESTAMPTZ_GE, from.into());
    Scan::begin(table, catalog::known().message_due, snapshot, &[queue_is(queue), from], false)
}

/// A message of a queue.
#[derive(Clone, Copy)]
pub struct Listed {
    pub id: i64,
    pub place: Place,
}

/// Where a listed message stands in its group.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It is in no group.
    Alone,
    First,
    /// Behind the message that is listed before it.
    Behind,
}

/// Lists all messages of a queue, or of one of its groups: each group in order.
pub fn list(table: &Table, queue: i32, group_key: Option<&Name>) -> Vec<Listed> {
    let known = catalog::known();
    let snapshot = Snapshot::take();
    let mut listed = Vec::new();
    let mut add = |row: &TableRow, place| {
        room_for(&mut listed, 1);
        listed.push(Listed { id: row.i64(Column::Id), place });
    };
    let mut conditions = vec![queue_is(queue)];
    conditions.extend(group_key.map(|key| Condition::equals(2, pg_sys::F_TEXTEQ, key.datum())));
    let mut of_groups = Scan::begin(table, known.message_group, &snapshot, &conditions, false);
    let mut last = None;
    while let Some(row) = of_groups.next() {
        let key = row.text(Column::GroupKey);
        let place = if key == last { Place::Behind } else { Place::First };
        last = key;
        add(&row, place);
    }
    if group_key.is_none() {
        for lane in [known.message_ready, known.message_due] {
            let mut rows = Scan::begin(table, lane, &snapshot, &[queue_is(queue)], false);
            while let Some(row) = rows.next() {
                if row.get(Column::GroupKey).is_none() {
                    add(&row, Place::Alone);
                }
            }
        }
    }
    listed
}

/// A scan of messages by their ids.
pub struct ById<'a>(Scan<'a>);

impl<'a> ById<'a> {
    pub fn open(table: &'a Table, snapshot: &'a Snapshot) -> Self {
        let is_it = Condition::equals(1, pg_sys::F_INT8EQ, 0i64.into());
        Self(Scan::begin(table, catalog::known().message_by_id, snapshot, &[is_it], false))
    }

    /// Finds a message; none if the snapshot shows none with this id.
    pub fn find(&mut self, id: i64) -> Option<TableRow<'_>> {
        self.0.seek(id.into());
        self.0.next()
    }
}

fn queue_is(queue: i32) -> Condition {
    Condition::equals(1, pg_sys::F_INT4EQ, queue.into())
}
