//! `CALL pgq_wait`: sleeping until messages may be ready.
//!
//! While it sleeps it holds no snapshot, so that it holds back no vacuum. It is a
//! procedure because only a procedure called by itself may let go of the snapshot
//! that Postgres takes for every statement.

use std::time::{Duration, Instant};

use pgrx::pg_sys;

use crate::call::{Answer, Call, Name};
use crate::engine::{has_one_snapshot, queue, reserve};
use crate::error::{Error, Result};
use crate::value::duration::Millis;
use crate::worker;

crate::export_to_sql!(pgq_wait);

/// First and longest pause between two looks at the queue.
const PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

fn pgq_wait(call: &Call) -> Answer {
    let name = call.name(0, "queue")?;
    let timeout: Millis = call.required(1, "timeout")?;
    let min = call.max(2, "min")?;
    queue::find(&name)?;
    worker::ensure_running();
    let deadline = Instant::now() + Duration::from_millis(timeout.as_millis() as u64);

    let_go_of_snapshot()?;
    let mut pause = PAUSE;
    while !look(&name, min)? {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        sleep(pause.min(left));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    // SAFETY: gives the portal a snapshot again, as it had at our call.
    unsafe { pg_sys::EnsurePortalSnapshotExists() };
    Ok(None)
}

/// Drops the statement's own snapshot, if no other has to stay.
fn let_go_of_snapshot() -> Result<()> {
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

/// Looks at the queue with a snapshot of its own.
fn look(name: &Name, min: usize) -> Result<bool> {
    // SAFETY: pushed and popped here; what the look opened is closed by then.
    unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
    let ready = queue::find(name)?.is_some_and(|queue| reserve::has_ready(&queue, min));
    // SAFETY: as above; the catalog's snapshot, which look-ups take, goes too.
    unsafe {
        pg_sys::PopActiveSnapshot();
        pg_sys::InvalidateCatalogSnapshot();
    }
    Ok(ready)
}

fn sleep(pause: Duration) {
    // SAFETY: the latch is this backend's; interrupts are honoured right after.
    unsafe {
        pg_sys::WaitLatch(
            pg_sys::MyLatch,
            (pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH) as i32,
            pause.as_millis().max(1) as std::ffi::c_long,
            pg_sys::PG_WAIT_EXTENSION,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    pg_sys::check_for_interrupts!();
}
