//! Everything at once: producers and consumers that commit late, roll back, use
//! savepoints and prepared transactions, let leases expire, are killed, or see the past.
//! At the end every message is accounted for: each pushed one was done once, an empty
//! answer was true, and no lease was given while another of the message was valid.
//!
//! `PGQUEUE_STRESS_SECONDS` says how long; a few by default.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use postgres::error::SqlState;
use postgres::{Client, Error, NoTls};
use support::{Ask, Server};

const PRODUCERS: usize = 4;
const CONSUMERS: usize = 8;

/// Ends of a transaction that a client must expect.
const EXPECTED: [SqlState; 3] = [
    SqlState::T_R_SERIALIZATION_FAILURE,
    SqlState::QUERY_CANCELED, // statement_timeout
    SqlState::ADMIN_SHUTDOWN, // killed
];

/// What ends a prepared transaction gets if another one does at the same time: a session that is
/// slow, and whoever takes it for dead.
const BEING_ENDED: [SqlState; 2] = [SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, SqlState::UNDEFINED_OBJECT];

static NEXT_NAME: AtomicI64 = AtomicI64::new(0);

fn duration() -> Duration {
    let seconds = std::env::var("PGQUEUE_STRESS_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(8))
}

fn one_in(n: u32) -> bool {
    fastrand::u32(0..n) == 0
}

fn pause(most_ms: u64) {
    thread::sleep(Duration::from_millis(fastrand::u64(0..=most_ms)));
}

/// Runs `work` again and again until told to stop, in a new session when one is killed.
fn repeat(server: &Server, stop: &AtomicBool, mut work: impl FnMut(&mut Client) -> Result<(), Error>) {
    let mut session = connect(server);
    while !stop.load(Ordering::Relaxed) {
        let Err(error) = work(&mut session) else { continue };
        match error.code() {
            Some(code) if EXPECTED.contains(code) || BEING_ENDED.contains(code) => {}
            None => {} // the connection is gone
            _ => panic!("{error:?}"),
        }
        if session.batch_execute("ROLLBACK; RESET statement_timeout").is_err() {
            session = connect(server);
        }
    }
}

fn connect(server: &Server) -> Client {
    server.config("postgres").application_name("stress").connect(NoTls).unwrap()
}

/// Ends the transaction, in one of the ways there are.
fn finish(session: &mut Client) -> Result<(), Error> {
    match fastrand::u32(0..20) {
        0..2 => session.batch_execute("ROLLBACK"),
        2 => {
            pause(100);
            session.batch_execute("COMMIT")
        }
        3 => {
            let name = format!("work {}", NEXT_NAME.fetch_add(1, Ordering::Relaxed));
            session.batch_execute(&format!("PREPARE TRANSACTION '{name}'"))?;
            pause(300);
            let end = if one_in(3) { "ROLLBACK" } else { "COMMIT" };
            session.batch_execute(&format!("{end} PREPARED '{name}'"))
        }
        _ => session.batch_execute("COMMIT"),
    }
}

fn push_some(session: &mut Client) -> Result<(), Error> {
    let push = |session: &mut Client| {
        let count = if one_in(10) { fastrand::i64(1..200) } else { fastrand::i64(1..4) };
        let delay = one_in(10).then_some("20 ms");
        let group = one_in(3).then(|| format!("group {}", fastrand::u32(0..6)));
        session.execute(
            "WITH new AS (INSERT INTO pushed SELECT nextval('uid') FROM generate_series(1, $1::bigint) RETURNING uid)
             SELECT count(*) FROM (SELECT array_agg(to_jsonb(uid)) AS uids FROM new) n,
                    pgq_push_batch('q', uids, priority => $2, delay => $3::text::interval, group_key => $4)",
            &[&count, &fastrand::i32(-1..=1), &delay, &group],
        )
    };
    session.batch_execute("BEGIN")?;
    push(session)?;
    if one_in(5) {
        session.batch_execute("SAVEPOINT s")?;
        push(session)?;
        session.batch_execute(if one_in(2) { "ROLLBACK TO s" } else { "RELEASE s" })?;
    }
    finish(session)?;
    pause(10);
    Ok(())
}

/// Messages in hand: ids, deliveries, uids.
type Batch = (Vec<i64>, Vec<i32>, Vec<i64>);

fn reserve(session: &mut Client) -> Result<Batch, Error> {
    let max = if one_in(4) { fastrand::i32(1..60) } else { 1 };
    let lifo = one_in(20);
    let lease = format!("{} ms", fastrand::i32(30..400));
    // Noted in the same transaction: a lease that was rolled back never was.
    let rows = session.query(
        "WITH taken AS MATERIALIZED (SELECT * FROM pgq_reserve('q', $1::text::interval, $2, lifo => $3)),
              noted AS (INSERT INTO lease SELECT id, delivery, leased_until - $1::text::interval, leased_until, group_key, clock_timestamp(), leased_until FROM taken)
         SELECT id, delivery, payload::bigint FROM taken",
        &[&lease, &max, &lifo],
    )?;
    Ok((
        rows.iter().map(|row| row.get(0)).collect(),
        rows.iter().map(|row| row.get(1)).collect(),
        rows.iter().map(|row| row.get(2)).collect(),
    ))
}

/// Deletes messages and notes them as done, in one transaction.
fn settle(session: &mut Client, (ids, deliveries, uids): &Batch) -> Result<(), Error> {
    session.execute(
        "INSERT INTO done SELECT uid FROM pgq_delete($1::bigint[], $2::int[]) gone
           JOIN unnest($1::bigint[], $3::bigint[]) AS batch (id, uid) ON batch.id = gone",
        &[ids, deliveries, uids],
    )?;
    note_end(session, ids, deliveries)
}

/// Leases that end before their time: the next one may begin at once.
fn note_end(session: &mut Client, ids: &[i64], deliveries: &[i32]) -> Result<(), Error> {
    session.execute(
        "UPDATE lease SET until = '-infinity', held_to = least(held_to, clock_timestamp()) FROM unnest($1::bigint[], $2::int[]) AS ended (id, delivery)
          WHERE (lease.id, lease.delivery) = (ended.id, ended.delivery)",
        &[&ids, &deliveries],
    )?;
    Ok(())
}

fn consume_some(session: &mut Client) -> Result<(), Error> {
    if one_in(30) {
        session.batch_execute("SET statement_timeout = '3 ms'")?;
    }
    session.batch_execute(match fastrand::u32(0..10) {
        0 => "BEGIN ISOLATION LEVEL REPEATABLE READ",
        1 => "BEGIN ISOLATION LEVEL SERIALIZABLE",
        _ => "BEGIN",
    })?;
    if one_in(8) {
        session.batch_execute("SAVEPOINT s")?;
        reserve(session)?;
        session.batch_execute("ROLLBACK TO s")?;
    }
    let batch = reserve(session)?;
    if batch.0.is_empty() {
        session.batch_execute("COMMIT; RESET statement_timeout")?;
        pause(5);
        return Ok(());
    }
    if one_in(5) {
        // Work and settling in the transaction of the reserve.
        settle(session, &batch)?;
        return finish(session);
    }
    session.batch_execute("COMMIT; RESET statement_timeout")?;
    pause(if one_in(10) { 500 } else { 5 });
    let (ids, deliveries, _) = &batch;
    session.batch_execute("BEGIN")?;
    match fastrand::u32(0..20) {
        0..2 => {} // its consumer is gone
        2 | 3 => {
            let released: Vec<i64> = session
                .query("SELECT pgq_release($1::bigint[], deliveries => $2::int[])", &[ids, deliveries])?
                .iter()
                .map(|row| row.get(0))
                .collect();
            if !released.is_empty() {
                note_end(session, ids, deliveries)?;
            }
        }
        4 => {
            session.execute(
                "SELECT pgq_fail($1::bigint[], 'no luck', $2::int[], delay => '10 ms')",
                &[ids, deliveries],
            )?;
            note_end(session, ids, deliveries)?;
        }
        5 => {
            session.execute(
                "WITH longer AS (SELECT * FROM pgq_extend($1::bigint[], '150 ms', $2::int[]))
                 UPDATE lease SET until = leased_until, held_to = leased_until
                   FROM longer JOIN unnest($1::bigint[], $2::int[]) AS held (id, delivery) USING (id)
                  WHERE lease.id = held.id AND lease.delivery = held.delivery",
                &[ids, deliveries],
            )?;
        }
        _ => settle(session, &batch)?,
    }
    finish(session)
}

fn kill_some(server: &Server, stop: &AtomicBool) {
    let mut session = server.connect();
    while !stop.load(Ordering::Relaxed) {
        pause(500);
        session
            .execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                  WHERE application_name = 'stress' ORDER BY random() LIMIT 1",
                &[],
            )
            .unwrap();
        end_prepared(&mut session);
    }
}

/// Ends those whose sessions were killed between PREPARE and its end, as it seems.
fn end_prepared(session: &mut Client) {
    let orphans = "SELECT gid FROM pg_prepared_xacts WHERE prepared < now() - interval '1 s'";
    for name in session.all::<String>(orphans) {
        let Err(error) = session.batch_execute(&format!("COMMIT PREPARED '{name}'")) else { continue };
        assert!(error.code().is_some_and(|code| BEING_ENDED.contains(code)), "{error:?}");
    }
}

fn drain(session: &mut Client) {
    loop {
        let taken: i64 = session.one(
            "WITH taken AS MATERIALIZED (SELECT * FROM pgq_pop('q', max => 100)),
                  noted AS (INSERT INTO done SELECT payload::bigint FROM taken)
             SELECT count(*) FROM taken",
        );
        if taken == 0 {
            return;
        }
    }
}

/// Wheels have servers without amcheck (docs/majors.md).
fn check_indexes(session: &mut Client) {
    if session.all::<i32>("SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck'").is_empty() {
        return eprintln!("this server has no amcheck: its indexes are not checked");
    }
    session
        .batch_execute(
            "CREATE EXTENSION amcheck;
             SELECT bt_index_check(indexrelid, heapallindexed => true)
               FROM pg_index WHERE indrelid = 'pgqueue.message'::regclass",
        )
        .unwrap();
}

#[test]
fn every_message_is_done_once() {
    stress("on");
}

#[test]
fn every_message_is_done_once_without_maintenance() {
    stress("off");
}

fn stress(maintenance: &str) {
    let server = Server::start();
    server.set(&format!("pgqueue.auto_vacuum = {maintenance}"));
    let mut session = server.connect();
    session
        .batch_execute(
            "CREATE SEQUENCE uid;
             CREATE TABLE pushed (uid bigint);
             CREATE TABLE done (uid bigint);
             CREATE TABLE lease (id bigint, delivery int, since timestamptz, until timestamptz,
                                 group_key text, held_from timestamptz, held_to timestamptz);
             CREATE INDEX ON lease (id, delivery);
             SELECT pgq_create_queue('q', '{\"max_deliveries\": 0}')",
        )
        .unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for _ in 0..PRODUCERS {
            workers.push(scope.spawn(|| repeat(&server, &stop, push_some)));
        }
        for _ in 0..CONSUMERS {
            workers.push(scope.spawn(|| repeat(&server, &stop, consume_some)));
        }
        scope.spawn(|| kill_some(&server, &stop));
        let begun = Instant::now();
        while begun.elapsed() < duration() {
            thread::sleep(Duration::from_millis(200));
        }
        stop.store(true, Ordering::Relaxed);
        // What the last ones killed had prepared holds up others.
        while !workers.iter().all(|worker| worker.is_finished()) {
            end_prepared(&mut session);
            thread::sleep(Duration::from_millis(100));
        }
    });
    thread::sleep(Duration::from_secs(1));
    end_prepared(&mut session);
    // The last leases and delays end, and what was prepared is looked at again.
    thread::sleep(Duration::from_secs(2));
    drain(&mut session);

    check_indexes(&mut session);
    let left: Vec<String> = session.all("SELECT m::text FROM pgqueue.message_state m ORDER BY id LIMIT 5");
    assert_eq!(left, [""; 0], "an empty answer although there are messages");
    let count: i64 = session.one("SELECT count(*) FROM pushed");
    println!("{count} messages");
    assert!(count > 100, "it hardly did anything: {count} messages");
    let missing: i64 = session.one("SELECT count(*) FROM (TABLE pushed EXCEPT TABLE done) m");
    let strange: i64 = session.one("SELECT count(*) FROM (TABLE done EXCEPT TABLE pushed) m");
    let twice: i64 = session.one("SELECT count(*) - count(DISTINCT uid) FROM done");
    assert_eq!((missing, strange, twice), (0, 0, 0), "of {count}: missing, never pushed, done twice");
    let overlapping: Vec<String> = session.all(
        "SELECT format('%s: %s until %s, then %s since %s', id, delivery, until, next_delivery, next_since)
           FROM (SELECT *, lead(delivery) OVER later AS next_delivery, lead(since) OVER later AS next_since
                   FROM lease WINDOW later AS (PARTITION BY id ORDER BY delivery, since)) l
          WHERE next_since < until",
    );
    assert_eq!(overlapping, [""; 0], "a lease was given while another was valid");
    // A call may have begun long before it took its message: what counts is when it had it.
    let two_of_a_group: Vec<String> = session.all(
        "SELECT format('%s: %s held to %s, %s from %s', group_key, id, held_to, next_id, next_from)
           FROM (SELECT *, lead(id) OVER later AS next_id, lead(held_from) OVER later AS next_from
                   FROM lease WHERE group_key IS NOT NULL
                 WINDOW later AS (PARTITION BY group_key ORDER BY held_from)) l
          WHERE next_from < held_to AND next_id <> id",
    );
    assert_eq!(two_of_a_group, [""; 0], "two of a group were out at once");
    let counters: Vec<String> = session.all(
        "SELECT c::text FROM (SELECT sum(ready) AS ready, sum(leased) AS leased, sum(delayed) AS delayed,
                                     sum(blocked) AS blocked, sum(dead) AS dead
                                FROM (TABLE pgqueue.counter UNION ALL SELECT * FROM pgqueue.pending_counts()) all_of_them) c
          WHERE (ready, leased, delayed, blocked, dead) IS DISTINCT FROM (0::numeric, 0::numeric, 0::numeric, 0::numeric, 0::numeric)",
    );
    assert_eq!(counters, [""; 0], "counters that do not add up");
}
