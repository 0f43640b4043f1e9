//! The record of what clients did, and what was there at the end.

use std::collections::{HashMap, HashSet};

/// Microseconds by the clock that all clients share; it never steps.
pub type Moment = i64;
/// Microseconds since 1970 by the server's clock, which may step.
pub type ServerTime = i64;
/// Microseconds.
pub type Length = i64;
pub type Id = i64;
/// What a client put into a message to know it by, never twice.
pub type Token = i64;

/// From sending a request to having its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub invoked: Moment,
    pub returned: Moment,
}

#[derive(Clone, Debug, Default)]
pub struct History {
    pub transactions: Vec<Transaction>,
    pub crashes: Vec<Crash>,
    pub clock_steps: Vec<ClockStep>,
    /// When what is ready may be given late: queues were paused, or their settings changed, or the server
    /// was started again.
    pub excused: Vec<Span>,
    pub ending: Ending,
    /// How many messages of a queue may be leased at once, where it has a limit.
    pub limits: HashMap<String, usize>,
    /// Queues that keep what was removed from them.
    pub archives: HashSet<String>,
}

/// All that one client did between BEGIN and its end, or in one statement by itself.
#[derive(Clone, Debug)]
pub struct Transaction {
    pub number: u64,
    pub client: u32,
    pub operations: Vec<Operation>,
    pub end: End,
    /// It wrote something for which a commit waits until it is on disk.
    pub durable: bool,
    /// It noted its number in a table of the same database.
    pub noted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// From sending the COMMIT to its answer, or to knowing of it otherwise.
    Committed(Span),
    RolledBack,
    /// It may have been committed in this time.
    Unknown(Span),
}

#[derive(Clone, Debug)]
pub struct Operation {
    pub span: Span,
    /// By the server's clock, if it answered.
    pub clock: Option<Clock>,
    pub queue: String,
    pub act: Act,
    /// Rolled back with a savepoint or an exception block; the rest of its transaction was not.
    pub undone: bool,
}

/// What the server's clock showed.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Before the call.
    pub began: ServerTime,
    /// After it.
    pub ended: ServerTime,
}

/// What was asked. An answer that never came is `None`.
#[derive(Clone, Debug)]
pub enum Act {
    Push {
        messages: Vec<Pushed>,
        order: Order,
        /// How long they are to wait before they may be given.
        delay: Length,
        ttl: Option<Length>,
        key: Option<String>,
    },
    Reserve {
        lease: Length,
        /// The newest first.
        lifo: bool,
        taken: Option<Vec<Taken>>,
    },
    Pop {
        max: usize,
        taken: Option<Vec<Taken>>,
    },
    Settle {
        verdict: Verdict,
        receipts: Vec<Receipt>,
        /// How long what is released or fails is to wait, if that was said.
        delay: Option<Length>,
        done: Option<Vec<Done>>,
    },
    Purge,
    DumpDead {
        max: usize,
        dumped: Option<Vec<Id>>,
    },
    /// Dead letters came back under their ids.
    Redrive,
    /// Messages became new ones of another queue.
    Move {
        ids: Vec<Id>,
        to: String,
        /// Old ids and new ones.
        moved: Option<Vec<(Id, Id)>>,
    },
}

#[derive(Clone, Copy, Debug)]
pub struct Pushed {
    pub token: Token,
    pub id: Option<Id>,
    /// The id is that of another message, which waited.
    pub met: Option<Met>,
}

/// What became of a push that met a waiting message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// That one stands for both. (Not recorded here: one that is ignored for its `dedup_window`.)
    Ignored,
    /// That one has become the new one, by a push of its key or by an update.
    Replaced,
}

/// Where a message stands among those of its group.
#[derive(Clone, Debug, Default)]
pub struct Order {
    pub group: Option<String>,
    pub priority: i32,
}

/// A message as a reserve or a pop gave it.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    pub id: Id,
    pub token: Token,
    pub delivery: i32,
    /// None: it was popped.
    pub until: Option<ServerTime>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub id: Id,
    /// None: whoever has it.
    pub delivery: Option<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Extend,
    Release,
    Fail,
    Bury,
    Delete,
}

/// A message of which a settle call said that it did it.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    pub id: Id,
    /// How long an extended lease lasts.
    pub until: Option<ServerTime>,
    /// It failed for the last time, or was buried.
    pub died: bool,
}

/// The server lost its memory, and what it had not written.
#[derive(Clone, Copy, Debug)]
pub struct Crash {
    /// From just before it to when the server was there again.
    pub span: Span,
    /// How far back it may have forgotten commits that did not wait for the disk.
    pub forgets: Length,
}

/// Somebody moved the server's clock.
#[derive(Clone, Copy, Debug)]
pub struct ClockStep {
    pub span: Span,
    /// Forward, or back if it is less than nothing.
    pub by: Length,
}

/// What the database held when all clients had gone.
#[derive(Clone, Debug, Default)]
pub struct Ending {
    pub alive: HashMap<Id, Token>,
    pub dead: HashMap<Id, Token>,
    pub archived: HashSet<Id>,
    /// The numbers of the transactions that noted themselves.
    pub noted: HashSet<u64>,
    /// The latest that the server's clock has shown.
    pub latest: ServerTime,
}

impl Transaction {
    /// The time of its commit, if that is certain.
    pub fn commit(&self) -> Option<Span> {
        match self.end {
            End::Committed(span) => Some(span),
            End::RolledBack | End::Unknown(_) => None,
        }
    }

    /// The time in which it was committed, if it was.
    pub fn possible_commit(&self) -> Option<Span> {
        match self.end {
            End::Committed(span) | End::Unknown(span) => Some(span),
            End::RolledBack => None,
        }
    }
}
