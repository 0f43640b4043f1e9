//! Ids of messages: never given twice, not even by a promoted server.
//!
//! A standby may lack its primary's last pushes, and with them the last values of the sequence. Once
//! promoted, it would give the same ids to other messages, and old receipts would fit those. So each timeline
//! has ids of its own (`value::id_range`), and its first push moves the sequence on to them.

use pgrx::pg_sys;

use crate::engine::table::short_lock::{Kind, ShortLock};
use crate::engine::table::statement::Statement;
use crate::engine::table::{catalog, sequence};
use crate::error::Error;
use crate::value::id_range::next_range;

static LAST: Statement = Statement::new(include_str!("../../../sql/query/last_id.sql"), &[]);
static SKIP: Statement = Statement::new(include_str!("../../../sql/query/skip_ids.sql"), &[pg_sys::INT8OID]);

/// Returns the id of the next message.
pub fn next() -> i64 {
    sequence::check();
    let id = step();
    if next_range(id, timeline()).is_none() { id } else { one_at_a_time().hold(in_next_range) }
}

/// Moves the sequence to this timeline's ids, for a statement that takes ids from the sequence.
pub fn prepare() {
    sequence::check();
    let mut last = 0;
    LAST.run(&[], |row| last = row.i64(0));
    if next_range(last, timeline()).is_some() {
        one_at_a_time().hold(in_next_range);
    }
}

/// Returns the lock of the session that moves the sequence on.
fn one_at_a_time() -> ShortLock {
    ShortLock::new(Kind::Ids, 0, 0)
}

fn in_next_range() -> i64 {
    let id = step(); // another session may have moved it
    let Some(first) = next_range(id, timeline()) else { return id };
    if SKIP.run(&[Some(first.into())], |_| {}) == 0 {
        Error::ids_are_used_up().raise();
    }
    step()
}

/// Returns the sequence's next value. Unlike `nextval()` it needs no privilege on the sequence, which callers
/// do not have.
fn step() -> i64 {
    // From commands/sequence.h; pgrx lacks it.
    unsafe extern "C-unwind" {
        fn nextval_internal(sequence: pg_sys::Oid, check_permissions: bool) -> i64;
    }
    let sequence = catalog::known().message_id;
    // SAFETY: the sequence exists; the boundary turns an error into a panic.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| nextval_internal(sequence, false)) }
}

/// Returns the timeline on which this server writes.
fn timeline() -> u32 {
    // SAFETY: reads state of the server, which is no standby: the caller is about to write.
    unsafe { pg_sys::GetWALInsertionTimeLine() }
}
