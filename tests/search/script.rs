//! A scenario: queues, and the statements of several sessions in one order.

use std::fmt::Write;

/// How isolated a transaction is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl Level {
    pub fn sql(self) -> &'static str {
        match self {
            Level::ReadCommitted => "READ COMMITTED",
            Level::RepeatableRead => "REPEATABLE READ",
            Level::Serializable => "SERIALIZABLE",
        }
    }
}

/// What a push does about the key of its message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// The message has no key.
    Plain,
    Ignore,
    Replace,
    Reject,
}

impl Mode {
    fn sql(self) -> &'static str {
        match self {
            Mode::Plain | Mode::Ignore => "ignore",
            Mode::Replace => "replace",
            Mode::Reject => "reject",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Push {
    pub queue: usize,
    pub key: i64,
    pub mode: Mode,
    /// More than one: a batch.
    pub count: usize,
    pub has_group: bool,
    pub has_ttl: bool,
    pub is_delayed: bool,
    pub is_urgent: bool,
    pub max_deliveries: Option<u32>,
}

/// What a consumer says of messages it was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settle {
    Delete,
    Release,
    Fail,
    Bury,
    Extend,
}

/// Which of the messages that a session holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    First,
    Last,
    All,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Begin(Level),
    Commit,
    Rollback,
    Savepoint,
    RollbackTo,
    Prepare,
    /// Commits, or rolls back, what was prepared first.
    Decide(bool),
    /// Short leases, delays and times to live end meanwhile.
    Pause,
    /// Reads the table, as a transaction does that has one snapshot from then on.
    Look,
    Push(Push),
    Reserve {
        queue: usize,
        is_short: bool,
        max: usize,
    },
    Pop {
        queue: usize,
        max: usize,
    },
    Settle(Settle, Which),
    /// Changes the content of a message: of those that were pushed, the nth from the last.
    Update(usize),
    Cancel(usize),
    Move(usize, usize),
    Limit(usize, Option<u32>),
    Length(usize, u32),
    Purge(usize, &'static str),
    Vacuum,
}

/// A statement of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item {
    pub session: usize,
    pub step: Step,
}

#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Settings {
    pub max_deliveries: u32,
    pub is_dead_on_timeout: bool,
    pub max_leased: Option<u32>,
    pub max_length: Option<u32>,
    pub drops_oldest: bool,
}

impl Settings {
    pub fn json(&self) -> String {
        let mut json = format!("{{\"max_deliveries\": {}", self.max_deliveries);
        if self.is_dead_on_timeout {
            json += ", \"on_timeout\": \"dead\"";
        }
        if let Some(limit) = self.max_leased {
            write!(json, ", \"max_leased\": {limit}").unwrap();
        }
        if let Some(limit) = self.max_length {
            write!(json, ", \"max_length\": {limit}").unwrap();
        }
        if self.drops_oldest {
            json += ", \"on_full\": \"drop_oldest\"";
        }
        json + "}"
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scenario {
    pub queues: Vec<Settings>,
    pub sessions: usize,
    pub items: Vec<Item>,
    /// How often the last consumer gives all messages back before others settle what they hold.
    pub returns: usize,
    /// What each session does in the end with what it holds.
    pub endings: Vec<Settle>,
}

/// How long short leases, delays and times to live are.
pub const SHORT: &str = "3 ms";
/// In seconds: longer than those.
pub const PAUSE: f64 = 0.004;
pub const LONG: &str = "1 h";

impl Push {
    /// The call, of these contents. Each writes its changes into a table at once.
    pub fn sql(&self, queue: &str, case: u64, contents: &[(i64, i64)]) -> String {
        let rows: Vec<String> = contents.iter().map(|(_, change)| format!("({case}, {change})")).collect();
        let payloads: Vec<String> =
            contents.iter().map(|(subject, change)| payload(*subject, *change)).collect();
        let call = if self.count == 1 {
            format!("id, outcome FROM pgq_push_result('{queue}', {}{})", payloads[0], self.options())
        } else {
            let array = payloads.join(", ");
            format!("id FROM pgq_push_batch('{queue}', ARRAY[{array}]::jsonb[]{}) id", self.options())
        };
        format!("WITH c AS (INSERT INTO change VALUES {}) SELECT {call}", rows.join(", "))
    }

    fn options(&self) -> String {
        let mut options = String::new();
        if self.mode != Mode::Plain {
            write!(options, ", dedup_key => 'k{}', on_duplicate => '{}'", self.key, self.mode.sql()).unwrap();
        }
        if self.has_group {
            options += ", group_key => 'g'";
        }
        if self.has_ttl {
            write!(options, ", ttl => '{SHORT}'").unwrap();
        }
        if self.is_delayed {
            write!(options, ", delay => '{SHORT}'").unwrap();
        }
        if self.is_urgent {
            options += ", priority => -1";
        }
        if let Some(deliveries) = self.max_deliveries {
            write!(options, ", max_deliveries => {deliveries}").unwrap();
        }
        options
    }
}

pub fn payload(subject: i64, change: i64) -> String {
    format!("'{{\"s\": {subject}, \"c\": {change}}}'")
}
