//! Slots as they lie in `pgqueue.slot`: where they are, what they hold, and how that is written.
//!
//! What a slot holds is written in place, whatever becomes of the transaction: no row version,
//! no index entry. It is logged first, so that after a crash, and on a standby, whoever sees
//! a lease sees it in its slot. `limit` says why that is enough.
//!
//! Invariants:
//! - a slot is written under the lock of its page, if it holds what the writer has seen, and
//!   if nobody is changing or holding its row (`limit::lay_out` does);
//! - a row is found by its place, and taken for what it is only if its numbers say so.

use std::mem::{offset_of, size_of};

use pgrx::itemptr::item_pointer_get_both;
use pgrx::pg_sys::{self, ItemPointerData};

use super::catalog;
use super::scan::{Key as Condition, Scan, Snapshot};
use super::short_lock::{Kind, ShortLock};
use super::table::Table;

/// An id and a delivery.
pub type Lease = (i64, i32);

/// No message has this lease.
pub const NO_LEASE: Lease = (0, 0);

/// Where a slot lies.
#[derive(Clone, Copy)]
pub struct Place {
    pub queue: i32,
    pub number: i32,
    at: ItemPointerData,
}

/// A row of `pgqueue.slot`, as its first columns lie in memory: none of them is ever null.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
struct Row {
    queue: i32,
    number: i32,
    message: i64,
    delivery: i32,
}

/// The length of a row without padding.
const ROW: usize = offset_of!(Row, delivery) + size_of::<i32>();

impl Row {
    fn lease(&self) -> Lease {
        (self.message, self.delivery)
    }
}

/// What is found where a slot was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Holds(Lease),
    /// Somebody is laying the queue's slots out, or holds the row.
    Busy,
    /// The slot lies elsewhere, or nowhere.
    Moved,
}

/// The table of slots, open.
pub struct SlotTable {
    table: Table,
    /// So many pages stay, as long as it is open.
    pages: pg_sys::BlockNumber,
}

/// How far into its page a row's columns begin.
type Offset = usize;

impl SlotTable {
    pub fn open(table: Table) -> Self {
        // SAFETY: the relation is open.
        let pages = unsafe {
            pg_sys::RelationGetNumberOfBlocksInFork(table.relation, pg_sys::ForkNumber::MAIN_FORKNUM)
        };
        Self { table, pages }
    }

    /// Where a queue's slots are, as committed now, and what they hold; by number.
    pub fn all(&self, queue: i32) -> Vec<(Place, Lease)> {
        let snapshot = Snapshot::latest();
        let is_its = Condition::equals(1, pg_sys::F_INT4EQ, queue.into());
        let mut rows =
            Scan::begin(&self.table, catalog::known().slot_by_number, &snapshot, &[is_its], false);
        let mut slots = Vec::new();
        while let Some(row) = rows.next() {
            let [number, message, delivery] =
                [1, 2, 3].map(|column| row.at(column).map_or(0, |datum| datum.value()));
            let place = Place { queue, number: number as i32, at: row.place_in_table() };
            slots.push((place, (message as i64, delivery as i32)));
        }
        slots
    }

    /// What a slot holds.
    pub fn read(&self, place: Place) -> Content {
        self.with_row(place, pg_sys::BUFFER_LOCK_SHARE, |_, _, content| content)
    }

    /// Writes `after` into a slot that holds `before`; false if it does not, or if its row is busy.
    pub fn write(&self, place: Place, before: Lease, after: Lease) -> bool {
        self.with_row(place, pg_sys::BUFFER_LOCK_EXCLUSIVE, |buffer, row, content| {
            let is_as_seen = content == Content::Holds(before);
            if is_as_seen {
                overwrite(&self.table, buffer, row, after);
            }
            is_as_seen
        })
    }

    /// Shows what is at a slot's place, under a lock of its page.
    fn with_row<R>(
        &self,
        place: Place,
        lock: u32,
        work: impl FnOnce(pg_sys::Buffer, Offset, Content) -> R,
    ) -> R {
        let (block, _) = item_pointer_get_both(place.at);
        if block >= self.pages {
            return work(pg_sys::InvalidBuffer as pg_sys::Buffer, 0, Content::Moved);
        }
        // SAFETY: the table is open and has the page. It is pinned and locked while it is
        // looked at; an error in between lets go of both.
        unsafe {
            let buffer = pg_sys::ReadBuffer(self.table.relation, block);
            pg_sys::LockBuffer(buffer, lock as i32);
            let (offset, content) = content(&self.table, buffer, place).unwrap_or((0, Content::Moved));
            let result = work(buffer, offset, content);
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
            pg_sys::ReleaseBuffer(buffer);
            result
        }
    }
}

/// Where the row begins in its page, and what it holds; none if it is not there.
///
/// # Safety
/// The buffer must be pinned and locked.
unsafe fn content(table: &Table, buffer: pg_sys::Buffer, place: Place) -> Option<(Offset, Content)> {
    // SAFETY: the page is looked at under its lock; an item that is normal has a header and as
    // many bytes as it says.
    unsafe {
        let page = pg_sys::BufferGetPage(buffer);
        let (_, number) = item_pointer_get_both(place.at);
        if number == 0 || number as usize > items(page.cast()) {
            return None;
        }
        let item = pg_sys::PageGetItemId(page, number);
        if (*item).lp_flags() != pg_sys::LP_NORMAL {
            return None;
        }
        let start = page.cast::<u8>().add((*item).lp_off() as usize);
        let header: pg_sys::HeapTupleHeader = start.cast();
        let columns = (*header).t_hoff as usize;
        if ((*item).lp_len() as usize) < columns + ROW {
            return None;
        }
        let row = row_at(start.add(columns));
        if (row.queue, row.number) != (place.queue, place.number) {
            return None;
        }
        let mut tuple = pg_sys::HeapTupleData {
            t_len: (*item).lp_len(),
            t_self: place.at,
            t_tableOid: (*table.relation).rd_id,
            t_data: header,
        };
        let offset = (*item).lp_off() as usize + columns;
        let command = pg_sys::GetCurrentCommandId(false);
        let content = match pg_sys::HeapTupleSatisfiesUpdate(&mut tuple, command, buffer) {
            pg_sys::TM_Result::TM_Ok => Content::Holds(row.lease()),
            pg_sys::TM_Result::TM_BeingModified if is_locked_by_us(header) => Content::Holds(row.lease()),
            pg_sys::TM_Result::TM_BeingModified => Content::Busy,
            _ => Content::Moved,
        };
        Some((offset, content))
    }
}

/// How many items a page has.
unsafe fn items(page: pg_sys::PageHeader) -> usize {
    const HEADER: usize = offset_of!(pg_sys::PageHeaderData, pd_linp);
    // SAFETY: the caller gives a page that is locked.
    let lower = unsafe { (*page).pd_lower } as usize;
    lower.saturating_sub(HEADER) / size_of::<pg_sys::ItemIdData>()
}

/// Whether nothing but a lock of this transaction is on a row.
unsafe fn is_locked_by_us(header: pg_sys::HeapTupleHeader) -> bool {
    // SAFETY: the caller holds the lock of the page.
    unsafe {
        let mask = u32::from((*header).t_infomask);
        let is_lock = mask & pg_sys::HEAP_XMAX_LOCK_ONLY != 0 && mask & pg_sys::HEAP_XMAX_IS_MULTI == 0;
        is_lock && pg_sys::TransactionIdIsCurrentTransactionId((*header).t_choice.t_heap.t_xmax)
    }
}

unsafe fn row_at(columns: *const u8) -> Row {
    // SAFETY: the caller gives as many bytes as the columns have; a bigint is aligned to 8 in
    // the row, as it is here.
    unsafe {
        let number = |offset: usize| columns.add(offset).cast::<i32>().read_unaligned();
        Row {
            queue: number(offset_of!(Row, queue)),
            number: number(offset_of!(Row, number)),
            message: columns.add(offset_of!(Row, message)).cast::<i64>().read_unaligned(),
            delivery: number(offset_of!(Row, delivery)),
        }
    }
}

/// Writes a lease over the one in the row, and logs that.
fn overwrite(table: &Table, buffer: pg_sys::Buffer, row: Offset, (message, delivery): Lease) {
    // SAFETY: the page is locked for changes; what is written lies within the row. Generic
    // records work on a copy of the page, and change it and log it as one.
    unsafe {
        let state = pg_sys::GenericXLogStart(table.relation);
        let page = pg_sys::GenericXLogRegisterBuffer(state, buffer, 0).cast::<u8>().add(row);
        page.add(offset_of!(Row, message)).cast::<i64>().write_unaligned(message);
        page.add(offset_of!(Row, delivery)).cast::<i32>().write_unaligned(delivery);
        pg_sys::GenericXLogFinish(state);
    }
}

/// Not the number of a slot: whoever lays the slots of a queue out has its lock.
pub const ALL: i32 = 0;

/// The lock of a slot, from before a lease is written into it until the message has it: in
/// between nothing else tells that the slot is in use.
pub fn lock(queue: i32, number: i32) -> ShortLock {
    ShortLock::new(Kind::Slot, queue, number as u32)
}
