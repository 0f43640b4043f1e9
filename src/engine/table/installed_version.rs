//! Checks that the extension's SQL is the version this library was written for.
//!
//! A server can have different versions of the two: after a package upgrade before ALTER EXTENSION, on a
//! standby, or in an old process that still runs the old library. Then calls raise an error, and the worker
//! stays away, instead of reading tables they do not know.

use std::ffi::CStr;
use std::ptr;

use pgrx::pg_sys;

use crate::error::Error;
use crate::pg::session;

/// Version of this library, and of the SQL installed with it.
const OURS: &str = env!("CARGO_PKG_VERSION");

/// Raises an error unless the SQL fits this library.
pub fn check() {
    if is_upgrading() {
        return;
    }
    if let Some(installed) = installed().filter(|installed| !is_ours(installed)) {
        let is_older = numbers(&installed) < numbers(OURS);
        Error::wrong_version(&installed, OURS, is_older, session::is_standby()).raise();
    }
}

/// True if the extension exists and its SQL fits this library.
pub fn is_usable() -> bool {
    installed().is_some_and(|installed| is_ours(&installed))
}

/// True if a script of the extension itself is running, the triggers it fires included. An upgrade over
/// several versions has a version in between until its last script has ended.
fn is_upgrading() -> bool {
    // SAFETY: reads two variables of the session, and looks a name up in a catalog.
    unsafe {
        pg_sys::creating_extension
            && pg_sys::CurrentExtensionObject == pg_sys::get_extension_oid(c"pgqueue".as_ptr(), true)
    }
}

/// True if the version has the SQL of this library: only its last number may differ.
fn is_ours(version: &str) -> bool {
    let series = |version: &str| version.rsplit_once('.').map(|(series, _)| series.to_owned());
    series(version) == series(OURS)
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map_while(|number| number.parse().ok()).collect()
}

/// Returns the version in `pg_extension`.
fn installed() -> Option<String> {
    // SAFETY: scans a catalog by its index; the tuple is read while the scan stands on it.
    unsafe {
        let catalog = pg_sys::table_open(pg_sys::ExtensionRelationId, pg_sys::AccessShareLock as i32);
        let mut key = pg_sys::ScanKeyData::default();
        pg_sys::ScanKeyInit(
            &mut key,
            pg_sys::Anum_pg_extension_extname as i16,
            pg_sys::BTEqualStrategyNumber as u16,
            pg_sys::F_NAMEEQ.into(),
            c"pgqueue".as_ptr().into(),
        );
        let scan = pg_sys::systable_beginscan(
            catalog,
            pg_sys::ExtensionNameIndexId.into(),
            true,
            ptr::null_mut(),
            1,
            &mut key,
        );
        let tuple = pg_sys::systable_getnext(scan);
        let version = (!tuple.is_null()).then(|| version_of(tuple, (*catalog).rd_att));
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(catalog, pg_sys::AccessShareLock as i32);
        version
    }
}

/// # Safety
/// The tuple is of `pg_extension`, whose version is never null.
unsafe fn version_of(tuple: pg_sys::HeapTuple, descriptor: pg_sys::TupleDesc) -> String {
    // SAFETY: as the caller promises.
    unsafe {
        let column = pg_sys::Anum_pg_extension_extversion as i32;
        let version = pg_sys::heap_getattr(tuple, column, descriptor, &mut false);
        CStr::from_ptr(pg_sys::text_to_cstring(version.cast_mut_ptr())).to_string_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_number_of_a_version_may_differ() {
        let (series, _) = OURS.rsplit_once('.').unwrap();
        assert!(is_ours(OURS));
        assert!(is_ours(&format!("{series}.999")));
        assert!(!is_ours(&format!("{series}1.0")));
        assert!(!is_ours("0.0.1"));
        assert!(!is_ours("unpackaged"));
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(numbers("0.9.3") < numbers("0.10.0"));
        assert!(numbers("0.10.0") < numbers("1.0"));
        assert!(numbers("unpackaged") < numbers("0.0.1"));
    }
}
