//! The queues compared with a reference in plain Rust (`reference`), over sequences of
//! operations that `proptest` makes up: pushes of all kinds, leases, settling, changes,
//! dead letters, settings, time, transactions with savepoints. After each operation its
//! answer, every message with its state, every letter and all counters must be the same.
//!
//! What differs is shrunk to the shortest sequence that does, and printed as a script for
//! psql. `PROPTEST_CASES` says how many sequences, `PGQUEUE_MODEL_SEED` which.

mod case;
mod op;
mod queues;
mod reference;

use std::cell::RefCell;

use op::{Op, QUEUES, Setting};
use proptest::collection::vec;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use queues::Queues;
use support::{Server, assert_indexes_are_whole};

const CASES: u32 = 60;

/// Which sequences: the same in every run, unless another seed is given.
const SEED: u64 = 1;

/// In one sequence. It takes some until there are dead letters, keys that meet, and what follows.
const MOST_OPERATIONS: usize = 120;

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {value}")))
}

fn runner() -> TestRunner {
    let seed = number("PGQUEUE_MODEL_SEED").unwrap_or(SEED);
    println!("PGQUEUE_MODEL_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let cases = number("PROPTEST_CASES").map_or(CASES, |cases| cases as u32);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 4000, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// Maintenance rounds are those that the operations ask for; leases are an hour long, as
/// everything is that takes time.
fn server(more: &str) -> Server {
    let server = Server::bare(&format!(
        "pgqueue.auto_vacuum = off\npgqueue.default_lease = '1 h'\nstatement_timeout = '5 s'\nfsync = off\nlog_min_messages = fatal\n{more}"
    ));
    let mut session = server.connect();
    session.batch_execute("SET statement_timeout = 0").unwrap(); // on a busy machine it takes longer
    session.batch_execute("CREATE EXTENSION pgqueue").unwrap();
    server
}

fn is_what_the_reference_says(server: &Server) {
    let queues = RefCell::new(Queues::connect(server));
    let run = |settings: &[Vec<Setting>], ops: &[Op]| case::run(&mut queues.borrow_mut(), settings, ops);
    let inputs = (vec(op::settings(), QUEUES), vec(op::op(), 1..MOST_OPERATIONS));
    let outcome = runner().run(&inputs, |(settings, ops)| run(&settings, &ops).map_err(TestCaseError::fail));
    match outcome {
        Ok(()) => assert_indexes_are_whole(&mut server.connect()),
        Err(TestError::Fail(_, (settings, ops))) => {
            let difference = run(&settings, &ops).expect_err("it differs again");
            panic!("{difference}\n{}", queues.borrow().script());
        }
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

#[test]
fn every_answer_and_every_table_is_that_of_the_reference() {
    is_what_the_reference_says(&server("shared_preload_libraries = 'pgqueue'"));
}

#[test]
fn the_same_without_shared_memory() {
    is_what_the_reference_says(&server("session_preload_libraries = 'pgqueue'"));
}
