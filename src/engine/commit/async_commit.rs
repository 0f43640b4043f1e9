//! Asynchronous commit: a transaction that only leases does not wait for the disk.

use std::cell::Cell;

use pgrx::pg_sys;

use crate::engine::table::triggers;
use crate::pg::transaction::has_number;

thread_local! {
    /// The end of the log after this transaction's harmless writes, if it has written nothing else.
    static HARMLESS: Cell<Option<u64>> = const { Cell::new(None) };
    /// The value of `synchronous_commit` before this commit.
    static SYNCHRONOUS: Cell<Option<i32>> = const { Cell::new(None) };
}

/// Does a write whose loss in a crash does no harm, such as a lease: the message is delivered again.
///
/// A transaction that writes nothing else commits without waiting for the disk. The end of its last log
/// record shows that. Log records from before it had a transaction id do not count: pages with checksums are
/// logged for their hint bits.
pub fn harmless<R>(write: impl FnOnce() -> R) -> R {
    // SAFETY: reads a variable of this backend.
    let log_end = || unsafe { pg_sys::XactLastRecEnd };
    let (before, fired) = (log_end(), triggers::times_fired());
    let nothing_else = before == 0 || !has_number() || HARMLESS.get() == Some(before);
    let result = write();
    let is_harmless = nothing_else && triggers::times_fired() == fired;
    HARMLESS.set((is_harmless && log_end() != 0).then(log_end));
    result
}

pub fn spare_the_wait() {
    // SAFETY: reads a variable of this backend.
    let log_end = unsafe { pg_sys::XactLastRecEnd };
    if log_end == 0 || HARMLESS.get() != Some(log_end) {
        return;
    }
    // SAFETY: the variable behind the setting, for this commit only; it is put back when the transaction has
    // ended, however it does.
    unsafe {
        if pg_sys::synchronous_commit > pg_sys::SyncCommitLevel::SYNCHRONOUS_COMMIT_OFF as i32 {
            SYNCHRONOUS.set(Some(pg_sys::synchronous_commit));
            pg_sys::synchronous_commit = pg_sys::SyncCommitLevel::SYNCHRONOUS_COMMIT_OFF as i32;
        }
    }
}

pub fn wait_as_before() {
    HARMLESS.set(None);
    if let Some(before) = SYNCHRONOUS.take() {
        // SAFETY: the value that was there.
        unsafe { pg_sys::synchronous_commit = before }
    }
}

/// Lets this transaction's commit wait for this server's disk, and for no standby.
pub fn wait_for_own_disk() {
    // SAFETY: name and value are C strings; it holds until the transaction ends.
    unsafe {
        pg_sys::set_config_option(
            c"synchronous_commit".as_ptr(),
            c"local".as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_LOCAL,
            true,
            0,
            false,
        );
    }
}
