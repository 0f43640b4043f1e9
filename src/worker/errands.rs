//! Errands: work that falls due between two rounds.

use std::time::Instant;

use crate::engine::message::group;
use crate::engine::reserve::{prepared, rescan};
use crate::engine::schedule::run;
use crate::engine::sweep::report::Report;
use crate::engine::sweep::{RESCAN_PART, due, run_schedules, settle_prepared};
use crate::engine::table::catalog;
use crate::engine::table::heap::Table;
use crate::pg::timeout;
use crate::pg::turn::TURN;
use crate::worker::step::logged;
use crate::worker::{notify, watchers};

/// Does all errands that are due. False if one failed: the others are done all the same.
pub fn errands() -> bool {
    watchers::look_after();
    let done = [
        for_a_turn(due::a_message_is_due, promote),
        run_due_schedules(),
        for_a_turn(rescan::is_due, go_on_with_rescan),
        for_a_turn(prepared::prepared_transactions_may_be_decided, || {
            logged("prepared", || settle_prepared(&mut Report::default()))
        }),
        notify::tell(),
    ];
    !done.contains(&false)
}

/// Runs due schedules, and starts watchers for due watches. False if that failed.
pub fn run_due_schedules() -> bool {
    for_a_turn(run::may_be_due, || {
        let have_run = logged("schedules", || run_schedules(&mut Report::default()));
        logged("watches", watchers::start_due) && have_run
    })
}

/// Repeats `work` while it is due, at most for a turn, so that other errands get theirs. False if it failed.
fn for_a_turn(is_due: impl Fn() -> bool, work: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while is_due() && begun.elapsed() < TURN && !timeout::is_asked_to_end() {
        if !work() {
            return false;
        }
    }
    true
}

/// Moves messages whose due time has come to the ready lane.
fn promote() -> bool {
    logged("due", || due::promote_known(&mut Report::default()))
}

/// Rescans behind the fronts of hints, in one transaction a part of a chunk.
fn go_on_with_rescan() -> bool {
    let mut moved = Vec::new();
    let messages = || Table::open(catalog::refresh().message);
    logged("rescans", || moved = rescan::work(&messages(), RESCAN_PART))
        && (moved.is_empty() || logged("rescans", || group::unblock(&messages(), &moved)))
}
