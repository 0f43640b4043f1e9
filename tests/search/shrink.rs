//! Makes a scenario that fails shorter, as long as it fails.

use std::time::{Duration, Instant};

use crate::script::{Scenario, Settle, Step};

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The shortest found. `fails` runs a scenario.
pub fn shrink(scenario: Scenario, mut fails: impl FnMut(&Scenario) -> bool) -> Scenario {
    let begun = Instant::now();
    let mut best = scenario;
    loop {
        let before = best.clone();
        let mut size = best.items.len().max(1);
        while size > 0 {
            let mut at = 0;
            while at < best.items.len() && begun.elapsed() < PATIENCE {
                let mut less = best.clone();
                less.items.drain(at..(at + size).min(best.items.len()));
                if fails(&less) {
                    best = less;
                } else {
                    at += size;
                }
            }
            size /= 2;
        }
        for simpler in simpler(&best) {
            if begun.elapsed() < PATIENCE && fails(&simpler) {
                best = simpler;
                break;
            }
        }
        if best == before || begun.elapsed() >= PATIENCE {
            return best;
        }
    }
}

/// The same scenario with something left out that is no statement by itself.
fn simpler(scenario: &Scenario) -> Vec<Scenario> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Scenario)| {
        let mut simpler = scenario.clone();
        change(&mut simpler);
        if simpler != *scenario {
            all.push(simpler);
        }
    };
    with(&|scenario| scenario.returns = scenario.returns.saturating_sub(1));
    with(&|scenario| scenario.endings.fill(Settle::Delete));
    for at in 0..scenario.items.len() {
        // Both ends of a transaction.
        with(&|scenario| leave_transaction(scenario, at));
        if let Step::Push(push) = scenario.items[at].step {
            with(&|scenario| {
                let plain = crate::script::Push {
                    count: 1,
                    has_group: false,
                    has_ttl: false,
                    is_delayed: false,
                    is_urgent: false,
                    ..push
                };
                scenario.items[at].step = Step::Push(plain);
            });
        }
    }
    all
}

/// The statements of a transaction, each by itself.
fn leave_transaction(scenario: &mut Scenario, at: usize) {
    let item = scenario.items[at];
    if !matches!(item.step, Step::Begin(_)) {
        return;
    }
    let is_end = |step: Step| matches!(step, Step::Commit | Step::Rollback | Step::Prepare);
    let end = (at + 1..scenario.items.len())
        .find(|&n| scenario.items[n].session == item.session && is_end(scenario.items[n].step));
    if let Some(end) = end {
        scenario.items.remove(end);
    }
    scenario.items.remove(at);
}
