//! In-place writes: small tables whose rows change all the time are overwritten where they are.
//!
//! A write makes no tuple version, no index entry and no work for vacuum, whatever snapshots are held. It is
//! logged (as a generic WAL record) and visible to all transactions at once, and no rollback undoes it: the
//! caller must show why that is right.
//!
//! Invariants:
//! - a row is written under the lock of its page, and only if no other transaction is changing or locking it,
//!   and its inserter has committed or is this transaction: so an earlier UPDATE, DELETE or lock keeps the
//!   row unchanged;
//! - a write keeps the length: the columns have fixed width and none of them is null.

use std::cell::Cell;
use std::mem::{offset_of, size_of};
use std::slice;

use pgrx::itemptr::item_pointer_get_both;
use pgrx::pg_sys::{self, ItemPointerData};

use crate::engine::table::heap::Table;
use crate::pg::transaction;

/// An open table whose rows are written in place.
pub struct Pages {
    pub table: Table,
    /// A lower bound of its number of pages.
    count: Cell<pg_sys::BlockNumber>,
}

/// Whether a row may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Free,
    /// Another transaction is changing or locking it.
    Busy,
    /// It was deleted, or has a newer version elsewhere.
    Moved,
}

/// A row in a locked page.
pub struct PageRow<'a> {
    table: &'a Table,
    buffer: pg_sys::Buffer,
    /// Offset of its columns in the page.
    offset: usize,
    /// Its columns, in their layout in memory.
    pub columns: &'a [u8],
    pub state: State,
}

impl Pages {
    pub fn open(table: Table) -> Self {
        Self { table, count: Cell::new(0) }
    }

    fn has_page(&self, block: pg_sys::BlockNumber) -> bool {
        if block >= self.count.get() {
            // SAFETY: the relation is open.
            self.count.set(unsafe {
                pg_sys::RelationGetNumberOfBlocksInFork(self.table.relation, pg_sys::ForkNumber::MAIN_FORKNUM)
            });
        }
        block < self.count.get()
    }

    /// Runs `work` with the row at a place, if there is one, under a shared lock of its page.
    pub fn look<R>(&self, at: ItemPointerData, work: impl FnOnce(Option<PageRow>) -> R) -> R {
        self.with_row(at, pg_sys::BUFFER_LOCK_SHARE, work)
    }

    /// Runs `work` with the row at a place, under an exclusive lock of its page.
    pub fn change<R>(&self, at: ItemPointerData, work: impl FnOnce(Option<PageRow>) -> R) -> R {
        self.with_row(at, pg_sys::BUFFER_LOCK_EXCLUSIVE, work)
    }

    fn with_row<R>(&self, at: ItemPointerData, lock: u32, work: impl FnOnce(Option<PageRow>) -> R) -> R {
        let (block, _) = item_pointer_get_both(at);
        if !self.has_page(block) {
            return work(None);
        }
        // SAFETY: the table is open and has the page. It is pinned and locked while the row is
        // shown; an error in between lets go of both.
        unsafe {
            let buffer = pg_sys::ReadBuffer(self.table.relation, block);
            pg_sys::LockBuffer(buffer, lock as i32);
            let result = work(row_at(&self.table, buffer, at));
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
            pg_sys::ReleaseBuffer(buffer);
            result
        }
    }
}

impl PageRow<'_> {
    /// Overwrites bytes of the columns. The page must be locked exclusively.
    pub fn write(&self, from: usize, bytes: &[u8]) {
        assert!(
            from + bytes.len() <= self.columns.len() && self.state == State::Free,
            "a row that may be written"
        );
        // SAFETY: what is written lies within the row. Generic records work on a copy of the page,
        // and change it and log it as one.
        unsafe {
            let state = pg_sys::GenericXLogStart(self.table.relation);
            let page = pg_sys::GenericXLogRegisterBuffer(state, self.buffer, 0).cast::<u8>();
            let target = slice::from_raw_parts_mut(page.add(self.offset + from), bytes.len());
            target.copy_from_slice(bytes);
            pg_sys::GenericXLogFinish(state);
        }
    }

    pub fn i32(&self, at: usize) -> i32 {
        i32::from_ne_bytes(self.bytes(at))
    }

    pub fn i64(&self, at: usize) -> i64 {
        i64::from_ne_bytes(self.bytes(at))
    }

    pub fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|n| self.columns[at + n])
    }
}

/// Returns the row at a place of a page.
///
/// # Safety
/// The buffer must be pinned and locked for as long as the row is used.
unsafe fn row_at<'a>(table: &'a Table, buffer: pg_sys::Buffer, at: ItemPointerData) -> Option<PageRow<'a>> {
    // SAFETY: an item that is normal has a header and as many bytes as it says.
    unsafe {
        let page = pg_sys::BufferGetPage(buffer);
        let (_, number) = item_pointer_get_both(at);
        if number == 0 || usize::from(number) > items(page.cast()) {
            return None;
        }
        let item = pg_sys::PageGetItemId(page, number);
        if (*item).lp_flags() != pg_sys::LP_NORMAL {
            return None;
        }
        let (start, length) = ((*item).lp_off() as usize, (*item).lp_len() as usize);
        let header: pg_sys::HeapTupleHeader = page.cast::<u8>().add(start).cast();
        let head = usize::from((*header).t_hoff);
        let columns = slice::from_raw_parts(page.cast::<u8>().add(start + head), length.checked_sub(head)?);
        let mut tuple = pg_sys::HeapTupleData {
            t_len: length as u32,
            t_self: at,
            t_tableOid: (*table.relation).rd_id,
            t_data: header,
        };
        let command = pg_sys::GetCurrentCommandId(false);
        let state = match pg_sys::HeapTupleSatisfiesUpdate(&mut tuple, command, buffer) {
            pg_sys::TM_Result::TM_Ok => State::Free,
            pg_sys::TM_Result::TM_BeingModified => state_of_held(header),
            _ => State::Moved,
        };
        Some(PageRow { table, buffer, offset: start + head, columns, state })
    }
}

/// Returns the number of items on a page.
unsafe fn items(page: pg_sys::PageHeader) -> usize {
    const HEADER: usize = offset_of!(pg_sys::PageHeaderData, pd_linp);
    // SAFETY: the caller gives a page that is locked.
    let lower = unsafe { (*page).pd_lower } as usize;
    lower.saturating_sub(HEADER) / size_of::<pg_sys::ItemIdData>()
}

/// Returns the state of a row that is locked or changed. Locks of this transaction and its savepoints do not
/// count, nor changes that were rolled back.
unsafe fn state_of_held(header: pg_sys::HeapTupleHeader) -> State {
    // SAFETY: the caller holds the lock of the page.
    let (mask, holder) = unsafe { (u32::from((*header).t_infomask), (*header).t_choice.t_heap.t_xmax) };
    if mask & pg_sys::HEAP_XMAX_IS_MULTI == 0 {
        // Another transaction was changing the row a moment ago, and may have committed since.
        // SAFETY: reads state of the transaction.
        let is_ours = unsafe { pg_sys::TransactionIdIsCurrentTransactionId(holder) };
        return if is_ours { State::Free } else { State::Busy };
    }
    let holders = transaction::members(holder);
    let has_changed = |holder: &pg_sys::MultiXactMember| {
        let is_change = holder.status >= pg_sys::MultiXactStatus::MultiXactStatusNoKeyUpdate;
        // SAFETY: reads state of the server.
        is_change && unsafe { pg_sys::TransactionIdDidCommit(holder.xid) }
    };
    if holders.iter().any(|holder| transaction::is_another_s(holder.xid)) {
        State::Busy
    } else if holders.iter().any(has_changed) {
        State::Moved
    } else {
        State::Free
    }
}
