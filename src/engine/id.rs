//! Ids of messages: never given twice, by a server that was promoted either.
//!
//! A standby may lack its primary's last pushes, and with them the last steps of the sequence.
//! Promoted, it would give the same ids to other messages, and old receipts would fit those.
//! So each timeline has ids of its own (`value::timeline`), and goes on there at its first push.

use pgrx::pg_sys::{self, LOCKTAG};

use super::catalog;
use super::statement::Statement;
use crate::error::Error;
use crate::value::timeline::next_range;

static LAST: Statement = Statement::new(include_str!("../../sql/query/last_id.sql"), &[]);
static SKIP: Statement = Statement::new(include_str!("../../sql/query/skip_ids.sql"), &[pg_sys::INT8OID]);

/// The id of the next message.
pub fn next() -> i64 {
    let id = step();
    if next_range(id, timeline()).is_none() { id } else { alone(in_next_range) }
}

/// Sees to it that the ids which a statement takes from the sequence are this timeline's.
pub fn prepare() {
    let mut last = 0;
    LAST.run(&[], |row| last = row.i64(0));
    if next_range(last, timeline()).is_some() {
        alone(in_next_range);
    }
}

fn in_next_range() -> i64 {
    let id = step(); // somebody else may have been here
    let Some(first) = next_range(id, timeline()) else { return id };
    if SKIP.run(&[Some(first.into())], |_| {}) == 0 {
        Error::ids_are_used_up().raise();
    }
    step()
}

/// The sequence's next value. Unlike `nextval()` it does not ask for a privilege on the
/// sequence, which callers do not have.
fn step() -> i64 {
    // commands/sequence.h, which pgrx leaves out
    unsafe extern "C-unwind" {
        fn nextval_internal(sequence: pg_sys::Oid, check_permissions: bool) -> i64;
    }
    let sequence = catalog::known().message_id;
    // SAFETY: the sequence exists; the boundary turns an error into a panic.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| nextval_internal(sequence, false)) }
}

/// The timeline on which this server writes.
fn timeline() -> u32 {
    // SAFETY: reads state of the server, which is no standby: the caller is about to write.
    #[cfg(feature = "pg14")]
    unsafe {
        pg_sys::ThisTimeLineID
    }
    // SAFETY: as above.
    #[cfg(not(feature = "pg14"))]
    unsafe {
        pg_sys::GetWALInsertionTimeLine()
    }
}

/// Does something while nobody else in this database does it.
fn alone<R>(work: impl FnOnce() -> R) -> R {
    /// Tells this lock from the advisory locks of users, which have 1 or 2 here.
    const CLASS: u16 = 0x7069;
    let tag = LOCKTAG {
        // SAFETY: reads a variable of this backend.
        locktag_field1: unsafe { pg_sys::MyDatabaseId }.to_u32(),
        locktag_field2: 0,
        locktag_field3: 0,
        locktag_field4: CLASS,
        locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
        locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
    };
    let mode = pg_sys::ExclusiveLock as i32;
    // SAFETY: a lock of the transaction; an error in between releases it with the transaction.
    unsafe {
        pg_sys::LockAcquire(&tag, mode, false, false);
        let result = work();
        pg_sys::LockRelease(&tag, mode, false);
        result
    }
}
