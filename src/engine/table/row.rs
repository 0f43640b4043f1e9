//! The row a scan stands on, and the transactions that are changing it.

use std::marker::PhantomData;

use pgrx::itemptr::item_pointer_get_both;
use pgrx::pg_sys::{self, Datum, Oid};

use crate::engine::table::counts::Counts;
use crate::engine::table::message::{Column, Lane};
use crate::hint::{self, Direction};
use crate::pg::datum::{Jsonb, varlena_bytes};
use crate::pg::snapshot::{Dirty, Snapshot};
use crate::pg::transaction::{is_another_s, members};
use crate::value::timestamp::Timestamp;

/// The row a scan stands on, until the scan moves on.
pub struct TableRow<'a> {
    pub(super) slot: *mut pg_sys::TupleTableSlot,
    scan: PhantomData<&'a ()>,
}

/// Change for which a row is checked or locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// An update of columns that no foreign key refers to: key-share locks of referring rows do not block it.
    Change,
    Remove,
}

/// This transaction's own lock or change of a tuple version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    Nothing,
    /// It has locked the row, and no other running transaction has.
    Lock,
    /// It has updated or deleted the row.
    Change,
}

/// Running transactions that are working on a tuple version.
#[derive(Clone, Copy)]
pub struct Doing {
    /// Transaction that has inserted it.
    pub making: Option<pg_sys::TransactionId>,
    /// Transaction that is updating or deleting it.
    pub changing: Option<pg_sys::TransactionId>,
}

impl TableRow<'_> {
    /// # Safety
    /// The slot must hold a row of a scan, until what is borrowed for the row's lifetime is not any more.
    pub(super) unsafe fn new(slot: *mut pg_sys::TupleTableSlot) -> Self {
        Self { slot, scan: PhantomData }
    }

    pub fn get(&self, column: Column) -> Option<Datum> {
        self.at(column as usize)
    }

    /// Returns the row's place in its table (ctid).
    pub fn place_in_table(&self) -> pg_sys::ItemPointerData {
        // SAFETY: the slot holds a row.
        unsafe { (*self.slot).tts_tid }
    }

    /// Returns the value of a column of any table, counted from 0.
    pub fn at(&self, n: usize) -> Option<Datum> {
        // SAFETY: the slot holds a row of the table, which has all the columns.
        unsafe {
            if (*self.slot).tts_nvalid as usize <= n {
                pg_sys::slot_getsomeattrs_int(self.slot, n as i32 + 1);
            }
            let null = *(*self.slot).tts_isnull.add(n);
            (!null).then(|| *(*self.slot).tts_values.add(n))
        }
    }

    /// Returns the value of a column that has one of these types.
    fn typed(&self, column: Column, kinds: &[Oid]) -> Option<Datum> {
        let n = column as i32;
        // SAFETY: the slot has a descriptor, of all the columns of the table.
        let kind = unsafe { pg_sys::SPI_gettypeid((*self.slot).tts_tupleDescriptor, n + 1) };
        assert!(kinds.contains(&kind), "column {n} of a message has type {}", kind.to_u32());
        self.get(column)
    }

    /// Returns a text, jsonb or bytea that outlives the row: an external value is fetched.
    pub fn whole(&self, column: Column) -> Option<Datum> {
        let value = self.typed(column, &[pg_sys::TEXTOID, pg_sys::JSONBOID, pg_sys::BYTEAOID]);
        // SAFETY: each of these types is a varlena.
        value.map(|value| unsafe { pg_sys::detoast_external_attr(value.cast_mut_ptr()).into() })
    }

    pub fn jsonb(&self, column: Column) -> Option<Jsonb<'_>> {
        // SAFETY: the column is a jsonb, which lives as long as the row.
        self.typed(column, &[pg_sys::JSONBOID]).map(|value| unsafe { Jsonb::new(value) })
    }

    /// Returns the running transactions on this version; none if the version is dead: replaced, deleted or
    /// never committed.
    pub fn doing(&self) -> Option<Doing> {
        let dirty = Dirty::new();
        let transaction = |xid| (xid != pg_sys::InvalidTransactionId).then_some(xid);
        self.satisfies(dirty.as_ptr()).then(|| {
            let (making, changing) = dirty.seen();
            Doing { making: transaction(making), changing: transaction(changing) }
        })
    }

    /// True if a snapshot shows this version.
    pub fn is_seen_by(&self, snapshot: &Snapshot) -> bool {
        self.satisfies(snapshot.as_ptr())
    }

    fn satisfies(&self, snapshot: pg_sys::Snapshot) -> bool {
        // SAFETY: the slot of a scan holds a heap tuple in a pinned page, which is locked as the
        // check asks; it sets hint bits and a dirty snapshot's answers, and raises nothing.
        unsafe {
            let slot = self.slot.cast::<pg_sys::BufferHeapTupleTableSlot>();
            let page = (*slot).buffer;
            pg_sys::LockBuffer(page, pg_sys::BUFFER_LOCK_SHARE as i32);
            let is_visible = pg_sys::HeapTupleSatisfiesVisibility((*slot).base.tuple, snapshot, page);
            pg_sys::LockBuffer(page, pg_sys::BUFFER_LOCK_UNLOCK as i32);
            is_visible
        }
    }

    /// True if the transaction that made this version has committed.
    pub fn is_made_for_good(&self) -> bool {
        // SAFETY: the slot holds a heap tuple in a pinned page; the rest reads state of the server.
        unsafe {
            let header = (*(*self.slot.cast::<pg_sys::BufferHeapTupleTableSlot>()).base.tuple).t_data;
            let made = u32::from((*header).t_infomask) & pg_sys::HEAP_XMIN_FROZEN;
            let maker = (*header).t_choice.t_heap.t_xmin;
            match made {
                pg_sys::HEAP_XMIN_INVALID => false,
                0 => {
                    !pg_sys::TransactionIdIsCurrentTransactionId(maker)
                        && !pg_sys::TransactionIdIsInProgress(maker)
                        && pg_sys::TransactionIdDidCommit(maker)
                }
                _ => true,
            }
        }
    }

    /// True if another running transaction has changed the row, or has locked it against the intent.
    pub fn is_busy(&self, intent: Intent) -> bool {
        self.lockers(intent).into_iter().any(is_another_s)
    }

    /// Returns this transaction's own lock or change of the row.
    pub fn own(&self) -> Own {
        // SAFETY: reads state of the transaction; rolled-back savepoints do not count as its own.
        let is_ours = |transaction| unsafe { pg_sys::TransactionIdIsCurrentTransactionId(transaction) };
        let Some((mask, xmax)) = self.xmax() else { return Own::Nothing };
        if mask & pg_sys::HEAP_XMAX_IS_MULTI == 0 {
            return match is_ours(xmax) {
                false => Own::Nothing,
                true if mask & pg_sys::HEAP_XMAX_LOCK_ONLY != 0 => Own::Lock,
                true => Own::Change,
            };
        }
        let members = members(xmax);
        let changes = |member: &pg_sys::MultiXactMember| {
            member.status >= pg_sys::MultiXactStatus::MultiXactStatusNoKeyUpdate
        };
        let (ours, others): (Vec<_>, Vec<_>) = members.iter().partition(|member| is_ours(member.xid));
        if ours.iter().any(changes) {
            Own::Change
        } else if ours.is_empty() || others.iter().any(|member| is_another_s(member.xid)) {
            Own::Nothing
        } else {
            Own::Lock
        }
    }

    /// Returns the transactions that have changed the row, or locked it against the intent, or tried to. Some
    /// may have ended. This is only a hint: the heap decides.
    fn lockers(&self, intent: Intent) -> Vec<pg_sys::TransactionId> {
        let is_in_the_way = |member: &pg_sys::MultiXactMember| {
            intent == Intent::Remove || member.status != pg_sys::MultiXactStatus::MultiXactStatusForKeyShare
        };
        match self.xmax() {
            None => Vec::new(),
            Some((mask, multi)) if mask & pg_sys::HEAP_XMAX_IS_MULTI != 0 => {
                members(multi).into_iter().filter(is_in_the_way).map(|member| member.xid).collect()
            }
            Some((mask, _)) if intent == Intent::Change && is_key_share(mask) => Vec::new(),
            Some((_, locker)) => vec![locker],
        }
    }

    /// True if another transaction has changed or deleted the row, and committed, since the snapshot that
    /// shows it was taken.
    pub fn is_outdated(&self) -> bool {
        // SAFETY: both only read state of the server.
        self.changer().is_some_and(|changer| unsafe {
            !pg_sys::TransactionIdIsCurrentTransactionId(changer) && pg_sys::TransactionIdDidCommit(changer)
        })
    }

    /// Returns the transaction that has changed or deleted this version, not only locked it. It may have been
    /// rolled back.
    fn changer(&self) -> Option<pg_sys::TransactionId> {
        match self.xmax() {
            Some((mask, _)) if mask & pg_sys::HEAP_XMAX_LOCK_ONLY != 0 => None,
            Some((mask, multi)) if mask & pg_sys::HEAP_XMAX_IS_MULTI != 0 => members(multi)
                .into_iter()
                .find(|member| member.status >= pg_sys::MultiXactStatus::MultiXactStatusNoKeyUpdate)
                .map(|member| member.xid),
            other => other.map(|(_, changer)| changer),
        }
    }

    /// Returns the flags and the xmax (a transaction or a multixact) of the row's header; none if no
    /// transaction has changed or locked it.
    fn xmax(&self) -> Option<(u32, pg_sys::TransactionId)> {
        // SAFETY: the slot of a scan holds a heap tuple in a pinned page. Its two words are consistent only
        // under the page's lock. One flag alone tells that there is no xmax: it is no older than the scan's
        // own look, and most rows have it.
        let (mask, xmax) = unsafe {
            let slot = self.slot.cast::<pg_sys::BufferHeapTupleTableSlot>();
            let (header, page) = ((*(*slot).base.tuple).t_data, (*slot).buffer);
            if u32::from((&raw const (*header).t_infomask).read_volatile()) & pg_sys::HEAP_XMAX_INVALID != 0 {
                return None;
            }
            pg_sys::LockBuffer(page, pg_sys::BUFFER_LOCK_SHARE as i32);
            let words = (u32::from((*header).t_infomask), (*header).t_choice.t_heap.t_xmax);
            pg_sys::LockBuffer(page, pg_sys::BUFFER_LOCK_UNLOCK as i32);
            words
        };
        let is_none = mask & pg_sys::HEAP_XMAX_INVALID != 0 || xmax == pg_sys::InvalidTransactionId;
        (!is_none).then_some((mask, xmax))
    }

    /// True if this transaction has written this version.
    pub fn is_our_own(&self) -> bool {
        self.our_writer().is_some()
    }

    /// Returns the transaction that has written this version. The id of a frozen version may be used again.
    pub fn writer(&self) -> pg_sys::TransactionId {
        let mut must_free = false;
        // SAFETY: the slot holds a heap tuple in a pinned page.
        unsafe {
            (*(*pg_sys::ExecFetchSlotHeapTuple(self.slot, false, &mut must_free)).t_data)
                .t_choice
                .t_heap
                .t_xmin
        }
    }

    /// Returns this transaction, or its savepoint, if it has written this version.
    pub fn our_writer(&self) -> Option<pg_sys::TransactionId> {
        let mut must_free = false;
        // SAFETY: the slot holds a heap tuple in a pinned page.
        unsafe {
            let header = (*pg_sys::ExecFetchSlotHeapTuple(self.slot, false, &mut must_free)).t_data;
            let is_frozen =
                u32::from((*header).t_infomask) & pg_sys::HEAP_XMIN_FROZEN == pg_sys::HEAP_XMIN_FROZEN;
            let writer = (*header).t_choice.t_heap.t_xmin; // of a frozen row, an id that may be used again
            (!is_frozen && pg_sys::TransactionIdIsCurrentTransactionId(writer)).then_some(writer)
        }
    }

    /// Returns this transaction, or its savepoint, if it has changed or deleted this version.
    pub fn our_changer(&self) -> Option<pg_sys::TransactionId> {
        // SAFETY: reads state of the transaction.
        self.changer().filter(|&changer| unsafe { pg_sys::TransactionIdIsCurrentTransactionId(changer) })
    }

    /// True if another running transaction has deleted the row.
    pub fn is_being_removed(&self) -> bool {
        let mut must_free = false;
        // SAFETY: the slot holds a heap tuple in a pinned page. A version that has a newer one
        // says where.
        let has_newer = unsafe {
            let tuple = pg_sys::ExecFetchSlotHeapTuple(self.slot, false, &mut must_free);
            item_pointer_get_both((*(*tuple).t_data).t_ctid) != item_pointer_get_both((*tuple).t_self)
        };
        !has_newer && self.changer().is_some_and(is_another_s)
    }

    pub fn i64(&self, column: Column) -> i64 {
        self.optional_i64(column).unwrap_or_default()
    }

    pub fn optional_i64(&self, column: Column) -> Option<i64> {
        self.get(column).map(|datum| datum.value() as i64)
    }

    pub fn i32(&self, column: Column) -> i32 {
        self.optional_i32(column).unwrap_or_default()
    }

    pub fn optional_i32(&self, column: Column) -> Option<i32> {
        self.get(column).map(|datum| datum.value() as i32)
    }

    /// Returns the row's position among those of its queue.
    pub fn place(&self, direction: Direction) -> (i16, hint::Key) {
        (self.i16(Column::Priority), direction.key(self.i64(Column::Id)))
    }

    /// True if its time to live has ended.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at().is_some_and(|at| at <= now)
    }

    /// Returns the end of its time to live; none if it has none.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.optional_i64(Column::ExpiresAt)
    }

    /// Returns the number of deliveries that consumers have released.
    pub fn given_back(&self) -> i32 {
        self.i32(Column::GivenBack)
    }

    /// Returns the number of attempts: deliveries that consumers have not released.
    pub fn attempts(&self) -> i32 {
        self.i32(Column::Deliveries) - self.given_back()
    }

    pub fn lane(&self) -> Lane {
        Lane::from_column(self.get(Column::Lane).map_or(0, |datum| datum.value() as u8))
    }

    pub fn bool(&self, column: Column) -> bool {
        self.get(column).is_some_and(|datum| datum.value() & 0xff != 0)
    }

    /// Returns the content of a text column.
    pub fn text(&self, column: Column) -> Option<Vec<u8>> {
        // SAFETY: a text is a varlena.
        self.typed(column, &[pg_sys::TEXTOID]).map(|text| unsafe { varlena_bytes(text) })
    }

    /// Returns the row's share of the counters.
    pub fn counts(&self) -> Counts {
        Counts::message(self.lane(), self.i64(Column::LeaseUntil))
    }

    pub fn i16(&self, column: Column) -> i16 {
        self.get(column).map_or(0, |datum| datum.value() as i16)
    }
}

/// True if a row's flags are those of a single key-share lock, as foreign keys take it.
fn is_key_share(mask: u32) -> bool {
    const STRENGTH: u32 = pg_sys::HEAP_XMAX_KEYSHR_LOCK | pg_sys::HEAP_XMAX_EXCL_LOCK;
    mask & pg_sys::HEAP_XMAX_LOCK_ONLY != 0 && mask & STRENGTH == pg_sys::HEAP_XMAX_KEYSHR_LOCK
}
