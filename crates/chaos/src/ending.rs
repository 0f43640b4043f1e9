//! Endings: after a round everything is decided and drained, and what is there is written down.

use std::collections::{HashMap, HashSet};
use std::sync::Once;
use std::time::{Duration, Instant};

use fastrand::Rng;
use pgqueue_history::{End, Id, Moment, Span, Token};
use postgres::{Client, Error, NoTls};
use support::Ask;

use crate::call::Call;
use crate::clock::{now, since};
use crate::queue::Queue;
use crate::session::{Session, Undecided};
use crate::stage::Stage;

/// How long a queue may take until it gives all it has.
const PATIENCE: Duration = Duration::from_secs(40);

/// How long all queues may have nothing to give although a message is ready: what was prepared
/// is looked at every second; what was prepared before the server was started again, only
/// when everything is (docs/engine.md).
const SOON: Duration = Duration::from_secs(3);
const SOON_AFTER_A_START: Duration = Duration::from_secs(10);

/// Brings a round to its end, which began at a moment, when the server had been started so: the history is
/// complete afterwards.
pub fn come_to(stage: &Stage, started: &str, begun: Moment) {
    stage.wait_until_up();
    stage.wait_until_alone();
    let mut session = stage.server.connect();
    decide_all(stage);
    // What is left was never prepared, or has been decided.
    for mut one in std::mem::take(&mut *stage.undecided.lock().unwrap()) {
        one.transaction.end = End::Unknown(Span { invoked: one.since, returned: Moment::MAX });
        stage.history.lock().unwrap().transactions.push(one.transaction);
    }
    settle_unknown(stage, &mut session);
    let has_restarted = stage.started() != started;
    drain(stage, &mut session, if has_restarted { SOON_AFTER_A_START } else { SOON });
    if has_restarted {
        stage.history.lock().unwrap().excused.push(since(begun));
    }
    look(stage, &mut session);
}

/// Commits what was left prepared, if the server can be reached: others may wait for it.
pub fn decide_all(stage: &Stage) {
    let Ok(mut session) = stage.server.config("postgres").connect(NoTls) else { return };
    let undecided = std::mem::take(&mut *stage.undecided.lock().unwrap());
    for mut one in undecided {
        match decide(&mut session, &one) {
            Ok(Some(end)) => {
                one.transaction.end = end;
                stage.history.lock().unwrap().transactions.push(one.transaction);
            }
            Ok(None) | Err(_) => stage.undecided.lock().unwrap().push(one),
        }
    }
}

/// None: it is not prepared, or not yet.
fn decide(session: &mut Client, undecided: &Undecided) -> Result<Option<End>, Error> {
    let name = undecided.transaction.number.to_string();
    let is_prepared = "SELECT EXISTS (SELECT FROM pg_prepared_xacts WHERE gid = $1)";
    if !session.query_one(is_prepared, &[&name])?.get::<_, bool>(0) {
        return Ok(None);
    }
    let invoked = now();
    session.batch_execute(&format!("COMMIT PREPARED '{name}'"))?;
    Ok(Some(End::Committed(since(invoked))))
}

/// What noted itself was committed or not. Of the others, it is known that nothing more comes.
fn settle_unknown(stage: &Stage, session: &mut Client) {
    let noted: Vec<i64> = session.all("SELECT number FROM note");
    let noted: HashSet<u64> = noted.into_iter().map(|number| number as u64).collect();
    let returned = now();
    let mut history = stage.history.lock().unwrap();
    for transaction in &mut history.transactions {
        let End::Unknown(Span { invoked, returned: Moment::MAX }) = transaction.end else { continue };
        let span = Span { invoked, returned };
        transaction.end = match (transaction.noted, noted.contains(&transaction.number)) {
            (true, true) => End::Committed(span),
            (true, false) => End::RolledBack,
            (false, _) => End::Unknown(span),
        };
    }
    history.ending.noted = noted;
}

/// Takes all messages that are left, as a consumer would. What is ready must be given soon.
fn drain(stage: &Stage, observer: &mut Client, soon: Duration) {
    let mut consumer = Session::new(stage, 0, Rng::with_seed(0));
    let begun = Instant::now();
    let mut last_given = begun;
    while observer.one::<bool>("SELECT EXISTS (SELECT FROM pgqueue.message)") {
        if begun.elapsed() > PATIENCE || last_given.elapsed() > soon {
            let left: Vec<String> =
                observer.all("SELECT row(id, queue, lane, state, lease_until, due_at, group_key)::text FROM pgqueue.message_state ORDER BY id LIMIT 5");
            stage.complaints.add(format!("messages that nobody is given: {left:?}"));
            break;
        }
        if !consumer.is_connected() {
            continue;
        }
        let is_ready: bool =
            observer.one("SELECT EXISTS (SELECT FROM pgqueue.message_state WHERE state = 'ready')");
        let given = pop_all(&mut consumer);
        if !is_ready || given != Some(0) {
            last_given = Instant::now();
        }
        if given.unwrap_or(0) == 0 {
            consumer.pause(20);
        }
    }
    stage.history.lock().unwrap().transactions.extend(consumer.history);
}

/// Pops from each queue, and counts what it was given; none if a call failed.
fn pop_all(consumer: &mut Session) -> Option<usize> {
    let pop = |queue| consumer.once(queue, &Call::Pop { max: 100 }).ok().map(|rows| rows.len());
    Queue::ALL.map(pop).into_iter().sum()
}

fn look(stage: &Stage, session: &mut Client) {
    let mut messages = |table: &str| -> HashMap<Id, Token> {
        let rows = session.query(&format!("SELECT id, payload::bigint FROM pgqueue.{table}"), &[]).unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    };
    let (alive, dead) = (messages("message"), messages("dead"));
    let archived: Vec<Id> = session.all("SELECT id FROM pgqueue.archive");
    let clock: i64 = session.one("SELECT micros(clock_timestamp())");
    let mut history = stage.history.lock().unwrap();
    history.ending.alive = alive;
    history.ending.dead = dead;
    history.ending.archived = archived.into_iter().collect();
    history.ending.latest = history.ending.latest.max(clock);
}

/// Looks for damage to indexes and tables, and for counters that do not add up.
pub fn inspect(stage: &Stage, may_abort: bool) {
    let mut session = stage.server.connect();
    look_for_damage(stage, &mut session);
    if !counters_add_up(&mut session) {
        let counters: Vec<String> = session.all(COUNTERS);
        stage.complaints.add(format!("counters that do not add up: {counters:?}"));
    }
    let log = stage.server.log();
    let damage = |line: &&str| {
        let signs = ["TRAP", "signal 11", "panicked at"].iter().any(|sign| line.contains(sign));
        signs || (line.contains("signal 6") && !may_abort)
    };
    log.lines().filter(damage).for_each(|line| stage.complaints.add(format!("log: {line}")));
}

fn look_for_damage(stage: &Stage, session: &mut Client) {
    if session.all::<i32>("SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck'").is_empty() {
        static SAID: Once = Once::new();
        return SAID
            .call_once(|| println!("this server has no amcheck: its indexes and tables are NOT CHECKED"));
    }
    session.batch_execute("CREATE EXTENSION IF NOT EXISTS amcheck").unwrap();
    for damage in session.all::<String>(
        "SELECT t::text || ' ' || d::text FROM unnest(ARRAY['message', 'dead', 'slot', 'queue']) t,
                verify_heapam(('pgqueue.' || t)::regclass) d",
    ) {
        stage.complaints.add(format!("verify_heapam: {damage}"));
    }
    if let Err(error) = session.batch_execute(
        "SELECT bt_index_check(indexrelid, heapallindexed => true)
           FROM pg_index JOIN pg_class c ON c.oid = indrelid WHERE c.relnamespace = 'pgqueue'::regnamespace",
    ) {
        stage.complaints.add(format!("bt_index_check: {error:?}"));
    }
}

/// Queues of which the counters say something else than the tables. All messages are gone.
const COUNTERS: &str = "
    SELECT c::text FROM (
        SELECT queue, sum(ready) AS ready, sum(leased) AS leased, sum(delayed) AS delayed, sum(blocked) AS blocked,
               sum(dead) AS dead
          FROM (TABLE pgqueue.counter UNION ALL SELECT * FROM pgqueue.pending_counts()) all_of_them GROUP BY queue) c
     WHERE (ready, leased, delayed, blocked, dead) IS DISTINCT FROM
           (0, 0, 0, 0, (SELECT count(*) FROM pgqueue.dead d WHERE d.queue = c.queue))";

/// After a crash the worker counts anew, when it comes to it.
fn counters_add_up(session: &mut Client) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if session.all::<String>(COUNTERS).is_empty() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}
