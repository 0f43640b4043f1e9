//! Clients that push and consume without pause and record it all (`pgqueue-history`). When
//! their server is gone they connect again, to whichever takes writes by then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pgqueue_history::{
    Act, Clock, Done, End, Ending, History, Moment, Operation, Order, Pushed, Receipt, Span, Taken, Token,
    Transaction, Verdict, Violation, check,
};
use postgres::types::ToSql;
use postgres::{Client, Config, Error, NoTls, Row};

use super::{Ask, until};

/// The queue of all clients.
pub const QUEUE: &str = "load";

/// As long as a failover may take to be noticed by nobody.
const LEASE: Duration = Duration::from_secs(2);

/// Moments as the checker counts them.
const TIMES: &str = "(extract(epoch FROM statement_timestamp()) * 1e6)::bigint AS began,
                     (extract(epoch FROM clock_timestamp()) * 1e6)::bigint AS ended";

pub struct Load {
    begun: Instant,
    /// How many calls their clients were told the end of.
    told: Arc<AtomicU64>,
    producers: Crew,
    consumers: Crew,
}

/// Clients that do the same until they are told to stop.
struct Crew {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<Transaction>>>,
}

impl Load {
    /// Starts clients of a queue that is there.
    pub fn start(config: &Config, producers: u32, consumers: u32) -> Self {
        let (begun, told) = (Instant::now(), Arc::default());
        let recorder = |client| Recorder::new(client, config.clone(), begun, Arc::clone(&told));
        Self {
            begun,
            producers: Crew::start((0..producers).map(recorder), Recorder::push),
            consumers: Crew::start((producers..producers + consumers).map(recorder), Recorder::consume),
            told,
        }
    }

    pub fn now(&self) -> Moment {
        self.begun.elapsed().as_micros() as Moment
    }

    /// Waits until the clients were told of so many more calls that they are done.
    pub fn go_on(&self, calls: u64) {
        let enough = self.told.load(Ordering::Relaxed) + calls;
        until("the clients get on", || self.told.load(Ordering::Relaxed) >= enough);
    }

    /// Lets the consumers finish what was pushed, and returns what has happened.
    pub fn finish(self, session: &mut Client) -> History {
        let mut transactions = self.producers.stop();
        until("all is consumed", || session.one("SELECT total = 0 FROM pgq_stats('load', exact => true)"));
        transactions.extend(self.consumers.stop());
        History { transactions, ending: ending(session), ..History::default() }
    }
}

/// Fails with the first violations, if there are any.
pub fn assert_kept(history: &History) {
    let violations = check(history);
    let told: Vec<String> = violations.iter().map(Violation::to_string).take(5).collect();
    assert!(
        violations.is_empty(),
        "{} violations, the first of them:\n{}",
        violations.len(),
        told.join("\n")
    );
}

/// What is left in the database.
fn ending(session: &mut Client) -> Ending {
    let mut those = |table| {
        let rows =
            session.query(&format!("SELECT id, (payload #>> '{{}}')::bigint FROM pgqueue.{table}"), &[]);
        rows.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
    };
    let (alive, dead) = (those("message"), those("dead"));
    Ending {
        alive,
        dead,
        latest: session.one("SELECT (extract(epoch FROM now()) * 1e6)::bigint"),
        ..Ending::default()
    }
}

impl Crew {
    fn start(recorders: impl Iterator<Item = Recorder>, act: fn(&mut Recorder)) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let run = |mut recorder: Recorder| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    act(&mut recorder);
                }
                recorder.transactions
            })
        };
        Self { clients: recorders.map(run).collect(), stop }
    }

    fn stop(self) -> Vec<Transaction> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    }
}

/// A client and what it has done.
struct Recorder {
    client: u32,
    config: Config,
    session: Option<Client>,
    begun: Instant,
    told: Arc<AtomicU64>,
    transactions: Vec<Transaction>,
}

type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Recorder {
    fn new(client: u32, config: Config, begun: Instant, told: Arc<AtomicU64>) -> Self {
        Self { client, config, session: None, begun, told, transactions: Vec::new() }
    }

    /// Pushes one or a few messages, every fourth time into a group.
    fn push(&mut self) {
        let number = self.next_number();
        let tokens: Vec<Token> = (0..1 + number as i64 % 3).map(|n| (number as i64) << 2 | n).collect();
        let group = number.is_multiple_of(4).then(|| format!("group {}", number % 12));
        let payloads: Vec<String> = tokens.iter().map(Token::to_string).collect();
        let order = Order { group: group.clone(), priority: 0 };
        let statement =
            format!("SELECT id, {TIMES} FROM pgq_push_batch($1, $2::text[]::jsonb[], group_key => $3) id");
        self.call(&statement, &[&QUEUE, &payloads, &group], true, |rows| {
            let id = |n: usize| rows.map(|rows| rows[n].get("id"));
            let messages =
                tokens.iter().enumerate().map(|(n, &token)| Pushed { token, id: id(n), met: None });
            Act::Push { messages: messages.collect(), order, delay: 0, ttl: None, key: None }
        });
    }

    /// Reserves messages, or waits for them, and settles them in one of some ways.
    fn consume(&mut self) {
        let lease = LEASE.as_micros() as i64;
        let statement = format!(
            "SELECT id, delivery::int, (payload #>> '{{}}')::bigint AS token,
                    (extract(epoch FROM leased_until) * 1e6)::bigint AS until, {TIMES}
               FROM pgq_reserve($1, lease => $2::bigint * interval '1 us', max => 10)"
        );
        let mut taken = Vec::new();
        self.call(&statement, &[&QUEUE, &lease], false, |rows| {
            taken = rows.unwrap_or_default().iter().map(taken_from).collect();
            Act::Reserve { lease, lifo: false, taken: rows.map(|_| taken.clone()) }
        });
        if !taken.is_empty() {
            self.settle(&taken);
        } else if self.connected().batch_execute("CALL pgq_wait('load', '100 ms')").is_err() {
            self.session = None;
        }
    }

    fn settle(&mut self, taken: &[Taken]) {
        let (verdict, call) = match self.next_number() % 15 {
            0 => (Verdict::Fail, "id FROM pgq_fail_batch($1::bigint[], 'again', $2::int[], delay => '0')"),
            1 => (Verdict::Release, "id FROM pgq_release_batch($1::bigint[], '0', $2::int[]) id"),
            _ => (Verdict::Delete, "id FROM pgq_delete_batch($1::bigint[], $2::int[]) id"),
        };
        let statement = format!("SELECT {TIMES}, {call}");
        let (ids, deliveries): (Vec<i64>, Vec<i32>) =
            taken.iter().map(|message| (message.id, message.delivery)).unzip();
        let receipt = |message: &Taken| Receipt { id: message.id, delivery: Some(message.delivery) };
        self.call(&statement, &[&ids, &deliveries], true, |rows| {
            let done = |row: &Row| Done { id: row.get("id"), until: None, died: false };
            let done = rows.map(|rows| rows.iter().map(done).collect());
            Act::Settle { verdict, receipts: taken.iter().map(receipt).collect(), delay: Some(0), done }
        });
    }

    /// Runs a statement, in a transaction of its own, and records what was asked and answered.
    fn call(
        &mut self,
        statement: &str,
        params: Params,
        durable: bool,
        act: impl FnOnce(Option<&[Row]>) -> Act,
    ) {
        self.connected();
        let invoked = self.now();
        let answer = self.connected().query(statement, params);
        let span = Span { invoked, returned: self.now() };
        let rows = answer.as_deref().ok();
        let clock = rows
            .and_then(|rows| rows.first())
            .map(|row| Clock { began: row.get("began"), ended: row.get("ended") });
        let operation = Operation { span, clock, queue: QUEUE.to_owned(), act: act(rows), undone: false };
        let end = match &answer {
            Ok(_) => End::Committed(span),
            Err(error) => end_by(error, span),
        };
        match answer {
            Ok(_) => _ = self.told.fetch_add(1, Ordering::Relaxed),
            Err(_) => self.session = None,
        }
        let number = self.next_number();
        let operations = vec![operation];
        self.transactions.push(Transaction {
            number,
            client: self.client,
            operations,
            end,
            durable,
            noted: false,
        });
    }

    fn next_number(&self) -> u64 {
        u64::from(self.client) << 32 | self.transactions.len() as u64
    }

    fn now(&self) -> Moment {
        self.begun.elapsed().as_micros() as Moment
    }

    fn connected(&mut self) -> &mut Client {
        if self.session.is_none() {
            until("a server takes writes", || {
                self.session = self.config.connect(NoTls).ok();
                self.session.is_some()
            });
        }
        self.session.as_mut().expect("connected")
    }
}

/// What an error says of its transaction.
fn end_by(error: &Error, span: Span) -> End {
    match error.code().map(|code| code.code()) {
        // The server stops, or the connection is gone: nobody knows.
        None => End::Unknown(span),
        Some(code) if code.starts_with("57P") => End::Unknown(span),
        Some("25006") => End::RolledBack,
        Some(_) => panic!("{error:?}"),
    }
}

fn taken_from(row: &Row) -> Taken {
    Taken {
        id: row.get("id"),
        token: row.get("token"),
        delivery: row.get("delivery"),
        until: Some(row.get("until")),
    }
}
