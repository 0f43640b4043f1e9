//! `max_length`: room in a full queue, while other sessions push and consume.

use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;
use support::{Ask, Server, Stop, end_worker, median, seconds, until, until_blocked};

/// A queue with these settings and so many messages.
fn queue_with(session: &mut Client, settings: &str, messages: i32) {
    session.batch_execute(&format!("SELECT pgq_create_queue('q', '{settings}')")).unwrap();
    let push = format!("SELECT pgq_push('q', to_jsonb(n)) FROM generate_series(1, {messages}) n");
    session.batch_execute(&push).unwrap();
}

fn reserve(session: &mut Client, max: i32) -> Vec<i64> {
    session.all(&format!("SELECT id FROM pgq_reserve('q', max => {max}, lease => '1 h')"))
}

/// What is in the queue, oldest first.
fn payloads(session: &mut Client) -> Vec<String> {
    session.all("SELECT payload #>> '{}' FROM pgqueue.message ORDER BY id")
}

const DROP_OLDEST: &str = r#"{"max_length": 3, "on_full": "drop_oldest"}"#;

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
fn the_state_that_counts_is_not_dropped_for_one_that_is_obsolete() {
    let server = Server::start();
    let mut session = server.connect();
    queue_with(&mut session, DROP_OLDEST, 0);
    let push = |session: &mut Client, payload: &str, key: &str| {
        session.batch_execute(&format!("SELECT pgq_push('q', '\"{payload}\"'{key})")).unwrap();
    };
    push(&mut session, "old state", ", dedup_key => 'k'");
    let first = reserve(&mut session, 1)[0];
    push(&mut session, "new state", ", dedup_key => 'k'");
    session.execute("SELECT pgq_release($1::bigint)", &[&first]).unwrap();
    push(&mut session, "x", "");
    push(&mut session, "y", "");
    assert_eq!(payloads(&mut session), ["new state", "x", "y"]);
}

#[test]
fn dead_messages_are_dropped_first_and_count_as_room() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off");
    let mut session = server.connect();
    for on_full in ["drop_oldest", "reject"] {
        // Expired, behind another.
        queue_with(&mut session, &format!(r#"{{"max_length": 3, "on_full": "{on_full}"}}"#), 0);
        session
            .batch_execute(
                "SELECT pgq_push('q', '\"a\"');
                 SELECT pgq_push('q', '\"dies\"', ttl => '1 ms');
                 SELECT pgq_push('q', '\"b\"'), pg_sleep(0.01);
                 SELECT pgq_push('q', '\"c\"')",
            )
            .unwrap();
        assert_eq!(payloads(&mut session), ["a", "b", "c"], "{on_full}");
        session.execute("SELECT pgq_drop_queue('q')", &[]).unwrap();
        // All of it.
        queue_with(&mut session, &format!(r#"{{"max_length": 2, "on_full": "{on_full}"}}"#), 0);
        session
            .batch_execute(
                "SELECT pgq_push('q', '\"dies\"', ttl => '1 ms') FROM generate_series(1, 2);
                 SELECT pg_sleep(0.01);
                 SELECT pgq_push('q', '\"lives\"')",
            )
            .unwrap();
        assert!(payloads(&mut session).contains(&"lives".to_owned()), "{on_full}");
        session.execute("SELECT pgq_drop_queue('q')", &[]).unwrap();
        // Without a delivery left.
        queue_with(
            &mut session,
            &format!(r#"{{"max_length": 2, "max_deliveries": 1, "on_full": "{on_full}"}}"#),
            0,
        );
        session
            .batch_execute(
                "SELECT pgq_push('q', '\"a\"'), pgq_push('q', '\"b\"', priority => -1);
                 SELECT id FROM pgq_reserve('q', lease => '1 ms');
                 SELECT pg_sleep(0.01);
                 SELECT pgq_push('q', '\"c\"')",
            )
            .unwrap();
        assert_eq!(payloads(&mut session), ["a", "c"], "{on_full}");
        session.execute("SELECT pgq_drop_queue('q')", &[]).unwrap();
    }
}

#[test]
fn a_batch_takes_the_place_of_as_many() {
    let server = Server::start();
    let mut session = server.connect();
    queue_with(&mut session, DROP_OLDEST, 3);
    session.batch_execute(r#"SELECT pgq_push_batch('q', ARRAY['"x"', '"y"', '"z"']::jsonb[])"#).unwrap();
    assert_eq!(payloads(&mut session), ["x", "y", "z"]);
    let four = r#"SELECT pgq_push_batch('q', ARRAY['1', '2', '3', '4']::jsonb[])"#;
    assert_eq!(session.sqlstate(four), "53400");
    assert_eq!(payloads(&mut session), ["x", "y", "z"], "nothing was dropped");
}

#[test]
fn a_queue_of_length_one_takes_many_concurrent_pushes() {
    let server = Server::start();
    let mut session = server.connect();
    queue_with(&mut session, r#"{"max_length": 1, "on_full": "drop_oldest"}"#, 1);
    // An open transaction has dropped the only one, and has yet to commit its own.
    let (mut one, mut other) = (server.connect(), server.connect());
    one.batch_execute("BEGIN; SELECT pgq_push('q', '\"one\"')").unwrap();
    other.batch_execute("SET statement_timeout = '5 s'; SELECT pgq_push('q', '\"other\"')").unwrap();
    one.batch_execute("COMMIT").unwrap();
    // As many may be too much as were under way; the next push sees to that.
    session.batch_execute("SELECT pgq_push('q', '\"last\"')").unwrap();
    assert_eq!(payloads(&mut session), ["last"]);
    thread::scope(|scope| {
        for _ in 0..8 {
            let mut producer = server.connect();
            scope.spawn(move || {
                for _ in 0..300 {
                    producer.batch_execute("SELECT pgq_push('q', '1')").unwrap();
                }
            });
        }
    });
    session.batch_execute("SELECT pgq_push('q', '\"last\"')").unwrap();
    assert_eq!(payloads(&mut session), ["last"]);
}

#[test]
fn messages_dropped_beside_a_held_snapshot_are_not_scanned_again() {
    let server = Server::start();
    let (mut session, mut holder) = (server.connect(), server.connect());
    queue_with(&mut session, DROP_OLDEST, 3);
    session.batch_execute("SET synchronous_commit = off").unwrap();
    holder.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class").unwrap();
    let mut pushes = |times: i32| {
        seconds(|| {
            session
                .batch_execute(&format!(
                    "DO $$ BEGIN FOR n IN 1..{times} LOOP PERFORM pgq_push('q', '1'); COMMIT; END LOOP; END $$"
                ))
                .unwrap();
        })
    };
    pushes(100);
    let first = median((0..15).map(|_| pushes(50)).collect());
    pushes(25_000);
    let last = median((0..15).map(|_| pushes(50)).collect());
    assert!(last < 4.0 * first, "{first} s, then {last} s");
}

#[test]
fn consumers_beside_a_push_are_no_reason_to_refuse_it() {
    let server = Server::start();
    let mut session = server.connect();
    queue_with(&mut session, r#"{"max_length": 2, "on_full": "drop_oldest"}"#, 0);
    thread::scope(|scope| {
        for n in 0..6 {
            let mut session = server.connect();
            scope.spawn(move || {
                for _ in 0..300 {
                    let call = if n < 4 { "SELECT pgq_push('q', '1')" } else { "SELECT pgq_pop('q')" };
                    session.batch_execute(call).unwrap();
                }
            });
        }
    });
}

#[test]
fn a_push_with_an_old_snapshot_is_to_be_retried_and_not_refused_as_full() {
    let server = Server::start();
    let (mut old, mut session) = (server.connect(), server.connect());
    queue_with(&mut session, DROP_OLDEST, 3);
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        old.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}; SELECT 1 FROM pg_class")).unwrap();
        session.batch_execute("SELECT pgq_push('q', '2') FROM generate_series(1, 3)").unwrap();
        assert_eq!(old.sqlstate("SELECT pgq_push('q', '3')"), "40001", "{level}");
        old.batch_execute("ROLLBACK").unwrap();
    }
    // What is out cannot be dropped at any level.
    assert_eq!(reserve(&mut session, 3).len(), 3);
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class").unwrap();
    assert_eq!(old.sqlstate("SELECT pgq_push('q', '3')"), "53400");
    old.batch_execute("ROLLBACK").unwrap();
}

#[test]
fn a_push_into_a_queue_with_a_length_costs_hardly_more() {
    let server = Server::start();
    let mut session = server.connect();
    session
        .batch_execute(
            r#"SET synchronous_commit = off;
               SELECT pgq_create_queue('free');
               SELECT pgq_create_queue('long', '{"max_length": 1000000}')"#,
        )
        .unwrap();
    let mut pushes = |queue: &str| {
        seconds(|| {
            session
                .batch_execute(&format!(
                    "DO $$ BEGIN FOR n IN 1..500 LOOP PERFORM pgq_push('{queue}', '1'); COMMIT; END LOOP; END $$"
                ))
                .unwrap();
        })
    };
    let ratios = (0..9)
        .map(|_| {
            let free = pushes("free");
            pushes("long") / free
        })
        .collect();
    let times = median(ratios);
    assert!(times < 1.5, "{times} times as much");
}

#[test]
fn the_length_is_known_where_counts_are_written_by_each_transaction() {
    let server = Server::start();
    let mut session = server.connect();
    queue_with(&mut session, r#"{"max_length": 5}"#, 4);
    // What is prepared is counted when it commits, by nobody's callback.
    session.batch_execute("BEGIN; SELECT pgq_push('q', '1'); PREPARE TRANSACTION 'push'").unwrap();
    session.batch_execute("COMMIT PREPARED 'push'").unwrap();
    until("it is known", || {
        let is_full = session.batch_execute("BEGIN; SELECT pgq_push('q', '1')").is_err();
        session.batch_execute("ROLLBACK").unwrap();
        is_full
    });
    assert_eq!(session.sqlstate("SELECT pgq_push('q', '1')"), "53400");
}

#[test]
fn room_that_a_prepared_transaction_has_made_counts_at_once() {
    let server = Server::start();
    let mut session = server.connect();
    session
        .batch_execute(
            r#"SELECT pgq_create_queue('q', '{"max_length": 2, "on_full": "drop_oldest"}');
               SELECT pgq_push('q', '1'), pgq_push('q', '2')"#,
        )
        .unwrap();
    for n in 3..20 {
        session.batch_execute(&format!("SELECT pgq_push('q', '{n}')")).unwrap(); // drops the oldest
        session.batch_execute("BEGIN; SELECT pgq_pop('q'); PREPARE TRANSACTION 'p'").unwrap();
        session.batch_execute("COMMIT PREPARED 'p'").unwrap();
        session.batch_execute(&format!("SELECT pgq_push('q', '{}')", 100 + n)).unwrap(); // there is room
        let left: Vec<String> = session.all("SELECT payload::text FROM pgqueue.message ORDER BY id");
        assert_eq!(left, [n.to_string(), (100 + n).to_string()]);
    }
}

#[test]
fn room_that_a_prepared_transaction_has_made_counts_at_once_without_a_place_for_its_queue() {
    let server = Server::bare(
        "shared_preload_libraries = 'pgqueue'\npgqueue.max_queues_hint = 8\npgqueue.auto_vacuum = off",
    );
    let mut session = server.connect();
    session.batch_execute("CREATE EXTENSION pgqueue").unwrap();
    for n in 0..12 {
        // Its own prepared transaction keeps a place for each of the first queues, until a round has seen its end.
        let queue = format!("q{n}");
        let make = r#"SELECT pgq_create_queue($1, '{"max_length": 2}')"#;
        session.execute(make, &[&queue]).unwrap();
        session.execute("SELECT pgq_push($1, '1'), pgq_push($1, '2')", &[&queue]).unwrap();
        session.execute("SELECT pgq_pop($1)", &[&queue]).unwrap(); // now it has an entry in the cache
        session.execute("SELECT pgq_push($1, '2')", &[&queue]).unwrap();
        session.batch_execute("BEGIN").unwrap();
        session.execute("SELECT pgq_pop($1)", &[&queue]).unwrap();
        session.batch_execute("PREPARE TRANSACTION 'p'").unwrap();
        session.batch_execute("COMMIT PREPARED 'p'").unwrap();
        session.execute("SELECT pgq_push($1, '3')", &[&queue]).unwrap();
    }
    let length = "SELECT pgq_push('q11', '4')";
    assert_eq!(session.sqlstate(length), "53400");
    session.batch_execute("SELECT pgq_vacuum()").unwrap();
    assert_eq!(session.sqlstate(length), "53400");
}

/// How many messages, pushed one after the other, the queue takes; at most a hundred are tried.
fn accepted(session: &mut Client) -> usize {
    (0..100).take_while(|_| session.batch_execute("SELECT pgq_push('q', '1')").is_ok()).count()
}

#[test]
fn a_length_holds_while_a_recount_has_transactions_write_their_counts() {
    let server = Server::start();
    let (mut session, mut waiting) = (server.connect(), server.connect());
    queue_with(&mut session, r#"{"max_length": 20}"#, 1);
    session.batch_execute("SELECT pgq_push('other', '1'); SET synchronous_commit = off").unwrap();
    server.set("synchronous_standby_names = 'nobody'");
    // A push that waits for a standby keeps the recount of its queue from an end.
    let pushed = thread::spawn(move || waiting.batch_execute("SELECT pgq_push('other', '1')").is_err());
    let waits = "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    until("it waits", || session.one(waits));
    end_worker(&mut session);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        session.batch_execute("SELECT pgq_pop('q', max => 100)").unwrap();
        assert_eq!(accepted(&mut session), 20);
    }
    session
        .batch_execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        .unwrap();
    assert!(pushed.join().unwrap());
}

#[test]
fn messages_prepared_before_a_restart_count_at_once() {
    let server = Server::start();
    let mut session = server.connect();
    queue_with(&mut session, r#"{"max_length": 20}"#, 0);
    session
        .batch_execute(
            "BEGIN; SELECT pgq_push_batch('q', array_fill('1'::jsonb, ARRAY[15])); PREPARE TRANSACTION 'p'",
        )
        .unwrap();
    drop(session);
    server.stop(Stop::Kill);
    server.launch();
    let (mut session, mut decides) = (server.connect(), server.connect());
    until("the worker has done a round", || {
        session.one("SELECT count(*) = 1 FROM pgq_vacuum_stats WHERE last_run > pg_postmaster_start_time()")
    });
    session.batch_execute("SELECT pgq_push('q', '1'), pgq_push('q', '1')").unwrap();
    decides.batch_execute("COMMIT PREPARED 'p'").unwrap();
    assert_eq!(accepted(&mut session), 3);
}

#[test]
fn a_message_whose_predecessor_is_dropped_for_it_does_not_wait_for_that() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off");
    let mut session = server.connect();
    let pushes = [
        "SELECT pgq_push('q', '2', group_key => 'g'); SELECT pgq_push('q', '3', group_key => 'g', dedup_key => 'k')",
        "SELECT pgq_push('q', '2', group_key => 'g'); SELECT pgq_push('q', '3', group_key => 'g')",
        "SELECT pgq_push_batch('q', ARRAY['2', '3']::jsonb[], group_key => 'g', dedup_keys => ARRAY['j', 'k'])",
        "SELECT pgq_push_batch('q', ARRAY['2', '3']::jsonb[], group_key => 'g', dedup_keys => ARRAY[NULL, NULL])",
    ];
    for push in pushes {
        session
            .batch_execute(r#"SELECT pgq_create_queue('q', '{"max_length": 1, "on_full": "drop_oldest"}')"#)
            .unwrap();
        session.batch_execute(push).unwrap();
        assert_eq!(
            session.all::<String>("SELECT payload::text FROM pgq_reserve('q', max => 9)"),
            ["3"],
            "{push}"
        );
        session.batch_execute("SELECT pgq_drop_queue('q')").unwrap();
    }
}

#[test]
fn a_push_that_waited_for_its_key_makes_room_for_itself() {
    let server = Server::start();
    let (mut first, mut second, mut observer) = (server.connect(), server.connect(), server.connect());
    first
        .batch_execute("SELECT pgq_create_queue('q', '{\"max_length\": 2, \"dedup_window\": \"1 h\"}')")
        .unwrap();
    first.batch_execute("BEGIN; SELECT pgq_push('q', '1', dedup_key => 'k')").unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| second.sqlstate("SELECT pgq_push('q', '2', dedup_key => 'k')"));
        until_blocked(&mut observer, 1);
        observer.batch_execute("SELECT pgq_push('q', '3'); SELECT pgq_push('q', '4')").unwrap();
        first.batch_execute("ROLLBACK").unwrap();
        assert_eq!(waiting.join().unwrap(), "53400");
    });
    assert_eq!(observer.one::<i64>("SELECT count(*) FROM pgqueue.message"), 2);
}

#[test]
fn a_push_beside_one_of_its_key_that_may_be_rolled_back_makes_room_for_itself() {
    let server = Server::start();
    let (mut first, mut second) = (server.connect(), server.connect());
    first.batch_execute("SELECT pgq_create_queue('q', '{\"max_length\": 2}')").unwrap();
    first.batch_execute("BEGIN; SELECT pgq_push('q', '1', dedup_key => 'k')").unwrap();
    second.batch_execute("SELECT pgq_push('q', '2'); SELECT pgq_push('q', '3')").unwrap();
    assert_eq!(second.sqlstate("SELECT pgq_push('q', '4', dedup_key => 'k')"), "53400");
    first.batch_execute("ROLLBACK").unwrap();
}
