//! The results that a call may have: success, or an error that docs/reference/errors.md lists.

use std::collections::HashSet;

use postgres::{Client, Error};
use support::pages::file;

/// What a session is told when it is cancelled: it may wait for as long as it said.
pub const CANCELLED: &str = "57014";

/// Of functions that only triggers may call, and of their results.
pub const NOT_A_TRIGGER: [&str; 2] = ["39P01", "0A000"];

/// The SQLSTATEs in the table of docs/reference/errors.md.
pub fn documented() -> HashSet<String> {
    let states: HashSet<String> = file("docs/reference/errors.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
        .filter(|state| state.len() == 5 && state.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        .map(str::to_owned)
        .collect();
    assert!(states.contains("22023") && states.contains("42704"), "the page lists errors: {states:?}");
    states
}

/// The SQLSTATE of an error; a lost connection has none.
pub fn sqlstate(error: &Error) -> String {
    error.code().map_or_else(|| format!("no SQLSTATE: {error:?}"), |code| code.code().to_owned())
}

/// SQLSTATE and message of an error.
pub fn described(error: &Error) -> String {
    let message = error
        .as_db_error()
        .map_or_else(|| error.to_string(), |error| error.message().chars().take(200).collect());
    format!("{}: {message}", sqlstate(error))
}

/// What Postgres itself says of a query: a watch passes it on.
pub fn sqlstate_of_query(session: &mut Client, query: &str) -> Option<String> {
    // Raised anew without its message, which may not be a text in the client's encoding.
    let explain = format!(
        "DO $fuzz$BEGIN EXECUTE 'EXPLAIN ' || ({query});
         EXCEPTION WHEN OTHERS THEN RAISE USING ERRCODE = SQLSTATE, MESSAGE = 'no query'; END$fuzz$"
    );
    session.batch_execute("SAVEPOINT query").unwrap();
    let outcome = session.batch_execute(&explain).err().map(|error| sqlstate(&error));
    session.batch_execute("ROLLBACK TO query").unwrap();
    outcome
}

/// Lines of a server's log that no call may cause. Each begins with its SQLSTATE.
pub fn bad_lines(log: &str) -> Vec<&str> {
    let is_bad = |line: &&str| {
        line.starts_with("XX")
            || ["PANIC: ", "FATAL: ", "TRAP: ", "terminated by signal", "pgqueue worker: step"]
                .iter()
                .any(|sign| line.contains(sign))
    };
    log.lines().filter(is_bad).collect()
}
