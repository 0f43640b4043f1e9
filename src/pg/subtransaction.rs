//! Attempts: work in a subtransaction. An error undoes the work and is noted; the transaction goes on.

use std::ffi::{CStr, c_int};
use std::panic::AssertUnwindSafe;
use std::{fmt, ptr};

use pgrx::pg_sys::panic::{CaughtError, ErrorReportWithLevel};
use pgrx::{PgSqlErrorCode, PgTryBuilder, pg_sys};

use crate::error;
use crate::pg::error_details::with_own_code;
use crate::pg::timeout::{is_asked_to_end, is_worker};

/// An error that was caught.
#[derive(Debug)]
pub struct Problem {
    pub sqlstate: String,
    pub message: String,
}

/// SQLSTATEs of conflicts with another transaction: lock timeout, deadlock, serialization failure.
const IN_THE_WAY: [&str; 3] = ["55P03", "40P01", "40001"];

impl Problem {
    pub fn was_in_the_way(&self) -> bool {
        IN_THE_WAY.contains(&&*self.sqlstate)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.sqlstate, self.message)
    }
}

impl From<&CaughtError> for Problem {
    fn from(caught: &CaughtError) -> Self {
        let report = report(caught);
        Self {
            sqlstate: sqlstate(report.sql_error_code() as c_int),
            message: error::printable(report.message().to_owned()),
        }
    }
}

fn report(caught: &CaughtError) -> &ErrorReportWithLevel {
    match caught {
        CaughtError::PostgresError(report)
        | CaughtError::ErrorReport(report)
        | CaughtError::RustPanic { ereport: report, .. } => report,
    }
}

/// True if pgrx has replaced a SQLSTATE that Postgres does not know.
fn is_unknown(caught: &CaughtError) -> bool {
    report(caught).sql_error_code() == PgSqlErrorCode::ERRCODE_INTERNAL_ERROR
}

fn sqlstate(code: c_int) -> String {
    // SAFETY: gives five characters in a buffer of the server's.
    unsafe { CStr::from_ptr(pg_sys::unpack_sql_state(code)) }.to_string_lossy().into_owned()
}

/// Runs `work` in a subtransaction: an error undoes it and is returned.
///
/// A user's request to cancel, or a request to end the worker, is no error of the work and is raised again.
pub fn attempt<T>(work: impl FnOnce() -> error::Result<T>) -> Result<T, Problem> {
    let (result, own_code) = with_own_code(|| in_subtransaction(work));
    result.map_err(|caught| match (*caught, own_code) {
        (caught, _) if is_cancelled_from_outside(&caught) => caught.rethrow(),
        (caught @ CaughtError::PostgresError(_), Some(code)) if is_unknown(&caught) => {
            Problem { sqlstate: sqlstate(code), ..Problem::from(&caught) }
        }
        (caught, _) => Problem::from(&caught),
    })
}

/// SQLSTATEs, or their classes, of errors that would hit any work: a conflict or a deadlock, a missing
/// resource, a server that is not ready, a transaction's end, a request to end, damaged data.
const NOT_ITS_FAULT: [&str; 9] = ["25", "40", "53", "55", "57", "58", "F0", "XX001", "XX002"];

/// Runs `work` in a subtransaction; none if it failed with an error of its own. Other errors are raised
/// again.
pub fn unless_refused<T>(work: impl FnOnce() -> error::Result<T>) -> Option<T> {
    unless(&[], &[], |_| {}, work)
}

/// Like `unless_refused`; none also if `work` failed with one of `codes`. Errors of the classes
/// `not_its_fault` are raised again too. `is_refused` is told of an error of the work.
pub fn unless<T>(
    codes: &[PgSqlErrorCode],
    not_its_fault: &[&str],
    is_refused: impl FnOnce(&Problem),
    work: impl FnOnce() -> error::Result<T>,
) -> Option<T> {
    in_subtransaction(work).map_or_else(
        |caught| {
            let problem = Problem::from(&*caught);
            let is_ours = matches!(*caught, CaughtError::RustPanic { .. });
            if codes.contains(&report(&caught).sql_error_code()) {
                return None;
            }
            let is_class = |class: &&str| problem.sqlstate.starts_with(*class);
            if is_ours || NOT_ITS_FAULT.iter().chain(not_its_fault).any(is_class) {
                caught.rethrow()
            }
            is_refused(&problem);
            None
        },
        Some,
    )
}

fn in_subtransaction<T>(work: impl FnOnce() -> error::Result<T>) -> Result<T, Box<CaughtError>> {
    // SAFETY: the subtransaction is ended below, one way or the other, and what it
    // leaves changed in this process is set back.
    unsafe {
        let (context, owner) = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        pg_sys::BeginInternalSubTransaction(ptr::null());
        pg_sys::MemoryContextSwitchTo(context);
        let result = PgTryBuilder::new(AssertUnwindSafe(|| {
            let done = work().unwrap_or_else(|error| error.raise());
            pg_sys::ReleaseCurrentSubTransaction();
            Ok(done)
        }))
        .catch_others(|caught| Err(Box::new(caught)))
        .execute();
        if result.is_err() {
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
        }
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::CurrentResourceOwner = owner;
        result
    }
}

/// True if the statement was not cancelled by the worker's own time limit.
fn is_cancelled_from_outside(caught: &CaughtError) -> bool {
    let is_cancelled = report(caught).sql_error_code() == PgSqlErrorCode::ERRCODE_QUERY_CANCELED;
    is_cancelled && (!is_worker() || is_asked_to_end())
}
