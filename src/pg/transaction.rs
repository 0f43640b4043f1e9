//! The transaction, or its savepoint, that has written in place. A rollback does not undo such a write, so
//! readers ask for the transaction's state.

use std::ptr;

use pgrx::pg_sys::{self, TransactionId};

use crate::pg::snapshot::Snapshot;

/// A transaction by its 64-bit id, which is never used again; 0: none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writer(pub i64);

impl Writer {
    pub const NONE: Self = Self(0);

    /// Returns the current transaction or savepoint.
    pub fn current() -> Self {
        // SAFETY: gives the transaction a number, if it has none yet.
        Self(unsafe { pg_sys::GetCurrentFullTransactionId() }.value as i64)
    }

    /// Returns the 32-bit id, as in tuple versions.
    pub fn short(self) -> TransactionId {
        TransactionId::from(self.0 as u32)
    }

    pub fn is_us(self, last: Last) -> bool {
        // SAFETY: reads state of the transaction.
        self.is_recent(last) && unsafe { pg_sys::TransactionIdIsCurrentTransactionId(self.short()) }
    }

    /// True if another transaction wrote it and had not ended when the snapshot was taken. Otherwise the
    /// snapshot shows its changes.
    pub fn is_at_work(self, snapshot: &Snapshot, last: Last) -> bool {
        self.is_recent(last) && !self.is_us(last) && snapshot.shows_as_running(self.short())
    }

    /// True if it was rolled back, or ended by a crash. It must not be running.
    pub fn has_failed(self) -> bool {
        // SAFETY: the function takes an id of any transaction, and answers null if the id is too old to have
        // a known state.
        let status: Option<&str> = unsafe {
            pgrx::direct_function_call(pg_sys::pg_xact_status, &[Some(pg_sys::Datum::from(self.0))])
        };
        self != Self::NONE && status == Some("aborted")
    }

    /// True if the 32-bit id means no other transaction.
    fn is_recent(self, last: Last) -> bool {
        const AGE_OF_OTHERS: i64 = 1 << 31;
        self != Self::NONE && last.0 - self.0 < AGE_OF_OTHERS
    }
}

/// The next transaction id of the server.
#[derive(Clone, Copy)]
pub struct Last(i64);

impl Last {
    pub fn now() -> Self {
        // SAFETY: reads state of the server.
        Self(unsafe { pg_sys::ReadNextFullTransactionId() }.value as i64)
    }
}

/// True if a transaction is running and not our own.
pub fn is_another_s(transaction: pg_sys::TransactionId) -> bool {
    // SAFETY: both only read state of the server.
    unsafe {
        !pg_sys::TransactionIdIsCurrentTransactionId(transaction)
            && pg_sys::TransactionIdIsInProgress(transaction)
    }
}

/// Returns the members of a multixact: the transactions that share a tuple lock, of which one may have
/// changed the row.
pub fn members(multi: pg_sys::MultiXactId) -> Vec<pg_sys::MultiXactMember> {
    let mut members = ptr::null_mut();
    // SAFETY: gives as many members as it returns, allocated, or -1 and none.
    unsafe {
        let count = pg_sys::GetMultiXactIdMembers(multi, &mut members, false, false);
        let count = usize::try_from(count).unwrap_or(0);
        (0..count).map(|n| *members.add(n)).collect()
    }
}

/// Waits until a transaction has ended. The caller must not hold a lock that another session may wait for.
pub fn wait_for(transaction: TransactionId) {
    // SAFETY: waits as a statement does that meets another's row; deadlocks are found.
    unsafe {
        pg_sys::XactLockTableWait(transaction, ptr::null_mut(), ptr::null_mut(), pg_sys::XLTW_Oper::XLTW_None)
    }
}

/// True if this transaction has an id: before its first write it has none.
pub fn has_number() -> bool {
    // SAFETY: reads state of the transaction.
    unsafe { pg_sys::GetTopTransactionIdIfAny() != pg_sys::InvalidTransactionId }
}
