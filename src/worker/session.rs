//! Settings of a worker's session, and whether there is something to do in its database.

use std::ffi::CStr;

use pgrx::pg_sys;

use crate::engine::table::version;

pub fn extension_exists() -> bool {
    // SAFETY: a catalog look-up in a transaction of its own.
    unsafe {
        pg_sys::StartTransactionCommand();
        let is_usable = version::is_usable();
        pg_sys::CommitTransactionCommand();
        is_usable
    }
}

/// A round waits for nobody for long, whatever the database's defaults are. Nor does a commit
/// for the disk, or for a standby: what it has changed would be kept from consumers meanwhile,
/// and a crash that undoes it has it done again.
pub fn set_own_settings(name: &CStr) {
    let own: &[(&CStr, &CStr)] = &[
        (c"application_name", name),
        (c"lock_timeout", c"1s"),
        (c"statement_timeout", c"0"),
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        (c"transaction_timeout", c"0"),
        (c"synchronous_commit", c"off"),
        (c"default_transaction_isolation", c"read committed"),
        (c"default_transaction_read_only", c"off"),
    ];
    for (name, value) in own {
        // SAFETY: names and values are C strings of ours.
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
