//! A round of housekeeping, step by step.

use crate::engine::queue::counter;
use crate::engine::sweep::{Report, STEPS, record, repair};
use crate::pg::timeout;
use crate::worker::errands;
use crate::worker::step::{in_transaction, logged};

/// A round of the worker.
pub fn round() -> Report {
    let mut report = Report::default();
    for (name, step) in STEPS.into_iter().take_while(|_| !timeout::is_asked_to_end()) {
        // What a step did counts only if it was not rolled back.
        let mut done = Report::default();
        match in_transaction(|| step(&mut done)) {
            Ok(()) => report.add(done),
            Err(problem) => {
                report.errors.insert(name, problem.note());
                problem.log(name);
            }
        }
        errands::run_due_schedules(); // whatever a step has taken, by whichever role's messages
    }
    logged("record", || record(&report));
    report
}

/// Mends what a restore without triggers has left behind. True if there was something.
pub fn mend() -> bool {
    let mut was_needed = false;
    logged("triggers", || was_needed = repair::enable_triggers()) && was_needed
}

/// Writes down what shared memory has counted, before the server stops.
pub fn write_counts() {
    logged("counters", counter::drain);
}
