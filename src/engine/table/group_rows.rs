//! The rows of an ordered group: an index has them in their order.

use pgrx::pg_sys;

use crate::engine::table::catalog;
use crate::engine::table::heap::{Fate, Patience, Table};
use crate::engine::table::row::{Intent, Own};
use crate::engine::table::scan::{Condition, Scan};
use crate::pg::datum::text_datum;
use crate::pg::snapshot::Snapshot;

/// A group of a queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    pub queue: i32,
    pub key: Vec<u8>,
}

impl Group {
    /// Finds the group in its index.
    pub fn conditions(&self) -> [Condition; 2] {
        [
            Condition::equals(1, pg_sys::F_INT4EQ, self.queue.into()),
            Condition::equals(2, pg_sys::F_TEXTEQ, text_datum(&self.key)),
        ]
    }

    /// Scans the messages of the group in their order.
    pub fn rows<'a>(&self, table: &'a Table, snapshot: &'a Snapshot) -> Scan<'a> {
        Scan::begin(table, catalog::known().message_group, snapshot, &self.conditions(), false)
    }

    /// Takes the first message from all other transactions until this one ends. False if another has it.
    pub fn take_first(&self, table: &Table, patience: Patience) -> bool {
        loop {
            pg_sys::check_for_interrupts!();
            let snapshot = Snapshot::latest();
            let mut rows = self.rows(table, &snapshot);
            let Some(first) = rows.next().filter(|first| first.own() != Own::Change) else { return true };
            match table.lock(&first, Intent::Remove, patience) {
                Fate::Done => return true,
                Fate::Busy => return false,
                Fate::Changed | Fate::Gone => {}
            }
        }
    }
}
