//! Checks of an index against the shape its name stands for: any other would hide messages, or have entries
//! of another shape.

use std::cell::Cell;

use pgrx::pg_sys::{self, NodeTag, Oid};

use crate::engine::table::catalog;
use crate::engine::table::heap::Table;
use crate::engine::table::index::{Index, Rows, SHAPES, Shape};
use crate::engine::table::message::{Column, Lane};
use crate::error::{Error, Result};

/// Lock mode of an index that is scanned.
const LOCK: pg_sys::LOCKMODE = pg_sys::AccessShareLock as i32;

thread_local! {
    /// Indexes of the right shape, each with the catalog's generation at the check.
    static KNOWN: Cell<[(Oid, u64); SHAPES.len()]> = const { Cell::new([(Oid::INVALID, 0); SHAPES.len()]) };
}

impl Index {
    /// Opens the index for a scan. The table must be open, so that the index is not dropped meanwhile.
    pub fn open(self, table: &Table) -> pg_sys::Relation {
        match self.try_open(table) {
            Ok(index) => index,
            Err(problem) => {
                // REINDEX CONCURRENTLY has given the name to another index.
                // SAFETY: a catalog look-up by a C string.
                let schema = unsafe { pg_sys::get_namespace_oid(c"pgqueue".as_ptr(), false) };
                let now = Self::find(schema, self.which);
                match now.oid == self.oid {
                    true => problem.raise(),
                    false => now.try_open(table).unwrap_or_else(|problem| problem.raise()),
                }
            }
        }
    }

    fn try_open(self, table: &Table) -> Result<pg_sys::Relation> {
        let Some(index) = self.opened() else { return Err(self.refuse("it is gone", self.shape().made_by)) };
        // SAFETY: it is open, and closed here unless it is returned.
        unsafe {
            let problem = if !self.is_as_made(index, table) {
                let hint = format!("Drop or rename it, then {}", self.shape().made_by);
                self.refuse("it is not as the extension has made it", &hint)
            } else if !is_whole(index) {
                let hint = format!("REINDEX INDEX pgqueue.{}", self.shape().name.to_string_lossy());
                self.refuse("it is not valid, as after a CREATE INDEX CONCURRENTLY that has failed", &hint)
            } else {
                return Ok(index);
            };
            pg_sys::relation_close(index, LOCK);
            Err(problem)
        }
    }

    /// True if the index has the shape that its name stands for.
    pub fn is_what_it_says(self, table: &Table) -> bool {
        if self.is_known() {
            return true;
        }
        let Some(index) = self.opened() else { return false };
        // SAFETY: it is open, and closed here.
        unsafe {
            let answer = self.is_as_made(index, table);
            pg_sys::relation_close(index, LOCK);
            answer
        }
    }

    /// Opens the relation with this object id; none if it is gone.
    fn opened(self) -> Option<pg_sys::Relation> {
        if self.oid == Oid::INVALID {
            return None;
        }
        // SAFETY: gives a relation that is open, or null if it is gone.
        let index = unsafe { pg_sys::try_relation_open(self.oid, LOCK) };
        (!index.is_null()).then_some(index)
    }

    fn is_known(self) -> bool {
        KNOWN.get()[self.which] == (self.oid, catalog::generation())
    }

    /// # Safety
    /// The index must be open.
    unsafe fn is_as_made(self, index: pg_sys::Relation, table: &Table) -> bool {
        if self.is_known() {
            return true;
        }
        // SAFETY: the caller vouches for the index.
        let answer =
            unsafe { has_columns(index, table, self.shape().columns) && has_rows(index, self.shape().rows) };
        if answer {
            let mut known = KNOWN.get();
            known[self.which] = (self.oid, catalog::generation());
            KNOWN.set(known);
        }
        answer
    }

    fn shape(self) -> &'static Shape {
        &SHAPES[self.which]
    }

    fn refuse(self, problem: &str, hint: &str) -> Error {
        let name = format!("index pgqueue.{}", self.shape().name.to_string_lossy());
        Error::table_is_changed(&name, problem, &format!("{hint}."))
    }
}

/// True if an open index is valid, and so has an entry for each of its rows.
unsafe fn is_whole(index: pg_sys::Relation) -> bool {
    // SAFETY: the caller vouches for the index.
    unsafe {
        let entry = (*index).rd_index;
        (*entry).indisvalid && (*entry).indisready && (*entry).indislive
    }
}

/// True if an open index is a B-tree over exactly these columns of the table, each in its own order.
unsafe fn has_columns(index: pg_sys::Relation, table: &Table, columns: &[(i16, bool)]) -> bool {
    // SAFETY: the caller vouches for the index, whose parts have as many elements as it has columns.
    unsafe {
        let class = (*index).rd_rel;
        let is_index =
            (*class).relkind as u8 == pg_sys::RELKIND_INDEX && (*class).relam == pg_sys::BTREE_AM_OID;
        let entry = (*index).rd_index;
        if !is_index
            || (*entry).indrelid != (*table.relation).rd_id
            || [(*entry).indnatts, (*entry).indnkeyatts] != [columns.len() as i16; 2]
        {
            return false;
        }
        let numbers = (*entry).indkey.values.as_slice(columns.len());
        columns.iter().enumerate().all(|(n, &(number, is_reversed))| {
            let (kind, collation) = table.kind_of(number);
            let class = pg_sys::GetDefaultOpClass(kind, pg_sys::BTREE_AM_OID);
            let order = *(*index).rd_indoption.add(n);
            numbers[n] == number
                && *(*index).rd_opfamily.add(n) == pg_sys::get_opclass_family(class)
                && *(*index).rd_indcollation.add(n) == collation
                && order == if is_reversed { REVERSED } else { 0 }
        })
    }
}

/// DESC with NULLS FIRST, its default.
const REVERSED: i16 = (pg_sys::INDOPTION_DESC | pg_sys::INDOPTION_NULLS_FIRST) as i16;

/// The operator = of "char".
const CHARS_ARE_EQUAL: Oid = Oid::from_u32(92);

/// True if an open index has entries of exactly these rows.
unsafe fn has_rows(index: pg_sys::Relation, rows: Rows) -> bool {
    // SAFETY: the caller vouches for the index; a node is of the kind that its tag says.
    unsafe {
        let conditions = pgrx::PgList::<pg_sys::Node>::from_pg(pg_sys::RelationGetIndexPredicate(index));
        let condition = match (conditions.len(), conditions.get_ptr(0)) {
            (0, _) => return matches!(rows, Rows::All),
            (1, Some(condition)) => condition,
            _ => return false,
        };
        match (rows, (*condition).type_) {
            (Rows::In(lane), NodeTag::T_OpExpr) => {
                let comparison = condition.cast::<pg_sys::OpExpr>();
                let sides = pgrx::PgList::<pg_sys::Node>::from_pg((*comparison).args);
                (*comparison).opno == CHARS_ARE_EQUAL
                    && sides.len() == 2
                    && sides.get_ptr(0).is_some_and(|it| is_column(it, Column::Lane))
                    && sides.get_ptr(1).is_some_and(|it| is_lane(it, lane))
            }
            (Rows::With(column), NodeTag::T_NullTest) => {
                let test = condition.cast::<pg_sys::NullTest>();
                (*test).nulltesttype == pg_sys::NullTestType::IS_NOT_NULL
                    && is_column((*test).arg.cast(), column)
            }
            _ => false,
        }
    }
}

unsafe fn is_column(node: *mut pg_sys::Node, column: Column) -> bool {
    // SAFETY: the caller gives a node, which is of the kind that its tag says.
    unsafe { (*node).type_ == NodeTag::T_Var && (*node.cast::<pg_sys::Var>()).varattno == column as i16 + 1 }
}

unsafe fn is_lane(node: *mut pg_sys::Node, lane: Lane) -> bool {
    // SAFETY: as in `is_column`.
    unsafe {
        let value = node.cast::<pg_sys::Const>();
        (*node).type_ == NodeTag::T_Const
            && !(*value).constisnull
            && (*value).constvalue.value() as u8 == lane as u8
    }
}
