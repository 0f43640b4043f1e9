//! `CALL pgq_wait`: sleeping until messages may be ready.
//!
//! While it sleeps it holds no snapshot, so that it holds back no vacuum. It is a
//! procedure because only a procedure called by itself may let go of the snapshot
//! that Postgres takes for every statement.

use std::time::{Duration, Instant};

use pgrx::pg_sys;

use crate::call::{Answer, Call, Name};
use crate::engine::reserve::{self, Outlook};
use crate::engine::scratch::Scratch;
use crate::engine::waking::{NO_QUEUE, Sleeper, check_client};
use crate::engine::{has_one_snapshot, queue};
use crate::error::{Error, Result};
use crate::value::duration::Millis;
use crate::value::right::Right;
use crate::worker;

crate::export_to_sql!(pgq_wait);

fn pgq_wait(call: &Call) -> Answer {
    let name = call.name(0, "queue")?;
    let timeout: Millis = call.required(1, "timeout")?;
    let min = call.max(2, "min")?;
    without_leaving_locks(|| queue::find(&name, Right::Consume))?;
    worker::ensure_running();
    let deadline = Instant::now() + Duration::from_millis(timeout.as_millis() as u64);

    let_go_of_snapshot()?;
    let (mut sleeper, mut scratch) = (None::<Sleeper>, Scratch::default());
    loop {
        let seen = look(&name, min, &mut scratch)?;
        let left = deadline.saturating_duration_since(Instant::now());
        if seen.outlook.enough || left.is_zero() {
            break;
        }
        match &mut sleeper {
            Some(sleeper) if sleeper.is_for(seen.queue) => {
                sleeper.sleep(left, seen.outlook.next_change);
                check_client();
            }
            // Where signals reach it, it has to look once more before it may sleep.
            _ => {
                drop(sleeper.take());
                sleeper = Some(Sleeper::new(seen.queue, min));
            }
        }
    }
    drop(sleeper);
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

struct Seen {
    queue: i32,
    outlook: Outlook,
}

/// Looks at the queue with a snapshot of its own.
fn look(name: &Name, min: usize, scratch: &mut Scratch) -> Result<Seen> {
    without_leaving_locks(|| {
        // SAFETY: pushed and popped here; what the look opened is closed by then.
        unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
        let seen = match queue::find(name, Right::Consume)? {
            Some(queue) => Seen { queue: queue.id, outlook: scratch.with(|| reserve::outlook(&queue, min)) },
            None => Seen { queue: NO_QUEUE, outlook: Outlook { enough: false, next_change: None } },
        };
        // SAFETY: as above; the catalog's snapshot, which look-ups take, goes too.
        unsafe {
            pg_sys::PopActiveSnapshot();
            pg_sys::InvalidateCatalogSnapshot();
        }
        Ok(seen)
    })
}

/// Lets go of the locks of tables that are taken meanwhile, which otherwise are kept until the
/// transaction ends: a sleeper must be in the way of no VACUUM and no ALTER TABLE.
fn without_leaving_locks<R>(work: impl FnOnce() -> Result<R>) -> Result<R> {
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
