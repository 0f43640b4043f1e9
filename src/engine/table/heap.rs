//! Direct access to the tables: inserts, updates and deletes rows by the heap and index access methods,
//! without an executor. `scan` finds the rows.
//!
//! Direct access bypasses privileges, triggers and constraints. The tables belong to the extension, the
//! callers of this module have checked the caller's right on the queue, and they write only rows that the
//! tables' own constraints allow.
//!
//! Invariants:
//! - triggers and constraints of users are obeyed, or the table cannot be opened (`guests`);
//! - every new row, and every tuple version that is not heap-only, gets entries in all indexes, those of a
//!   DBA included;
//! - a row that another transaction is changing is never overwritten: the heap reports it (`Fate`), and the
//!   caller skips the row or looks again;
//! - an error releases everything with the (sub)transaction; `Drop` does it otherwise.

use std::cell::OnceCell;
use std::ffi::CStr;
use std::ptr;
use std::sync::OnceLock;

use pgrx::pg_sys::{self, Datum, Oid};
use smallvec::{SmallVec, smallvec};

use crate::engine::table::catalog;
use crate::engine::table::guests::{self, Guests};
use crate::engine::table::message::{COLUMNS, Column};
use crate::engine::table::row::{Intent, Own, TableRow};
use crate::engine::table::triggers::{self, Event, Firing, Target};
use crate::pg::role;

/// An open table.
pub struct Table {
    pub(super) relation: pg_sys::Relation,
    indexing: OnceCell<Indexing>,
    /// Indexing of inserted rows, if `add_without` has left out some indexes.
    indexing_of_added: OnceCell<Indexing>,
    guests: Guests,
}

/// A value for each column, without an allocation unless a table was given more columns.
type OfRow<T> = SmallVec<[T; 24]>;

/// Executor state for making index entries and firing triggers.
struct Indexing {
    target: Target,
}

/// Outcome of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Done,
    /// Another transaction is changing the row, and the call did not wait for it.
    Busy,
    /// Another transaction has changed the row since the snapshot was taken.
    Changed,
    /// The row is gone.
    Gone,
}

/// Whether a call waits for a transaction that is changing the row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    Wait,
    Skip,
}

impl Table {
    /// Opens a table for changes, with the lock that INSERT, UPDATE and DELETE take.
    pub fn open(table: Oid) -> Self {
        Self::open_with(table, pg_sys::RowExclusiveLock, true)
    }

    /// Opens a table for scans only; a standby allows that lock too.
    pub fn open_to_read(table: Oid) -> Self {
        Self::open_with(table, pg_sys::AccessShareLock, false)
    }

    fn open_with(table: Oid, lock: u32, is_for_changes: bool) -> Self {
        let relation = catalog::open(table, lock);
        let guests = guests::judged(relation, is_for_changes);
        Self { relation, indexing: OnceCell::new(), indexing_of_added: OnceCell::new(), guests }
    }

    /// True if the table has triggers or constraints of users, or a replica identity to obey.
    pub fn has_guests(&self) -> bool {
        self.guests.are_there()
    }

    /// Writes one row, and fires or checks the table's guests around the write.
    fn writing<R>(&self, event: Event, columns: &[Column], write: impl FnOnce(Option<&Firing>) -> R) -> R {
        if !self.guests.are_there() {
            return write(None);
        }
        role::act_as(catalog::known().owner, || {
            // SAFETY: the table is open, and the target made for it.
            unsafe {
                let firing = Firing::begin(self.indexing().target, self.guests, event, columns);
                let result = write(Some(&firing));
                firing.end();
                result
            }
        })
    }

    fn descriptor(&self) -> pg_sys::TupleDesc {
        // SAFETY: the relation is open.
        unsafe { (*self.relation).rd_att }
    }

    /// Skips indexes on inserts. Their condition must hold for none of the rows that will be inserted.
    /// Opening an index costs about as much as an entry. Updated rows get entries in all indexes.
    pub fn add_without(&self, unneeded: &[Oid]) {
        if !self.has_guests() {
            self.indexing_of_added.get_or_init(|| Indexing::open(self.relation, unneeded, false));
        }
    }

    fn indexing(&self) -> &Indexing {
        self.indexing.get_or_init(|| Indexing::open(self.relation, &[], self.has_guests()))
    }

    /// Inserts a row. Missing columns at the end are null.
    pub fn insert(&self, row: &[Option<Datum>]) {
        // SAFETY: the tuple is ours until it is freed, after the last use of the slot
        // that shows it.
        self.writing(Event::Insert, &[], |firing| unsafe {
            let tuple = self.form(row);
            if let Some(firing) = firing {
                firing.check(tuple);
            }
            pg_sys::heap_insert(self.relation, tuple, pg_sys::GetCurrentCommandId(true), 0, ptr::null_mut());
            let recheck = self.index(tuple, Entries::Insert);
            if let Some(firing) = firing {
                firing.has_inserted(tuple, recheck);
            }
            pg_sys::heap_freetuple(tuple);
        });
    }

    /// Inserts rows, as many at a time as fit on a page.
    pub fn insert_all(&self, rows: &[[Option<Datum>; COLUMNS]]) {
        if self.has_guests() {
            return rows.iter().for_each(|row| self.insert(row));
        }
        // SAFETY: tuples and slots are ours until they are freed, after their last use.
        unsafe {
            let mut slots: Vec<*mut pg_sys::TupleTableSlot> = rows
                .iter()
                .map(|row| {
                    let slot = pg_sys::MakeSingleTupleTableSlot(
                        self.descriptor(),
                        &raw const pg_sys::TTSOpsHeapTuple,
                    );
                    pg_sys::ExecStoreHeapTuple(self.form(row), slot, true)
                })
                .collect();
            pg_sys::heap_multi_insert(
                self.relation,
                slots.as_mut_ptr(),
                slots.len() as i32,
                pg_sys::GetCurrentCommandId(true),
                0,
                ptr::null_mut(),
            );
            for slot in slots {
                let mut must_free = false;
                let tuple = pg_sys::ExecFetchSlotHeapTuple(slot, true, &mut must_free);
                (*tuple).t_self = (*slot).tts_tid;
                self.index(tuple, Entries::Insert);
                pg_sys::ExecDropSingleTupleTableSlot(slot);
            }
        }
    }

    /// Allocates a tuple of the table.
    unsafe fn form(&self, row: &[Option<Datum>]) -> pg_sys::HeapTuple {
        let columns = self.columns();
        let mut values: OfRow<Datum> = row.iter().map(|value| value.unwrap_or(Datum::null())).collect();
        let mut nulls: OfRow<bool> = row.iter().map(Option::is_none).collect();
        values.resize(columns, Datum::null());
        nulls.resize(columns, true);
        // SAFETY: values and nulls have as many elements as the descriptor columns.
        unsafe { pg_sys::heap_form_tuple(self.descriptor(), values.as_mut_ptr(), nulls.as_mut_ptr()) }
    }

    /// Updates the row a scan stands on. Foreign keys that refer to the row do not block the update.
    pub fn update(&self, found: &TableRow, changes: &[(Column, Option<Datum>)], patience: Patience) -> Fate {
        let patience = match self.own_patience(found, patience) {
            Ok(patience) => patience,
            Err(fate) => return fate,
        };
        // heap_update works without waiting, but a server built with assertions aborts on such a call.
        if patience == Patience::Wait || !server_asserts() {
            let fate = self.try_update(found, changes, patience);
            if patience == Patience::Wait || fate != Fate::Busy {
                return fate;
            }
        }
        // Without waiting it reports a row as busy if it is locked in any mode; with waiting it ignores
        // key-share locks.
        match self.lock(found, Intent::Change, Patience::Skip) {
            Fate::Done => self.try_update(found, changes, Patience::Wait),
            fate => fate,
        }
    }

    fn try_update(&self, found: &TableRow, changes: &[(Column, Option<Datum>)], patience: Patience) -> Fate {
        let written: Vec<Column> = match self.has_guests() {
            true => changes.iter().map(|&(column, _)| column).collect(),
            false => Vec::new(),
        };
        // SAFETY: the slot holds a heap tuple of this table, pinned; the new tuple is a
        // copy of our own.
        self.writing(Event::Update, &written, |firing| unsafe {
            let mut must_free = false;
            let old = pg_sys::ExecFetchSlotHeapTuple(found.slot, false, &mut must_free);
            let new = self.changed(old, changes);
            if let Some(firing) = firing {
                firing.check(new);
            }
            let place = (*old).t_self;
            let (result, summarizing) = self.heap_update(&mut place.clone(), new, patience);
            if result == pg_sys::TM_Result::TM_Ok {
                let recheck = match is_heap_only(new) {
                    false => self.index(new, Entries::Update),
                    true if summarizing => self.index(new, Entries::Summaries),
                    true => ptr::null_mut(),
                };
                if let Some(firing) = firing {
                    firing.has_updated(place, new, recheck);
                }
            }
            pg_sys::heap_freetuple(new);
            if must_free {
                pg_sys::heap_freetuple(old);
            }
            fate(result)
        })
    }

    /// A copy of a tuple of the table with other values in some columns, allocated.
    unsafe fn changed(
        &self,
        old: pg_sys::HeapTuple,
        changes: &[(Column, Option<Datum>)],
    ) -> pg_sys::HeapTuple {
        let columns = self.columns();
        let mut values: OfRow<Datum> = smallvec![Datum::null(); columns];
        let mut nulls: OfRow<bool> = smallvec![false; columns];
        let mut replace: OfRow<bool> = smallvec![false; columns];
        for &(column, value) in changes {
            let n = column as usize;
            values[n] = value.unwrap_or(Datum::null());
            nulls[n] = value.is_none();
            replace[n] = true;
        }
        let (values, nulls, replace) = (values.as_mut_ptr(), nulls.as_mut_ptr(), replace.as_mut_ptr());
        // SAFETY: the caller gives a tuple of this table; each array has an element a column.
        unsafe { pg_sys::heap_modify_tuple(old, self.descriptor(), values, nulls, replace) }
    }

    /// Runs heap_update. Returns its result and whether summarizing indexes (BRIN) need an entry although the
    /// update is heap-only; from 16 on.
    unsafe fn heap_update(
        &self,
        old: pg_sys::ItemPointer,
        new: pg_sys::HeapTuple,
        patience: Patience,
    ) -> (pg_sys::TM_Result::Type, bool) {
        let mut failure = pg_sys::TM_FailureData::default();
        let mut lock_mode = 0;
        #[cfg(any(feature = "pg16", feature = "pg17", feature = "pg18"))]
        let mut which_indexes = 0;
        // SAFETY: the caller gives a row of this table and its new version.
        let result = unsafe {
            pg_sys::heap_update(
                self.relation,
                old,
                new,
                pg_sys::GetCurrentCommandId(true),
                ptr::null_mut(),
                patience == Patience::Wait,
                &mut failure,
                &mut lock_mode,
                #[cfg(any(feature = "pg16", feature = "pg17", feature = "pg18"))]
                &mut which_indexes,
            )
        };
        #[cfg(any(feature = "pg16", feature = "pg17", feature = "pg18"))]
        return (result, which_indexes == pg_sys::TU_UpdateIndexes::TU_Summarizing);
        #[cfg(not(any(feature = "pg16", feature = "pg17", feature = "pg18")))]
        (result, false)
    }

    /// Adapts the patience to this transaction's own locks and changes. A row that it has locked looks busy
    /// to a call that does not wait; a call that waits finds no transaction to wait for. A tuple version that
    /// it has replaced, and that only an older snapshot shows, must not be passed to the heap.
    fn own_patience(&self, found: &TableRow, patience: Patience) -> Result<Patience, Fate> {
        match found.own() {
            Own::Nothing => Ok(patience),
            Own::Lock => Ok(Patience::Wait),
            Own::Change => Err(Fate::Changed),
        }
    }

    /// Locks the row a scan stands on against other transactions, in the mode that the intent needs.
    pub fn lock(&self, found: &TableRow, intent: Intent, patience: Patience) -> Fate {
        let mode = match intent {
            Intent::Change => pg_sys::LockTupleMode::LockTupleNoKeyExclusive,
            Intent::Remove => pg_sys::LockTupleMode::LockTupleExclusive,
        };
        if found.own() == Own::Change {
            return Fate::Changed;
        }
        let policy = match patience {
            Patience::Wait => pg_sys::LockWaitPolicy::LockWaitBlock,
            Patience::Skip => pg_sys::LockWaitPolicy::LockWaitSkip,
        };
        let mut failure = pg_sys::TM_FailureData::default();
        let mut buffer = pg_sys::InvalidBuffer as pg_sys::Buffer;
        // SAFETY: heap_lock_tuple needs only the place of the row, fills in the rest and
        // leaves its page pinned, whatever the result.
        unsafe {
            let mut tuple = pg_sys::HeapTupleData { t_self: (*found.slot).tts_tid, ..Default::default() };
            let result = pg_sys::heap_lock_tuple(
                self.relation,
                &mut tuple,
                pg_sys::GetCurrentCommandId(true),
                mode,
                policy,
                false,
                &mut buffer,
                &mut failure,
            );
            pg_sys::ReleaseBuffer(buffer);
            fate(result)
        }
    }

    /// Deletes the row a scan stands on.
    pub fn delete(&self, found: &TableRow, patience: Patience) -> Fate {
        let patience = match self.own_patience(found, patience) {
            Ok(patience) => patience,
            Err(fate) => return fate,
        };
        let mut failure = pg_sys::TM_FailureData::default();
        let mut must_free = false;
        // SAFETY: the slot holds a heap tuple of this table, pinned.
        self.writing(Event::Delete, &[], |firing| unsafe {
            let tuple = pg_sys::ExecFetchSlotHeapTuple(found.slot, false, &mut must_free);
            let place = (*tuple).t_self;
            let result = pg_sys::heap_delete(
                self.relation,
                &mut place.clone(),
                pg_sys::GetCurrentCommandId(true),
                ptr::null_mut(),
                patience == Patience::Wait,
                &mut failure,
                false,
            );
            if let Some(firing) = firing.filter(|_| result == pg_sys::TM_Result::TM_Ok) {
                firing.has_deleted(place);
            }
            if must_free {
                pg_sys::heap_freetuple(tuple);
            }
            fate(result)
        })
    }

    /// Returns the type and collation of a column, counted from 1.
    pub(super) fn kind_of(&self, column: i16) -> (Oid, Oid) {
        let attribute = usize::try_from(column - 1)
            .ok()
            // SAFETY: the relation is open.
            .and_then(|n| unsafe { guests::attribute(self.relation, n) })
            .expect("a column of the table");
        // SAFETY: the descriptor lives as long as the relation is open.
        unsafe { ((*attribute).atttypid, (*attribute).attcollation) }
    }

    fn columns(&self) -> usize {
        // SAFETY: the descriptor lives as long as the relation is open.
        unsafe { (*self.descriptor()).natts as usize }
    }

    /// Makes the index entries of a tuple that was just inserted. Returns the indexes with deferred
    /// constraints, which have to be checked again later.
    unsafe fn index(&self, tuple: pg_sys::HeapTuple, entries: Entries) -> *mut pg_sys::List {
        // SAFETY: the relation is open.
        if !unsafe { (*(*self.relation).rd_rel).relhasindex } {
            return ptr::null_mut();
        }
        let of_added = self.indexing_of_added.get().filter(|_| entries == Entries::Insert);
        let indexing = of_added.unwrap_or_else(|| self.indexing());
        // SAFETY: the tuple outlives its stay in the slot.
        unsafe { indexing.add(tuple, entries) }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        [&mut self.indexing, &mut self.indexing_of_added]
            .into_iter()
            .filter_map(OnceCell::take)
            .for_each(Indexing::close);
        // SAFETY: opened in `open`; the lock stays until the transaction ends.
        unsafe { pg_sys::table_close(self.relation, pg_sys::NoLock as i32) }
    }
}

/// Index entries that a tuple gets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entries {
    Insert,
    Update,
    /// Only those of summarizing indexes.
    Summaries,
}

impl Indexing {
    fn open(relation: pg_sys::Relation, unneeded: &[Oid], has_guests: bool) -> Self {
        // SAFETY: all of it lives in the current memory context and is closed in `close`.
        unsafe {
            let result = pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
            (*result).type_ = pg_sys::NodeTag::T_ResultRelInfo;
            pg_sys::InitResultRelInfo(result, relation, 0, ptr::null_mut(), 0);
            if has_guests {
                triggers::keep_guests_only(result);
            }
            open_indexes(result, relation, unneeded);
            let slot =
                pg_sys::MakeSingleTupleTableSlot((*relation).rd_att, &raw const pg_sys::TTSOpsHeapTuple);
            Self { target: Target { result, estate: pg_sys::CreateExecutorState(), slot } }
        }
    }

    unsafe fn add(&self, tuple: pg_sys::HeapTuple, entries: Entries) -> *mut pg_sys::List {
        let Target { result, estate, slot } = self.target;
        // SAFETY: the slot only shows the tuple until it is cleared.
        unsafe {
            pg_sys::ExecStoreHeapTuple(tuple, slot, false);
            let recheck = pg_sys::ExecInsertIndexTuples(
                result,
                slot,
                estate,
                entries != Entries::Insert,
                false,
                ptr::null_mut(),
                ptr::null_mut(),
                #[cfg(any(feature = "pg16", feature = "pg17", feature = "pg18"))]
                {
                    entries == Entries::Summaries
                },
            );
            let context = (*estate).es_per_tuple_exprcontext;
            if !context.is_null() {
                pg_sys::MemoryContextReset((*context).ecxt_per_tuple_memory);
            }
            pg_sys::ExecClearTuple(slot);
            recheck
        }
    }

    fn close(self) {
        let Target { result, estate, slot } = self.target;
        // SAFETY: opened in `open`.
        unsafe {
            pg_sys::ExecDropSingleTupleTableSlot(slot);
            pg_sys::ExecCloseIndices(result);
            // Relations that fired triggers have opened.
            pg_sys::ExecCloseResultRelations(estate);
            pg_sys::ExecResetTupleTable((*estate).es_tupleTable, false);
            pg_sys::FreeExecutorState(estate);
            pg_sys::pfree(result.cast());
        }
    }
}

/// Opens the indexes of a relation for changes, as the executor does, except `unneeded`.
///
/// # Safety
/// The relation must be open, and `result` be made for it.
unsafe fn open_indexes(result: *mut pg_sys::ResultRelInfo, relation: pg_sys::Relation, unneeded: &[Oid]) {
    // SAFETY: the caller vouches for both; the arrays have room for all indexes.
    unsafe {
        let all = pgrx::PgList::<()>::from_pg(pg_sys::RelationGetIndexList(relation));
        let needed: SmallVec<[Oid; 8]> = (0..all.len())
            .map(|n| pg_sys::list_nth_oid(all.as_ptr(), n as i32))
            .filter(|index| !unneeded.contains(index))
            .collect();
        let array = |size: usize| pg_sys::palloc(needed.len().max(1) * size);
        let relations = array(size_of::<pg_sys::Relation>()).cast::<pg_sys::Relation>();
        let infos = array(size_of::<*mut pg_sys::IndexInfo>()).cast::<*mut pg_sys::IndexInfo>();
        for (n, &index) in needed.iter().enumerate() {
            let index = pg_sys::index_open(index, pg_sys::RowExclusiveLock as i32);
            relations.add(n).write(index);
            infos.add(n).write(pg_sys::BuildIndexInfo(index));
        }
        (*result).ri_NumIndices = needed.len() as i32;
        (*result).ri_IndexRelationDescs = relations;
        (*result).ri_IndexRelationInfo = infos;
    }
}

/// True if the server was built with --enable-cassert.
fn server_asserts() -> bool {
    static ASSERTS: OnceLock<bool> = OnceLock::new();
    *ASSERTS.get_or_init(|| {
        // SAFETY: a setting that every server has; its value is a C string.
        unsafe {
            let value = pg_sys::GetConfigOption(c"debug_assertions".as_ptr(), true, false);
            !value.is_null() && CStr::from_ptr(value) == c"on"
        }
    })
}

fn is_heap_only(tuple: pg_sys::HeapTuple) -> bool {
    // SAFETY: heap_update has set the header of the tuple it was given.
    unsafe { u32::from((*(*tuple).t_data).t_infomask2) & pg_sys::HEAP_ONLY_TUPLE != 0 }
}

fn fate(result: pg_sys::TM_Result::Type) -> Fate {
    match result {
        pg_sys::TM_Result::TM_Ok => Fate::Done,
        pg_sys::TM_Result::TM_BeingModified | pg_sys::TM_Result::TM_WouldBlock => Fate::Busy,
        pg_sys::TM_Result::TM_Updated => Fate::Changed,
        _ => Fate::Gone,
    }
}
