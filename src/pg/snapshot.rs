//! Snapshots: which rows a scan shows.

use std::cell::UnsafeCell;

use pgrx::pg_sys;

use crate::error::{Error, Result};
use crate::pg::session::has_one_snapshot;

/// Drops the statement's own snapshot; an error if the transaction needs a snapshot.
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
        release_held(portal);
        pg_sys::InvalidateCatalogSnapshot();
        if pg_sys::ActiveSnapshotSet() || (*pg_sys::MyProc).xmin != pg_sys::InvalidTransactionId {
            return Err(Error::snapshot_must_stay());
        }
    }
    Ok(())
}

/// Releases the snapshot that a portal holds for the result row of a CALL, as a COMMIT in a procedure does
/// (`PreCommit_Portals`). It is for values of the row that lie in TOAST tables.
///
/// # Safety
/// The portal is active, and its result has no such values.
unsafe fn release_held(portal: pg_sys::Portal) {
    // SAFETY: the portal's own resource owner has registered it; without one it has been released.
    unsafe {
        let held = std::mem::replace(&mut (*portal).holdSnapshot, std::ptr::null_mut());
        if !held.is_null() && !(*portal).resowner.is_null() {
            pg_sys::UnregisterSnapshotFromOwner(held, (*portal).resowner);
        }
    }
}

/// Runs `work`, then releases the table locks it took, which otherwise are kept until the transaction ends: a
/// sleeper must not block VACUUM or ALTER TABLE.
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

/// A snapshot of all committed changes and of this transaction's own so far.
///
/// Under READ COMMITTED each is a new one, as for each statement.
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

    /// Takes a snapshot of all changes committed now, at every isolation level.
    pub fn latest() -> Self {
        // SAFETY: as in `take`.
        unsafe {
            pg_sys::CommandCounterIncrement();
            pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot());
            Self(pg_sys::GetActiveSnapshot())
        }
    }

    /// Returns the pointer that scans take.
    pub fn as_ptr(&self) -> pg_sys::Snapshot {
        self.0
    }

    /// True if a transaction, not our own, had not ended when the snapshot was taken.
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

/// A dirty snapshot: it also shows rows that running transactions add, and the old version of rows that they
/// change.
pub struct Dirty(Box<UnsafeCell<pg_sys::SnapshotData>>);

impl Dirty {
    pub fn new() -> Self {
        let snapshot = pg_sys::SnapshotData {
            snapshot_type: pg_sys::SnapshotType::SNAPSHOT_DIRTY,
            ..Default::default()
        };
        Self(Box::new(UnsafeCell::new(snapshot)))
    }

    /// True if a running transaction made the row that a scan has just shown.
    pub fn is_being_made(&self) -> bool {
        self.seen().0 != pg_sys::InvalidTransactionId
    }

    /// True if a running transaction is changing or removing that row.
    pub fn is_being_changed(&self) -> bool {
        self.seen().1 != pg_sys::InvalidTransactionId
    }

    /// Returns the pointer that scans take; scans write there.
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

/// Gives the portal a snapshot again after `let_go_of_snapshot`.
pub fn take_snapshot_again() {
    // SAFETY: an active portal without a snapshot gets one; with one nothing is done.
    unsafe { pg_sys::EnsurePortalSnapshotExists() }
}

/// Runs `work` with a snapshot of its own, and drops that and the catalog snapshot of look-ups. An error is
/// raised, and the end of its transaction pops the snapshot.
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
