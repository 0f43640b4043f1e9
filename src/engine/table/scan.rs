//! Index scans of the tables, without an executor.
//!
//! The snapshot decides which rows a scan shows: committed ones (`Snapshot`), or also the changes of running
//! transactions (`Dirty`). A row is valid until its scan moves on.

use std::marker::PhantomData;
use std::ptr;

use pgrx::pg_sys::{self, Datum, Oid};

use crate::engine::table::heap::Table;
use crate::engine::table::index::Index;
use crate::engine::table::message::{Column, Lane};
use crate::engine::table::row::TableRow;
use crate::pg::snapshot::{Dirty, Snapshot};

/// A scan over one index of a table. The table and the snapshot outlive it.
pub struct Scan<'a> {
    index: pg_sys::Relation,
    scan: pg_sys::IndexScanDesc,
    slot: *mut pg_sys::TupleTableSlot,
    direction: pg_sys::ScanDirection::Type,
    ended: bool,
    /// True if the slot holds the row of the current entry.
    is_on_row: bool,
    table_and_snapshot: PhantomData<&'a ()>,
}

/// An entry of the index over (queue, priority, id), whether its row is visible or not.
#[derive(Clone, Copy)]
pub struct Entry {
    pub queue: i32,
    pub priority: i16,
    pub id: i64,
    place: pg_sys::ItemPointerData,
}

/// A condition on a column of the index, counted from 1.
pub struct Condition {
    pub column: i16,
    pub strategy: u32,
    pub procedure: Oid,
    pub value: Datum,
}

impl Condition {
    pub fn equals(column: i16, procedure: u32, value: Datum) -> Self {
        Self::new(column, pg_sys::BTEqualStrategyNumber, procedure, value)
    }

    pub fn new(column: i16, strategy: u32, procedure: u32, value: Datum) -> Self {
        Self { column, strategy, procedure: Oid::from(procedure), value }
    }

    fn scan_key(&self) -> pg_sys::ScanKeyData {
        let mut key = pg_sys::ScanKeyData::default();
        // SAFETY: fills the key; the procedure is one of Postgres's.
        unsafe {
            pg_sys::ScanKeyInit(&mut key, self.column, self.strategy as u16, self.procedure, self.value);
        }
        key
    }
}

/// Result of a scan: rows or entries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shows {
    Rows,
    /// Entries of the index; a row only if it is fetched.
    Entries,
}

impl<'a> Scan<'a> {
    /// Begins a scan of the rows that satisfy the conditions, in the order of the index or backwards.
    pub fn begin(
        table: &'a Table,
        index: Index,
        snapshot: &'a Snapshot,
        conditions: &[Condition],
        backward: bool,
    ) -> Self {
        Self::begin_with(table, index, snapshot.as_ptr(), Shows::Rows, conditions, backward)
    }

    /// Begins a dirty scan; after each row, `dirty` names the running transactions on it.
    pub fn begin_dirty(table: &'a Table, index: Index, dirty: &'a Dirty, conditions: &[Condition]) -> Self {
        Self::begin_with(table, index, dirty.as_ptr(), Shows::Rows, conditions, false)
    }

    /// Begins a scan of index entries: of all entries without a snapshot, and of those not known to be dead
    /// with one. Only `fetch` tells whether a row is visible.
    pub fn begin_entries(
        table: &'a Table,
        index: Index,
        snapshot: Option<&'a Snapshot>,
        conditions: &[Condition],
        backward: bool,
    ) -> Self {
        let snapshot = snapshot.map_or(any_version(), Snapshot::as_ptr);
        Self::begin_with(table, index, snapshot, Shows::Entries, conditions, backward)
    }

    /// Begins a scan of all tuple versions, dead ones too; `TableRow::doing` tells the state of each.
    pub fn begin_any(table: &'a Table, index: Index, conditions: &[Condition], backward: bool) -> Self {
        Self::begin_with(table, index, any_version(), Shows::Rows, conditions, backward)
    }

    fn begin_with(
        table: &'a Table,
        index: Index,
        snapshot: pg_sys::Snapshot,
        shows: Shows,
        conditions: &[Condition],
        backward: bool,
    ) -> Self {
        let mut keys: Vec<_> = conditions.iter().map(Condition::scan_key).collect();
        let count = keys.len() as i32;
        use pg_sys::ScanDirection::{BackwardScanDirection, ForwardScanDirection};
        let direction = if backward { BackwardScanDirection } else { ForwardScanDirection };
        let index = index.open(table);
        // SAFETY: table and snapshot are there as long as the scan; the keys are copied into it; all
        // is closed in `drop`.
        unsafe {
            let scan = pg_sys::index_beginscan(
                table.relation,
                index,
                snapshot,
                #[cfg(feature = "pg18")]
                ptr::null_mut(),
                count,
                0,
            );
            (*scan).xs_want_itup = shows == Shows::Entries;
            pg_sys::index_rescan(scan, keys.as_mut_ptr(), count, ptr::null_mut(), 0);
            let slot = pg_sys::table_slot_create(table.relation, ptr::null_mut());
            Self {
                index,
                scan,
                slot,
                direction,
                ended: false,
                is_on_row: false,
                table_and_snapshot: PhantomData,
            }
        }
    }

    /// Returns the next row, or none.
    pub fn next(&mut self) -> Option<TableRow<'_>> {
        pg_sys::check_for_interrupts!();
        // After its end, an index scan would begin again.
        if self.ended {
            return None;
        }
        // SAFETY: scan and slot are open.
        unsafe {
            self.ended = !pg_sys::index_getnext_slot(self.scan, self.direction, self.slot);
        }
        self.is_on_row = !self.ended;
        self.current()
    }

    /// Moves to the next entry of the index; false if there is none. Only `fetch` tells whether its row is
    /// visible.
    pub fn next_place(&mut self) -> bool {
        self.next_tid().is_some()
    }

    fn next_tid(&mut self) -> Option<pg_sys::ItemPointerData> {
        pg_sys::check_for_interrupts!();
        self.is_on_row = false;
        // After its end, an index scan would begin again.
        if self.ended {
            return None;
        }
        // SAFETY: the scan is open, and what it points to lives until it goes on.
        unsafe {
            let place = pg_sys::index_getnext_tid(self.scan, self.direction);
            self.ended = place.is_null();
            (!self.ended).then(|| *place)
        }
    }

    /// Returns the next entry of the index, or none. Only for scans of entries.
    pub fn next_entry(&mut self) -> Option<Entry> {
        let place = self.next_tid()?;
        // SAFETY: the scan was begun with entries asked for; the index has three columns.
        unsafe {
            let (mut values, mut nulls) = ([Datum::null(); 3], [false; 3]);
            pg_sys::index_deform_tuple(
                (*self.scan).xs_itup,
                (*self.scan).xs_itupdesc,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
            );
            let [queue, priority, id] = values.map(|value| value.value() as i64);
            Some(Entry { queue: queue as i32, priority: priority as i16, id, place })
        }
    }

    /// Fetches the row of the current entry, if the scan's snapshot shows it.
    pub fn fetch(&mut self) -> Option<TableRow<'_>> {
        // SAFETY: called after `next_entry` or `next_place` of a scan with a snapshot.
        self.is_on_row = unsafe { pg_sys::index_fetch_heap(self.scan, self.slot) };
        self.current()
    }

    /// Fetches the row of an entry that was scanned before, if `snapshot` shows it and it still belongs to
    /// the entry: another row may have its place since.
    pub fn fetch_entry(&mut self, entry: &Entry, snapshot: &'a Snapshot) -> Option<TableRow<'_>> {
        let (mut place, mut again, mut all_dead) = (entry.place, false, false);
        // SAFETY: the scan's own means to fetch rows; that a row is dead is not noted,
        // because the scan stands elsewhere.
        self.is_on_row = unsafe {
            pg_sys::table_index_fetch_tuple(
                (*self.scan).xs_heapfetch,
                &mut place,
                snapshot.as_ptr(),
                self.slot,
                &mut again,
                &mut all_dead,
            )
        };
        let is_its = |row: &TableRow| row.i64(Column::Id) == entry.id && row.lane() == Lane::Ready;
        self.current().filter(is_its)
    }

    /// Restarts the scan with another value for the first condition.
    pub fn seek(&mut self, value: Datum) {
        (self.ended, self.is_on_row) = (false, false);
        // SAFETY: the scan keeps its conditions where they can be changed; with none given
        // it begins anew with those.
        unsafe {
            (*(*self.scan).keyData).sk_argument = value;
            pg_sys::index_rescan(self.scan, ptr::null_mut(), (*self.scan).numberOfKeys, ptr::null_mut(), 0);
        }
    }

    /// Returns the current row, if there is one.
    pub fn current(&self) -> Option<TableRow<'_>> {
        // SAFETY: the slot holds a row until the scan moves on, for which it is borrowed mutably.
        self.is_on_row.then(|| unsafe { TableRow::new(self.slot) })
    }
}

/// Returns a snapshot that shows every tuple version.
fn any_version() -> pg_sys::Snapshot {
    &raw mut pg_sys::SnapshotAnyData
}

impl Drop for Scan<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // SAFETY: opened in `begin`.
        unsafe {
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            pg_sys::index_endscan(self.scan);
            pg_sys::index_close(self.index, pg_sys::NoLock as i32);
        }
    }
}
