//! Sessions: clients that write down all they ask and hear.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use pgqueue_history::{End, Moment, Operation, Span, Transaction};
use postgres::error::SqlState;
use postgres::{Client, Error, Row};

use crate::call::Call;
use crate::clock::{now, since};
use crate::queue::Queue;
use crate::stage::Stage;

/// Why a statement gave nothing.
#[derive(Debug)]
pub enum Failure {
    /// The server refused, and did nothing.
    Refused,
    /// The server was asked to stop; perhaps after it had done what it should.
    Cancelled,
    /// The connection is gone.
    Lost,
}

type Outcome<T> = Result<T, Failure>;

/// A prepared transaction of which nobody knows whether it was decided.
pub struct Undecided {
    pub transaction: Transaction,
    /// From when on it may have been committed.
    pub since: Moment,
}

/// How a call is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Plain,
    Savepoint { undo: bool },
    Block { undo: bool },
}

impl Manner {
    fn undoes(self) -> bool {
        matches!(self, Self::Savepoint { undo: true } | Self::Block { undo: true })
    }

    pub fn at_random(rng: &mut Rng) -> Self {
        match rng.u32(0..12) {
            0 => Self::Savepoint { undo: true },
            1 => Self::Savepoint { undo: false },
            2 => Self::Block { undo: true },
            3 => Self::Block { undo: false },
            _ => Self::Plain,
        }
    }
}

/// How a transaction is to end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Commit,
    Rollback,
    /// Prepared, and decided a moment later.
    Prepare {
        commit: bool,
    },
}

pub struct Session<'a> {
    pub stage: &'a Stage,
    pub rng: Rng,
    pub history: Vec<Transaction>,
    client: Option<Client>,
    number: u32,
}

impl<'a> Session<'a> {
    pub fn new(stage: &'a Stage, number: u32, rng: Rng) -> Self {
        Self { stage, rng, history: Vec::new(), client: None, number }
    }

    /// Connects if it is not connected; false if that is not possible now.
    pub fn is_connected(&mut self) -> bool {
        if self.client.as_ref().is_none_or(Client::is_closed) {
            self.client = self.stage.connect_load().ok();
        }
        self.client.is_some()
    }

    pub fn pause(&mut self, most_ms: u64) {
        thread::sleep(Duration::from_millis(self.rng.u64(0..=most_ms)));
    }

    pub fn one_in(&mut self, n: u32) -> bool {
        self.rng.u32(0..n) == 0
    }

    /// Makes a call in a transaction of its own.
    pub fn once(&mut self, queue: Queue, call: &Call) -> Outcome<Vec<Row>> {
        let mut transaction = self.begin(false);
        let invoked = now();
        let answer = self.query(&call.sql(queue));
        let span = since(invoked);
        transaction.operations = call.operations(queue, span, false, answer.as_deref().ok());
        transaction.end = match &answer {
            Ok(rows) => {
                transaction.durable = call.is_durable(queue, rows);
                End::Committed(span)
            }
            Err(Failure::Refused) => End::RolledBack,
            Err(Failure::Cancelled | Failure::Lost) => End::Unknown(Span { invoked, returned: Moment::MAX }),
        };
        self.history.push(transaction);
        answer
    }

    /// Does `work` in a transaction of some level of isolation.
    pub fn transaction<T>(
        &mut self,
        ending: Ending,
        work: impl FnOnce(&mut Open) -> Outcome<T>,
    ) -> Outcome<T> {
        let prepares = matches!(ending, Ending::Prepare { .. });
        // What is prepared may have to be found again.
        let is_noted = prepares || self.one_in(2);
        let transaction = self.begin(is_noted);
        let isolation = self.isolation();
        self.execute(&format!("BEGIN ISOLATION LEVEL {isolation}"))?;
        let mut open = Open { session: self, transaction };
        let done = open.note().and_then(|()| work(&mut open));
        let transaction = open.transaction;
        match done {
            Ok(done) => self.end(transaction, ending).map(|()| done),
            Err(failure) => {
                let _ = self.end(transaction, Ending::Rollback);
                Err(failure)
            }
        }
    }

    fn isolation(&mut self) -> &'static str {
        match self.rng.u32(0..10) {
            0 => "REPEATABLE READ",
            1 => "SERIALIZABLE",
            _ => "READ COMMITTED",
        }
    }

    fn begin(&self, noted: bool) -> Transaction {
        Transaction {
            number: self.stage.next_transaction(),
            client: self.number,
            operations: Vec::new(),
            end: End::RolledBack,
            durable: noted,
            noted,
        }
    }

    fn end(&mut self, mut transaction: Transaction, ending: Ending) -> Outcome<()> {
        match ending {
            Ending::Commit => {
                let invoked = now();
                let committed = self.leave_by("COMMIT");
                transaction.end = end_of(&committed, invoked);
                self.history.push(transaction);
                committed
            }
            Ending::Rollback => {
                self.history.push(transaction);
                self.roll_back()
            }
            Ending::Prepare { commit } => self.prepare(transaction, commit),
        }
    }

    /// Ends a transaction by COMMIT or PREPARE TRANSACTION. If that is cancelled, the session is still in it.
    fn leave_by(&mut self, statement: &str) -> Outcome<()> {
        let outcome = self.execute(statement);
        if matches!(outcome, Err(Failure::Cancelled)) {
            let _ = self.roll_back();
        }
        outcome
    }

    /// Leaves a transaction, also if that is cancelled, before it has done anything.
    fn roll_back(&mut self) -> Outcome<()> {
        loop {
            match self.execute("ROLLBACK") {
                Err(Failure::Cancelled) => {}
                outcome => return outcome,
            }
        }
    }

    fn prepare(&mut self, mut transaction: Transaction, commit: bool) -> Outcome<()> {
        let name = transaction.number;
        let since = now();
        let prepared = self.leave_by(&format!("PREPARE TRANSACTION '{name}'"));
        if matches!(prepared, Err(Failure::Refused)) {
            self.history.push(transaction);
            return prepared;
        }
        if prepared.is_err() || self.stage.leaves_prepared.load(Ordering::Relaxed) {
            self.leave(transaction, since);
            return prepared;
        }
        self.pause(300);
        let decision = if commit { "COMMIT" } else { "ROLLBACK" };
        let invoked = now();
        let decided = self.execute(&format!("{decision} PREPARED '{name}'"));
        match decided {
            Ok(()) if commit => {
                transaction.end = end_of(&decided, invoked);
                self.history.push(transaction);
            }
            Ok(()) => self.history.push(transaction),
            Err(_) => self.leave(transaction, invoked),
        }
        decided
    }

    fn leave(&self, transaction: Transaction, since: Moment) {
        self.stage.undecided.lock().unwrap().push(Undecided { transaction, since });
    }

    fn query(&mut self, sql: &str) -> Outcome<Vec<Row>> {
        self.set_timeout();
        self.ask(sql, |client| client.query(sql, &[]))
    }

    pub fn execute(&mut self, sql: &str) -> Outcome<()> {
        self.ask(sql, |client| client.batch_execute(sql))
    }

    fn ask<T>(&mut self, sql: &str, ask: impl FnOnce(&mut Client) -> Result<T, Error>) -> Outcome<T> {
        let Some(client) = self.client.as_mut() else { return Err(Failure::Lost) };
        let answer = ask(client);
        answer.map_err(|error| {
            self.stage.complaints.hear(&error, sql);
            let failure = failure(&error);
            if matches!(failure, Failure::Lost) {
                self.client = None;
            }
            failure
        })
    }

    fn set_timeout(&mut self) {
        if self.stage.times_out.load(Ordering::Relaxed) {
            let ms = if self.one_in(3) { self.rng.u32(1..8) } else { 0 };
            let _ = self.execute(&format!("SET statement_timeout = {ms}"));
        }
    }
}

/// What an error tells. What ends a session may come after the session has done anything.
fn failure(error: &Error) -> Failure {
    match error.as_db_error() {
        Some(told) if told.severity() != "ERROR" => Failure::Lost,
        Some(told) if told.code() == &SqlState::QUERY_CANCELED => Failure::Cancelled,
        Some(_) => Failure::Refused,
        None => Failure::Lost,
    }
}

fn end_of(committed: &Outcome<()>, invoked: Moment) -> End {
    match committed {
        Ok(()) => End::Committed(since(invoked)),
        Err(Failure::Refused) => End::RolledBack,
        Err(Failure::Cancelled | Failure::Lost) => End::Unknown(Span { invoked, returned: Moment::MAX }),
    }
}

/// A transaction under way.
pub struct Open<'s, 'a> {
    pub session: &'s mut Session<'a>,
    transaction: Transaction,
}

impl Open<'_, '_> {
    fn note(&mut self) -> Outcome<()> {
        if !self.transaction.noted {
            return Ok(());
        }
        self.session.execute(&format!("INSERT INTO note VALUES ({})", self.transaction.number))
    }

    pub fn call(&mut self, queue: Queue, call: &Call, manner: Manner) -> Outcome<Vec<Row>> {
        let sql = match manner {
            Manner::Plain => call.sql(queue),
            Manner::Savepoint { .. } => {
                self.session.execute("SAVEPOINT s")?;
                call.sql(queue)
            }
            Manner::Block { undo } => {
                format!("SELECT * FROM in_block({}, {undo})", quoted(&call.sql(queue)))
            }
        };
        let invoked = now();
        let answer = self.session.query(&sql);
        let operations: Vec<Operation> =
            call.operations(queue, since(invoked), manner.undoes(), answer.as_deref().ok());
        self.transaction.operations.extend(operations);
        if let Ok(rows) = &answer {
            self.transaction.durable |= !manner.undoes() && call.is_durable(queue, rows);
        }
        if let (Manner::Savepoint { undo }, Ok(_)) = (manner, &answer) {
            self.session.execute(if undo { "ROLLBACK TO s" } else { "RELEASE s" })?;
        }
        match manner.undoes() {
            true => answer.map(|_| Vec::new()),
            false => answer,
        }
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
