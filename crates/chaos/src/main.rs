//! Chaos: servers are broken in every way under load, and what their clients were told is
//! checked against the rules of `pgqueue-history`.
//!
//! `MINUTES` says how long (default 10), `SEED` repeats a plan; each fault gets its share of
//! the time, and at least one round on a server of its own. Exit codes: 0 all rules were kept,
//! 1 one was broken (a file says which), 2 a fault could not be run on this machine.

mod call;
mod clock;
mod complaint;
mod consumer;
mod crowd;
mod ending;
mod fault;
mod producer;
mod proxy;
mod queue;
mod report;
mod session;
mod stage;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fastrand::Rng;
use pgqueue_history::check;

use crate::fault::Fault;
use crate::report::Outcome;
use crate::stage::Stage;

/// After so many rounds a fault that nobody noticed is none.
const MOST_IN_VAIN: u32 = 10;

fn main() -> ExitCode {
    let minutes: f64 = parameter("MINUTES").unwrap_or(10.0);
    let seed: u64 = parameter("SEED").unwrap_or_else(|| fastrand::u64(..));
    let only: Option<String> = parameter("FAULT");
    println!("chaos for {minutes} minutes, SEED={seed}");
    let faults: Vec<_> = fault::all()
        .into_iter()
        .filter(|fault| only.as_ref().is_none_or(|only| fault.name().contains(only.as_str())))
        .collect();
    assert!(!faults.is_empty(), "no fault is called {only:?}");
    let share = Duration::from_secs_f64(minutes * 60.0 / faults.len() as f64);
    println!("{}", report::heading());
    let mut outcomes = Vec::new();
    for (n, mut fault) in (0..).zip(faults) {
        let outcome = play(fault.as_mut(), share, Rng::with_seed(seed.wrapping_add(n)));
        println!("{}", outcome.line());
        outcomes.push(outcome);
    }
    verdict(seed, &outcomes)
}

fn parameter<T: FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} cannot be {value:?}")))
}

/// Has a fault strike a server of its own, round after round, for its share of the time.
fn play(fault: &mut dyn Fault, share: Duration, mut rng: Rng) -> Outcome {
    let begun = Instant::now();
    let mut outcome = Outcome { fault: fault.name(), ..Outcome::default() };
    let stage = Stage::build(&fault.settings());
    if let Err(why) = fault.set_up(&stage) {
        outcome.not_run = Some(why);
        return outcome;
    }
    let shows_as = fault.shows_as();
    let has_struck = |outcome: &Outcome| {
        outcome.rounds > 0 && shows_as.is_none_or(|error| stage.complaints.has_heard(error))
    };
    while outcome.wrong.is_empty() && (begun.elapsed() < share || !has_struck(&outcome)) {
        if outcome.rounds >= MOST_IN_VAIN && !has_struck(&outcome) {
            outcome.wrong = vec![format!("no client noticed it: {shows_as:?}")];
            break;
        }
        let round = catch_unwind(AssertUnwindSafe(|| round(fault, &stage, &mut rng)));
        outcome.rounds += 1;
        match round {
            Ok(wrong) => outcome.wrong = wrong,
            Err(panic) => outcome.wrong = vec![format!("broke off: {}", text_of(&*panic))],
        }
    }
    if outcome.wrong.is_empty() {
        ending::inspect(&stage, fault.makes_the_server_abort());
        outcome.wrong = stage.complaints.all();
    }
    outcome.errors = stage.complaints.errors();
    let history = stage.history.lock().unwrap();
    outcome.count(&history);
    if !outcome.wrong.is_empty()
        && let Err(error) = report::keep_evidence(outcome.fault, &stage.server.log(), &history)
    {
        outcome.wrong.push(format!("nor could its evidence be kept: {error}"));
    }
    drop(history);
    fault.clear_away(&stage);
    outcome
}

/// One round; returns what was wrong in the whole history so far.
fn round(fault: &mut dyn Fault, stage: &Stage, rng: &mut Rng) -> Vec<String> {
    stage.round.fetch_add(1, Ordering::Relaxed);
    let (started, begun) = (stage.started(), clock::now());
    crowd::load(stage, rng, |rng| fault.strike(stage, rng));
    fault.relent(stage);
    ending::come_to(stage, &started, begun);
    let history = stage.history.lock().unwrap();
    let mut wrong = stage.complaints.all();
    wrong.extend(check(&history).iter().map(|violation| report::in_full(&history, violation)));
    wrong
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
}

fn verdict(seed: u64, outcomes: &[Outcome]) -> ExitCode {
    let wrong: usize = outcomes.iter().map(|outcome| outcome.wrong.len()).sum();
    if wrong > 0 {
        let written = report::write(seed, outcomes)
            .map_or_else(|error| error.to_string(), |path| path.display().to_string());
        println!("{wrong} violations with SEED={seed}; the histories: {written}");
        return ExitCode::from(1);
    }
    let not_run: Vec<&str> =
        outcomes.iter().filter(|outcome| outcome.not_run.is_some()).map(|outcome| outcome.fault).collect();
    if !not_run.is_empty() {
        println!("NOT RUN: {}", not_run.join(", "));
        return ExitCode::from(2);
    }
    println!("no violations");
    ExitCode::SUCCESS
}
