//! Runs a scenario: a statement at a time, in the order of the scenario. A session that waits
//! for a lock keeps its next statements for later; the others go on.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use postgres::Client;
use support::Server;

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
    /// One of several that share a server.
    pub fn new(server: &Server, number: u64) -> Self {
        let mut control = server.connect_to(&database(number));
        for sql in watch::PREPARED {
            control.batch_execute(sql).unwrap();
        }
        // No two have a prepared transaction of the same name.
        let case = number * 1_000_000;
        Self { control, workers: Workers::start(server, &database(number), SESSIONS + 1), case }
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
        if self.case % 64 == 0 {
            self.clean_up();
        }
        Case::new(self, scenario).run()
    }

    /// What queues that are gone have left makes indexes long.
    fn clean_up(&mut self) {
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

    /// What a session sends for a step, and what it is about; none if it makes no sense now.
    fn statement(&mut self, s: usize, step: Step) -> Option<(String, What)> {
        let is_open = self.sessions[s].tx.is_some();
        if self.sessions[s].has_failed && !matches!(step, Step::Commit | Step::Rollback | Step::RollbackTo) {
            return None;
        }
        let has_mark = self.sessions[s].marks.len() > 1;
        let sql = match step {
            Step::Begin(level) if !is_open => format!("BEGIN ISOLATION LEVEL {}", level.sql()),
            Step::Commit if is_open && !self.sessions[s].has_failed => "COMMIT".into(),
            Step::Commit | Step::Rollback if is_open => "ROLLBACK".into(),
            Step::Savepoint if is_open => {
                let mark = (self.history.events.len(), self.sessions[s].holds.clone());
                self.sessions[s].marks.push(mark);
                "SAVEPOINT s".into()
            }
            Step::RollbackTo if is_open && has_mark => "ROLLBACK TO s".into(),
            Step::Prepare if is_open => {
                format!("PREPARE TRANSACTION 'p{}_{}'", self.runner.case, self.history.events.len())
            }
            Step::Decide(commits) if !is_open => {
                let name = &self.prepared.front()?.name;
                format!("{} PREPARED '{name}'", if commits { "COMMIT" } else { "ROLLBACK" })
            }
            Step::Pause => format!("SELECT pg_sleep({PAUSE})"),
            Step::Look => format!("SELECT count(*) FROM change WHERE scenario = {}", self.runner.case),
            Step::Vacuum if !is_open => "SELECT FROM pgq_vacuum()".into(),
            Step::Begin(_) | Step::Commit | Step::Rollback | Step::Savepoint | Step::RollbackTo => return None,
            Step::Prepare | Step::Decide(_) | Step::Vacuum => return None,
            _ => return self.call(s, step),
        };
        Some((sql, What::Other))
    }

    fn call(&mut self, s: usize, step: Step) -> Option<(String, What)> {
        Some(match step {
            Step::Push(push) => self.push(&push),
            Step::Reserve { queue, is_short, max } => {
                let lease = if is_short { SHORT } else { LONG };
                let call = format!("pgq_reserve('{}', lease => '{lease}', max => {max})", self.queue(queue));
                self.given(queue, Some(!is_short), &call)
            }
            Step::Pop { queue, max } => {
                let call = format!("pgq_pop('{}', max => {max})", self.queue(queue));
                self.given(queue, None, &call)
            }
            Step::Settle(how, which) => self.settle(s, how, which)?,
            Step::Update(_) | Step::Cancel(_) | Step::Move(..) => self.change(step)?,
            Step::Limit(queue, limit) => {
                let json = format!("{{\"max_leased\": {}}}", limit.map_or("null".into(), |n| n.to_string()));
                (self.alter(queue, &json), What::Limited { queue, limit })
            }
            Step::Length(queue, length) => {
                (self.alter(queue, &format!("{{\"max_length\": {length}}}")), What::Other)
            }
            Step::Purge(queue, state) => {
                (format!("SELECT pgq_purge('{}', '{state}')", self.queue(queue)), What::Purged)
            }
            _ => return None,
        })
    }

    fn alter(&self, queue: usize, settings: &str) -> String {
        format!("SELECT pgq_alter_queue('{}', '{settings}')", self.queue(queue))
    }

    fn next_change(&mut self) -> i64 {
        self.changes += 1;
        self.changes
    }

    fn push(&mut self, push: &Push) -> (String, What) {
        let changes: Vec<i64> = (0..push.count).map(|_| self.next_change()).collect();
        // Without a key, each is a subject of its own.
        let subject = if push.mode == Mode::Plain { 1000 + changes[0] } else { push.key };
        let contents: Vec<_> = changes.iter().map(|&change| (subject, change)).collect();
        let sql = push.sql(&self.queue(push.queue), self.runner.case, &contents);
        let what = What::Push {
            queue: push.queue,
            subject,
            mode: push.mode,
            changes,
            ids: Vec::new(),
            is_new: None,
            has_ttl: push.has_ttl,
            is_urgent: push.is_urgent,
        };
        (sql, what)
    }

    fn given(&self, queue: usize, is_long: Option<bool>, call: &str) -> (String, What) {
        let sql = format!("SELECT id, delivery, payload ->> 's', payload ->> 'c', group_key FROM {call}");
        (sql, What::Given { queue, is_long, messages: Vec::new(), seen: BTreeSet::new() })
    }

    fn settle(&self, s: usize, how: Settle, which: Which) -> Option<(String, What)> {
        let holds = &self.sessions[s].holds;
        let receipts: Vec<Receipt> = match which {
            Which::First => holds.first().into_iter().copied().collect(),
            Which::Last => holds.last().into_iter().copied().collect(),
            Which::All => holds.clone(),
        };
        if receipts.is_empty() {
            return None;
        }
        let list = |texts: Vec<String>| texts.join(", ");
        let ids = list(receipts.iter().map(|receipt| receipt.0.to_string()).collect());
        let deliveries = list(receipts.iter().map(|receipt| receipt.1.to_string()).collect());
        let (ids, deliveries) = (format!("ARRAY[{ids}]::bigint[]"), format!("ARRAY[{deliveries}]"));
        let sql = match how {
            Settle::Delete => format!("SELECT pgq_delete({ids}, {deliveries})"),
            Settle::Release => format!("SELECT pgq_release({ids}, deliveries => {deliveries})"),
            Settle::Fail => format!("SELECT id, outcome FROM pgq_fail({ids}, 'no', {deliveries}, '0')"),
            Settle::Bury => format!("SELECT pgq_bury({ids}, 'no', {deliveries})"),
            Settle::Extend => format!("SELECT id FROM pgq_extend({ids}, '{LONG}', {deliveries})"),
        };
        Some((sql, What::Settled { how, receipts, done: Vec::new(), dead: Vec::new() }))
    }

    fn change(&mut self, step: Step) -> Option<(String, What)> {
        let nth = |known: &[i64], n: usize| known.len().checked_sub(n + 1).map(|at| known[at]);
        Some(match step {
            Step::Update(n) => {
                let id = nth(&self.known, n)?;
                let (subject, _) = *self.history.messages.get(&id)?;
                let change = self.next_change();
                let case = self.runner.case;
                let sql = format!(
                    "WITH c AS (INSERT INTO change VALUES ({case}, {change})) SELECT pgq_update({id}, {})",
                    payload(subject, change)
                );
                (sql, What::Updated { id, subject, change, is_done: false })
            }
            Step::Cancel(n) => {
                let id = nth(&self.known, n)?;
                (format!("SELECT pgq_cancel({id})"), What::Cancelled { id, is_done: false })
            }
            Step::Move(n, to) => {
                let id = nth(&self.known, n)?;
                let sql = format!("SELECT * FROM pgq_move(ARRAY[{id}]::bigint[], '{}')", self.queue(to));
                (sql, What::Moved { id, to, new: None })
            }
            _ => return None,
        })
    }

    /// Takes note of what a session was told.
    fn take(&mut self, reply: Reply) {
        let s = reply.session;
        let (Status::Runs(at) | Status::Waits(at)) = self.sessions[s].status else {
            panic!("nobody asked session {s}");
        };
        self.sessions[s].status = Status::Idle;
        let end = self.tick();
        let refusal = match (&reply.rows, &reply.then) {
            (Err(refusal), _) | (_, Some(Err(refusal))) => Some(refusal.clone()),
            _ => None,
        };
        match refusal {
            Some(refusal) => self.refused(s, at, end, &refusal),
            None => self.answered(s, at, end, reply),
        }
        self.look = None;
    }

    fn refused(&mut self, s: usize, at: usize, end: Tick, refusal: &Refusal) {
        let event = &mut self.history.events[at];
        event.answer = format!("ERROR {}: {}", refusal.sqlstate, refusal.message);
        event.sqlstate = Some(refusal.sqlstate.clone());
        let is_reject = matches!(event.what, What::Push { mode: Mode::Reject, .. });
        let is_allowed = match refusal.sqlstate.as_str() {
            "40001" | "40P01" => true,
            "23505" => is_reject,
            "53400" => matches!(event.what, What::Push { .. }),
            _ => false,
        };
        let (is_end, sql, tx) = (is_end(&event.sql), event.sql.clone(), event.tx);
        if !is_allowed {
            self.fault(format!("{sql} failed: {} {}", refusal.sqlstate, refusal.message));
        }
        if refusal.sqlstate == "53400" {
            self.compare(at);
        }
        if self.sessions[s].tx.is_none() {
            self.history.txs[tx].over = Some(end);
        } else if is_end {
            self.over(s, end, None);
        } else {
            self.sessions[s].has_failed = true;
        }
    }

    fn answered(&mut self, s: usize, at: usize, end: Tick, reply: Reply) {
        let rows = reply.rows.expect("it was looked at");
        let seen = reply.then.map(|then| then.expect("it was looked at")).unwrap_or_default();
        let event = &mut self.history.events[at];
        event.end = Some(end);
        event.answer = answer(&rows, &seen);
        let (start, tx, sql) = (event.start, event.tx, event.sql.clone());
        self.note(s, at, &rows, &seen);
        if self.sessions[s].tx.is_none() {
            self.history.txs[tx].commit = Some((start, end));
            self.history.txs[tx].over = Some(end);
            if sql.contains("PREPARED") {
                self.decided(sql.starts_with("COMMIT").then_some((start, end)), end);
            }
            self.compare(at);
        } else if sql == "COMMIT" {
            self.over(s, end, Some((start, end)));
        } else if sql == "ROLLBACK" {
            self.over(s, end, None);
        } else if sql == "ROLLBACK TO s" {
            self.roll_back_to(s, tx);
        } else if let Some(name) = sql.strip_prefix("PREPARE TRANSACTION '") {
            self.is_hinted = false;
            let name = name.trim_end_matches('\'').to_string();
            let session = &mut self.sessions[s];
            session.tx = None;
            let (_, holds) = session.marks.swap_remove(0);
            session.marks.clear();
            self.prepared.push_back(Prepared { name, tx, session: s, holds });
        }
    }

    fn decided(&mut self, commit: Option<(Tick, Tick)>, end: Tick) {
        let prepared = self.prepared.pop_front().expect("it was there");
        self.history.txs[prepared.tx].over = Some(end);
        self.history.txs[prepared.tx].commit = commit;
        if commit.is_none() {
            let holds = &mut self.sessions[prepared.session].holds;
            let more: Vec<_> = prepared.holds.into_iter().filter(|held| !holds.contains(held)).collect();
            holds.extend(more);
        }
    }

    fn over(&mut self, s: usize, end: Tick, commit: Option<(Tick, Tick)>) {
        let session = &mut self.sessions[s];
        let tx = session.tx.take().expect("a transaction was open");
        self.history.txs[tx].commit = commit;
        self.history.txs[tx].over = Some(end);
        session.has_failed = false;
        if commit.is_none() {
            session.holds = session.marks[0].1.clone();
        }
        session.marks.clear();
    }

    fn roll_back_to(&mut self, s: usize, tx: usize) {
        let session = &mut self.sessions[s];
        session.has_failed = false;
        let (since, holds) = session.marks.last().expect("a savepoint").clone();
        session.holds = holds;
        for event in &mut self.history.events[since..] {
            event.is_undone |= event.tx == tx;
        }
    }

    /// What the rows of an answer mean.
    fn note(&mut self, s: usize, at: usize, rows: &Rows, seen: &Rows) {
        let mut new = Vec::new();
        let has = rows.first().and_then(|row| row.first()).is_some_and(|value| value.as_deref() == Some("t"));
        match &mut self.history.events[at].what {
            What::Push { ids, is_new, queue, subject, .. } => {
                ids.extend(rows.iter().map(|row| number::<i64>(&row[0])));
                *is_new = rows[0].get(1).map(|outcome| outcome.as_deref() == Some("pushed"));
                new.extend(ids.iter().map(|&id| (id, (*subject, *queue))));
            }
            What::Given { is_long, messages, seen: all, .. } => {
                messages.extend(rows.iter().map(|row| message(row)));
                all.extend(seen.iter().map(|row| number::<i64>(&row[0])));
                if is_long.is_some() {
                    self.sessions[s].holds.extend(messages.iter().map(|message| message.receipt));
                }
            }
            What::Settled { how, receipts, done, dead } => {
                done.extend(rows.iter().map(|row| number::<i64>(&row[0])));
                let died = rows.iter().filter(|row| row.get(1).is_some_and(|o| o.as_deref() == Some("dead")));
                dead.extend(died.map(|row| number::<i64>(&row[0])));
                if *how != Settle::Extend {
                    self.sessions[s].holds.retain(|receipt| !receipts.contains(receipt));
                }
            }
            What::Updated { is_done, .. } | What::Cancelled { is_done, .. } => *is_done = has,
            What::Moved { id, to, new: moved } => {
                *moved = rows.first().map(|row| number(&row[1]));
                if let (Some(moved), Some(&(subject, _))) = (*moved, self.history.messages.get(id)) {
                    new.push((moved, (subject, *to)));
                }
            }
            _ => {}
        }
        for (id, message) in new {
            if self.history.messages.insert(id, message).is_none() {
                self.known.push(id);
            }
        }
    }

    /// Compares what a statement did, which nobody disturbed, with what was there before.
    fn compare(&mut self, at: usize) {
        let Some(look) = self.look.take() else { return };
        let name = self.queue(look.queue);
        let fault = match &self.history.events[at].what {
            What::Given { messages, .. } if messages.is_empty() => {
                let since = self.began.duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
                let found = self.ask(&format!("EXECUTE could_be_given('{name}', {since})"));
                watch::empty_is_untrue(&found)
            }
            What::Push { ids, changes, .. } => {
                let (count, was_refused) = (changes.len(), ids.is_empty());
                let after = self.look_at(look.queue);
                let limit = self.ask(&format!(
                    "SELECT settings ->> 'max_length' FROM pgqueue.queue WHERE name = '{name}'"
                ));
                let limit = limit[0][0].as_ref().map(|limit| limit.parse().expect("a number"));
                watch::drop_is_wrong(&look, &after, count, was_refused, limit)
            }
            _ => None,
        };
        if let Some(fault) = fault {
            let sql = &self.history.events[at].sql;
            let fault = format!("{sql}: {fault}");
            self.fault(fault);
        }
    }

    /// Commits what is open, and decides what is prepared, until nobody is in a transaction.
    fn end_transactions(&mut self) {
        let begun = Instant::now();
        loop {
            self.go_on();
            let idle = |session: &Session| session.status == Status::Idle && session.tx.is_some();
            if let Some(s) = (0..self.sessions.len()).find(|&s| idle(&self.sessions[s])) {
                self.sessions[s].todo.push_back(Step::Commit);
            } else if !self.prepared.is_empty() {
                let drainer = self.drainer();
                self.sessions[drainer].todo.push_back(Step::Decide(true));
            } else if self.sessions.iter().any(|session| session.status != Status::Idle) {
                // A deadlock, which Postgres will find.
                if let Some(reply) = self.runner.workers.receive(SOON) {
                    self.take(reply);
                    self.let_go_on();
                }
                assert!(begun.elapsed() < PATIENCE, "a deadlock:\n{}", self.history.script(&[]));
            } else {
                return;
            }
        }
    }

    fn one(&mut self, s: usize, step: Step) {
        self.sessions[s].todo.push_back(step);
        self.go_on();
    }

    /// Everything is given back, settled, and worked on.
    fn drain(&mut self) {
        let drainer = self.drainer();
        for _ in 0..self.scenario.returns {
            for queue in 0..self.scenario.queues.len() {
                self.reserve_all(queue);
            }
            self.one(drainer, Step::Settle(Settle::Release, Which::All));
        }
        for s in 0..self.scenario.sessions {
            let ending = self.scenario.endings[s];
            self.one(s, Step::Settle(ending, Which::All));
        }
        let begun = Instant::now();
        for queue in 0..self.scenario.queues.len() {
            while !self.is_drained(queue) {
                self.reserve_all(queue);
                let is_empty = self.sessions[drainer].holds.is_empty();
                self.one(drainer, Step::Settle(Settle::Delete, Which::All));
                if is_empty && !self.is_drained(queue) {
                    self.unlock(queue, begun.elapsed() / 8);
                }
                if begun.elapsed() > DRAINED {
                    self.fault("the queue cannot be drained");
                    break;
                }
            }
        }
    }

    fn reserve_all(&mut self, queue: usize) {
        let drainer = self.drainer();
        self.one(drainer, Step::Reserve { queue, is_short: false, max: 100 });
    }

    fn is_drained(&mut self, queue: usize) -> bool {
        let sql = format!("EXECUTE remaining('{}')", self.queue(queue));
        self.ask(&sql).is_empty()
    }

    /// Lets go of what nobody knows the receipt of any more, and waits for what is not due.
    fn unlock(&mut self, queue: usize, pause: Duration) {
        std::thread::sleep(pause.max(Duration::from_millis(1)));
        let name = self.queue(queue);
        let found = self.ask(&format!(
            "SELECT pgq_release(m.id) FROM pgqueue.message m JOIN pgqueue.queue q ON q.id = m.queue
              WHERE q.name = '{name}' AND m.lease_until > clock_timestamp() + interval '1 min'"
        ));
        self.history.is_freed |= !found.is_empty();
        if !self.is_hinted {
            // A statement on the table tells of what hints have yet to learn.
            self.ask(&format!(
                "UPDATE pgqueue.message m SET priority = priority FROM pgqueue.queue q
                  WHERE q.id = m.queue AND q.name = '{name}' AND m.lease_until <= clock_timestamp()"
            ));
        }
    }

    fn finish(mut self) -> Outcome {
        let queues = 0..self.scenario.queues.len();
        for queue in queues.clone() {
            let name = self.queue(queue);
            if !self.ask(&format!("EXECUTE gone('{name}')")).is_empty() {
                self.ask("SELECT FROM pgq_vacuum()");
            }
            let dead = self.ask(&format!("EXECUTE dead('{name}')"));
            self.history.dead.extend(dead.iter().map(|row| (number(&row[0]), number(&row[1]))));
        }
        let mut setup = Vec::new();
        for queue in queues {
            let (name, json) = (self.queue(queue), self.scenario.queues[queue].json());
            setup.push(format!("SELECT pgq_create_queue('{name}', '{json}')"));
        }
        let script = self.history.script(&setup).replace(&format!("_{}", self.runner.case), "");
        Outcome { history: self.history, script }
    }
}

fn is_end(sql: &str) -> bool {
    sql == "COMMIT" || sql == "ROLLBACK" || sql.starts_with("PREPARE ")
}

fn message(row: &[Option<String>]) -> Message {
    Message {
        receipt: (number(&row[0]), number(&row[1])),
        subject: number(&row[2]),
        change: number(&row[3]),
        has_group: row[4].is_some(),
    }
}

fn number<T: std::str::FromStr>(text: &Option<String>) -> T
where
    T::Err: std::fmt::Debug,
{
    text.as_deref().expect("no null").parse().expect("a number")
}

/// An answer in short.
fn answer(rows: &Rows, seen: &Rows) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or("null".into());
    let row = |row: &Vec<Option<String>>| row.iter().map(text).collect::<Vec<_>>().join(" ");
    let rows: Vec<String> = rows.iter().map(row).collect();
    let mut answer = if rows.is_empty() { "nothing".into() } else { rows.join(", ") };
    if !seen.is_empty() {
        let seen: Vec<String> = seen.iter().map(row).collect();
        answer += &format!("; then sees changes {}", seen.join(" "));
    }
    answer
}
