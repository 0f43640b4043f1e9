//! A row that a scan stands on, and what transactions are doing with it.

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

/// The change that a row is looked at for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Columns are to change, none that a foreign key refers to: rows that refer to it are not in
    /// the way.
    Change,
    Remove,
}

/// What this transaction has done with a version of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    Nothing,
    /// It has locked the row, as the only one.
    Lock,
    /// It has replaced or removed the row.
    Change,
}

/// What other transactions, which have not ended, are doing with a version of a row.
#[derive(Clone, Copy)]
pub struct Doing {
    /// The one that has made it.
    pub making: Option<pg_sys::TransactionId>,
    /// The one that is changing or removing it.
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

    /// Where the row lies in its table.
    pub fn place_in_table(&self) -> pg_sys::ItemPointerData {
        // SAFETY: the slot holds a row.
        unsafe { (*self.slot).tts_tid }
    }

    /// The value of a column of any table, counted from 0.
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

    /// The value of a column that has one of these types.
    fn typed(&self, column: Column, kinds: &[Oid]) -> Option<Datum> {
        let n = column as i32;
        // SAFETY: the slot has a descriptor, of all the columns of the table.
        let kind = unsafe { pg_sys::SPI_gettypeid((*self.slot).tts_tupleDescriptor, n + 1) };
        assert!(kinds.contains(&kind), "column {n} of a message has type {}", kind.to_u32());
        self.get(column)
    }

    /// A text, jsonb or bytea that outlives the row: what lies out of line is fetched.
    pub fn whole(&self, column: Column) -> Option<Datum> {
        let value = self.typed(column, &[pg_sys::TEXTOID, pg_sys::JSONBOID, pg_sys::BYTEAOID]);
        // SAFETY: each of these types is a varlena.
        value.map(|value| unsafe { pg_sys::detoast_external_attr(value.cast_mut_ptr()).into() })
    }

    pub fn jsonb(&self, column: Column) -> Option<Jsonb<'_>> {
        // SAFETY: the column is a jsonb, which lives as long as the row.
        self.typed(column, &[pg_sys::JSONBOID]).map(|value| unsafe { Jsonb::new(value) })
    }

    /// What others are doing with this version; none if it is dead: replaced, removed or never
    /// committed.
    pub fn doing(&self) -> Option<Doing> {
        let dirty = Dirty::new();
        let transaction = |xid| (xid != pg_sys::InvalidTransactionId).then_some(xid);
        self.satisfies(dirty.as_ptr()).then(|| {
            let (making, changing) = dirty.seen();
            Doing { making: transaction(making), changing: transaction(changing) }
        })
    }

    /// Whether a snapshot shows this version.
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

    /// Whether the transaction that made this version has committed.
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

    /// Whether another transaction, not ended yet, has changed the row, or has locked it against what
    /// is to be done with it.
    pub fn is_busy(&self, intent: Intent) -> bool {
        self.lockers(intent).into_iter().any(is_another_s)
    }

    /// What this transaction has done with the row since it wrote it, others aside.
    pub fn own(&self) -> Own {
        // SAFETY: reads state of the transaction; what it has rolled back is not its own any more.
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

    /// The transactions that have changed the row, or locked it against an intent, or tried to; some
    /// may have ended. Only a hint at what the heap decides.
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

    /// Whether another transaction has changed or removed the row, and committed, since the
    /// snapshot was taken that shows it.
    pub fn is_outdated(&self) -> bool {
        // SAFETY: both only read state of the server.
        self.changer().is_some_and(|changer| unsafe {
            !pg_sys::TransactionIdIsCurrentTransactionId(changer) && pg_sys::TransactionIdDidCommit(changer)
        })
    }

    /// The transaction that has changed or removed this version of the row, not only locked it;
    /// it may have been rolled back.
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

    /// What the row's header says of who has changed or locked it last: flags, and one
    /// transaction or several.
    fn xmax(&self) -> Option<(u32, pg_sys::TransactionId)> {
        // SAFETY: the slot of a scan holds a heap tuple in a pinned page. What its two words say
        // together is only true under the page's lock. That nobody has, one says alone: it is no
        // older than the scan's own look, and most rows are so.
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

    /// Whether the current transaction has written this version of the row.
    pub fn is_our_own(&self) -> bool {
        self.our_writer().is_some()
    }

    /// The transaction that has written this version of the row; a frozen one's number may come again.
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

    /// The current transaction, or the savepoint of it, if it has written this version of the row.
    pub fn our_writer(&self) -> Option<pg_sys::TransactionId> {
        let mut must_free = false;
        // SAFETY: the slot holds a heap tuple in a pinned page.
        unsafe {
            let header = (*pg_sys::ExecFetchSlotHeapTuple(self.slot, false, &mut must_free)).t_data;
            let is_frozen =
                u32::from((*header).t_infomask) & pg_sys::HEAP_XMIN_FROZEN == pg_sys::HEAP_XMIN_FROZEN;
            let writer = (*header).t_choice.t_heap.t_xmin; // of a frozen row, a number that may come again
            (!is_frozen && pg_sys::TransactionIdIsCurrentTransactionId(writer)).then_some(writer)
        }
    }

    /// The current transaction, or the savepoint of it, if it has changed or removed this version.
    pub fn our_changer(&self) -> Option<pg_sys::TransactionId> {
        // SAFETY: reads state of the transaction.
        self.changer().filter(|&changer| unsafe { pg_sys::TransactionIdIsCurrentTransactionId(changer) })
    }

    /// Whether another transaction that has not ended has removed the row.
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

    /// Where the row stands among those of its queue.
    pub fn place(&self, direction: Direction) -> (i16, hint::Key) {
        (self.i16(Column::Priority), direction.key(self.i64(Column::Id)))
    }

    /// Whether its time to live is over.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at().is_some_and(|at| at <= now)
    }

    /// When its time to live is over; none: never.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.optional_i64(Column::ExpiresAt)
    }

    /// How many deliveries its consumers have given back.
    pub fn given_back(&self) -> i32 {
        self.i32(Column::GivenBack)
    }

    /// How often it was delivered, but for those.
    pub fn attempts(&self) -> i32 {
        self.i32(Column::Deliveries) - self.given_back()
    }

    pub fn lane(&self) -> Lane {
        Lane::from_column(self.get(Column::Lane).map_or(0, |datum| datum.value() as u8))
    }

    pub fn bool(&self, column: Column) -> bool {
        self.get(column).is_some_and(|datum| datum.value() & 0xff != 0)
    }

    /// The content of a text column.
    pub fn text(&self, column: Column) -> Option<Vec<u8>> {
        // SAFETY: a text is a varlena.
        self.typed(column, &[pg_sys::TEXTOID]).map(|text| unsafe { varlena_bytes(text) })
    }

    /// What the row is among the counters.
    pub fn counts(&self) -> Counts {
        Counts::message(self.lane(), self.i64(Column::LeaseUntil))
    }

    pub fn i16(&self, column: Column) -> i16 {
        self.get(column).map_or(0, |datum| datum.value() as i16)
    }
}

/// Whether a row's flags say that one transaction has locked it, and only its key, as foreign keys do.
fn is_key_share(mask: u32) -> bool {
    const STRENGTH: u32 = pg_sys::HEAP_XMAX_KEYSHR_LOCK | pg_sys::HEAP_XMAX_EXCL_LOCK;
    mask & pg_sys::HEAP_XMAX_LOCK_ONLY != 0 && mask & STRENGTH == pg_sys::HEAP_XMAX_KEYSHR_LOCK
}
