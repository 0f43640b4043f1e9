//! The report: a table of what was run, and a file with what was wrong.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::PathBuf;

use pgqueue_history::{History, Violation, story};

/// What came of a fault.
#[derive(Default)]
pub struct Outcome {
    pub fault: &'static str,
    pub rounds: u32,
    pub transactions: usize,
    pub operations: usize,
    pub crashes: usize,
    pub errors: String,
    pub wrong: Vec<String>,
    /// Why it could not be run.
    pub not_run: Option<String>,
}

impl Outcome {
    pub fn count(&mut self, history: &History) {
        self.transactions = history.transactions.len();
        self.operations = history.transactions.iter().map(|transaction| transaction.operations.len()).sum();
        self.crashes = history.crashes.len();
    }

    pub fn line(&self) -> String {
        let Self { fault, rounds, transactions, operations, crashes, errors, wrong, not_run } = self;
        match not_run {
            Some(why) => format!("{fault:<32} NOT RUN: {why}"),
            None => format!(
                "{fault:<32} {rounds:>6} {crashes:>7} {transactions:>12} {operations:>10} {:>10}  {errors}",
                wrong.len()
            ),
        }
    }
}

pub fn heading() -> String {
    format!(
        "{:<32} {:>6} {:>7} {:>12} {:>10} {:>10}  {}",
        "fault", "rounds", "crashes", "transactions", "operations", "violations", "errors clients got"
    )
}

/// A violation with all that happened to its message.
pub fn in_full(history: &History, violation: &Violation) -> String {
    let mut text = violation.to_string();
    if let Some(id) = violation.id {
        text += "  all of that message:\n";
        for line in story(history, id) {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

/// Where what was wrong is written down.
fn place() -> io::Result<PathBuf> {
    let place = PathBuf::from("target/chaos");
    fs::create_dir_all(&place)?;
    Ok(place)
}

/// Keeps what helps to understand what was wrong: the server's log, and all that its clients
/// asked and heard.
pub fn keep_evidence(fault: &str, log: &str, history: &History) -> io::Result<()> {
    let name = fault.replace(|letter: char| !letter.is_alphanumeric(), "-");
    let transactions = history.transactions.iter().map(|transaction| format!("{transaction:?}\n"));
    let crashes = history.crashes.iter().map(|crash| format!("{crash:?}\n"));
    let steps = history.clock_steps.iter().map(|step| format!("{step:?}\n"));
    let excused = history.excused.iter().map(|span| format!("Excused {span:?}\n"));
    let all = crashes.chain(steps).chain(excused).chain(transactions).collect::<String>();
    fs::write(place()?.join(format!("{name}.history")), all)?;
    fs::write(place()?.join(format!("{name}.log")), log)
}

/// Writes down what was wrong; returns the file's name.
pub fn write(seed: u64, outcomes: &[Outcome]) -> io::Result<PathBuf> {
    let path = place()?.join(format!("violations-{seed}.txt"));
    let of_fault = |outcome: &Outcome| {
        let heading = format!("== {}: {}\n", outcome.fault, outcome.wrong.len());
        heading + &outcome.wrong.join("\n")
    };
    fs::write(&path, outcomes.iter().map(of_fault).collect::<String>())?;
    Ok(path)
}
