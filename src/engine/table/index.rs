//! Indexes that the engine scans: finds each by its name and checks it.
//!
//! An index is used only if it is valid and has the shape that the extension gave it: the same table, columns
//! and rows. Any other index would hide messages, or have entries of another shape. If REINDEX CONCURRENTLY
//! has just replaced an index, the new one is used.

use std::ffi::CStr;

use pgrx::pg_sys::{self, Oid};

use crate::engine::table::message::{Column, Lane};

/// An index that was found by its name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Index {
    pub oid: Oid,
    pub(super) which: usize,
}

/// An index as the extension has made it.
pub struct Shape {
    pub(super) name: &'static CStr,
    /// Columns of the table, counted from 1, each with whether its order is descending.
    pub(super) columns: &'static [(i16, bool)],
    pub(super) rows: Rows,
    pub(super) made_by: &'static str,
}

/// Rows that have an entry in an index.
#[derive(Clone, Copy)]
pub enum Rows {
    All,
    In(Lane),
    With(Column),
}

const fn at(column: Column) -> (i16, bool) {
    (column as i16 + 1, false)
}

pub const BY_ID: usize = 0;
pub const READY: usize = 1;
pub const DUE: usize = 2;
pub const EXPIRES: usize = 3;
pub const GROUP: usize = 4;
pub const KEY: usize = 5;
pub const SLOTS: usize = 6;
pub const QUEUES: usize = 7;
pub const BEGUN: usize = 8;

pub const SHAPES: [Shape; 9] = [
    Shape {
        name: c"message_id_is_unique",
        columns: &[at(Column::Id)],
        rows: Rows::All,
        made_by: "ALTER TABLE pgqueue.message ADD CONSTRAINT message_id_is_unique PRIMARY KEY (id)",
    },
    Shape {
        name: c"message_ready",
        columns: &[at(Column::Queue), at(Column::Priority), at(Column::Id)],
        rows: Rows::In(Lane::Ready),
        made_by: "CREATE INDEX message_ready ON pgqueue.message (queue, priority, id) WHERE lane = 'r'",
    },
    Shape {
        name: c"message_due",
        columns: &[at(Column::Queue), at(Column::DueAt), at(Column::Id)],
        rows: Rows::In(Lane::Delayed),
        made_by: "CREATE INDEX message_due ON pgqueue.message (queue, due_at, id) WHERE lane = 'd'",
    },
    Shape {
        name: c"message_expires",
        columns: &[at(Column::ExpiresAt)],
        rows: Rows::With(Column::ExpiresAt),
        made_by: "CREATE INDEX message_expires ON pgqueue.message (expires_at) WHERE expires_at IS NOT NULL",
    },
    Shape {
        name: c"message_group",
        columns: &[
            at(Column::Queue),
            at(Column::GroupKey),
            (Column::InTurn as i16 + 1, true),
            at(Column::Priority),
            at(Column::Id),
        ],
        rows: Rows::With(Column::GroupKey),
        made_by: "CREATE INDEX message_group ON pgqueue.message (queue, group_key, in_turn DESC, priority, id) WHERE group_key IS NOT NULL",
    },
    Shape {
        name: c"message_key",
        columns: &[at(Column::Queue), at(Column::DedupKey), at(Column::Id)],
        rows: Rows::With(Column::DedupKey),
        made_by: "CREATE INDEX message_key ON pgqueue.message (queue, dedup_key, id) WHERE dedup_key IS NOT NULL",
    },
    Shape {
        name: c"slot_is_unique",
        columns: &[(1, false), (2, false)],
        rows: Rows::All,
        made_by: "ALTER TABLE pgqueue.slot ADD CONSTRAINT slot_is_unique PRIMARY KEY (queue, number)",
    },
    Shape {
        name: c"queue_name_is_unique",
        columns: &[(2, false)],
        rows: Rows::All,
        made_by: "ALTER TABLE pgqueue.queue ADD CONSTRAINT queue_name_is_unique UNIQUE (name)",
    },
    Shape {
        name: c"begun_queue_by_name",
        columns: &[(2, false)],
        rows: Rows::All,
        made_by: "CREATE INDEX begun_queue_by_name ON pgqueue.begun_queue (name)",
    },
];

impl Index {
    /// Finds the index that has the name now.
    pub fn find(schema: Oid, which: usize) -> Self {
        // SAFETY: a catalog look-up by a C string.
        Self { oid: unsafe { pg_sys::get_relname_relid(SHAPES[which].name.as_ptr(), schema) }, which }
    }
}
