//! Complaints: what went wrong that no rule about histories tells, such as an error that no
//! client should get.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use postgres::Error;
use postgres::error::SqlState;

/// Errors that a client has to expect, whatever happens to the server.
const EXPECTED: [SqlState; 8] = [
    SqlState::T_R_SERIALIZATION_FAILURE,
    SqlState::T_R_DEADLOCK_DETECTED,
    SqlState::QUERY_CANCELED,
    SqlState::ADMIN_SHUTDOWN,
    SqlState::CRASH_SHUTDOWN,
    SqlState::CANNOT_CONNECT_NOW,
    SqlState::DISK_FULL,
    SqlState::TOO_MANY_CONNECTIONS,
];

/// What is counted when a connection ends without a word.
pub const LOST: &str = "lost";

#[derive(Default)]
pub struct Complaints {
    texts: Mutex<BTreeSet<String>>,
    /// How often each error came.
    errors: Mutex<BTreeMap<String, u64>>,
}

impl Complaints {
    pub fn add(&self, text: String) {
        self.texts.lock().unwrap().insert(text);
    }

    /// Looks at what a client was told.
    pub fn hear(&self, error: &Error, of: &str) {
        let Some(told) = error.as_db_error() else { return self.count(LOST) };
        self.count(told.code().code());
        if !EXPECTED.contains(told.code()) {
            self.add(format!("{} {}, for: {of}", told.code().code(), told.message()));
        }
    }

    fn count(&self, error: &str) {
        *self.errors.lock().unwrap().entry(error.to_owned()).or_default() += 1;
    }

    /// Whether a client has got this error.
    pub fn has_heard(&self, error: &str) -> bool {
        self.errors.lock().unwrap().contains_key(error)
    }

    pub fn all(&self) -> Vec<String> {
        self.texts.lock().unwrap().iter().cloned().collect()
    }

    /// The errors that came, and how often.
    pub fn errors(&self) -> String {
        let errors = self.errors.lock().unwrap();
        let counts: Vec<String> = errors.iter().map(|(code, count)| format!("{code}×{count}")).collect();
        counts.join(" ")
    }
}
