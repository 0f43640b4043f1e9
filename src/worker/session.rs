//! Settings of a worker's session, and whether its database has the extension.

use std::ffi::CStr;

use pgrx::pg_sys;

use crate::engine::table::installed_version;
use crate::pg::role::{BY_INDEX, Setting};

pub fn extension_exists() -> bool {
    // SAFETY: a catalog look-up in a transaction of its own.
    unsafe {
        pg_sys::StartTransactionCommand();
        let is_usable = installed_version::is_usable();
        pg_sys::CommitTransactionCommand();
        is_usable
    }
}

/// Has all statements of this session planned by indexes, one row after the other, whatever the statistics say.
///
/// A plan made while a table is small is kept while roles fill it, and an estimate that most rows of a table
/// match would make one role pay for the rows of all others.
pub fn plan_by_index() {
    set(&BY_INDEX);
    set(&[(c"plan_cache_mode", c"force_generic_plan")]);
}

/// Sets what a worker needs, whatever the database's defaults are. A round waits only briefly for locks. A
/// commit waits for neither the disk nor a standby: until then consumers could not see its changes, and if a
/// crash undoes them, the next worker repeats them.
pub fn set_own_settings(name: &CStr) {
    set(&[
        (c"application_name", name),
        (c"lock_timeout", c"1s"),
        (c"statement_timeout", c"0"),
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        (c"transaction_timeout", c"0"),
        (c"synchronous_commit", c"off"),
        (c"default_transaction_isolation", c"read committed"),
        (c"default_transaction_read_only", c"off"),
    ]);
}

fn set(settings: &[Setting]) {
    for (name, value) in settings {
        // SAFETY: names and values are C strings.
        unsafe {
            pg_sys::SetConfigOption(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_SUSET,
                pg_sys::GucSource::PGC_S_OVERRIDE,
            );
        }
    }
}
