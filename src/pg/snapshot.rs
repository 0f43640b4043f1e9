//! Snapshots: which rows a scan shows.

use std::cell::UnsafeCell;

use pgrx::pg_sys;

use crate::error::{Error, Result};
use crate::pg::session::has_one_snapshot;

/// Drops the statement's own snapshot, if no other has to stay.
pub fn let_go_of_snapshot() -> Result<()> {
    if has_one_snapshot() {
        return Err(Error::snapshot_must_stay());
    }
    // SAFETY: ActivePortal runs this CALL. Its snapshot is popped only if it is the
    // one on top; PortalRunUtility copes with its absence, as after a COMMIT in a
    // procedure.
    unsafe {
        let portal = pg_sys::ActivePortal;
        if portal.is_null()
            || !pg_sys::ActiveSnapshotSet()
            || (*portal).portalSnapshot != pg_sys::GetActiveSnapshot()
        {
            return Err(Error::snapshot_must_stay());
        }
        pg_sys::PopActiveSnapshot();
        (*portal).portalSnapshot = std::ptr::null_mut();
        pg_sys::InvalidateCatalogSnapshot();
        if pg_sys::ActiveSnapshotSet() || (*pg_sys::MyProc).xmin != pg_sys::InvalidTransactionId {
            return Err(Error::snapshot_must_stay());
        }
    }
    Ok(())
}

/// Lets go of the locks of tables that are taken meanwhile, which otherwise are kept until the
/// transaction ends: a sleeper must be in the way of no VACUUM and no ALTER TABLE.
pub fn without_leaving_locks<R>(work: impl FnOnce() -> Result<R>) -> Result<R> {
    use pg_sys::ResourceReleasePhase::{
        RESOURCE_RELEASE_AFTER_LOCKS, RESOURCE_RELEASE_BEFORE_LOCKS, RESOURCE_RELEASE_LOCKS,
    };
    // SAFETY: an owner below the current one, released here, or with that one if `work` raises.
    unsafe {
        let outer = pg_sys::CurrentResourceOwner;
        let owner = pg_sys::ResourceOwnerCreate(outer, c"pgqueue look".as_ptr());
        pg_sys::CurrentResourceOwner = owner;
        let result = work();
        for phase in [RESOURCE_RELEASE_BEFORE_LOCKS, RESOURCE_RELEASE_LOCKS, RESOURCE_RELEASE_AFTER_LOCKS] {
            pg_sys::ResourceOwnerRelease(owner, phase, false, false);
        }
        pg_sys::CurrentResourceOwner = outer;
        pg_sys::ResourceOwnerDelete(owner);
        result
    }
}

/// A snapshot of what is committed and what this transaction has done so far.
///
/// Under READ COMMITTED each is taken anew, as each statement's is.
pub struct Snapshot(pg_sys::Snapshot);

impl Snapshot {
    pub fn take() -> Self {
        // SAFETY: pushed here and popped in `drop`, in the order of a stack.
        unsafe {
            pg_sys::CommandCounterIncrement();
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            Self(pg_sys::GetActiveSnapshot())
        }
    }

    /// One of what is committed now, whatever the isolation level.
    pub fn latest() -> Self {
        // SAFETY: as in `take`.
        unsafe {
            pg_sys::CommandCounterIncrement();
            pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot());
            Self(pg_sys::GetActiveSnapshot())
        }
    }

    /// As scans take it.
    pub fn as_ptr(&self) -> pg_sys::Snapshot {
        self.0
    }

    /// Whether a transaction, not our own, had not ended when the snapshot was taken.
    pub fn shows_as_running(&self, transaction: pg_sys::TransactionId) -> bool {
        // SAFETY: this is an MVCC snapshot, on the stack of active ones.
        unsafe { pg_sys::XidInMVCCSnapshot(transaction, self.0) }
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: pushed in `take`; what was pushed since has been popped.
            unsafe { pg_sys::PopActiveSnapshot() }
        }
    }
}

/// What others are doing at this moment is visible too: rows that they add, and rows
/// that they are changing as they were before.
pub struct Dirty(Box<UnsafeCell<pg_sys::SnapshotData>>);

impl Dirty {
    pub fn new() -> Self {
        let snapshot = pg_sys::SnapshotData {
            snapshot_type: pg_sys::SnapshotType::SNAPSHOT_DIRTY,
            ..Default::default()
        };
        Self(Box::new(UnsafeCell::new(snapshot)))
    }

    /// Whether a transaction that has not ended made the row a scan has just shown.
    pub fn is_being_made(&self) -> bool {
        self.seen().0 != pg_sys::InvalidTransactionId
    }

    /// Whether a transaction that has not ended is changing or removing that row.
    pub fn is_being_changed(&self) -> bool {
        self.seen().1 != pg_sys::InvalidTransactionId
    }

    /// As scans take it, which write there.
    pub fn as_ptr(&self) -> pg_sys::Snapshot {
        self.0.get()
    }

    pub fn seen(&self) -> (pg_sys::TransactionId, pg_sys::TransactionId) {
        // SAFETY: the scan writes there through its own pointer, between our calls.
        unsafe {
            let snapshot = self.as_ptr();
            ((&raw const (*snapshot).xmin).read_volatile(), (&raw const (*snapshot).xmax).read_volatile())
        }
    }
}

/// Gives the portal its snapshot again that `let_go_of_snapshot` has dropped.
pub fn take_snapshot_again() {
    // SAFETY: an active portal without a snapshot gets one; with one nothing is done.
    unsafe { pg_sys::EnsurePortalSnapshotExists() }
}

/// Does `work` with a snapshot of its own, and leaves none: nor does the catalog keep one, which
/// look-ups take. An error is raised: its transaction's end pops the snapshot.
pub fn with_snapshot_for_a_moment<R>(work: impl FnOnce() -> Result<R>) -> Result<R> {
    // SAFETY: pushed and popped here, or popped by the abort after an error.
    unsafe {
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        let result = work()?;
        pg_sys::PopActiveSnapshot();
        pg_sys::InvalidateCatalogSnapshot();
        Ok(result)
    }
}
