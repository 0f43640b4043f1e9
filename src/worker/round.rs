//! A round of housekeeping, step by step.

use std::cell::RefCell;
use std::time::Instant;

use crate::engine::queue::counter;
use crate::engine::sweep::report::Report;
use crate::engine::sweep::{STEPS, Step, record, repair};
use crate::pg::rests::Rests;
use crate::pg::timeout::is_asked_to_end;
use crate::pg::turn::TURN;
use crate::worker::errands;
use crate::worker::step::{limited, logged};

thread_local! {
    static RESTING: RefCell<Rests<&'static str>> = RefCell::default();
}

/// How much longer than its limit a step rests that took too long.
const REST: u32 = 10;

/// Does a round: all steps, each in transactions of its own. Errands do not wait for all of them.
pub fn round() -> Report {
    let mut report = Report::default();
    for step in STEPS.into_iter().take_while(|_| !is_asked_to_end()) {
        for_a_turn(step, &mut report);
        errands::errands();
    }
    logged("record", || record(&report));
    report
}

/// Repeats a step while it leaves work behind, for a turn.
fn for_a_turn((name, step): Step, report: &mut Report) {
    let begun = Instant::now();
    let is_resting = RESTING.with_borrow(|resting| resting.is_resting(name));
    let mut goes_on = !is_resting;
    while goes_on {
        let started = Instant::now();
        // The report of a step counts only if its transaction has committed.
        let mut done = Report::default();
        if let Err(problem) = limited(|| step(&mut done)) {
            if problem.took_too_long() {
                RESTING.with_borrow_mut(|resting| resting.begin(name, started.elapsed() * REST));
            }
            report.errors.insert(name, problem.note());
            return problem.log(name);
        }
        goes_on = done.left_work && begun.elapsed() < TURN && !is_asked_to_end();
        done.left_work &= !goes_on;
        report.add(done);
    }
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
