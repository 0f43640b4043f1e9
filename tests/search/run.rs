//! Runs a scenario: a statement at a time, in the order of the scenario. A session that waits
//! for a lock keeps its next statements for later; the others go on.

mod answer;
mod drain;
mod statement;

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use postgres::Client;
use support::{Server, assert_indexes_are_whole};

use crate::history::{Event, History, Message, Receipt, Tick, Tx, What};
use crate::script::{LONG, Level, Mode, PAUSE, Push, SHORT, Scenario, Settle, Step, Which, payload};
use crate::watch::{self, Look};
use crate::worker::{Job, Refusal, Reply, Rows, Workers, rows};

/// Sessions of a scenario at most; one more drains the queues in the end.
pub const SESSIONS: usize = 4;

/// A statement that neither ends nor waits for a lock for so long hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long it may take until all messages are delivered.
const DRAINED: Duration = Duration::from_secs(3);

/// When a look at who waits for whom is worth it.
const SOON: Duration = Duration::from_micros(300);

/// The database of a runner.
pub fn database(number: u64) -> String {
    format!("search{number}")
}

pub struct Runner {
    control: Client,
    workers: Workers,
    case: u64,
}

impl Runner {
    /// One of several that share a server. No two use a number of a scenario twice: names of queues
    /// and of prepared transactions have it.
    pub fn new(server: &Server, number: u64, first_case: u64) -> Self {
        let mut control = server.connect_to(&database(number));
        for sql in watch::PREPARED {
            control.batch_execute(sql).unwrap();
        }
        let workers = Workers::start(server, &database(number), SESSIONS + 1);
        Self { control, workers, case: first_case }
    }

    pub fn control(&mut self) -> &mut Client {
        &mut self.control
    }

    pub fn pid(&self, session: usize) -> i32 {
        self.workers.pids[session]
    }

    pub fn send(&self, session: usize, job: Job) {
        self.workers.send(session, job);
    }

    pub fn receive(&self, patience: Duration) -> Option<Reply> {
        self.workers.receive(patience)
    }

    /// A queue that was not there yet.
    pub fn next_name(&mut self) -> String {
        self.case += 1;
        format!("a_{}", self.case)
    }

    pub fn run(&mut self, scenario: &Scenario) -> Outcome {
        self.case += 1;
        if self.case.is_multiple_of(64) {
            self.clean_up();
        }
        Case::new(self, scenario).run()
    }

    /// What queues that are gone have left makes indexes long.
    fn clean_up(&mut self) {
        assert_indexes_are_whole(&mut self.control);
        let tables = "pgqueue.message, pgqueue.queue, pgqueue.slot, pgqueue.dead, pgqueue.counter";
        let vacuum = format!("VACUUM (TRUNCATE off) {tables}");
        for sql in ["SELECT pgq_drop_queue(name) FROM pgqueue.queue", "SELECT FROM pgq_vacuum()", &vacuum] {
            rows(&mut self.control, sql).unwrap_or_else(|refusal| panic!("{sql}: {refusal:?}"));
        }
    }
}

/// What a scenario did.
pub struct Outcome {
    pub history: History,
    /// The settings of its queues, and its statements with their answers.
    pub script: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Idle,
    /// At this event.
    Runs(usize),
    Waits(usize),
}

struct Session {
    status: Status,
    todo: VecDeque<Step>,
    tx: Option<usize>,
    has_failed: bool,
    /// Where its events and what it holds were at each savepoint, the first at BEGIN.
    marks: Vec<(usize, Vec<Receipt>)>,
    holds: Vec<Receipt>,
}

struct Prepared {
    name: String,
    tx: usize,
    session: usize,
    /// What its session held before.
    holds: Vec<Receipt>,
}

struct Case<'a> {
    runner: &'a mut Runner,
    scenario: &'a Scenario,
    history: History,
    sessions: Vec<Session>,
    prepared: VecDeque<Prepared>,
    /// What was prepared, and what somebody came by while it was locked, is seen up to a second
    /// later by calls that go by hints.
    is_hinted: bool,
    /// Ids of messages, as they became known.
    known: Vec<i64>,
    changes: i64,
    now: Tick,
    /// Looks at a queue before a statement that nobody disturbs.
    look: Option<Look>,
    began: SystemTime,
}

impl<'a> Case<'a> {
    fn new(runner: &'a mut Runner, scenario: &'a Scenario) -> Self {
        let session = || Session {
            status: Status::Idle,
            todo: VecDeque::new(),
            tx: None,
            has_failed: false,
            marks: Vec::new(),
            holds: Vec::new(),
        };
        Self {
            runner,
            scenario,
            history: History::default(),
            sessions: (0..=scenario.sessions).map(|_| session()).collect(),
            prepared: VecDeque::new(),
            is_hinted: true,
            known: Vec::new(),
            changes: 0,
            now: 0,
            look: None,
            began: UNIX_EPOCH,
        }
    }

    fn run(mut self) -> Outcome {
        for q in 0..self.scenario.queues.len() {
            let sql =
                format!("SELECT pgq_create_queue('{}', '{}')", self.queue(q), self.scenario.queues[q].json());
            self.ask(&sql);
        }
        for item in &self.scenario.items {
            self.sessions[item.session].todo.push_back(item.step);
            self.go_on();
        }
        self.end_transactions();
        self.drain();
        self.finish()
    }

    fn queue(&self, queue: usize) -> String {
        format!("{}_{}", (b'a' + queue as u8) as char, self.runner.case)
    }

    /// The session that drains the queues.
    fn drainer(&self) -> usize {
        self.scenario.sessions
    }

    fn tick(&mut self) -> Tick {
        self.now += 1;
        self.now
    }

    /// A statement of ours beside the scenario.
    fn ask(&mut self, sql: &str) -> Rows {
        rows(&mut self.runner.control, sql).unwrap_or_else(|refusal| panic!("{sql}: {refusal:?}"))
    }

    fn fault(&mut self, what: impl Into<String>) {
        self.history.faults.push(what.into());
    }

    /// Lets all sessions do what they have to do, as far as they come without others.
    fn go_on(&mut self) {
        let mut since = Instant::now();
        loop {
            if !self.sessions.iter().any(|session| matches!(session.status, Status::Runs(_))) {
                if !self.begin_next() {
                    return;
                }
                since = Instant::now();
            }
            match self.runner.workers.receive(SOON) {
                Some(reply) => {
                    self.take(reply);
                    since = Instant::now();
                    if self.let_go_on() {
                        self.look_at_locks();
                    }
                }
                None => self.look_at_locks(),
            }
            if since.elapsed() > PATIENCE {
                self.fault("a statement hangs");
                panic!("a statement hangs:\n{}", self.history.script(&[]));
            }
        }
    }

    /// Whoever waited may be free to go now. Returns whether anybody did.
    fn let_go_on(&mut self) -> bool {
        let mut is_any = false;
        for session in &mut self.sessions {
            if let Status::Waits(event) = session.status {
                session.status = Status::Runs(event);
                is_any = true;
            }
        }
        is_any
    }

    fn look_at_locks(&mut self) {
        let runs = |session: &Session| matches!(session.status, Status::Runs(_));
        let pids: Vec<String> = (0..self.sessions.len())
            .filter(|&s| runs(&self.sessions[s]))
            .map(|s| self.runner.workers.pids[s].to_string())
            .collect();
        if pids.is_empty() {
            return;
        }
        let waiting = self.ask(&format!(
            "SELECT p FROM unnest(ARRAY[{}]) p WHERE cardinality(pg_blocking_pids(p)) > 0",
            pids.join(", ")
        ));
        for row in waiting {
            let pid: i32 = number(&row[0]);
            let s = self.runner.workers.pids.iter().position(|&other| other == pid).expect("one of ours");
            if let Status::Runs(event) = self.sessions[s].status {
                self.history.events[event].had_to_wait = true;
                self.sessions[s].status = Status::Waits(event);
            }
        }
    }

    /// Begins the next statement of the first session that has one; false if none has.
    fn begin_next(&mut self) -> bool {
        for s in 0..self.sessions.len() {
            while self.sessions[s].status == Status::Idle {
                let Some(step) = self.sessions[s].todo.pop_front() else { break };
                if self.begin(s, step) {
                    return true;
                }
            }
        }
        false
    }

    /// Begins a statement; false if there is nothing to do for it.
    fn begin(&mut self, s: usize, step: Step) -> bool {
        let Some((sql, what)) = self.statement(s, step) else { return false };
        let start = self.tick();
        let is_own = self.sessions[s].tx.is_none() && !matches!(step, Step::Begin(_));
        let tx = match self.sessions[s].tx {
            Some(tx) => tx,
            None => self.new_tx(step, start),
        };
        let is_alone = !self.is_anybody_else(s);
        if is_alone && is_own {
            self.look_before(&what);
        }
        self.is_hinted &= is_alone || !matches!(what, What::Given { .. });
        if let Step::Begin(_) = step {
            let holds = self.sessions[s].holds.clone();
            self.sessions[s].tx = Some(tx);
            self.sessions[s].marks = vec![(self.history.events.len(), holds)];
        }
        let then = matches!(what, What::Given { .. })
            .then(|| format!("SELECT id FROM change WHERE scenario = {}", self.runner.case));
        self.sessions[s].status = Status::Runs(self.history.events.len());
        self.history.events.push(Event {
            session: s,
            tx,
            what,
            start,
            end: None,
            is_undone: false,
            sqlstate: None,
            sql: sql.clone(),
            answer: "no answer".into(),
            had_to_wait: false,
        });
        self.runner.workers.send(s, Job { sql, then });
        true
    }

    fn new_tx(&mut self, step: Step, begin: Tick) -> usize {
        let level = if let Step::Begin(level) = step { level } else { Level::ReadCommitted };
        self.history.txs.push(Tx { level, begin, commit: None, over: None });
        self.history.txs.len() - 1
    }

    /// Whether another transaction is open.
    fn is_anybody_else(&self, s: usize) -> bool {
        let is_busy = |session: &Session| session.tx.is_some() || session.status != Status::Idle;
        !self.prepared.is_empty()
            || (0..self.sessions.len()).any(|other| other != s && is_busy(&self.sessions[other]))
    }

    fn look_before(&mut self, what: &What) {
        let queue = match *what {
            What::Push { queue, .. } if self.scenario.queues[queue].drops_oldest => queue,
            What::Given { queue, .. } if self.is_hinted => {
                self.began = SystemTime::now();
                self.look = Some(Look { queue, messages: Vec::new() });
                return;
            }
            _ => return,
        };
        let messages = self.look_at(queue);
        self.look = Some(Look { queue, messages });
    }

    fn look_at(&mut self, queue: usize) -> Vec<watch::Row> {
        let sql = format!("EXECUTE messages('{}')", self.queue(queue));
        self.ask(&sql).iter().map(|row| watch::Row::from(row)).collect()
    }
}

fn number<T: std::str::FromStr>(text: &Option<String>) -> T
where
    T::Err: std::fmt::Debug,
{
    text.as_deref().expect("no null").parse().expect("a number")
}
