//! What a crash may have made the server forget.

use crate::record::{Crash, History, Moment, Transaction};

/// The crashes of a history, each with what was certainly on disk by then.
pub struct Memory(Vec<(Crash, Moment)>);

impl Memory {
    pub fn of(history: &History) -> Self {
        let with_disk = |crash: &Crash| (*crash, on_disk_before(history, crash));
        Self(history.crashes.iter().map(with_disk).collect())
    }

    /// Whether a crash that began before `moment` may have undone a transaction although it
    /// was acknowledged.
    pub fn may_lack(&self, transaction: &Transaction, moment: Moment) -> bool {
        let Some(commit) = transaction.possible_commit() else { return false };
        let forgets = |(crash, on_disk): &(Crash, Moment)| {
            crash.span.invoked < moment
                && commit.invoked <= crash.span.returned
                && commit.returned >= crash.span.invoked - crash.forgets
                && commit.returned > *on_disk
        };
        !transaction.durable && self.0.iter().any(forgets)
    }
}

/// What was committed by this moment was on disk when the server crashed: later something was
/// sent, and acknowledged, that waited until all before it was written.
fn on_disk_before(history: &History, crash: &Crash) -> Moment {
    let durable = history.transactions.iter().filter(|transaction| transaction.durable);
    let acknowledged =
        durable.filter_map(Transaction::commit).filter(|commit| commit.returned <= crash.span.invoked);
    acknowledged.map(|commit| commit.invoked).max().unwrap_or(Moment::MIN)
}
