//! Direct reading of the tables: scans over an index, and the rows they stand on.
//!
//! Which rows a scan shows is up to its snapshot: what is committed (`Snapshot`), or what
//! others are doing as well (`Dirty`). A row is valid until its scan moves on.

use std::ptr;

use pgrx::pg_sys::{self, Datum, Oid};

use crate::engine::table::heap::Table;
use crate::engine::table::index::Index;
use crate::engine::table::message::{Column, Lane};
use crate::engine::table::row::Found;
use crate::pg::snapshot::{Dirty, Snapshot};

/// A scan over one index of a table.
pub struct Scan {
    index: pg_sys::Relation,
    scan: pg_sys::IndexScanDesc,
    slot: *mut pg_sys::TupleTableSlot,
    direction: pg_sys::ScanDirection::Type,
    ended: bool,
}

/// An entry of the index over (queue, priority, id), whatever has become of its row.
#[derive(Clone, Copy)]
pub struct Entry {
    pub priority: i16,
    pub id: i64,
    place: pg_sys::ItemPointerData,
}

/// A condition on a column of the index, counted from 1.
pub struct Key {
    pub column: i16,
    pub strategy: u32,
    pub procedure: Oid,
    pub value: Datum,
}

impl Key {
    pub fn equals(column: i16, procedure: u32, value: Datum) -> Self {
        Self::new(column, pg_sys::BTEqualStrategyNumber, procedure, value)
    }

    pub fn new(column: i16, strategy: u32, procedure: u32, value: Datum) -> Self {
        Self { column, strategy, procedure: Oid::from(procedure), value }
    }
}

impl Scan {
    /// Begins a scan of the rows that satisfy `keys`, in the order of the index or
    /// backwards.
    pub fn begin(table: &Table, index: Index, snapshot: &Snapshot, keys: &[Key], backward: bool) -> Self {
        Self::begin_with(table, index, snapshot.0, keys, backward, false)
    }

    /// Begins a scan that shows what others are doing; `dirty` says what of each row.
    pub fn begin_dirty(table: &Table, index: Index, dirty: &mut Dirty, keys: &[Key]) -> Self {
        Self::begin_with(table, index, &raw mut *dirty.0, keys, false, false)
    }

    /// Begins a scan of index entries: without a snapshot of all, with one of those
    /// that are not known to be dead. Which row is visible only `fetch` tells.
    pub fn begin_entries(
        table: &Table,
        index: Index,
        snapshot: Option<&Snapshot>,
        keys: &[Key],
        backward: bool,
    ) -> Self {
        let any = &raw mut pg_sys::SnapshotAnyData;
        Self::begin_with(table, index, snapshot.map_or(any, |snapshot| snapshot.0), keys, backward, true)
    }

    /// Begins a scan of all versions of rows that are there, dead ones too; `Found::doing` says
    /// what each is.
    pub fn begin_any(table: &Table, index: Index, keys: &[Key], backward: bool) -> Self {
        Self::begin_with(table, index, &raw mut pg_sys::SnapshotAnyData, keys, backward, false)
    }

    fn begin_with(
        table: &Table,
        index: Index,
        snapshot: pg_sys::Snapshot,
        keys: &[Key],
        backward: bool,
        wants_entries: bool,
    ) -> Self {
        // SAFETY: the keys are copied into the scan; all is closed in `drop`.
        unsafe {
            let index = index.open(table);
            let mut entries: Vec<pg_sys::ScanKeyData> = keys
                .iter()
                .map(|key| {
                    let mut entry = pg_sys::ScanKeyData::default();
                    pg_sys::ScanKeyInit(
                        &mut entry,
                        key.column,
                        key.strategy as u16,
                        key.procedure,
                        key.value,
                    );
                    entry
                })
                .collect();
            let scan = pg_sys::index_beginscan(
                table.relation,
                index,
                snapshot,
                #[cfg(feature = "pg18")]
                ptr::null_mut(),
                entries.len() as i32,
                0,
            );
            (*scan).xs_want_itup = wants_entries;
            pg_sys::index_rescan(scan, entries.as_mut_ptr(), entries.len() as i32, ptr::null_mut(), 0);
            Self {
                index,
                scan,
                slot: pg_sys::table_slot_create(table.relation, ptr::null_mut()),
                direction: if backward {
                    pg_sys::ScanDirection::BackwardScanDirection
                } else {
                    pg_sys::ScanDirection::ForwardScanDirection
                },
                ended: false,
            }
        }
    }

    /// The next row, or none.
    pub fn next(&mut self) -> Option<Found> {
        pg_sys::check_for_interrupts!();
        // Asked again after its end, an index scan would begin anew.
        if self.ended {
            return None;
        }
        // SAFETY: scan and slot are open.
        unsafe {
            self.ended = !pg_sys::index_getnext_slot(self.scan, self.direction, self.slot);
        }
        if self.ended { None } else { Some(self.found()) }
    }

    /// Goes on to the next entry of the index; false if there is none. Which row is visible only
    /// `fetch` tells.
    pub fn next_place(&mut self) -> bool {
        self.next_tid().is_some()
    }

    fn next_tid(&mut self) -> Option<pg_sys::ItemPointerData> {
        pg_sys::check_for_interrupts!();
        // Asked again after its end, an index scan would begin anew.
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

    /// The next entry of the index, or none. For scans of entries.
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
            let [_, priority, id] = values.map(|value| value.value() as i64);
            Some(Entry { priority: priority as i16, id, place })
        }
    }

    /// The row of the entry the scan stands on, if the scan's snapshot shows it.
    pub fn fetch(&mut self) -> Option<Found> {
        // SAFETY: called after `next_entry` or `next_place` of a scan with a snapshot.
        unsafe { pg_sys::index_fetch_heap(self.scan, self.slot) }.then(|| self.found())
    }

    /// The row of an entry the scan has come by, if `snapshot` shows it and it is still
    /// the entry's: the place may have been given to another row since.
    pub fn fetch_entry(&mut self, entry: &Entry, snapshot: &Snapshot) -> Option<Found> {
        let (mut place, mut again, mut all_dead) = (entry.place, false, false);
        // SAFETY: the scan's own means to fetch rows; that a row is dead is not noted,
        // because the scan stands elsewhere.
        let visible = unsafe {
            pg_sys::table_index_fetch_tuple(
                (*self.scan).xs_heapfetch,
                &mut place,
                snapshot.0,
                self.slot,
                &mut again,
                &mut all_dead,
            )
        };
        let row = visible.then(|| self.found())?;
        (row.i64(Column::Id) == entry.id && row.lane() == Lane::Ready).then_some(row)
    }

    /// Begins anew, with another value for the first condition.
    pub fn seek(&mut self, value: Datum) {
        self.ended = false;
        // SAFETY: the scan keeps its conditions where they can be changed; with none given
        // it begins anew with those.
        unsafe {
            (*(*self.scan).keyData).sk_argument = value;
            pg_sys::index_rescan(self.scan, ptr::null_mut(), (*self.scan).numberOfKeys, ptr::null_mut(), 0);
        }
    }

    fn found(&self) -> Found {
        Found { slot: self.slot }
    }
}

impl Drop for Scan {
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
