//! A round of housekeeping, step by step.

use crate::engine::queue::counter;
use crate::engine::sweep::{Report, STEPS, record, repair};
use crate::pg::timeout;
use crate::worker::errands;
use crate::worker::step::{in_transaction, logged};

/// Does a round: all steps, each in a transaction of its own.
pub fn round() -> Report {
    let mut report = Report::default();
    for (name, step) in STEPS.into_iter().take_while(|_| !timeout::is_asked_to_end()) {
        // The report of a step counts only if its transaction has committed.
        let mut done = Report::default();
        match in_transaction(|| step(&mut done)) {
            Ok(()) => report.add(done),
            Err(problem) => {
                report.errors.insert(name, problem.note());
                problem.log(name);
            }
        }
        errands::run_due_schedules(); // schedules do not wait for all steps of a round
    }
    logged("record", || record(&report));
    report
}

/// Enables the extension's triggers again after a restore that disabled them. True if there were such.
pub fn mend() -> bool {
    let mut was_needed = false;
    logged("triggers", || was_needed = repair::enable_triggers()) && was_needed
}

/// Writes the counts in shared memory to `pgqueue.counter`, before the server stops.
pub fn write_counts() {
    logged("counters", counter::drain);
}
