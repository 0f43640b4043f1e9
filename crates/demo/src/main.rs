//! pgqueue's demo: audits every installed Debian package of this machine against
//! its own checksums, as `debsums` does, with pgqueue handing out the work.
//!
//! Run it with a private server: `.ci/with-server -- target/release/pgqueue-demo`.
//! Two producers fill a queue (a trigger, and a batch in plain SQL), four processes
//! drain it, one of them is killed while it holds messages, some jobs fail once and
//! one fails always. At the end every message must be accounted for.
//!
//! Exit codes: 0 the books add up, 1 they do not, 2 the machine lacks something.

mod audit;
mod closing;
mod consumer;
mod crew;
mod database;
mod display;
mod dpkg;
mod failure;
mod producer;
mod report;
mod run;
mod stats;

use std::process::ExitCode;

use failure::{Failure, Result};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        [] => demo(),
        // Not for people: the demo starts itself like this for each consumer.
        ["consumer", number] => consumer::run(number),
        _ => Err(Failure::Lacking("usage: .ci/with-server -- pgqueue-demo (it takes no arguments)".into())),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("pgqueue-demo: {}", failure.text());
            ExitCode::from(failure.code())
        }
    }
}

fn demo() -> Result<()> {
    let dpkg = dpkg::Dpkg::of_this_machine()?;
    let packages = dpkg.packages()?;
    let mut client = database::connect("main")?;
    database::set_up(&mut client)?;
    let account = run::run(&mut client, packages)?;
    closing::close(&mut client, &dpkg, &account)
}
