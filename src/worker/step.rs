//! A step of the worker: a transaction of its own, whose failure is logged.

use std::time::Duration;

use pgrx::{PgTryBuilder, pg_sys};

use crate::pg::subtransaction::Problem;
use crate::pg::timeout::{self, TimeLimit};
use crate::worker::signals;

/// SQLSTATE of a cancelled step.
const CANCELLED: &str = "57014";

/// How long a step may take. It goes on in parts that take less (`pg::turn`); this limit is for its other
/// statements.
const LONGEST: Duration = Duration::from_secs(5);

/// Runs a step in a transaction of its own; false if it failed, which is logged.
pub fn logged(name: &str, step: impl FnOnce()) -> bool {
    limited(step).inspect_err(|problem| problem.log(name)).is_ok()
}

/// Runs a step in a transaction of its own, with a time limit; an error ends the transaction, not the process.
pub fn limited(step: impl FnOnce()) -> Result<(), Problem> {
    in_transaction(|| {
        let _limit = TimeLimit::in_worker(LONGEST);
        step();
    })
}

/// The same for a step that has limits of its own.
pub fn logged_however_long(name: &str, step: impl FnOnce()) -> bool {
    in_transaction(step).inspect_err(|problem| problem.log(name)).is_ok()
}

impl Problem {
    /// The worker's own time limit has cancelled the step.
    pub fn took_too_long(&self) -> bool {
        self.sqlstate == CANCELLED && !timeout::is_asked_to_end()
    }

    pub fn note(&self) -> serde_json::Value {
        serde_json::json!({ "sqlstate": self.sqlstate, "message": self.message })
    }

    pub fn log(&self, step: &str) {
        if self.sqlstate == CANCELLED && timeout::is_asked_to_end() {
            return;
        }
        pgrx::log!(
            "pgqueue worker: step \"{step}\" failed with {}: {}; the next round tries again",
            self.sqlstate,
            self.message
        );
    }
}

/// Runs a step in a transaction of its own; an error ends the transaction, not the process.
fn in_transaction(step: impl FnOnce()) -> Result<(), Problem> {
    // SAFETY: the worker is between transactions here, before and after.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, c"pgqueue maintenance".as_ptr());
    }
    let try_it = PgTryBuilder::new(std::panic::AssertUnwindSafe(|| {
        step();
        // SAFETY: pushed and begun above.
        unsafe {
            pg_sys::PopActiveSnapshot();
            pg_sys::CommitTransactionCommand();
        }
        Ok(())
    }))
    .catch_others(|caught| Err(Problem::from(&caught)));
    let result = signals::cancellable(|| try_it.execute());
    // SAFETY: after an error the transaction is there to be aborted.
    unsafe {
        if result.is_err() {
            pg_sys::AbortCurrentTransaction();
        }
        pg_sys::pgstat_report_stat(false);
        pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_IDLE, std::ptr::null());
    }
    result
}
