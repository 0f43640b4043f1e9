//! Sessions: each a thread with a connection, which does one statement after the other.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use postgres::{Client, Error, SimpleQueryMessage};
use support::Server;

pub type Rows = Vec<Vec<Option<String>>>;

#[derive(Debug, Clone)]
pub struct Refusal {
    pub sqlstate: String,
    pub message: String,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let sqlstate = error.code().map_or("no SQLSTATE", |code| code.code()).to_string();
        let message =
            error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_string());
        Self { sqlstate, message }
    }
}

/// A statement, and another that follows if it gives rows.
pub struct Job {
    pub sql: String,
    pub then: Option<String>,
}

pub struct Reply {
    pub session: usize,
    pub rows: Result<Rows, Refusal>,
    pub then: Option<Result<Rows, Refusal>>,
}

pub struct Workers {
    pub pids: Vec<i32>,
    jobs: Vec<Sender<Job>>,
    replies: Receiver<Reply>,
}

impl Workers {
    pub fn start(server: &Server, database: &str, count: usize) -> Self {
        let (sender, replies) = mpsc::channel();
        let mut workers = Self { pids: Vec::new(), jobs: Vec::new(), replies };
        for session in 0..count {
            let mut client = server.connect_to(database);
            let pid = client.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
            let (jobs, todo) = mpsc::channel::<Job>();
            let replies = sender.clone();
            thread::spawn(move || {
                for job in todo {
                    if replies.send(work(&mut client, session, &job)).is_err() {
                        break;
                    }
                }
            });
            workers.pids.push(pid);
            workers.jobs.push(jobs);
        }
        workers
    }

    pub fn send(&self, session: usize, job: Job) {
        self.jobs[session].send(job).expect("the thread of the session is there");
    }

    /// The next reply, if one comes soon.
    pub fn receive(&self, patience: Duration) -> Option<Reply> {
        match self.replies.recv_timeout(patience) {
            Ok(reply) => Some(reply),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("a thread of a session ended"),
        }
    }
}

fn work(client: &mut Client, session: usize, job: &Job) -> Reply {
    let rows = rows(client, &job.sql);
    let is_more = rows.as_ref().is_ok_and(|rows| !rows.is_empty());
    let then = job.then.as_ref().filter(|_| is_more).map(|sql| self::rows(client, sql));
    Reply { session, rows, then }
}

/// What a statement gives, as texts, in one round trip.
pub fn rows(client: &mut Client, sql: &str) -> Result<Rows, Refusal> {
    let messages = client.simple_query(sql).map_err(|error| {
        // The error comes before the transaction is rolled back; the next answer comes after that.
        let _ = client.simple_query("");
        Refusal::from(error)
    })?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|n| row.get(n).map(str::to_string)).collect())
        }
        _ => None,
    });
    Ok(rows.collect())
}
