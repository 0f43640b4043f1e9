//! What the tables and indexes must look like that are read and written directly.
//!
//! They go by name, and direct access trusts their columns: a wrong index would hide messages
//! or crash the server. A look at the catalog tells, once for each change of it.

use std::ffi::CStr;

use pgrx::PgTupleDesc;
use pgrx::pg_sys::{self, Oid};

use super::message::{COLUMNS, Column, Lane};
use crate::error::{Error, Result};

/// A table: its name and the types of its first columns.
pub struct Table {
    pub name: &'static CStr,
    types: &'static [Oid],
}

const MESSAGE_TYPES: [Oid; COLUMNS] = [
    pg_sys::INT8OID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::INT4OID,
    pg_sys::INT4OID,
    pg_sys::INT2OID,
    pg_sys::CHAROID,
    pg_sys::BOOLOID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::INT8OID,
    pg_sys::INT4OID,
    pg_sys::INT8OID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::JSONBOID,
    pg_sys::BYTEAOID,
    pg_sys::JSONBOID,
    pg_sys::JSONBOID,
    pg_sys::INT8OID,
];

pub static MESSAGE: Table = Table { name: c"message", types: &MESSAGE_TYPES };

pub static ARCHIVE: Table = Table {
    name: c"archive",
    types: &[
        pg_sys::INT8OID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::INT4OID,
        pg_sys::INT4OID,
        pg_sys::INT2OID,
        pg_sys::TEXTOID,
        pg_sys::JSONBOID,
        pg_sys::BYTEAOID,
        pg_sys::JSONBOID,
        pg_sys::JSONBOID,
    ],
};

pub static COUNTER: Table = Table {
    name: c"counter",
    types: &[
        pg_sys::INT4OID,
        pg_sys::INT8OID,
        pg_sys::INT8OID,
        pg_sys::INT8OID,
        pg_sys::INT8OID,
        pg_sys::INT8OID,
        pg_sys::INT8OID,
        pg_sys::INT8OID,
        pg_sys::INT8OID,
        pg_sys::INT8OID,
        pg_sys::INT8OID,
        pg_sys::INT8OID,
        pg_sys::BOOLOID,
    ],
};

/// An index of `pgqueue.message`, as `sql/schema/tables.sql` makes it.
pub struct Index {
    pub name: &'static CStr,
    /// Its columns, and whether it holds them in descending order.
    columns: &'static [(Column, bool)],
    rows: Rows,
    is_unique: bool,
    made_by: &'static str,
}

/// Of which rows an index has entries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rows {
    All,
    OfLane(Lane),
    With(Column),
}

pub static BY_ID: Index = Index {
    name: c"message_id_is_unique",
    columns: &[(Column::Id, false)],
    rows: Rows::All,
    is_unique: true,
    made_by: "ALTER TABLE pgqueue.message ADD CONSTRAINT message_id_is_unique PRIMARY KEY (id)",
};
pub static READY: Index = Index {
    name: c"message_ready",
    columns: &[(Column::Queue, false), (Column::Priority, false), (Column::Id, false)],
    rows: Rows::OfLane(Lane::Ready),
    is_unique: false,
    made_by: "CREATE INDEX message_ready ON pgqueue.message (queue, priority, id) WHERE lane = 'r'",
};
pub static DUE: Index = Index {
    name: c"message_due",
    columns: &[(Column::Queue, false), (Column::DueAt, false), (Column::Id, false)],
    rows: Rows::OfLane(Lane::Delayed),
    is_unique: false,
    made_by: "CREATE INDEX message_due ON pgqueue.message (queue, due_at, id) WHERE lane = 'd'",
};
pub static EXPIRES: Index = Index {
    name: c"message_expires",
    columns: &[(Column::ExpiresAt, false)],
    rows: Rows::With(Column::ExpiresAt),
    is_unique: false,
    made_by: "CREATE INDEX message_expires ON pgqueue.message (expires_at) WHERE expires_at IS NOT NULL",
};
pub static GROUP: Index = Index {
    name: c"message_group",
    columns: &[
        (Column::Queue, false),
        (Column::GroupKey, false),
        (Column::InTurn, true),
        (Column::Priority, false),
        (Column::Id, false),
    ],
    rows: Rows::With(Column::GroupKey),
    is_unique: false,
    made_by: "CREATE INDEX message_group ON pgqueue.message (queue, group_key, in_turn DESC, priority, id) \
              WHERE group_key IS NOT NULL",
};
pub static KEY: Index = Index {
    name: c"message_key",
    columns: &[(Column::Queue, false), (Column::DedupKey, false), (Column::Id, false)],
    rows: Rows::With(Column::DedupKey),
    is_unique: false,
    made_by: "CREATE INDEX message_key ON pgqueue.message (queue, dedup_key, id) WHERE dedup_key IS NOT NULL",
};

/// The table of that name, if it is what its name says.
///
/// # Safety
/// The extension's schema is there.
pub unsafe fn find_table(table: &Table, schema: Oid) -> Result<Oid> {
    // SAFETY: the relation is open while it is looked at; the lock goes with it.
    unsafe {
        let oid = pg_sys::get_relname_relid(table.name.as_ptr(), schema);
        if oid == Oid::INVALID || pg_sys::get_rel_relkind(oid) as u8 != pg_sys::RELKIND_RELATION {
            return Err(Error::bad_table(table.name, "is not there"));
        }
        let relation = pg_sys::relation_open(oid, pg_sys::AccessShareLock as i32);
        let problem = table.problem(relation);
        pg_sys::relation_close(relation, pg_sys::AccessShareLock as i32);
        problem.map_or(Ok(oid), |problem| Err(Error::bad_table(table.name, problem)))
    }
}

impl Table {
    /// How many columns the install script gives the table.
    pub fn columns(&self) -> usize {
        self.types.len()
    }

    unsafe fn problem(&self, relation: pg_sys::Relation) -> Option<&'static str> {
        // SAFETY: the caller has the relation open.
        let (class, columns) =
            unsafe { (&*(*relation).rd_rel, PgTupleDesc::from_pg_unchecked((*relation).rd_att)) };
        let is_as_made = |(n, &wanted): (usize, &Oid)| {
            columns.get(n).is_some_and(|column| column.atttypid == wanted && !column.attisdropped)
        };
        if class.relam != pg_sys::HEAP_TABLE_AM_OID {
            Some("is not stored as a heap")
        } else if class.relispartition {
            Some("is a partition of another table")
        } else if !self.types.iter().enumerate().all(is_as_made) {
            Some("has other columns than the extension gave it")
        } else {
            None
        }
    }
}

/// The index of that name, if it is what its name says.
///
/// # Safety
/// The table is `pgqueue.message`, and the schema that of the extension.
pub unsafe fn find_index(index: &Index, table: Oid, schema: Oid) -> Result<Oid> {
    // SAFETY: as above.
    unsafe {
        let oid = pg_sys::get_relname_relid(index.name.as_ptr(), schema);
        if oid == Oid::INVALID || pg_sys::get_rel_relkind(oid) as u8 != pg_sys::RELKIND_INDEX {
            return Err(Error::no_such_index(index.name, index.made_by));
        }
        let relation = pg_sys::index_open(oid, pg_sys::AccessShareLock as i32);
        let (is_whole, is_as_made) = (is_whole(relation), index.is_shape_of(relation, table));
        pg_sys::index_close(relation, pg_sys::AccessShareLock as i32);
        match (is_whole, is_as_made) {
            (true, true) => Ok(oid),
            (false, true) => Err(Error::invalid_index(index.name)),
            _ => Err(Error::other_index(index.name, index.made_by)),
        }
    }
}

/// Whether an index holds all that it should. One whose CREATE INDEX CONCURRENTLY failed does not.
unsafe fn is_whole(index: pg_sys::Relation) -> bool {
    // SAFETY: the caller has the index open.
    let index = unsafe { &*(*index).rd_index };
    index.indisvalid && index.indisready && index.indislive
}

impl Index {
    unsafe fn is_shape_of(&self, index: pg_sys::Relation, table: Oid) -> bool {
        // SAFETY: the caller has the index open.
        let (class, index_row) = unsafe { (&*(*index).rd_rel, &*(*index).rd_index) };
        class.relam == pg_sys::BTREE_AM_OID
            && index_row.indrelid == table
            && index_row.indisunique == self.is_unique
            && (index_row.indimmediate || !self.is_unique)
            && usize::try_from(index_row.indnkeyatts) == Ok(self.columns.len())
            // SAFETY: as above; it has as many columns.
            && (0..self.columns.len()).all(|n| unsafe { self.has_column(index, n) })
            // SAFETY: as above.
            && unsafe { rows_of(index) } == Some(self.rows)
    }

    /// Whether the index holds the nth column as it should: by the order of its type, by bytes.
    unsafe fn has_column(&self, index: pg_sys::Relation, n: usize) -> bool {
        let (column, is_descending) = self.columns[n];
        let kind = MESSAGE_TYPES[column as usize];
        let collation = if kind == pg_sys::TEXTOID { pg_sys::C_COLLATION_OID } else { Oid::INVALID };
        let options = if is_descending { pg_sys::INDOPTION_DESC | pg_sys::INDOPTION_NULLS_FIRST } else { 0 };
        // SAFETY: the caller has the index open, which has more than n columns.
        unsafe {
            let number = *(*(*index).rd_index).indkey.values.as_ptr().add(n);
            let usual = pg_sys::GetDefaultOpClass(kind, pg_sys::BTREE_AM_OID);
            number == column as i16 + 1
                && *(*index).rd_opfamily.add(n) == pg_sys::get_opclass_family(usual)
                && *(*index).rd_indcollation.add(n) == collation
                && *(*index).rd_indoption.add(n) == options as i16
        }
    }
}

/// Of which rows an index has entries; none if by a condition that none of ours has.
unsafe fn rows_of(index: pg_sys::Relation) -> Option<Rows> {
    // SAFETY: the caller has the index open; nodes are read as what their tags say.
    unsafe {
        let conditions = pgrx::PgList::<pg_sys::Node>::from_pg(pg_sys::RelationGetIndexPredicate(index));
        let Some(condition) = conditions.get_ptr(0) else { return Some(Rows::All) };
        if conditions.len() > 1 {
            return None;
        }
        match (*condition).type_ {
            pg_sys::NodeTag::T_NullTest => {
                let test = condition.cast::<pg_sys::NullTest>();
                let is_not_null = (*test).nulltesttype == pg_sys::NullTestType::IS_NOT_NULL;
                column_of((*test).arg.cast()).filter(|_| is_not_null).map(Rows::With)
            }
            pg_sys::NodeTag::T_OpExpr => lane_of(condition.cast()).map(Rows::OfLane),
            _ => None,
        }
    }
}

/// The lane that a condition asks for.
unsafe fn lane_of(test: *mut pg_sys::OpExpr) -> Option<Lane> {
    // SAFETY: as above.
    unsafe {
        let sides = pgrx::PgList::<pg_sys::Node>::from_pg((*test).args);
        let (column, value) = (sides.get_ptr(0)?, sides.get_ptr(1)?);
        let is_equality = pg_sys::get_opcode((*test).opno) == Oid::from(pg_sys::F_CHAREQ);
        let is_value = (*value).type_ == pg_sys::NodeTag::T_Const;
        if !is_equality || column_of(column) != Some(Column::Lane) || !is_value {
            return None;
        }
        let value = (*value.cast::<pg_sys::Const>()).constvalue.value() as u8;
        [Lane::Ready, Lane::Delayed, Lane::Blocked].into_iter().find(|&lane| lane as u8 == value)
    }
}

/// The column that a node stands for, of those that conditions of ours are about.
unsafe fn column_of(node: *mut pg_sys::Node) -> Option<Column> {
    // SAFETY: as above.
    unsafe {
        if (*node).type_ != pg_sys::NodeTag::T_Var {
            return None;
        }
        let number = (*node.cast::<pg_sys::Var>()).varattno;
        [Column::Lane, Column::ExpiresAt, Column::GroupKey, Column::DedupKey]
            .into_iter()
            .find(|&column| column as i16 + 1 == number)
    }
}
