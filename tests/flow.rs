//! `max_leased` and pause under many sessions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use postgres::Client;
use support::{Ask, Ending, Server, Stop, until, until_blocked};

/// Leases, lets leases end, extends, fails, releases, rolls back.
fn consume(mut session: Client, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        if fastrand::u8(..) < 20 {
            let mut transaction = session.transaction().unwrap();
            transaction.query("SELECT id FROM pgq_reserve('q', max => 3)", &[]).unwrap();
            transaction.rollback().unwrap();
        }
        let lease = if fastrand::u8(..) < 60 { "3 ms" } else { "1 min" };
        let reserve = format!("SELECT id, delivery FROM pgq_reserve('q', lease => '{lease}', max => 3)");
        for row in session.query(&reserve, &[]).unwrap() {
            let (id, delivery): (i64, i64) = (row.get(0), row.get(1));
            let settle = match fastrand::u8(..) {
                0..30 => "SELECT pgq_extend($1, '5 ms', $2)",
                30..60 => "SELECT pgq_release($1, '0'::interval, $2)",
                60..90 => "SELECT pgq_fail($1, 'no', $2, '2 ms'::interval)",
                _ => "SELECT pgq_delete($1, $2)",
            };
            session.execute(settle, &[&id, &delivery]).unwrap();
        }
    }
}

#[test]
fn no_more_than_the_limit_are_out_at_any_moment_and_all_get_through() {
    const LIMIT: i64 = 4;
    let server = Server::start();
    let mut observer = server.connect();
    observer
        .batch_execute(&format!(
            "SELECT pgq_create_queue('q', '{{\"max_leased\": {LIMIT}, \"max_deliveries\": 0}}');
             SELECT count(pgq_push('q', to_jsonb(n))) FROM generate_series(1, 1500) n"
        ))
        .unwrap();
    let is_over = AtomicBool::new(false);
    let mut most = 0;
    thread::scope(|scope| {
        let ending = Ending(&is_over);
        for _ in 0..8 {
            let session = server.connect();
            scope.spawn(|| consume(session, &is_over));
        }
        until("all is done", || {
            let out: i64 =
                observer.one("SELECT count(*) FROM pgqueue.message WHERE lease_until > clock_timestamp()");
            assert!(out <= LIMIT, "{out} are out");
            most = most.max(out);
            observer.one::<i64>("SELECT total FROM pgq_stats('q')") == 0
        });
        drop(ending);
    });
    assert_eq!(most, LIMIT, "the limit is used");
}

#[test]
fn a_consumer_that_waits_for_a_slot_is_woken_when_one_is_free() {
    let server = Server::start();
    let mut session = server.connect();
    session.execute("SELECT pgq_create_queue('q', '{\"max_leased\": 1}')", &[]).unwrap();
    session.execute("SELECT pgq_push_batch('q', ARRAY['1', '2', '3', '4']::jsonb[])", &[]).unwrap();
    let mut observer = server.connect();
    for settle in ["pgq_delete", "pgq_release", "pgq_bury"] {
        let id: i64 = session.one("SELECT id FROM pgq_reserve('q', lease => '1 h')");
        let more = if settle == "pgq_bury" { ", 'no'" } else { "" };
        let mut sleeper = server.connect();
        thread::scope(|scope| {
            let waiting = scope.spawn(move || {
                let begun = std::time::Instant::now();
                sleeper.batch_execute("CALL pgq_wait('q', '25 s')").unwrap();
                begun.elapsed()
            });
            until("it sleeps", || {
                observer.one("SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'CALL pgq_wait%' AND state = 'active' AND wait_event_type = 'Extension'")
            });
            session.execute(&format!("SELECT {settle}($1::bigint{more})"), &[&id]).unwrap();
            assert!(waiting.join().unwrap().as_secs() < 20, "{settle} wakes");
        });
    }
}

#[test]
fn two_pushes_that_make_room_at_once_in_one_group_both_succeed() {
    let server = Server::start();
    let (mut one, mut other) = (server.connect(), server.connect());
    one.execute(r#"SELECT pgq_create_queue('q', '{"max_length": 5, "on_full": "drop_oldest"}')"#, &[])
        .unwrap();
    let push = "SELECT pgq_push('q', '1', group_key => 'a')";
    let ids: Vec<i64> = (0..5).map(|_| one.one(push)).collect();
    one.batch_execute("BEGIN").unwrap();
    one.execute(push, &[]).unwrap();
    other.execute(push, &[]).unwrap();
    one.batch_execute("COMMIT").unwrap();
    let left = one.all::<i64>("SELECT id FROM pgqueue.message ORDER BY id LIMIT 3");
    assert_eq!(left, ids[2..]);
}

#[test]
fn a_push_to_a_queue_that_was_dropped_meanwhile_fails() {
    let server = Server::start();
    let (mut producer, mut owner) = (server.connect(), server.connect());
    let again = "SELECT pgq_drop_queue('q'), pgq_create_queue('q')";
    for push in [
        "SELECT pgq_push('q', '1')",
        "SAVEPOINT s; SELECT pgq_push('q', '1'); RELEASE s",
        "SELECT pgq_push('q', '1'); SAVEPOINT s; SELECT pgq_drop_queue('q'); ROLLBACK TO s",
        "SELECT pgq_push('other', '1'); SELECT pgq_move_batch(array_agg(id), 'q') FROM pgq_peek('other')",
    ] {
        owner.execute("SELECT pgq_create_queue('q')", &[]).unwrap();
        producer.batch_execute(&format!("BEGIN; {push}")).unwrap();
        owner.execute(again, &[]).unwrap();
        assert_eq!(producer.sqlstate("COMMIT"), "40001", "{push}");
    }
    // Nor is it lost if it had to wait for the drop.
    owner.execute("SELECT pgq_push('q', '1', dedup_key => 'k')", &[]).unwrap();
    owner.batch_execute("BEGIN; SELECT pgq_drop_queue('q')").unwrap();
    thread::scope(|scope| {
        let push = "SELECT pgq_push('q', '2', dedup_key => 'k', on_duplicate => 'reject')";
        let pushing = scope.spawn(|| server.connect().sqlstate(push));
        until_blocked(&mut server.connect(), 1);
        owner.batch_execute("COMMIT").unwrap();
        assert_eq!(pushing.join().unwrap(), "40001");
    });
    // Who drops it himself knows, and a change of another queue is none of this one.
    producer
        .batch_execute(
            "BEGIN; SELECT pgq_push('q', '1'); SAVEPOINT s; SELECT pgq_drop_queue('q'); RELEASE s; COMMIT",
        )
        .unwrap();
    producer.batch_execute("BEGIN; SELECT pgq_push('q', '1')").unwrap();
    owner.execute("SELECT pgq_create_queue('new')", &[]).unwrap();
    producer.batch_execute("COMMIT").unwrap();
    assert_eq!(producer.one::<i64>("SELECT pgq_count('q')"), 1);
}

#[test]
fn a_queue_is_not_dropped_before_a_prepared_push_to_it_is_decided() {
    let server = Server::start();
    let mut session = server.connect();
    session.execute("SELECT pgq_create_queue('q')", &[]).unwrap();
    session
        .batch_execute(
            "BEGIN; SELECT pgq_push('q', '1'); SAVEPOINT s; SELECT pgq_drop_queue('q'); ROLLBACK TO s;
             PREPARE TRANSACTION 'push'",
        )
        .unwrap();
    server.stop(Stop::Kill);
    server.launch();
    let (mut session, mut owner) = (server.connect(), server.connect());
    thread::scope(|scope| {
        let dropping = scope.spawn(move || owner.one::<i64>("SELECT pgq_drop_queue('q')"));
        until_blocked(&mut session, 1);
        session.batch_execute("BEGIN; SELECT pgq_push('q', '2')").unwrap();
        assert_eq!(session.sqlstate("PREPARE TRANSACTION 'late'"), "40001", "nobody waits behind the drop");
        session.batch_execute("COMMIT PREPARED 'push'").unwrap();
        assert_eq!(dropping.join().unwrap(), 1, "the message went with its queue, after its push");
    });
    // Nor can a push be prepared to a queue that is gone.
    session.execute("SELECT pgq_create_queue('q')", &[]).unwrap();
    session.batch_execute("BEGIN; SELECT pgq_push('q', '1')").unwrap();
    server.connect().execute("SELECT pgq_drop_queue('q')", &[]).unwrap();
    assert_eq!(session.sqlstate("PREPARE TRANSACTION 'push'"), "40001");
    // Who takes everything away himself may.
    session
        .batch_execute(
            "BEGIN; SELECT pgq_push('q', '1'); DROP EXTENSION pgqueue CASCADE; PREPARE TRANSACTION 'push'",
        )
        .unwrap();
    session.batch_execute("ROLLBACK PREPARED 'push'").unwrap();
}

#[test]
fn a_queue_is_dropped_once_and_not_changed_afterwards() {
    let server = Server::start();
    let mut owner = server.connect();
    for call in ["SELECT pgq_drop_queue('q')", "SELECT pgq_alter_queue('q', '{\"ttl\": \"1 h\"}')"] {
        owner.execute("SELECT pgq_create_queue('q')", &[]).unwrap();
        owner.batch_execute("BEGIN; SELECT pgq_drop_queue('q')").unwrap();
        thread::scope(|scope| {
            let second = scope.spawn(|| server.connect().sqlstate(call));
            until_blocked(&mut server.connect(), 1);
            owner.batch_execute("COMMIT").unwrap();
            assert_eq!(second.join().unwrap(), "42704", "{call}");
        });
    }
}

#[test]
fn a_pause_holds_in_other_sessions_at_their_next_call() {
    let server = Server::start();
    let (mut manager, mut consumer) = (server.connect(), server.connect());
    manager.execute("SELECT pgq_push_batch('q', ARRAY['1', '2', '3']::jsonb[])", &[]).unwrap();
    assert_eq!(consumer.all::<i64>("SELECT id FROM pgq_reserve('q')").len(), 1);
    manager.execute("SELECT pgq_pause('q')", &[]).unwrap();
    assert!(consumer.all::<i64>("SELECT id FROM pgq_reserve('q')").is_empty());
    assert!(consumer.all::<i64>("SELECT id FROM pgq_pop('q')").is_empty());
    manager.execute("SELECT pgq_push('q', '4')", &[]).unwrap();
    manager.execute("SELECT pgq_resume('q')", &[]).unwrap();
    assert_eq!(consumer.all::<i64>("SELECT id FROM pgq_reserve('q', max => 9)").len(), 3);
}

#[test]
fn a_reserve_does_not_wait_for_a_slot_that_an_open_transaction_holds() {
    let server = Server::start();
    let (mut one, mut other) = (server.connect(), server.connect());
    one.execute("SELECT pgq_create_queue('q', '{\"max_leased\": 1}')", &[]).unwrap();
    one.execute("SELECT pgq_push_batch('q', ARRAY['1', '2']::jsonb[])", &[]).unwrap();
    other.batch_execute("SET statement_timeout = '5 s'").unwrap();
    one.batch_execute("BEGIN").unwrap();
    let first: i64 = one.one("SELECT id FROM pgq_reserve('q')");
    assert!(other.all::<i64>("SELECT id FROM pgq_reserve('q')").is_empty());
    one.batch_execute("ROLLBACK").unwrap();
    assert_eq!(other.all::<i64>("SELECT id FROM pgq_reserve('q')"), [first]);
}

#[test]
fn a_lease_that_is_extended_again_and_again_keeps_its_slot() {
    let server = Server::start();
    let (mut one, mut other) = (server.connect(), server.connect());
    one.execute("SELECT pgq_create_queue('q', '{\"max_leased\": 1}')", &[]).unwrap();
    one.execute("SELECT pgq_push_batch('q', ARRAY['1', '2']::jsonb[])", &[]).unwrap();
    let first: i64 = one.one("SELECT id FROM pgq_reserve('q')");
    // An old snapshot keeps the versions of the row, so that its page fills up.
    let mut old = server.connect();
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class").unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let ending = Ending(&is_over);
        let extending = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                one.execute("SELECT pgq_extend($1::bigint, '1 min')", &[&first]).unwrap();
            }
        });
        for _ in 0..10_000 {
            let taken: Vec<i64> = other.all("SELECT id FROM pgq_reserve('q')");
            assert!(taken.is_empty(), "two are out");
        }
        drop(ending);
        extending.join().unwrap();
    });
}

#[test]
fn of_two_that_change_the_limit_at_once_the_second_has_the_last_word() {
    let server = Server::start();
    let (mut first, mut observer) = (server.connect(), server.connect());
    for (before, between, after) in [("5", "null", "5"), ("5", "2", "5"), ("null", "3", "null")] {
        let alter = |limit| format!("SELECT pgq_alter_queue('q', '{{\"max_leased\": {limit}}}')");
        first.batch_execute(&format!("SELECT pgq_create_queue('q'); {}", alter(before))).unwrap();
        first
            .execute("SELECT pgq_push_batch('q', array_agg(to_jsonb(n))) FROM generate_series(1, 9) n", &[])
            .unwrap();
        first.batch_execute(&format!("BEGIN; {}", alter(between))).unwrap();
        thread::scope(|scope| {
            let second = scope.spawn(|| server.connect().batch_execute(&alter(after)).unwrap());
            until_blocked(&mut observer, 1);
            first.batch_execute("COMMIT").unwrap();
            second.join().unwrap();
        });
        let leased = observer.all::<i64>("SELECT id FROM pgq_reserve('q', max => 9)").len();
        assert_eq!(leased, after.parse().unwrap_or(9), "{before}, {between}, {after}");
        first.execute("SELECT pgq_drop_queue('q')", &[]).unwrap();
    }
}
