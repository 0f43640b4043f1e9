//! The messages of one group, as one snapshot shows them.
//!
//! A `GroupScan` skips leased and delayed messages of this group and scans no others. It changes no hint.

use pgrx::pg_sys;

use crate::engine::reserve::reservation::Reservation;
use crate::engine::table::catalog;
use crate::engine::table::heap::Table;
use crate::engine::table::message::Column;
use crate::engine::table::name::Name;
use crate::engine::table::queue::Queue;
use crate::engine::table::scan::{Condition, Scan};
use crate::hint::Direction;
use crate::pg::snapshot::Snapshot;

/// Offers the ready and due messages of a group, one priority after the other.
pub fn take(table: &Table, queue: &Queue, key: &Name, reservation: &mut Reservation) {
    reservation.begin_walk();
    let snapshot = Snapshot::take();
    // A group that keeps its order has the same one whichever end of the queue comes first.
    let backward = reservation.direction == Direction::NewestFirst && !reservation.keeps_order();
    let walk = GroupScan { table, snapshot: &snapshot, queue: queue.id, key, backward };
    // A message that has its turn comes first.
    for in_turn in [true, false] {
        let mut last = None;
        while let Some(priority) = walk.next_priority(in_turn, last) {
            last = Some(priority);
            let has_first = walk.take_priority(in_turn, priority, reservation);
            if reservation.is_full() || (reservation.keeps_order() && (has_first || reservation.taken > 0)) {
                return;
            }
        }
    }
}

struct GroupScan<'a> {
    table: &'a Table,
    snapshot: &'a Snapshot,
    queue: i32,
    key: &'a Name,
    backward: bool,
}

impl<'a> GroupScan<'a> {
    fn conditions(&self, in_turn: bool) -> Vec<Condition> {
        vec![
            Condition::equals(1, pg_sys::F_INT4EQ, self.queue.into()),
            Condition::equals(2, pg_sys::F_TEXTEQ, self.key.datum()),
            Condition::equals(3, pg_sys::F_BOOLEQ, in_turn.into()),
        ]
    }

    fn scan(&self, conditions: &[Condition], backward: bool) -> Scan<'a> {
        Scan::begin(self.table, catalog::known().message_group, self.snapshot, conditions, backward)
    }

    fn next_priority(&self, in_turn: bool, last: Option<i16>) -> Option<i16> {
        let mut conditions = self.conditions(in_turn);
        if let Some(last) = last {
            let strategy = pg_sys::BTGreaterStrategyNumber;
            conditions.push(Condition::new(4, strategy, pg_sys::F_INT2GT, last.into()));
        }
        self.scan(&conditions, false).next().map(|row| row.i16(Column::Priority))
    }

    /// True if it has scanned the first message of the group that is not gone, which blocks all later ones
    /// where the queue keeps their order.
    fn take_priority(&self, in_turn: bool, priority: i16, reservation: &mut Reservation) -> bool {
        let mut conditions = self.conditions(in_turn);
        conditions.push(Condition::equals(4, pg_sys::F_INT2EQ, priority.into()));
        let mut rows = self.scan(&conditions, self.backward);
        while !reservation.is_full()
            && let Some(row) = rows.next()
        {
            reservation.offer(&row);
            if reservation.keeps_order() && !reservation.is_gone(&row) {
                return true;
            }
        }
        false
    }
}
