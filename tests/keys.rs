//! Unique keys under many sessions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use postgres::error::SqlState;
use postgres::{Client, IsolationLevel};
use support::{Ask, Ending, Server, until, until_blocked};

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
        let (id, delivery, key): (i64, i32, i32) = (row.get(0), row.get(1), row.get(2));
        let settle = match fastrand::u8(..) {
            0..30 => "SELECT pgq_fail($1::bigint, 'no', $2::int, '1 ms'::interval)",
            30..60 => "SELECT pgq_release($1::bigint, '0'::interval, $2::int)",
            _ => {
                session
                    .execute(
                        "UPDATE object SET seen = greatest(seen, (SELECT version FROM object WHERE key = $1)) WHERE key = $1",
                        &[&key],
                    )
                    .unwrap();
                "SELECT pgq_delete($1::bigint, $2::int)"
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
fn the_last_change_counts_although_another_push_of_the_key_is_under_way() {
    for (on_duplicate, last) in [("ignore", "1"), ("replace", "3")] {
        let server = Server::start();
        let (mut one, mut other, mut consumer) = (server.connect(), server.connect(), server.connect());
        let first: i64 = one.one("SELECT pgq_push('q', '1', dedup_key => 'k')");
        assert_eq!(consumer.all::<i64>("SELECT id FROM pgq_reserve('q')"), [first]);
        one.batch_execute("BEGIN; SELECT pgq_push('q', '2', dedup_key => 'k')").unwrap();
        consumer.execute("SELECT pgq_release($1::bigint)", &[&first]).unwrap();
        // The first waits again, and the second has the key but is not committed: who pushes
        // now has to wait for that.
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let push = format!(
                    "SELECT id FROM pgq_push_result('q', '3', dedup_key => 'k', on_duplicate => '{on_duplicate}')"
                );
                other.one::<i64>(&push)
            });
            until_blocked(&mut consumer, 1);
            one.batch_execute("ROLLBACK").unwrap();
            assert_eq!(waiting.join().unwrap(), first);
        });
        let delivered: Vec<String> = consumer.all("SELECT payload::text FROM pgq_reserve('q', max => 9)");
        assert_eq!(delivered, [last]);
    }
}

#[test]
fn a_message_that_expired_while_it_was_held_is_waited_for_and_the_push_is_not_lost() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off");
    let (mut holder, mut other, mut observer) = (server.connect(), server.connect(), server.connect());
    holder.execute("SELECT pgq_create_queue('q', '{\"dedup_window\": \"1 ms\"}')", &[]).unwrap();
    holder.execute("SELECT pgq_push('q', '1', dedup_key => 'k', ttl => '3 s')", &[]).unwrap();
    holder.batch_execute("BEGIN; SELECT pgq_push('q', '2', dedup_key => 'k')").unwrap();
    until("it has expired", || observer.one("SELECT state = 'gone' FROM pgqueue.message_state"));
    thread::scope(|scope| {
        let waiting = scope
            .spawn(|| other.one::<String>("SELECT outcome FROM pgq_push_result('q', '3', dedup_key => 'k')"));
        until_blocked(&mut observer, 1);
        holder.batch_execute("COMMIT").unwrap();
        assert_eq!(waiting.join().unwrap(), "pushed");
    });
    assert_eq!(observer.all::<String>("SELECT payload::text FROM pgq_reserve('q', max => 9)"), ["3"]);
}

#[test]
fn who_had_a_message_before_a_push_met_it_cannot_settle_it_any_more() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off"); // a round that touches the message hides it for a moment
    let mut session = server.connect();
    for settle in [
        "SELECT pgq_delete(id, 1) FROM pgqueue.message",
        "SELECT pgq_delete(ARRAY[id], ARRAY[1]) FROM pgqueue.message",
        "SELECT pgq_bury(id, 'too late', 1) FROM pgqueue.message",
        "SELECT n FROM pgqueue.message m, pgq_next('q', ARRAY[m.id], ARRAY[1], group_key => 'none') n",
    ] {
        for (on_duplicate, stands_for) in [("ignore", "1"), ("replace", "2")] {
            session.execute("SELECT pgq_push('q', '1', dedup_key => 'k')", &[]).unwrap();
            let taken: Vec<i32> = session.all("SELECT delivery FROM pgq_reserve('q', '1 ms')");
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
fn what_a_newer_message_of_its_key_has_superseded_is_not_changed_any_more() {
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
fn the_last_of_those_that_waited_for_a_key_stands_for_it() {
    let server = Server::start();
    let mut first = server.connect();
    first.batch_execute("CREATE SEQUENCE turn").unwrap();
    let push = "SELECT id FROM pgq_push_result('q', '1', dedup_key => 'k') WHERE outcome = 'pushed'";
    // Who waits longer may be the first that goes on; not always.
    let mut overtaken = 0;
    for _ in 0..200 {
        first.batch_execute("BEGIN; SELECT pgq_push('q', '0', dedup_key => 'k')").unwrap();
        let pushed = thread::scope(|scope| {
            let mut waiting = Vec::new();
            for n in 1..=2 {
                let mut session = server.connect();
                waiting.push(scope.spawn(move || {
                    session.batch_execute("SET statement_timeout = '10 s'; BEGIN").unwrap();
                    let id: i64 = session.one(push);
                    // It is out before the other one gets on.
                    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('q', '1 h')"), [id]);
                    let order: i64 = session.one("SELECT nextval('turn')");
                    session.batch_execute("COMMIT").unwrap();
                    (order, id)
                }));
                until_blocked(&mut server.connect(), n);
            }
            first.batch_execute("ROLLBACK").unwrap();
            waiting.into_iter().map(|waiting| waiting.join().unwrap()).collect::<Vec<_>>()
        });
        let [(turn_one, one), (turn_two, two)] = pushed[..] else { unreachable!("two have pushed") };
        assert_eq!(turn_one < turn_two, one < two, "the later has the later id: {pushed:?}");
        overtaken += usize::from(turn_two < turn_one);
        first.execute("SELECT pgq_delete(ARRAY[$1, $2]::bigint[])", &[&one, &two]).unwrap();
        if overtaken == 3 {
            return;
        }
    }
    panic!("who came first always went on first");
}

#[test]
fn what_waits_with_a_key_in_another_queue_is_not_driven_out_by_what_is_moved_there() {
    let server = Server::start();
    let mut session = server.connect();
    let there: i64 = session.one("SELECT pgq_push('target', '\"there\"', dedup_key => 'k')");
    session.execute("SELECT pgq_release(id) FROM pgq_reserve('target')", &[]).unwrap();
    let stays: i64 = session.one("SELECT pgq_push('source', '\"stays\"', dedup_key => 'k')");
    let moving = format!("SELECT new_id FROM pgq_move(ARRAY[{stays}], 'target')");
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
fn what_replaces_a_message_is_delivered_once_at_least() {
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
