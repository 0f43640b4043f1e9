//! Unique keys under many sessions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use postgres::error::SqlState;
use postgres::{Client, IsolationLevel};
use support::{Ask, Ending, Server, assert_indexes_are_whole, until, until_blocked};

const KEYS: i32 = 4;

/// Changes an object and pushes its key, both in one transaction; again if it could not be
/// serialized.
fn change(session: &mut Client, level: IsolationLevel, on_duplicate: &str) {
    let key = fastrand::i32(0..KEYS);
    loop {
        let attempt = (|| {
            let mut transaction = session.build_transaction().isolation_level(level).start()?;
            transaction.execute("UPDATE object SET version = version + 1 WHERE key = $1", &[&key])?;
            transaction.execute(
                "SELECT pgq_push('q', to_jsonb($1::int), dedup_key => 'k' || $1::int, on_duplicate => $2)",
                &[&key, &on_duplicate],
            )?;
            transaction.commit()
        })();
        match attempt {
            Ok(()) => return,
            Err(error)
                if error.code() == Some(&SqlState::T_R_SERIALIZATION_FAILURE)
                    || error.code() == Some(&SqlState::T_R_DEADLOCK_DETECTED) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Copies the version of the object that a message names, sometimes failing first.
fn work(session: &mut Client) {
    let rows = session
        .query("SELECT id, delivery, payload::int FROM pgq_reserve('q', lease => '1 min', max => 2)", &[])
        .unwrap();
    for row in rows {
        let (id, delivery, key): (i64, i64, i32) = (row.get(0), row.get(1), row.get(2));
        let settle = match fastrand::u8(..) {
            0..30 => "SELECT pgq_fail($1, 'no', $2, '1 ms'::interval)",
            30..60 => "SELECT pgq_release($1, '0'::interval, $2)",
            _ => {
                session
                    .execute(
                        "UPDATE object SET seen = greatest(seen, (SELECT version FROM object WHERE key = $1)) WHERE key = $1",
                        &[&key],
                    )
                    .unwrap();
                "SELECT pgq_delete($1, $2)"
            }
        };
        session.execute(settle, &[&id, &delivery]).unwrap();
    }
}

/// No change is lost: when all is done, somebody has seen the last version of each object.
fn no_change_is_lost(level: IsolationLevel, on_duplicate: &'static str) {
    let server = Server::start();
    let mut observer = server.connect();
    observer
        .batch_execute(&format!(
            "CREATE TABLE object (key int PRIMARY KEY, version int DEFAULT 0, seen int DEFAULT 0);
             INSERT INTO object SELECT n FROM generate_series(0, {KEYS} - 1) n;
             SELECT pgq_create_queue('q', '{{\"max_deliveries\": 0}}')"
        ))
        .unwrap();
    let is_over = AtomicBool::new(false);
    let is_over = &is_over;
    thread::scope(|scope| {
        for _ in 0..3 {
            let mut session = server.connect();
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    work(&mut session);
                }
            });
        }
        let producers: Vec<_> = (0..5)
            .map(|_| {
                let mut session = server.connect();
                scope.spawn(move || (0..150).for_each(|_| change(&mut session, level, on_duplicate)))
            })
            .collect();
        let watcher = scope.spawn(|| {
            let mut session = server.connect();
            while !is_over.load(Ordering::Relaxed) {
                let doubled: i64 = session.one(
                    "SELECT count(*) FROM (SELECT FROM pgqueue.message WHERE key_place = 0 GROUP BY dedup_key HAVING count(*) > 1) two",
                );
                assert_eq!(doubled, 0);
            }
        });
        let ending = Ending(is_over);
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        until("all work is done", || observer.one::<i64>("SELECT count(*) FROM pgqueue.message") == 0);
        drop(ending);
        watcher.join().unwrap();
    });
    let behind: Vec<String> = observer.all("SELECT o::text FROM object o WHERE seen <> version");
    assert!(behind.is_empty(), "{behind:?}");
}

#[test]
fn a_message_that_has_no_delivery_left_does_not_keep_its_key() {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.auto_vacuum = off");
    let mut session = server.connect();
    session.batch_execute("CREATE EXTENSION pgqueue; SET statement_timeout = '20 s'").unwrap();
    // It waits again, with its key, when its queue comes to allow fewer deliveries.
    for statement in [
        "SELECT pgq_push('q', '1', dedup_key => 'k')",
        "SELECT pgq_fail(id, 'x', delay => '0') FROM pgq_reserve('q')",
        "SELECT pgq_push('q', '1', dedup_key => 'k')",
        "SELECT pgq_alter_queue('q', '{\"max_deliveries\": 1}')",
        "SELECT pgq_push('q', '2', dedup_key => 'k')",
    ] {
        session.batch_execute(statement).unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    assert_eq!(session.all::<String>("SELECT payload::text FROM pgq_reserve('q', max => 9)"), ["2"]);
    assert_eq!(session.all::<String>("SELECT reason FROM pgq_peek_dead('q', 9)"), ["failed"]);
}

#[test]
fn no_change_is_lost_when_its_push_is_ignored() {
    no_change_is_lost(IsolationLevel::ReadCommitted, "ignore");
}

#[test]
fn no_change_is_lost_when_its_push_replaces() {
    no_change_is_lost(IsolationLevel::ReadCommitted, "replace");
}

#[test]
fn no_change_is_lost_at_repeatable_read() {
    no_change_is_lost(IsolationLevel::RepeatableRead, "ignore");
}

#[test]
fn no_change_is_lost_at_serializable() {
    no_change_is_lost(IsolationLevel::Serializable, "replace");
}

#[test]
fn of_many_that_push_a_key_at_once_one_adds_it() {
    let server = Server::start();
    server.connect().execute("SELECT pgq_create_queue('q', '{\"dedup_window\": \"1 h\"}')", &[]).unwrap();
    for round in 0..20 {
        let outcomes: Vec<(i64, String)> = thread::scope(|scope| {
            let pushes: Vec<_> = (0..8)
                .map(|_| {
                    let mut session = server.connect();
                    scope.spawn(move || {
                        let push = format!(
                            "SELECT id, outcome FROM pgq_push_result('q', '1', dedup_key => 'k{round}')"
                        );
                        let row = session.query_one(&push, &[]).unwrap();
                        (row.get(0), row.get(1))
                    })
                })
                .collect();
            pushes.into_iter().map(|push| push.join().unwrap()).collect()
        });
        assert_eq!(outcomes.iter().filter(|(_, outcome)| outcome == "pushed").count(), 1, "{outcomes:?}");
        assert!(outcomes.iter().all(|(id, _)| *id == outcomes[0].0), "{outcomes:?}");
    }
    assert_eq!(server.connect().one::<i64>("SELECT pgq_count('q')"), 20);
}

#[test]
fn a_message_that_an_open_transaction_has_counted_on_is_not_delivered_before_it_ends() {
    let server = Server::start();
    let (mut producer, mut consumer) = (server.connect(), server.connect());
    let id: i64 = producer.one("SELECT pgq_push('q', '1', dedup_key => 'k')");
    for end in ["ROLLBACK", "COMMIT"] {
        producer.batch_execute("BEGIN").unwrap();
        assert_eq!(producer.one::<i64>("SELECT pgq_push('q', '2', dedup_key => 'k')"), id);
        assert!(consumer.all::<i64>("SELECT id FROM pgq_reserve('q')").is_empty());
        producer.batch_execute(end).unwrap();
        assert_eq!(consumer.all::<i64>("SELECT id FROM pgq_reserve('q')"), [id]);
        consumer.execute("SELECT pgq_release($1::bigint)", &[&id]).unwrap();
    }
}

#[test]
fn a_rejected_push_names_the_message_that_waits() {
    let server = Server::start();
    let mut session = server.connect();
    let id: i64 = session.one("SELECT pgq_push('q', '1', dedup_key => 'k')");
    let push = "SELECT pgq_push('q', '2', dedup_key => 'k', on_duplicate => 'reject')";
    let error = session.execute(push, &[]).unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code(), &SqlState::UNIQUE_VIOLATION);
    assert_eq!(error.detail(), Some(&*format!("It has the id {id}.")));
    assert_eq!(session.one::<i64>("SELECT total FROM pgq_stats('q')"), 1);
}

#[test]
fn a_push_waits_for_no_other_push_of_its_key_and_its_change_counts() {
    for on_duplicate in ["ignore", "replace"] {
        let server = Server::start();
        let (mut one, mut other, mut consumer) = (server.connect(), server.connect(), server.connect());
        other.batch_execute("SET statement_timeout = '20 s'").unwrap();
        let first: i64 = one.one("SELECT pgq_push('q', '1', dedup_key => 'k')");
        assert_eq!(consumer.all::<i64>("SELECT id FROM pgq_reserve('q')"), [first]);
        one.batch_execute("BEGIN; SELECT pgq_push('q', '2', dedup_key => 'k')").unwrap();
        consumer.execute("SELECT pgq_release($1::bigint)", &[&first]).unwrap();
        // The first waits again; the second has the key and is not committed.
        let push = format!("SELECT pgq_push('q', '3', dedup_key => 'k', on_duplicate => '{on_duplicate}')");
        assert!(other.one::<i64>(&push) > first);
        one.batch_execute("ROLLBACK").unwrap();
        let delivered: Vec<String> = consumer.all("SELECT payload::text FROM pgq_reserve('q', max => 9)");
        assert_eq!(delivered, ["3"]);
    }
}

#[test]
fn a_message_that_expired_while_a_push_held_it_is_not_counted_on() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off");
    let (mut holder, mut other, mut observer) = (server.connect(), server.connect(), server.connect());
    holder.execute("SELECT pgq_push('q', '1', dedup_key => 'k', ttl => '1 s')", &[]).unwrap();
    holder.batch_execute("BEGIN; SELECT pgq_push('q', '2', dedup_key => 'k', ttl => '10 ms')").unwrap();
    until("it has expired", || observer.one("SELECT state = 'gone' FROM pgqueue.message_state"));
    assert_eq!(
        other.one::<String>("SELECT outcome FROM pgq_push_result('q', '3', dedup_key => 'k')"),
        "pushed"
    );
    holder.batch_execute("COMMIT").unwrap();
    assert_eq!(observer.all::<String>("SELECT payload::text FROM pgq_reserve('q', max => 9)"), ["3"]);
}

#[test]
fn a_receipt_from_before_a_push_reused_the_message_is_refused() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off"); // a round that touches the message hides it for a moment
    let mut session = server.connect();
    for settle in [
        "SELECT pgq_delete(id, 1) FROM pgqueue.message",
        "SELECT pgq_delete_batch(ARRAY[id], ARRAY[1]) FROM pgqueue.message",
        "SELECT pgq_bury(id, 'too late', 1) FROM pgqueue.message",
        "SELECT n FROM pgqueue.message m, pgq_next('q', ARRAY[m.id], ARRAY[1], group_key => 'none') n",
    ] {
        for (on_duplicate, stands_for) in [("ignore", "1"), ("replace", "2")] {
            session.execute("SELECT pgq_push('q', '1', dedup_key => 'k')", &[]).unwrap();
            let taken: Vec<i64> = session.all("SELECT delivery FROM pgq_reserve('q', '1 ms')");
            assert_eq!(taken, [1]);
            let push =
                format!("SELECT pgq_push('q', '2', dedup_key => 'k', on_duplicate => '{on_duplicate}')");
            until("its lease has ended", || {
                session.one("SELECT lease_until < clock_timestamp() FROM pgqueue.message")
            });
            session.batch_execute(&push).unwrap();
            session.batch_execute(settle).unwrap();
            let delivered: Vec<String> = session.all("SELECT payload::text FROM pgq_pop('q')");
            assert_eq!(delivered, [stands_for], "{settle}, {on_duplicate}");
        }
    }
}

#[test]
fn a_superseded_message_is_not_changed_any_more() {
    let server = Server::start();
    let mut session = server.connect();
    session.batch_execute("SET statement_timeout = '10 s'").unwrap();
    let old: i64 = session.one("SELECT pgq_push('q', '\"old\"', dedup_key => 'k')");
    session.execute("SELECT * FROM pgq_reserve('q')", &[]).unwrap();
    let new: i64 = session.one("SELECT pgq_push('q', '\"new\"', dedup_key => 'k')");
    session.execute("SELECT pgq_fail($1::bigint, 'no luck', 1, delay => '0')", &[&old]).unwrap();
    let leased: Vec<i64> = session.all("SELECT id FROM pgq_reserve('q', max => 9)");
    assert_eq!(leased, [new], "the older is cleared away");
    // The same where nobody has come by the older yet.
    session.execute("SELECT pgq_push('p', '1', dedup_key => 'k')", &[]).unwrap();
    let old: i64 = session.one("SELECT id FROM pgq_reserve('p')");
    let new: i64 = session.one("SELECT pgq_push('p', '2', dedup_key => 'k')");
    session.execute("SELECT pgq_fail($1::bigint, 'no luck', 1, delay => '1 h')", &[&old]).unwrap();
    assert!(!session.one::<bool>(&format!("SELECT pgq_update({old}, '3')")), "one waits that is newer");
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('p', max => 9)"), [new]);
    assert!(!session.one::<bool>(&format!("SELECT pgq_update({old}, '3')")), "one is out that is newer");
    let next: i64 = session.one("SELECT pgq_push('p', '4', dedup_key => 'k')");
    assert!(next > new);
}

#[test]
fn a_moved_message_does_not_remove_one_that_waits_with_its_key() {
    let server = Server::start();
    let mut session = server.connect();
    let there: i64 = session.one("SELECT pgq_push('target', '\"there\"', dedup_key => 'k')");
    session.execute("SELECT pgq_release(id) FROM pgq_reserve('target')", &[]).unwrap();
    let stays: i64 = session.one("SELECT pgq_push('source', '\"stays\"', dedup_key => 'k')");
    let moving = format!("SELECT new_id FROM pgq_move_batch(ARRAY[{stays}], 'target')");
    assert_eq!(session.all::<i64>(&moving), [0; 0]);
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('target', max => 9)"), [there]);
    assert_eq!(session.all::<i64>(&moving).len(), 1, "none waits there any more");
}

#[test]
fn a_newer_message_that_has_outlived_its_time_supersedes_nothing() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off");
    let mut session = server.connect();
    let old: i64 = session.one("SELECT pgq_push('q', '1', dedup_key => 'k')");
    session.execute("SELECT * FROM pgq_reserve('q')", &[]).unwrap();
    session.execute("SELECT pgq_push('q', '2', dedup_key => 'k', ttl => '1 ms')", &[]).unwrap();
    until("it has expired", || {
        session.one("SELECT count(*) = 1 FROM pgqueue.message_state WHERE state = 'gone'")
    });
    session.execute("SELECT pgq_release($1::bigint, delivery => 1)", &[&old]).unwrap();
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('q', max => 9)"), [old]);
}

#[test]
fn a_replacing_content_is_delivered_at_least_once() {
    let server = Server::start();
    let mut session = server.connect();
    session.execute("SELECT pgq_push('q', '1', dedup_key => 'k', max_deliveries => 9)", &[]).unwrap();
    for _ in 0..6 {
        session.execute("SELECT pgq_fail(id, 'x', delay => '0') FROM pgq_reserve('q')", &[]).unwrap();
    }
    // Limits of its own, and of the queue.
    for limit in ["1", "NULL"] {
        let replace = "SELECT outcome FROM pgq_push_result('q', '2', dedup_key => 'k', on_duplicate => 'replace', max_deliveries => ";
        assert_eq!(session.one::<String>(&format!("{replace}{limit})")), "replaced");
        let delivered: Vec<String> = session.all("SELECT payload::text FROM pgq_reserve('q')");
        assert_eq!(delivered, ["2"], "with the limit {limit}");
        session
            .execute("UPDATE pgqueue.message SET max_deliveries = 0, lease_until = '-infinity'", &[])
            .unwrap();
    }
}

/// An object, the version of it that a consumer has worked on, and a queue.
const OBJECT: &str = "CREATE TABLE object (version int); INSERT INTO object VALUES (1);
    CREATE TABLE worked_on (version int)";

/// The statements of a transaction that changes the object and says so.
fn change_and_push(on_duplicate: &str) -> String {
    format!(
        "BEGIN; UPDATE object SET version = version + 1;
         SELECT pgq_push('q', to_jsonb((SELECT version FROM object)), dedup_key => 'k', on_duplicate => '{on_duplicate}')"
    )
}

/// Consumes what is there, each message for the second time if it can be had twice; returns the
/// version that was worked on last.
fn work_off(server: &Server) -> i32 {
    let mut consumer = server.connect();
    for attempt in 0..20 {
        let leases = consumer.query("SELECT id, delivery FROM pgq_reserve('q', max => 9)", &[]).unwrap();
        if leases.is_empty() && attempt > 1 {
            break;
        }
        for lease in leases {
            let (id, delivery): (i64, i64) = (lease.get(0), lease.get(1));
            if attempt == 0 {
                let fail = "SELECT pgq_fail($1, 'no', $2, delay => '0')";
                consumer.execute(fail, &[&id, &delivery]).unwrap_or_default();
                continue;
            }
            consumer.batch_execute("INSERT INTO worked_on SELECT version FROM object").unwrap();
            consumer.execute("SELECT pgq_delete($1, $2)", &[&id, &delivery]).unwrap();
        }
    }
    assert_eq!(consumer.one::<i64>("SELECT count(*) FROM pgqueue.message"), 0);
    consumer.one("SELECT coalesce((SELECT version FROM worked_on ORDER BY version DESC LIMIT 1), 0)")
}

// The older message gets back what it stood for although a newer one is out (faults of 0.2.0).
#[test]
fn a_change_is_not_lost_when_a_newer_message_of_its_key_is_leased_before_its_push_gets_on() {
    for change in [
        &*change_and_push("ignore"),
        &*change_and_push("replace"),
        "BEGIN; UPDATE object SET version = version + 1; UPDATE said SET yes = pgq_update(1, '\"changed\"')",
    ] {
        let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.auto_vacuum = off");
        let (mut old, mut newer, mut changer) = (server.connect(), server.connect(), server.connect());
        old.batch_execute(
            "CREATE EXTENSION pgqueue; SELECT pgq_create_queue('q', '{\"max_deliveries\": 0}');
             CREATE TABLE said (yes boolean); INSERT INTO said VALUES (true)",
        )
        .unwrap();
        old.batch_execute(OBJECT).unwrap();
        old.batch_execute("SELECT pgq_push('q', '1', dedup_key => 'k')").unwrap();
        assert_eq!(old.all::<i64>("SELECT id FROM pgq_reserve('q', lease => '1 h')"), [1]);
        newer.batch_execute("BEGIN; SELECT pgq_push('q', '2', dedup_key => 'k')").unwrap();
        old.batch_execute("SELECT pgq_fail(1, 'no', 1, delay => '0')").unwrap();
        changer.batch_execute("SET statement_timeout = '60 s'").unwrap();
        thread::scope(|scope| {
            // It may have to wait for the transaction that pushes the newer message.
            let changing = scope.spawn(|| changer.batch_execute(&format!("{change}; COMMIT")).unwrap());
            until("it has changed the object, or waits", || {
                let version: i32 = old.one("SELECT version FROM object");
                version == 2 || support::blocked(&mut old) > 0
            });
            newer
                .batch_execute(
                    "SELECT id FROM pgq_reserve('q', lease => '1 h');
                     INSERT INTO worked_on SELECT version FROM object; COMMIT",
                )
                .unwrap();
            changing.join().unwrap();
        });
        // The message that stands for the change comes back once, while the newer one is out.
        old.batch_execute("SELECT pgq_fail(id, 'no', delivery, delay => '0') FROM pgq_reserve('q')").unwrap();
        old.batch_execute("SELECT pgq_release(id, '0', delivery) FROM pgq_reserve('q')").unwrap();
        newer
            .batch_execute("SELECT pgq_delete(id) FROM pgqueue.message WHERE lease_until > now(); SELECT 1")
            .unwrap();
        if newer.one::<bool>("SELECT yes FROM said") {
            assert_eq!(work_off(&server), 2, "{change}");
        }
    }
}

#[test]
fn a_consumer_with_an_old_snapshot_does_not_consume_a_change_that_it_cannot_see() {
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        for on_duplicate in ["ignore", "replace"] {
            let server = Server::start();
            server.connect().batch_execute(OBJECT).unwrap();
            let (mut consumer, mut producer) = (server.connect(), server.connect());
            producer.batch_execute("SELECT pgq_push('q', '1', dedup_key => 'k')").unwrap();
            consumer
                .batch_execute(&format!("BEGIN ISOLATION LEVEL {level}; SELECT version FROM object"))
                .unwrap();
            producer.batch_execute(&format!("{}; COMMIT", change_and_push(on_duplicate))).unwrap();
            let consume = "INSERT INTO worked_on SELECT object.version FROM pgq_pop('q'), object; COMMIT";
            if let Err(error) = consumer.batch_execute(consume) {
                assert_eq!(error.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE), "{error}");
                consumer.batch_execute("ROLLBACK").unwrap();
            }
            assert_eq!(work_off(&server), 2, "{level}, {on_duplicate}");
        }
    }
}

#[test]
fn a_push_does_not_count_on_a_message_whose_last_lease_ends_meanwhile() {
    for settings in ["{\"max_deliveries\": 2}", "{\"max_deliveries\": 9, \"on_timeout\": \"dead\"}"] {
        let server = Server::start();
        server.connect().batch_execute(OBJECT).unwrap();
        let (mut consumer, mut producer) = (server.connect(), server.connect());
        producer.batch_execute("SET statement_timeout = '60 s'").unwrap();
        consumer.execute(&format!("SELECT pgq_create_queue('q', '{settings}')"), &[]).unwrap();
        consumer
            .batch_execute(
                "SELECT pgq_push('q', '1', dedup_key => 'k'); SELECT pgq_fail(id, 'x', delay => '0') FROM pgq_reserve('q')",
            )
            .unwrap();
        consumer.batch_execute("BEGIN; SELECT id FROM pgq_reserve('q', lease => '300 ms')").unwrap();
        thread::scope(|scope| {
            let changing = scope.spawn(|| producer.batch_execute(&change_and_push("ignore")).unwrap());
            thread::sleep(Duration::from_millis(600));
            consumer.batch_execute("COMMIT").unwrap();
            changing.join().unwrap();
        });
        producer.batch_execute("COMMIT").unwrap();
        assert_eq!(work_off(&server), 2, "{settings}");
    }
}

#[test]
fn a_push_of_a_key_waits_for_no_consumer() {
    let server = Server::start();
    let (mut consumer, mut producer) = (server.connect(), server.connect());
    producer.batch_execute("SET statement_timeout = '20 s'").unwrap();
    producer
        .batch_execute(
            "SELECT pgq_push('q', '1', dedup_key => 'k'); SELECT pgq_release(id) FROM pgq_reserve('q')",
        )
        .unwrap();
    consumer.batch_execute("BEGIN; SELECT id FROM pgq_reserve('q')").unwrap();
    for on_duplicate in ["ignore", "replace"] {
        let push = format!("SELECT pgq_push('q', '2', dedup_key => 'k', on_duplicate => '{on_duplicate}')");
        producer.batch_execute(&push).unwrap();
    }
}

/// Producers push a key without pause until a consumer has had twenty messages of it.
fn a_hot_key_is_delivered(producers: usize, push: &str) {
    let server = Server::start();
    let (is_over, mut consumer) = (AtomicBool::new(false), server.connect());
    let before = next_multixact(&server);
    thread::scope(|scope| {
        let ending = Ending(&is_over);
        for _ in 0..producers {
            let (mut session, is_over) = (server.connect(), &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    session.batch_execute(push).unwrap();
                }
            });
        }
        for n in 0..20 {
            until(&format!("a message is delivered, after {n}"), || {
                consumer.batch_execute("CALL pgq_wait('q', '100 ms')").unwrap();
                !consumer.all::<i64>("SELECT id FROM pgq_pop('q')").is_empty()
            });
        }
        drop(ending);
    });
    assert_eq!(next_multixact(&server), before, "a push makes no multixact");
    // What is left is one message, or as many as were pushed at once.
    let left: i64 = consumer.one("SELECT count(*) FROM pgqueue.message");
    assert!(left <= producers as i64 + 1, "{left}");
}

fn next_multixact(server: &Server) -> String {
    server.connect().batch_execute("CHECKPOINT").unwrap();
    server.connect().one("SELECT next_multixact_id::text FROM pg_control_checkpoint()")
}

#[test]
fn many_producers_without_pause_keep_no_message_from_a_consumer() {
    a_hot_key_is_delivered(16, "SELECT pgq_push('q', '1', dedup_key => 'k')");
}

#[test]
fn many_that_replace_without_pause_keep_no_message_from_a_consumer() {
    a_hot_key_is_delivered(16, "SELECT pgq_push('q', '1', dedup_key => 'k', on_duplicate => 'replace')");
}

#[test]
fn one_producer_that_always_holds_the_key_keeps_no_message_from_a_consumer() {
    let push = "DO $$ BEGIN FOR n IN 1..50 LOOP
                    PERFORM pgq_push('q', '1', dedup_key => 'k'); PERFORM pg_sleep(0.01); COMMIT;
                END LOOP; END $$";
    a_hot_key_is_delivered(1, push);
}

#[test]
fn an_answer_to_a_push_says_whether_another_message_waits() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off");
    let mut session = server.connect();
    // An older one waits, and a newer one has outlived its time.
    let old: i64 = session.one("SELECT pgq_push('q', '1', dedup_key => 'k')");
    session.execute("SELECT * FROM pgq_reserve('q')", &[]).unwrap();
    session.execute("SELECT pgq_push('q', '2', dedup_key => 'k', ttl => '1 ms')", &[]).unwrap();
    session.execute("SELECT pgq_release($1::bigint, delivery => 1)", &[&old]).unwrap();
    until("the newer has outlived its time", || {
        session.one("SELECT count(*) = 1 FROM pgqueue.message WHERE expires_at < clock_timestamp()")
    });
    let reject = "SELECT pgq_push('q', '3', dedup_key => 'k', on_duplicate => 'reject')";
    assert_eq!(session.sqlstate(reject), "23505");
    let replace =
        "SELECT outcome FROM pgq_push_result('q', '4', dedup_key => 'k', on_duplicate => 'replace')";
    assert_eq!(session.one::<String>(replace), "replaced");
    assert_eq!(session.all::<String>("SELECT payload::text FROM pgq_reserve('q', max => 9)"), ["4"]);
}

#[test]
fn a_window_names_the_message_that_a_key_was_pushed_with() {
    let server = Server::start();
    let (mut mover, mut producer) = (server.connect(), server.connect());
    producer.batch_execute("SELECT pgq_create_queue('q', '{\"dedup_window\": \"1 h\"}')").unwrap();
    let there: i64 = mover.one("SELECT pgq_push('source', '1', dedup_key => 'k')");
    for (end, counts_on) in [("ROLLBACK", false), ("COMMIT", true)] {
        mover.batch_execute("BEGIN").unwrap();
        let moved: i64 = mover.one(&format!("SELECT new_id FROM pgq_move_batch(ARRAY[{there}], 'q')"));
        let pushed: i64 = thread::scope(|scope| {
            let push = scope.spawn(|| producer.one::<i64>("SELECT pgq_push('q', '2', dedup_key => 'k')"));
            until_blocked(&mut server.connect(), 1);
            mover.batch_execute(end).unwrap();
            push.join().unwrap()
        });
        assert_eq!(pushed == moved, counts_on, "{end}");
        producer.batch_execute("SELECT id FROM pgq_pop('q', 9)").unwrap();
        let again: i64 = producer.one("SELECT pgq_push('q', '3', dedup_key => 'k')");
        assert_eq!(again, pushed, "the key was seen with this message");
        producer.batch_execute("DELETE FROM pgqueue.recent_key").unwrap();
    }
}

#[test]
fn a_move_that_had_to_wait_drives_out_nothing() {
    let server = Server::start();
    let (mut pusher, mut mover, mut consumer) = (server.connect(), server.connect(), server.connect());
    let there: i64 = consumer.one("SELECT pgq_push('target', '\"there\"', dedup_key => 'k')");
    consumer.batch_execute("SELECT id FROM pgq_reserve('target')").unwrap();
    let stays: i64 = consumer.one("SELECT pgq_push('source', '\"stays\"', dedup_key => 'k')");
    pusher.batch_execute("BEGIN; SELECT pgq_push('target', '\"not committed\"', dedup_key => 'k')").unwrap();
    thread::scope(|scope| {
        let moving = scope.spawn(|| {
            mover.all::<i64>(&format!("SELECT new_id FROM pgq_move_batch(ARRAY[{stays}], 'target')"))
        });
        until_blocked(&mut consumer, 1);
        consumer.execute("SELECT pgq_release($1::bigint)", &[&there]).unwrap();
        pusher.batch_execute("ROLLBACK").unwrap();
        assert_eq!(moving.join().unwrap(), [0; 0], "another waits there");
    });
    assert_eq!(consumer.all::<i64>("SELECT id FROM pgq_reserve('target', max => 9)"), [there]);
    assert_eq!(consumer.all::<i64>("SELECT id FROM pgq_reserve('source', max => 9)"), [stays]);
}

#[test]
fn a_key_costs_the_same_whatever_was_consumed_with_it_beside_an_old_snapshot() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off\nautovacuum = off");
    let (mut session, mut old) = (server.connect(), server.connect());
    session.batch_execute("SELECT pgq_create_queue('q')").unwrap();
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class").unwrap();
    let mut cycles = |n: i32| {
        for _ in 0..n {
            session.batch_execute("SELECT pgq_push('q', '1', dedup_key => 'k')").unwrap();
            session.batch_execute("SELECT pgq_delete(id, delivery) FROM pgq_reserve('q')").unwrap();
        }
        session.batch_execute("SELECT pg_stat_force_next_flush()").unwrap();
    };
    let mut observer = server.connect();
    let mut blocks = || -> i64 {
        observer.batch_execute("SELECT pg_stat_clear_snapshot()").unwrap();
        observer.one("SELECT heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read FROM pg_statio_all_tables WHERE relid = 'pgqueue.message'::regclass")
    };
    // The least of some parts: a routine rescan, which comes by the clock, is in one or the other of them.
    let mut cost = |cycles: &mut dyn FnMut(i32)| {
        let parts = (0..10).map(|_| {
            let before = blocks();
            cycles(10);
            blocks() - before
        });
        parts.min().expect("there are some")
    };
    // The indexes have a second level by then.
    cycles(600);
    let first = cost(&mut cycles);
    cycles(1_500);
    let last = cost(&mut cycles);
    assert!(last * 10 <= first * 11, "{first} blocks at first, {last} at last");
}

#[test]
fn indexes_are_rebuilt_beside_pushes_of_a_key_and_nothing_fails() {
    let server = Server::start();
    let (is_over, mut session) = (AtomicBool::new(false), server.connect());
    session.batch_execute("CREATE ROLE reader; SELECT pgq_create_queue('w', '{\"dedup_window\": \"1 ms\"}'); SELECT pgq_push('p', '1')").unwrap();
    let loads = [
        "SELECT pgq_push('p', '1', dedup_key => 'k')",
        "SELECT pgq_push('p', '1', dedup_key => 'k'); SELECT pgq_pop('p', max => 5)",
        "SELECT pgq_push('w', '1', dedup_key => 'k'); SELECT pgq_pop('w', max => 5)",
        "SELECT pgq_create_queue('same')",
        "SELECT pgq_drop_queue('same')",
        "SELECT pgq_grant('p', 'reader', 'push'); SELECT pgq_revoke('p', 'reader', 'push')",
    ];
    thread::scope(|scope| {
        let ending = Ending(&is_over);
        for load in loads.iter().chain(&loads) {
            let (mut session, is_over) = (server.connect(), &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    if let Err(error) = session.batch_execute(load) {
                        // Two drop the same queue: the one that comes second finds none.
                        let is_gone = error.code().is_some_and(|code| code.code() == "42704");
                        assert!(is_gone && load.contains("drop_queue"), "{load}: {error:?}");
                    }
                }
            });
        }
        for _ in 0..8 {
            for index in [
                "message_key",
                "recent_key_is_unique",
                "queue_name_is_unique",
                "privilege_is_unique",
                "message_ready",
            ] {
                let rebuild = format!("REINDEX INDEX CONCURRENTLY pgqueue.{index}");
                session.batch_execute(&rebuild).unwrap_or_else(|error| panic!("{index}: {error:?}"));
            }
        }
        drop(ending);
    });
}

#[test]
fn each_message_of_a_batch_has_a_key_of_its_own() {
    let server = Server::start();
    let mut session = server.connect();
    let push = |keys: &str| {
        format!("SELECT pgq_push_batch('q', ARRAY['1', '2', '3', '4']::jsonb[], dedup_keys => {keys})")
    };
    let first: Vec<i64> = session.all(&push("ARRAY['a', 'b', NULL, 'a']"));
    assert_eq!(first[3], first[0], "the fourth counts on the first");
    let second: Vec<i64> = session.all(&push("ARRAY['a', 'c', NULL, 'b']"));
    assert_eq!((second[0], second[3]), (first[0], first[1]));
    assert_eq!(session.one::<i64>("SELECT pgq_count('q')"), 5);
    assert_eq!(session.sqlstate(&push("ARRAY['a']")), "22023");
    assert_eq!(
        session.sqlstate(
            "SELECT pgq_push_batch('q', ARRAY['1']::jsonb[], dedup_key => 'a', dedup_keys => ARRAY['a'])"
        ),
        "22023"
    );
    assert_eq!(session.one::<i64>("SELECT pgq_count('q')"), 5);
    // As many keys as a transaction can have.
    let all: i64 = session.one("SELECT count(DISTINCT id) FROM pgq_push_batch('many', array_fill('1'::jsonb, ARRAY[20000]), dedup_keys => ARRAY(SELECT n::text FROM generate_series(1, 20000) n)) id");
    assert_eq!(all, 20_000);
}

#[test]
fn a_group_goes_on_when_a_message_stands_behind_another_of_its_key_and_before_it_in_the_group() {
    for on_duplicate in ["ignore", "replace"] {
        let server = Server::start();
        let (mut first, mut second) = (server.connect(), server.connect());
        second.batch_execute("SELECT pgq_create_queue('q')").unwrap();
        first.batch_execute("BEGIN; SELECT pgq_push('q', '1', dedup_key => 'k', group_key => 'g')").unwrap();
        second
            .batch_execute(&format!(
                "SELECT pgq_push('q', '2', dedup_key => 'k', group_key => 'g', priority => -1, on_duplicate => '{on_duplicate}')"
            ))
            .unwrap();
        first.batch_execute("COMMIT").unwrap();
        let payloads: Vec<String> = second.all("SELECT payload::text FROM pgq_pop('q', max => 9)");
        let expected = if on_duplicate == "ignore" { "1" } else { "2" };
        assert_eq!(payloads, [expected]);
        assert_eq!(second.one::<i64>("SELECT pgq_count('q')"), 0);
    }
}

#[test]
fn a_transaction_that_releases_its_own_push_loses_no_change() {
    for give_back in ["pgq_release", "pgq_fail"] {
        let server = Server::start();
        let (mut producer, mut consumer) = (server.connect(), server.connect());
        consumer.batch_execute("SELECT pgq_create_queue('q')").unwrap();
        producer.batch_execute("BEGIN; SELECT pgq_push('q', '1', dedup_key => 'k')").unwrap();
        assert_eq!(producer.all::<i64>("SELECT id FROM pgq_reserve('q')"), [1]);
        consumer.batch_execute("SELECT pgq_push('q', '2', dedup_key => 'k')").unwrap();
        let seen: Vec<String> = consumer.all("SELECT payload::text FROM pgq_reserve('q')");
        assert_eq!(seen, ["2"]);
        let give_back = match give_back {
            "pgq_release" => "SELECT pgq_release(1)",
            _ => "SELECT pgq_fail(1, 'no', delay => '0')",
        };
        producer.batch_execute(&format!("{give_back}; COMMIT")).unwrap();
        let seen: Vec<String> = producer.all("SELECT payload::text FROM pgq_reserve('q')");
        assert_eq!(seen, ["1"], "{give_back}: it was committed after the other was leased");
    }
}

#[test]
fn a_reserve_that_finds_nothing_but_a_replacement_in_another_group_hands_it_out() {
    let server = Server::start();
    let (mut first, mut second) = (server.connect(), server.connect());
    second.batch_execute("SELECT pgq_create_queue('q')").unwrap();
    first.batch_execute("BEGIN; SELECT pgq_push('q', '1', dedup_key => 'k')").unwrap();
    second
        .batch_execute(
            "SELECT pgq_push('q', '2', dedup_key => 'k', group_key => 'g', on_duplicate => 'replace')",
        )
        .unwrap();
    first.batch_execute("COMMIT").unwrap();
    assert_eq!(second.all::<String>("SELECT payload::text FROM pgq_reserve('q')"), ["2"]);
}

#[test]
fn a_push_with_an_old_snapshot_hides_no_change_from_its_own_transaction() {
    let server = Server::start();
    let (mut old, mut other) = (server.connect(), server.connect());
    other.batch_execute("SELECT pgq_create_queue('q')").unwrap();
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pgq_pop('q')").unwrap();
    other.batch_execute("SELECT pgq_push('q', '1', dedup_key => 'k')").unwrap();
    let named: i64 = old.one("SELECT pgq_push('q', '2', dedup_key => 'k')");
    assert_eq!(named, 1);
    assert_eq!(old.all::<i64>("SELECT id FROM pgq_reserve('q')"), [0; 0], "its snapshot does not show it");
    old.batch_execute("COMMIT").unwrap();
    assert_eq!(other.all::<String>("SELECT payload::text FROM pgq_pop('q', max => 9)"), ["1"]);
}

#[test]
fn a_cancel_takes_no_message_with_it_that_was_pushed_under_its_own_id() {
    for (on_duplicate, remove) in [
        ("ignore", "pgq_cancel"),
        ("replace", "pgq_cancel"),
        ("ignore", "pgq_delete"),
        ("replace", "pgq_delete"),
    ] {
        let server = Server::start();
        let (mut first, mut second) = (server.connect(), server.connect());
        second.batch_execute("SELECT pgq_create_queue('q')").unwrap();
        first.batch_execute("BEGIN; SELECT pgq_push('q', '1', dedup_key => 'k')").unwrap();
        let push = format!("SELECT pgq_push('q', '2', dedup_key => 'k', on_duplicate => '{on_duplicate}')");
        let own: i64 = second.one(&push);
        first.batch_execute(&format!("SELECT {remove}(1); COMMIT")).unwrap();
        assert_eq!(second.all::<i64>("SELECT id FROM pgq_pop('q', max => 9)"), [own], "{remove}");
    }
}

#[test]
fn a_newer_message_that_was_given_back_is_not_dropped_for_an_older_one() {
    let server = Server::start();
    let (mut producer, mut consumer) = (server.connect(), server.connect());
    consumer.batch_execute("SELECT pgq_create_queue('q')").unwrap();
    let push = |content: i32| {
        format!("SELECT pgq_push('q', '{content}', dedup_key => 'k', on_duplicate => 'replace')")
    };
    // Leased by the transaction that has pushed it.
    producer.batch_execute(&format!("BEGIN; {}; SELECT id FROM pgq_reserve('q'); COMMIT", push(1))).unwrap();
    let newer: i64 = consumer.one(&push(2));
    assert_eq!(consumer.all::<i64>("SELECT id FROM pgq_reserve('q')"), [newer]);
    consumer.batch_execute(&format!("SELECT pgq_release({newer})")).unwrap();
    producer.batch_execute("SELECT pgq_fail(1, 'no', delay => '0')").unwrap();
    assert_eq!(consumer.all::<String>("SELECT payload::text FROM pgq_pop('q', max => 9)"), ["2"]);
    assert_eq!(consumer.one::<i64>("SELECT count(*) FROM pgqueue.message"), 0);
}

#[test]
fn a_push_behind_an_echo_in_a_batch_does_not_wait_for_it() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off");
    let (mut session, mut holder) = (server.connect(), server.connect());
    session.execute("SELECT pgq_push('q', '1', dedup_key => 'k')", &[]).unwrap();
    // While the message is held, a push of its key adds an echo, here of another group.
    holder.batch_execute("BEGIN; SELECT pgq_reserve('q')").unwrap();
    session
        .batch_execute(
            "SELECT pgq_push_batch('q', ARRAY['2', '3']::jsonb[], group_key => 'g', dedup_keys => ARRAY['k', 'j'])",
        )
        .unwrap();
    holder.batch_execute("ROLLBACK").unwrap();
    let mut given: Vec<String> = Vec::new();
    for _ in 0..3 {
        given.extend(session.all::<String>(
            "SELECT m.payload::text FROM pgq_reserve('q', max => 9) m, LATERAL pgq_delete(m.id, m.delivery)",
        ));
    }
    assert_eq!(given, ["1", "3"]);
}

#[test]
fn a_push_that_counts_on_a_message_of_another_kind_leaves_it_in_all_its_indexes() {
    let server = Server::start();
    let mut session = server.connect();
    session
        .batch_execute(
            "SELECT pgq_create_queue('q');
             SELECT pgq_push('q', '1', dedup_key => 'k', delay => '1 h', ttl => '1 day', group_key => 'g')",
        )
        .unwrap();
    let mut old = server.connect();
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pgqueue.queue").unwrap();
    let place = "SELECT (ctid::text::point)[0] FROM pgqueue.message WHERE dedup_key = 'k'";
    until("it moves to another page", || {
        session
            .batch_execute("SELECT pgq_push('q', '2', dedup_key => 'k', on_duplicate => 'ignore')")
            .unwrap();
        session.one::<f64>(place) > 0.0
    });
    assert_eq!(session.one::<i64>("SELECT count(*) FROM pgqueue.message"), 1);
    assert_indexes_are_whole(&mut session);
}

/// Pushes a message with a key, and while that is not committed another.
fn push_beside_an_open_push(first: &mut Client, second: &mut Client, on_duplicate: &str) {
    first.batch_execute("BEGIN; SELECT pgq_push('q', '1', dedup_key => 'k')").unwrap();
    let push = format!("SELECT pgq_push('q', '2', dedup_key => 'k', on_duplicate => '{on_duplicate}')");
    second.batch_execute(&push).unwrap();
    first.batch_execute("COMMIT").unwrap();
}

#[test]
fn a_message_that_is_replaced_is_neither_updated_nor_moved() {
    let server = Server::start();
    let (mut first, mut second) = (server.connect(), server.connect());
    first.batch_execute("SELECT pgq_create_queue('q'); SELECT pgq_create_queue('other')").unwrap();
    push_beside_an_open_push(&mut first, &mut second, "replace");
    for change in ["pgq_update(1, '3')", "pgq_update(1, priority => 5)", "pgq_move(1, 'other') IS NOT NULL"] {
        assert!(!first.one::<bool>(&format!("SELECT {change}")), "{change}: it is delivered as 2");
    }
    assert!(first.one::<bool>("SELECT pgq_update(2, '4')"));
    assert_eq!(first.all::<String>("SELECT payload::text FROM pgq_pop('q', 9)"), ["4"]);
}

#[test]
fn an_update_of_a_message_waits_for_one_that_may_replace_it() {
    for (end, is_updated, delivered) in [("COMMIT", false, "2"), ("ROLLBACK", true, "3")] {
        let server = Server::start();
        let (mut first, mut second) = (server.connect(), server.connect());
        first.batch_execute("SELECT pgq_create_queue('q')").unwrap();
        second.batch_execute("BEGIN").unwrap();
        push_beside_an_open_push(&mut first, &mut second, "replace");
        thread::scope(|scope| {
            let update = scope.spawn(|| first.one::<bool>("SELECT pgq_update(1, '3')"));
            until_blocked(&mut server.connect(), 1);
            second.batch_execute(end).unwrap();
            assert_eq!(update.join().unwrap(), is_updated, "{end}");
        });
        assert_eq!(second.all::<String>("SELECT payload::text FROM pgq_pop('q', 9)"), [delivered], "{end}");
    }
}

#[test]
fn an_update_of_a_message_that_stands_behind_another_is_delivered() {
    let server = Server::start();
    let (mut first, mut second) = (server.connect(), server.connect());
    first.batch_execute("SELECT pgq_create_queue('q')").unwrap();
    push_beside_an_open_push(&mut first, &mut second, "ignore");
    assert!(first.one::<bool>("SELECT pgq_update(2, '3')"));
    assert_eq!(first.all::<String>("SELECT payload::text FROM pgq_pop('q', 9)"), ["3"]);
}

#[test]
fn a_push_that_counts_on_a_message_lives_as_long_as_it_asked_for() {
    let server = Server::start();
    let mut session = server.connect();
    let push = |session: &mut Client, key: &str, ttl: &str| -> String {
        session.one(&format!(
            "SELECT outcome FROM pgq_push_result('q', to_jsonb('{key}'::text), dedup_key => '{key}', ttl => {ttl})"
        ))
    };
    let orders = [
        ("short, long", ["'300 ms'", "'1 h'"]),
        ("long, short", ["'1 h'", "'300 ms'"]),
        ("short, none", ["'300 ms'", "NULL"]),
        ("none, short", ["NULL", "'300 ms'"]),
        ("short, short", ["'300 ms'", "'300 ms'"]),
    ];
    for (key, ttls) in orders {
        assert_eq!(ttls.map(|ttl| push(&mut session, key, ttl)), ["pushed", "ignored"], "{key}");
    }
    // A transaction that counts on its own message writes a version too.
    let mut own = session.transaction().unwrap();
    for ttl in ["'300 ms'", "'200 ms'", "NULL"] {
        let push = format!("SELECT pgq_push('q', '\"own\"', dedup_key => 'own', ttl => {ttl})");
        own.execute(&push, &[]).unwrap();
    }
    own.commit().unwrap();
    thread::sleep(Duration::from_millis(400));
    session.batch_execute("SELECT pgq_vacuum()").unwrap();
    assert_indexes_are_whole(&mut session);
    let left: Vec<String> = session.all("SELECT payload #>> '{}' FROM pgq_pop('q', 9) ORDER BY 1");
    assert_eq!(left, ["long, short", "none, short", "own", "short, long", "short, none"]);
}

#[test]
fn a_push_that_counts_on_an_echo_lives_as_long_as_it_asked_for() {
    let server = Server::start();
    let (mut first, mut second) = (server.connect(), server.connect());
    first.batch_execute("SELECT pgq_create_queue('q')").unwrap();
    let push = |ttl: &str| format!("SELECT pgq_push('q', '1', dedup_key => 'k', ttl => {ttl})");
    second.batch_execute(&push("'300 ms'")).unwrap();
    first.batch_execute("BEGIN").unwrap();
    first.batch_execute(&push("'300 ms'")).unwrap();
    second.batch_execute(&push("'300 ms'")).unwrap(); // an echo
    second.batch_execute(&push("NULL")).unwrap(); // counts on it
    first.batch_execute("COMMIT").unwrap();
    assert_eq!(first.one::<i64>("SELECT count(*) FROM pgqueue.message"), 2);
    thread::sleep(Duration::from_millis(400));
    first.batch_execute("SELECT pgq_vacuum()").unwrap();
    assert_eq!(first.all::<i64>("SELECT id FROM pgq_reserve('q')"), [2]);
}

#[test]
fn an_echo_of_a_message_that_expires_while_it_is_put_off_is_delivered() {
    for preload in ["shared_preload_libraries = 'pgqueue'", ""] {
        let server = Server::bare(&format!("{preload}\npgqueue.auto_vacuum = off"));
        let (mut first, mut second) = (server.connect(), server.connect());
        first.batch_execute("CREATE EXTENSION pgqueue; SELECT pgq_create_queue('q')").unwrap();
        let head = "SELECT pgq_push('q', '1', dedup_key => 'k', ttl => '1 s', delay => '1 h')";
        second.batch_execute(head).unwrap();
        first.batch_execute("BEGIN").unwrap();
        first.batch_execute(head).unwrap();
        second.batch_execute("SELECT pgq_push('q', '2', dedup_key => 'k')").unwrap();
        first.batch_execute("ROLLBACK").unwrap();
        assert!(first.all::<i64>("SELECT id FROM pgq_reserve('q')").is_empty());
        thread::sleep(Duration::from_millis(1100));
        assert_eq!(first.all::<i64>("SELECT id FROM pgq_reserve('q')"), [2], "{preload}");
    }
}

#[test]
fn a_delivery_that_stands_for_an_echo_lives_as_long_as_that_would_have() {
    let server = Server::start();
    let (mut first, mut second) = (server.connect(), server.connect());
    let push = |ttl: &str| format!("SELECT pgq_push('q', '1', dedup_key => 'k', ttl => {ttl})");
    second.batch_execute(&push("'500 ms'")).unwrap();
    first.batch_execute("BEGIN").unwrap();
    first.batch_execute(&push("'500 ms'")).unwrap();
    second.batch_execute(&push("NULL")).unwrap(); // an echo
    first.batch_execute("ROLLBACK").unwrap();
    assert_eq!(first.all::<i64>("SELECT id FROM pgq_reserve('q', lease => '600 ms')"), [1]);
    assert_eq!(first.one::<i64>("SELECT count(*) FROM pgqueue.message"), 1, "the echo is absorbed");
    thread::sleep(Duration::from_millis(700));
    first.batch_execute("SELECT pgq_vacuum()").unwrap();
    assert_eq!(first.all::<i64>("SELECT id FROM pgq_reserve('q')"), [1]);
    assert_indexes_are_whole(&mut first);
}

#[test]
fn a_key_that_was_seen_within_the_window_is_not_moved_there_and_a_moved_one_counts_as_seen() {
    let server = Server::start();
    let mut session = server.connect();
    session.batch_execute("SELECT pgq_create_queue('target', '{\"dedup_window\": \"1 h\"}')").unwrap();
    session.batch_execute("SELECT pgq_push('target', '1', dedup_key => 'seen'), pgq_pop('target')").unwrap();
    let [seen, new, plain] = ["'seen'", "'new'", "NULL"]
        .map(|key| session.one::<i64>(&format!("SELECT pgq_push('source', '2', dedup_key => {key})")));
    let moved: Vec<i64> = session
        .all(&format!("SELECT id FROM pgq_move_batch(ARRAY[{seen}, {new}, {plain}], 'target') ORDER BY id"));
    assert_eq!(moved, [new, plain]);
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_peek('source', 9)"), [seen], "it stays");
    let there: i64 = session.one("SELECT id FROM pgq_pop('target', 9) ORDER BY id LIMIT 1");
    let row = session
        .query_one("SELECT id, outcome FROM pgq_push_result('target', '3', dedup_key => 'new')", &[])
        .unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, &str>(1)), (there, "ignored"));
    // Where it is leased, the window counts, too.
    session
        .batch_execute("SELECT pgq_push('target', '4', dedup_key => 'leased'), pgq_reserve('target')")
        .unwrap();
    let leased: i64 = session.one("SELECT pgq_push('source', '5', dedup_key => 'leased')");
    assert!(session.one::<bool>(&format!("SELECT pgq_move({leased}, 'target') IS NULL")));
}

#[test]
fn a_move_of_a_key_waits_for_a_push_of_it_where_there_is_a_window() {
    for (end, is_moved) in [("COMMIT", false), ("ROLLBACK", true)] {
        let server = Server::start();
        let (mut pusher, mut mover) = (server.connect(), server.connect());
        pusher.batch_execute("SELECT pgq_create_queue('target', '{\"dedup_window\": \"1 h\"}')").unwrap();
        let id: i64 = mover.one("SELECT pgq_push('source', '1', dedup_key => 'k')");
        pusher
            .batch_execute("BEGIN; SELECT pgq_push('target', '2', dedup_key => 'k'), pgq_pop('target')")
            .unwrap();
        thread::scope(|scope| {
            let moving =
                scope.spawn(|| mover.one::<bool>(&format!("SELECT pgq_move({id}, 'target') IS NOT NULL")));
            until_blocked(&mut server.connect(), 1);
            pusher.batch_execute(end).unwrap();
            assert_eq!(moving.join().unwrap(), is_moved, "{end}");
        });
        assert_eq!(pusher.one::<i64>("SELECT count(*) FROM pgq_peek('target')"), i64::from(is_moved));
    }
}

#[test]
fn a_move_that_waited_for_the_window_sees_the_messages_that_wait_by_then() {
    let server = Server::start();
    let (mut pusher, mut mover, mut consumer) = (server.connect(), server.connect(), server.connect());
    consumer.batch_execute("SELECT pgq_create_queue('target')").unwrap();
    let there: i64 = consumer.one("SELECT pgq_push('target', '\"there\"', dedup_key => 'k')");
    consumer
        .batch_execute(
            "SELECT pgq_reserve('target'), pgq_alter_queue('target', '{\"dedup_window\": \"1 h\"}')",
        )
        .unwrap();
    let id: i64 = mover.one("SELECT pgq_push('source', '1', dedup_key => 'k')");
    pusher.batch_execute("BEGIN; SELECT pgq_push('target', '2', dedup_key => 'k')").unwrap();
    thread::scope(|scope| {
        let moving =
            scope.spawn(|| mover.one::<bool>(&format!("SELECT pgq_move({id}, 'target') IS NOT NULL")));
        until_blocked(&mut server.connect(), 1);
        consumer.execute("SELECT pgq_release($1::bigint)", &[&there]).unwrap();
        pusher.batch_execute("ROLLBACK").unwrap();
        assert!(!moving.join().unwrap(), "another waits there");
    });
    assert_eq!(consumer.all::<i64>("SELECT id FROM pgq_reserve('target', max => 9)"), [there]);
}

#[test]
fn no_push_of_a_key_waits_for_one_that_waits_for_the_next_of_a_group() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off");
    let (mut holder, mut victim) = (server.connect(), server.connect());
    victim.batch_execute("SELECT pgq_create_queue('q'), pgq_create_queue('other')").unwrap();
    for (leave, queue) in [
        ("SELECT pgq_move(id, 'other') FROM pgq_peek('q')", "other"),
        ("SELECT pgq_push('q', '9', dedup_key => 'k', on_duplicate => 'replace', group_key => 'h')", "q"),
        ("SELECT pgq_update(id, payload => '7', priority => 5) FROM pgq_peek('q')", "q"),
    ] {
        let mut leaving = server.connect();
        let first = "SELECT pgq_push('q', '1', group_key => 'g', dedup_key => 'k')";
        let next = "SELECT pgq_push('q', '2', group_key => 'g')";
        victim.batch_execute(&format!("{first}; {next}; SET statement_timeout = '5s'")).unwrap();
        victim.batch_execute("UPDATE pgqueue.message SET lane = 'b' WHERE payload = '2'").unwrap();
        holder
            .batch_execute("BEGIN; SELECT pgq_update(id, headers => '{}') FROM pgq_peek('q', 1, 'blocked')")
            .unwrap();
        let leaves = thread::spawn(move || leaving.batch_execute(leave));
        until_blocked(&mut holder, 1);
        let push = format!("SELECT pgq_push('{queue}', '3', dedup_key => 'k')");
        victim.batch_execute(&push).unwrap_or_else(|error| panic!("beside {leave}: {error:?}"));
        holder.batch_execute("ROLLBACK").unwrap();
        leaves.join().unwrap().expect(leave);
        let state = "SELECT count(*) FROM pgqueue.message WHERE lane = 'b'";
        assert_eq!(victim.one::<i64>(state), 0, "the next has the turn: {leave}");
        victim.batch_execute("SELECT pgq_purge('q'), pgq_purge('other')").unwrap();
    }
}

#[test]
fn a_moved_message_lives_as_long_as_the_pushes_that_reused_it() {
    let server = Server::start();
    let (mut first, mut second) = (server.connect(), server.connect());
    first.batch_execute("SELECT pgq_create_queue('other')").unwrap();
    let push = |ttl: &str| format!("SELECT pgq_push('q', '1', dedup_key => 'k', ttl => {ttl})");
    let head: i64 = second.one(&push("'500 ms'"));
    // While the message is held, a push adds one behind it; while that one is held, an echo of the first.
    for (ttl, told) in [("'500 ms'", head + 1), ("NULL", head)] {
        first.batch_execute("BEGIN").unwrap();
        first.batch_execute(&push("'500 ms'")).unwrap();
        assert_eq!(second.one::<i64>(&push(ttl)), told);
        first.batch_execute("ROLLBACK").unwrap();
    }
    let moved: i64 = first.one(&format!("SELECT coalesce(pgq_move({head}, 'other'), 0)"));
    assert!(moved > 0);
    assert_eq!(first.one::<i64>("SELECT count(*) FROM pgqueue.message"), 2, "it takes in the echo");
    thread::sleep(Duration::from_millis(600));
    first.batch_execute("SELECT pgq_vacuum()").unwrap();
    let left: Vec<i64> = first.all("SELECT id FROM pgqueue.message");
    assert_eq!(left, [moved]);
}

/// A session with a server of its own whose worker does no rounds, and a transaction that has begun to push
/// 'older' with the key 'k', with further arguments, before 'newer' was pushed with it and leased for an hour.
fn older_that_commits_later(older: &str, newer: &str) -> (Server, Client, Client, (i64, i64)) {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.auto_vacuum = off");
    let (mut session, mut other) = (server.connect(), server.connect());
    session.batch_execute("CREATE EXTENSION pgqueue; SELECT pgq_create_queue('q')").unwrap();
    other
        .batch_execute(&format!("BEGIN; SELECT pgq_push('q', '\"older\"', dedup_key => 'k'{older})"))
        .unwrap();
    session.batch_execute(&format!("SELECT pgq_push('q', '\"newer\"', dedup_key => 'k'{newer})")).unwrap();
    let leased = leased(&mut session, "'1 h'");
    (server, session, other, leased)
}

fn leased(session: &mut Client, lease: &str) -> (i64, i64) {
    let row = session
        .query_one(&format!("SELECT id, delivery FROM pgq_reserve('q', lease => {lease})"), &[])
        .unwrap();
    (row.get(0), row.get(1))
}

fn reserved(session: &mut Client) -> Vec<String> {
    session.all("SELECT payload::text FROM pgq_reserve('q', lease => '1 h', max => 9)")
}

#[test]
fn two_messages_of_a_key_do_not_supersede_each_other() {
    let (server, mut session, mut other, newer) = older_that_commits_later("", "");
    other.batch_execute("COMMIT").unwrap();
    let older = leased(&mut session, "'1 h'");
    let release = |session: &mut Client, (id, delivery): (i64, i64)| {
        assert!(session.one::<bool>(&format!("SELECT pgq_release({id}, delivery => {delivery})")));
    };
    release(&mut session, newer);
    // It drops the newer, as the older was leased later.
    let mut dropping = server.connect();
    dropping.batch_execute("BEGIN; SELECT pgq_reserve('q')").unwrap();
    release(&mut session, older);
    let mut got = reserved(&mut session);
    dropping.batch_execute("COMMIT").unwrap();
    got.append(&mut reserved(&mut session));
    assert_eq!(got, ["\"older\""]);
}

#[test]
fn a_replacement_stays_when_the_window_ignores_the_push_that_would_replace_it() {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.auto_vacuum = off");
    let mut session = server.connect();
    session
        .batch_execute(r#"CREATE EXTENSION pgqueue; SELECT pgq_create_queue('q', '{"dedup_window": "1 s"}')"#)
        .unwrap();
    let push = |session: &mut Client, payload: &str, on_duplicate: &str| {
        let call = "SELECT pgq_push('q', to_jsonb($1::text), dedup_key => 'k', on_duplicate => $2)";
        session.execute(call, &[&payload, &on_duplicate]).unwrap();
    };
    let window = || thread::sleep(Duration::from_millis(1200));
    let open_push = || {
        let mut other = server.connect();
        other.batch_execute("BEGIN").unwrap();
        push(&mut other, "same", "ignore");
        other
    };
    push(&mut session, "old", "ignore");
    let mut first = open_push();
    window();
    push(&mut session, "new", "replace");
    first.batch_execute("COMMIT").unwrap();
    let mut second = open_push();
    window();
    push(&mut session, "same", "ignore");
    second.batch_execute("COMMIT").unwrap();
    let mut third = open_push();
    push(&mut session, "newer", "replace");
    third.batch_execute("COMMIT").unwrap();
    let got = reserved(&mut session);
    assert!(got.contains(&"\"new\"".to_owned()) || got.contains(&"\"newer\"".to_owned()), "{got:?}");
}

#[test]
fn an_update_of_a_message_behind_an_older_one_of_its_key_is_delivered() {
    let (_server, mut session, mut other, (id, delivery)) = older_that_commits_later(", priority => 5", "");
    other.batch_execute("COMMIT").unwrap();
    session
        .batch_execute(&format!(
            "SELECT pgq_release({id}, delivery => {delivery}), pgq_update({id}, payload => '\"updated\"')"
        ))
        .unwrap();
    // Both may have been leased at once, one after the other.
    let mut got: Vec<String> = session.all("SELECT payload::text FROM pgq_reserve('q', lease => '100 ms')");
    got.append(&mut reserved(&mut session));
    thread::sleep(Duration::from_millis(200));
    got.append(&mut reserved(&mut session));
    assert_eq!(got.last().map(String::as_str), Some("\"updated\""), "{got:?}");
}

#[test]
fn a_replacement_that_is_rolled_back_hides_its_message_from_no_reserve() {
    let server = Server::start();
    let (mut pusher, mut consumer) = (server.connect(), server.connect());
    let id: i64 = pusher.one("SELECT pgq_push('q', '1', dedup_key => 'k')");
    for end in ["ROLLBACK", "ROLLBACK TO s; COMMIT"] {
        pusher
            .batch_execute(
                "BEGIN; SAVEPOINT s; SELECT pgq_push('q', '2', dedup_key => 'k', on_duplicate => 'replace')",
            )
            .unwrap();
        let beside = consumer.all::<i64>("SELECT id FROM pgq_reserve('q')");
        assert!(beside.is_empty(), "its row is locked");
        pusher.batch_execute(end).unwrap();
        assert_eq!(consumer.all::<i64>("SELECT id FROM pgq_reserve('q')"), [id], "{end}");
        consumer.execute("SELECT pgq_release($1::bigint)", &[&id]).unwrap();
    }
}

#[test]
fn a_cancel_leaves_what_is_superseded_and_gone_for_another_reason_too() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off");
    let mut session = server.connect();
    for (settings, option, is_cancelled) in [
        ("{}", "", true),
        ("{}", ", ttl => '400 ms'", false),
        ("{}", ", max_deliveries => 1", false),
        (r#"{"max_deliveries": 1}"#, "", false),
        (r#"{"on_timeout": "dead"}"#, "", false),
    ] {
        session.execute(&format!("SELECT pgq_create_queue('q', '{settings}')"), &[]).unwrap();
        let old: i64 = session.one(&format!("SELECT pgq_push('q', '1', dedup_key => 'k'{option})"));
        session.execute("SELECT pgq_reserve('q', '300 ms')", &[]).unwrap();
        let new: i64 = session.one("SELECT pgq_push('q', '2', dedup_key => 'k')");
        assert_ne!(new, old);
        session.batch_execute("SELECT pg_sleep(0.5)").unwrap();
        let cancelled: bool = session.one(&format!("SELECT pgq_cancel({old})"));
        assert_eq!(cancelled, is_cancelled, "{settings} {option}");
        session.execute("SELECT pgq_drop_queue('q')", &[]).unwrap();
    }
}
