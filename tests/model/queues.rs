//! The queues of a real server: operations as SQL, answers and tables read back.

use std::collections::BTreeMap;
use std::fmt::Write;

use postgres::{Client, SimpleQueryMessage, SimpleQueryRow};
use support::Server;

use crate::op::QUEUES;
use crate::reference::{Hours, Settings};

pub const NAMES: [&str; QUEUES] = ["a", "b", "c"];

/// An answer: its rows as texts, or a SQLSTATE.
pub type Answer = Result<Vec<Vec<Option<String>>>, String>;

/// What the tables say of a message, a letter or an archived message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown(pub BTreeMap<String, String>);

impl Shown {
    pub fn get(&self, column: &str) -> &str {
        self.0.get(column).map_or("", String::as_str)
    }
}

/// All there is, by id, and the counters of each queue.
#[derive(Debug, Default)]
pub struct Picture {
    pub messages: BTreeMap<i64, Shown>,
    pub dead: BTreeMap<i64, Shown>,
    pub archive: BTreeMap<i64, Shown>,
    pub stats: BTreeMap<String, Shown>,
    pub miscounted: Vec<String>,
}

/// Two sessions, used one after the other, and the script of all that they did.
pub struct Queues {
    sessions: [Client; 2],
    current: usize,
    script: String,
}

/// Empty queues under ids that begin anew, so that the script can be run again.
const RESET: &str = "SELECT pgq_drop_queue(name) FROM pgqueue.queue;
DELETE FROM pgqueue.counter;
ALTER SEQUENCE pgqueue.message_id RESTART";

impl Queues {
    pub fn connect(server: &Server) -> Self {
        Self { sessions: [server.connect(), server.connect()], current: 0, script: String::new() }
    }

    /// Begins anew, with queues of these settings.
    pub fn reset(&mut self, settings: &[Settings]) {
        // Each statement by itself: what the worker would do, drain counts, is done first.
        for session in &mut self.sessions {
            session.batch_execute("ROLLBACK").unwrap();
        }
        self.current = 0;
        self.script.clear();
        self.run("SELECT count(*) FROM pgq_vacuum()").unwrap();
        for statement in RESET.split(";\n") {
            self.run(statement).unwrap();
        }
        for (name, settings) in NAMES.iter().zip(settings) {
            self.run(&format!("SELECT pgq_create_queue('{name}', '{}')", settings_json(settings))).unwrap();
        }
    }

    pub fn switch(&mut self) {
        self.current = 1 - self.current;
        writeln!(self.script, "-- in session {}:", self.current + 1).unwrap();
    }

    /// Runs a statement and notes it.
    pub fn run(&mut self, sql: &str) -> Answer {
        writeln!(self.script, "{sql};").unwrap();
        self.ask(sql)
    }

    fn ask(&mut self, sql: &str) -> Answer {
        let answer = self.sessions[self.current].simple_query(sql).map_err(|error| {
            error.code().map_or_else(|| panic!("{error:?}\n{}", self.script), |code| code.code().to_owned())
        })?;
        Ok(answer
            .iter()
            .filter_map(row)
            .map(|row| (0..row.len()).map(|n| row.get(n).map(str::to_owned)).collect())
            .collect())
    }

    /// Reads all tables.
    pub fn look(&mut self) -> Picture {
        let mut picture = Picture::default();
        let answer = self.sessions[self.current].simple_query(include_str!("picture.sql"));
        let answer = answer.unwrap_or_else(|error| panic!("{error:?}\n{}", self.script));
        for row in answer.iter().filter_map(row) {
            let shown = Shown(
                row.columns()
                    .iter()
                    .enumerate()
                    .filter_map(|(n, column)| Some((column.name().to_owned(), row.get(n)?.to_owned())))
                    .collect(),
            );
            let id = || shown.get("id").parse().unwrap();
            match shown.get("what") {
                "message" => drop(picture.messages.insert(id(), shown)),
                "letter" => drop(picture.dead.insert(id(), shown)),
                "archived" => drop(picture.archive.insert(id(), shown)),
                "queue" => drop(picture.stats.insert(shown.get("queue").to_owned(), shown)),
                _ => picture.miscounted.push(format!("{shown:?}")),
            }
        }
        picture
    }

    pub fn script(&self) -> &str {
        &self.script
    }
}

fn row(message: &SimpleQueryMessage) -> Option<&SimpleQueryRow> {
    match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    }
}

/// Some hours, as an interval.
pub fn hours(hours: Hours) -> String {
    format!("'{hours} h'::interval")
}

/// What a setting is called, and its value.
pub fn settings_json(settings: &Settings) -> String {
    let span = |hours: Option<Hours>| hours.map_or("null".into(), |hours| format!("\"{hours} h\""));
    let number = |number: Option<i64>| number.map_or("null".into(), |number| number.to_string());
    let word = |is: bool, yes: &str, no: &str| format!("\"{}\"", if is { yes } else { no });
    let fields = [
        ("lease", span(settings.lease)),
        ("max_deliveries", settings.max_deliveries.to_string()),
        ("dead_letter", settings.dead_letter.to_string()),
        ("ttl", span(settings.ttl)),
        ("on_expire", word(settings.expires_dead, "dead", "drop")),
        ("on_timeout", word(settings.times_out_dead, "dead", "retry")),
        ("order", word(settings.lifo, "lifo", "fifo")),
        ("groups", word(settings.parallel, "parallel", "ordered")),
        ("max_leased", number(settings.max_leased)),
        ("max_length", number(settings.max_length)),
        ("on_full", word(settings.drops_oldest, "drop_oldest", "reject")),
        ("dedup_window", span(settings.dedup_window)),
        ("archive", span(settings.archive)),
        ("backoff", r#"{"base": "1 h", "factor": 2, "max": "8 h", "jitter": 0}"#.into()),
    ];
    let fields: Vec<String> = fields
        .iter()
        .filter(|(_, value)| value != "null")
        .map(|(name, value)| format!("\"{name}\": {value}"))
        .collect();
    format!("{{{}}}", fields.join(", "))
}
