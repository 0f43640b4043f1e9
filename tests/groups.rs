//! Ordered groups under many sessions: one at a time, in order, none left behind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use postgres::Client;
use support::{Ask, Ending, Server, until, until_blocked};

const GROUPS: i32 = 12;
const PRODUCERS: i32 = 4;
const EACH: i32 = 250;

/// A table that only one consumer at a time can have a group in, and one of what was done.
fn prepare(server: &Server) {
    server
        .connect()
        .batch_execute(
            "CREATE TABLE working (group_key text PRIMARY KEY);
             CREATE TABLE done (nr bigserial, group_key text, producer int, seq int)",
        )
        .unwrap();
}

/// Pushes to all groups, mostly one message a transaction, sometimes several, or none.
fn produce(mut session: Client, producer: i32) {
    let push = session
        .prepare(
            "SELECT pgq_push('q', jsonb_build_object('producer', $1::int, 'seq', $2::int), group_key => 'g' || $3::int)",
        )
        .unwrap();
    for seq in 0..EACH {
        let mut transaction = session.transaction().unwrap();
        for _ in 0..fastrand::i32(1..4) {
            if fastrand::u8(..) < 30 {
                let mut rolled_back = transaction.savepoint("s").unwrap();
                rolled_back.execute(&push, &[&producer, &-1, &fastrand::i32(0..GROUPS)]).unwrap();
                rolled_back.rollback().unwrap();
            }
        }
        for group in 0..GROUPS {
            if group % 3 == seq % 3 {
                transaction.execute(&push, &[&producer, &seq, &group]).unwrap();
            }
        }
        transaction.commit().unwrap();
    }
}

/// Works until it is told to end: deletes, releases, fails, or lets go by rolling back.
fn consume(mut session: Client, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        if fastrand::u8(..) < 20 {
            let mut transaction = session.transaction().unwrap();
            transaction.query("SELECT id FROM pgq_reserve('q', max => 3)", &[]).unwrap();
            transaction.rollback().unwrap();
        }
        let max = fastrand::i64(1..8);
        let rows = session
            .query(
                "SELECT id, delivery, group_key, (payload ->> 'producer')::int, (payload ->> 'seq')::int
                   FROM pgq_reserve('q', lease => '1 min', max => $1)",
                &[&max],
            )
            .unwrap();
        for row in rows {
            let (id, delivery, group): (i64, i64, String) = (row.get(0), row.get(1), row.get(2));
            session.execute("INSERT INTO working VALUES ($1)", &[&group]).expect("nobody else works on it");
            let fate = fastrand::u8(..);
            let mut transaction = session.transaction().unwrap();
            transaction.execute("DELETE FROM working WHERE group_key = $1", &[&group]).unwrap();
            let settle = match fate {
                0..20 => "SELECT pgq_release($1, '0'::interval, $2)",
                20..40 => "SELECT pgq_release($1, '3 ms'::interval, $2)",
                40..60 => "SELECT pgq_fail($1, 'no', $2, '2 ms'::interval)",
                _ => "SELECT pgq_delete($1, $2)",
            };
            if fate >= 60 {
                let (producer, seq): (i32, i32) = (row.get(3), row.get(4));
                transaction
                    .execute(
                        "INSERT INTO done (group_key, producer, seq) VALUES ($1, $2, $3)",
                        &[&group, &producer, &seq],
                    )
                    .unwrap();
            }
            transaction.execute(settle, &[&id, &delivery]).unwrap();
            transaction.commit().unwrap();
        }
    }
}

fn work_through(server: &Server) {
    prepare(server);
    let mut observer = server.connect();
    observer.execute("SELECT pgq_create_queue('q', '{\"max_deliveries\": 0}')", &[]).unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..6 {
            let session = server.connect();
            scope.spawn(|| consume(session, &is_over));
        }
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|producer| {
                let session = server.connect();
                scope.spawn(move || produce(session, producer))
            })
            .collect();
        let ending = Ending(&is_over);
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        until("everything is delivered, nothing is left behind", || {
            observer.one::<i64>("SELECT count(*) FROM pgqueue.message") == 0
        });
        drop(ending);
    });
    // What is in `done` was written by transactions that had the group to themselves.
    let out_of_order: i64 = observer.one(
        "SELECT count(*) FROM (SELECT seq, lag(seq) OVER (PARTITION BY group_key, producer ORDER BY nr) AS before
                                 FROM done) steps
          WHERE seq <= before",
    );
    assert_eq!(out_of_order, 0);
    let pushed = i64::from(PRODUCERS * EACH * GROUPS / 3);
    assert_eq!(observer.one::<i64>("SELECT count(*) FROM done"), pushed);
}

#[test]
fn a_due_message_hides_no_more_urgent_ready_one_of_its_group() {
    // Without rounds of the worker: what is due stays in the delayed lane.
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.auto_vacuum = off");
    let mut session = server.connect();
    session.batch_execute("CREATE EXTENSION pgqueue").unwrap();
    session
        .batch_execute("SELECT pgq_push('q', '\"due\"', headers => '{}', delay => '1 ms', group_key => 'g')")
        .unwrap();
    until("it is due", || session.one::<i64>("SELECT count(*) FROM pgq_peek('q')") == 1);
    let push = "SELECT pgq_push('q', '\"urgent\"', headers => '{}', priority => -1, group_key => 'g')";
    session.batch_execute(push).unwrap();
    let filtered = "SELECT payload::text FROM pgq_reserve('q', filter => '{}')";
    assert_eq!(session.all::<String>(filtered), ["\"urgent\""]);
}

#[test]
fn groups_are_delivered_in_order_one_at_a_time_and_wholly() {
    work_through(&Server::start());
}

#[test]
fn the_same_without_worker_and_shared_memory() {
    work_through(&without_help());
}

#[test]
fn the_next_goes_at_the_commit_that_removes_the_first() {
    let server = Server::start();
    let (mut one, mut other) = (server.connect(), server.connect());
    let first: i64 = one.one("SELECT pgq_push('q', '1', group_key => 'a')");
    other.execute("SELECT pgq_push('q', '2', group_key => 'a')", &[]).unwrap();
    assert_eq!(one.all::<i64>("SELECT id FROM pgq_reserve('q', max => 9)"), [first]);
    one.batch_execute("BEGIN").unwrap();
    one.execute("SELECT pgq_delete($1::bigint)", &[&first]).unwrap();
    // Pushed and looked for while the deletion is under way, of which it may be rolled back.
    let third: i64 = other.one("SELECT pgq_push('q', '3', group_key => 'a')");
    assert!(other.all::<i64>("SELECT id FROM pgq_reserve('q', max => 9)").is_empty());
    one.batch_execute("COMMIT").unwrap();
    let second: i64 = other.one("SELECT id FROM pgq_reserve('q', max => 9)");
    assert!(first < second && second < third);
}

#[test]
fn a_push_while_the_last_of_its_group_is_being_deleted_is_delivered_at_once() {
    let server = Server::start();
    let (mut one, mut other) = (server.connect(), server.connect());
    for _ in 0..20 {
        let first: i64 = one.one("SELECT pgq_push('q', '1', group_key => 'a')");
        assert_eq!(one.all::<i64>("SELECT id FROM pgq_reserve('q')"), [first]);
        one.batch_execute("BEGIN").unwrap();
        one.execute("SELECT pgq_delete($1::bigint)", &[&first]).unwrap();
        // The deletion has looked for the next, and there was none yet.
        let second: i64 = other.one("SELECT pgq_push('q', '2', group_key => 'a')");
        assert!(other.all::<i64>("SELECT id FROM pgq_reserve('q')").is_empty());
        one.batch_execute("COMMIT").unwrap();
        assert_eq!(other.all::<i64>("SELECT id FROM pgq_reserve('q')"), [second]);
        other.execute("SELECT pgq_delete($1::bigint)", &[&second]).unwrap();
    }
}

#[test]
fn a_message_that_commits_late_waits_for_the_one_that_is_out() {
    let server = Server::start();
    let (mut slow, mut fast) = (server.connect(), server.connect());
    fast.execute("SELECT pgq_create_queue('q')", &[]).unwrap();
    slow.batch_execute("BEGIN").unwrap();
    let low: i64 = slow.one("SELECT pgq_push('q', '1', group_key => 'a')");
    let high: i64 = fast.one("SELECT pgq_push('q', '2', group_key => 'a')");
    assert_eq!(fast.all::<i64>("SELECT id FROM pgq_reserve('q', max => 9)"), [high]);
    slow.batch_execute("COMMIT").unwrap();
    assert!(fast.all::<i64>("SELECT id FROM pgq_reserve('q', max => 9)").is_empty());
    fast.execute("SELECT pgq_delete($1::bigint)", &[&high]).unwrap();
    assert_eq!(fast.all::<i64>("SELECT id FROM pgq_reserve('q', max => 9)"), [low]);
}

#[test]
fn a_consumer_that_sleeps_is_woken_for_the_next_of_a_group() {
    let server = Server::start();
    let (mut one, mut sleeper, mut observer) = (server.connect(), server.connect(), server.connect());
    let ids: Vec<i64> = one.all("SELECT pgq_push_batch('q', ARRAY['1', '2']::jsonb[], group_key => 'a')");
    assert_eq!(one.all::<i64>("SELECT id FROM pgq_reserve('q', lease => '1 h')"), ids[..1]);
    thread::scope(|scope| {
        let waiting = scope.spawn(move || {
            sleeper.batch_execute("CALL pgq_wait('q', '20 s')").unwrap();
            sleeper.all::<i64>("SELECT id FROM pgq_reserve('q')")
        });
        until("it sleeps", || {
            observer.one("SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'CALL pgq_wait%' AND wait_event_type = 'Extension'")
        });
        one.execute("SELECT pgq_delete($1::bigint)", &[&ids[0]]).unwrap();
        assert_eq!(waiting.join().unwrap(), ids[1..]);
    });
}

#[test]
fn the_worker_moves_waiting_messages_aside_and_they_come_back_in_order() {
    let server = Server::start();
    let mut session = server.connect();
    // One transaction each: nothing says at the push that others are before them.
    for n in 0..300 {
        session
            .execute("SELECT pgq_push('q', to_jsonb($1::int), group_key => 'g' || $1 % 3)", &[&n])
            .unwrap();
    }
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('q', max => 1000, lease => '1 h')").len(), 3);
    until("all others are in the blocked lane", || {
        session.one::<i64>("SELECT count(*) FROM pgqueue.message WHERE lane = 'b'") == 297
    });
    assert_eq!(session.one::<i64>("SELECT blocked FROM pgq_stats('q')"), 297);
    session
        .execute("SELECT pgq_delete_batch(ARRAY(SELECT id FROM pgqueue.message WHERE in_turn))", &[])
        .unwrap();
    let mut seen: Vec<i32> = vec![0, 1, 2];
    for _ in 0..99 {
        let row = session
            .query_one(
                "SELECT array_agg(id), array_agg(payload::int ORDER BY id) FROM pgq_reserve('q', max => 9)",
                &[],
            )
            .unwrap();
        let ids: Vec<i64> = row.get(0);
        seen.extend(row.get::<_, Vec<i32>>(1));
        session.execute("SELECT pgq_delete_batch($1::bigint[])", &[&ids]).unwrap();
    }
    assert_eq!(seen, (0..300).collect::<Vec<_>>());
}

#[test]
fn a_message_held_by_two_transactions_does_not_hold_up_its_group() {
    let server = Server::start();
    let (mut one, mut other) = (server.connect(), server.connect());
    one.batch_execute("SET statement_timeout = '10 s'").unwrap();
    let first: i64 = one.one("SELECT pgq_push('q', '1', group_key => 'a')");
    let second: i64 = one.one("SELECT pgq_push('q', '2', group_key => 'a', dedup_key => 'k')");
    // Both count on the second; the row then has a lock that two have shared.
    other.batch_execute("BEGIN; SELECT pgq_push('q', '3', dedup_key => 'k')").unwrap();
    one.batch_execute("BEGIN; SELECT pgq_push('q', '3', dedup_key => 'k')").unwrap();
    other.batch_execute("COMMIT").unwrap();
    one.execute("SELECT pgq_delete($1::bigint)", &[&first]).unwrap();
    assert_eq!(one.all::<i64>("SELECT id FROM pgq_reserve('q')"), [second]);
    one.batch_execute("COMMIT").unwrap();
}

#[test]
fn a_reserve_that_clears_the_first_away_does_not_wait_for_the_lock_of_the_next() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off");
    let (mut holder, mut other) = (server.connect(), server.connect());
    other.batch_execute("SET statement_timeout = '10 s'").unwrap();
    other
        .batch_execute(
            "BEGIN;
             SELECT pgq_push('q', '1', group_key => 'a', ttl => '1 h');
             SELECT pgq_push('q', '2', group_key => 'a');
             COMMIT;
             UPDATE pgqueue.message SET expires_at = now() - interval '1 s' WHERE expires_at IS NOT NULL;
             SELECT pgq_push('q', '\"free\"')",
        )
        .unwrap();
    holder.batch_execute("BEGIN; SELECT FROM pgqueue.message WHERE lane = 'b' FOR UPDATE").unwrap();
    assert_eq!(other.all::<String>("SELECT payload::text FROM pgq_reserve('q', max => 9)"), ["\"free\""]);
    holder.batch_execute("COMMIT").unwrap();
    until("the next is delivered when it is let go", || {
        other.all::<String>("SELECT payload::text FROM pgq_reserve('q', max => 9)") == ["2"]
    });
}

#[test]
fn a_removal_of_the_first_waits_behind_two_locks_of_the_next() {
    let server = Server::start();
    let (mut locker, mut observer) = (server.connect(), server.connect());
    let push = "SELECT pgq_push('q', '1', group_key => 'a')";
    let (first, next): (i64, i64) = (observer.one(push), observer.one(push));
    observer.execute("SELECT pgq_reserve('q', max => 9)", &[]).unwrap();
    let next_row = format!("pgqueue.message WHERE id = {next}");
    until("it is in the blocked lane", || observer.one(&format!("SELECT lane = 'b' FROM {next_row}")));
    server.set("pgqueue.auto_vacuum = off");
    thread::scope(|scope| {
        let mut writer = server.connect();
        let write = format!("BEGIN; UPDATE pgqueue.message SET headers = '{{}}' WHERE id = {next}");
        writer.batch_execute(&write).unwrap();
        let locking = scope.spawn(|| {
            locker.batch_execute(&format!("BEGIN; SELECT 1 FROM {next_row} FOR UPDATE")).unwrap();
            locker
        });
        until_blocked(&mut observer, 1);
        let deleting = scope.spawn(|| server.connect().one::<bool>(&format!("SELECT pgq_delete({first})")));
        until_blocked(&mut observer, 2);
        writer.batch_execute("COMMIT").unwrap();
        let mut locker = locking.join().unwrap();
        until_blocked(&mut observer, 1);
        locker.batch_execute("COMMIT").unwrap();
        assert!(deleting.join().unwrap());
    });
    assert_eq!(observer.all::<i64>("SELECT id FROM pgq_reserve('q')"), [next]);
}

/// A server on which nobody but its sessions does anything.
fn without_help() -> Server {
    let server = Server::bare("pgqueue.auto_vacuum = off");
    server.connect().batch_execute("CREATE EXTENSION pgqueue").unwrap();
    server
}

/// A first, a second, and a third that waits in the blocked lane.
fn push_three_of_a_group(session: &mut Client) -> Vec<i64> {
    let mut ids = vec![session.one("SELECT pgq_push('q', '1', group_key => 'a')")];
    ids.extend(session.all::<i64>("SELECT pgq_push_batch('q', ARRAY['2', '3']::jsonb[], group_key => 'a')"));
    ids
}

/// The same, the first of them out.
fn three_of_a_group(session: &mut Client) -> Vec<i64> {
    let ids = push_three_of_a_group(session);
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('q', max => 9)"), ids[..1]);
    assert_eq!(session.all::<i64>("SELECT id FROM pgqueue.message WHERE lane = 'b'"), ids[2..]);
    ids
}

#[test]
fn a_first_and_a_second_that_leave_at_once_let_the_third_come() {
    let server = without_help();
    let (mut one, mut other) = (server.connect(), server.connect());
    for leave in ["pgq_cancel($1::bigint)", "pgq_update($1, priority => 5)", "pgq_delete($1::bigint)"] {
        for deletes_first in [true, false] {
            let ids = three_of_a_group(&mut one);
            one.batch_execute("BEGIN").unwrap();
            other.batch_execute("BEGIN").unwrap();
            let delete = "SELECT pgq_delete($1::bigint)";
            let mut calls = [(delete.to_owned(), ids[0]), (format!("SELECT {leave}"), ids[1])];
            if !deletes_first {
                calls.reverse();
            }
            for (session, (call, id)) in [&mut one, &mut other].into_iter().zip(&calls) {
                assert!(session.query_one(call, &[id]).unwrap().get::<_, bool>(0), "{call}");
            }
            one.batch_execute("COMMIT").unwrap();
            other.batch_execute("COMMIT").unwrap();
            assert_eq!(
                one.all::<i64>("SELECT id FROM pgq_reserve('q')"),
                ids[2..],
                "{leave}, {deletes_first}"
            );
            one.execute("SELECT pgq_purge('q')", &[]).unwrap();
        }
    }
}

#[test]
fn a_message_skipped_behind_one_that_is_being_removed_comes_when_that_is_gone() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off");
    let (mut one, mut other) = (server.connect(), server.connect());
    let ids = push_three_of_a_group(&mut one);
    other.batch_execute(&format!("BEGIN; SELECT pgq_cancel({})", ids[1])).unwrap();
    one.execute("SELECT pgq_delete($1::bigint)", &[&ids[0]]).unwrap();
    assert!(one.all::<i64>("SELECT id FROM pgq_reserve('q')").is_empty());
    other.batch_execute("COMMIT").unwrap();
    assert_eq!(one.all::<i64>("SELECT id FROM pgq_reserve('q')"), ids[2..]);
}

#[test]
fn a_message_cleared_away_while_the_first_leaves_lets_the_next_come() {
    let server = without_help();
    let (mut one, mut other) = (server.connect(), server.connect());
    let ids = three_of_a_group(&mut one);
    let outlive = format!("UPDATE pgqueue.message SET expires_at = now() WHERE id = {}", ids[1]);
    one.batch_execute(&outlive).unwrap();
    one.batch_execute(&format!("BEGIN; SELECT pgq_delete({})", ids[0])).unwrap();
    assert!(other.all::<i64>("SELECT id FROM pgq_reserve('q')").is_empty());
    one.batch_execute("COMMIT").unwrap();
    assert_eq!(other.all::<i64>("SELECT id FROM pgq_reserve('q')"), ids[2..]);
}

#[test]
fn a_first_that_outlives_its_time_while_it_is_put_off_lets_the_others_come() {
    let server = without_help();
    let mut session = server.connect();
    for put_off in ["pgq_fail($1::bigint, 'x', delay => '1 h')", "pgq_release($1::bigint, '1 h')"] {
        session
            .batch_execute(
                "BEGIN;
                 SELECT pgq_push('q', '1', group_key => 'a', ttl => '1 h');
                 SELECT pgq_push('q', '2', group_key => 'a');
                 SELECT pgq_push('q', '3', group_key => 'a');
                 COMMIT",
            )
            .unwrap();
        let first: i64 = session.one("SELECT id FROM pgq_reserve('q', max => 9)");
        session.execute(&format!("SELECT {put_off}"), &[&first]).unwrap();
        assert!(session.all::<String>("SELECT payload::text FROM pgq_reserve('q')").is_empty());
        session.batch_execute("UPDATE pgqueue.message SET expires_at = now() WHERE lane = 'd'").unwrap();
        for next in ["2", "3"] {
            assert_eq!(session.all::<String>("SELECT payload::text FROM pgq_reserve('q', max => 9)"), [next]);
            session
                .execute("SELECT pgq_delete(id) FROM pgqueue.message WHERE in_turn AND lane = 'r'", &[])
                .unwrap();
        }
    }
}

#[test]
fn messages_behind_many_retries_that_may_expire_are_not_moved_aside() {
    let server = Server::start();
    let mut session = server.connect();
    for call in [
        r#"pgq_create_queue('q', '{"ttl": "1 day", "backoff": {"base": "1 h"}}')"#,
        "pgq_push('q', '1', group_key => 'g' || n) FROM generate_series(1, 80) n",
        "pgq_push('q', '2', group_key => 'g' || n) FROM generate_series(1, 80) n",
        "pgq_fail(id, 'x') FROM pgq_reserve('q', max => 100)",
        // A lease that ends has the worker look again at all that were passed.
        "pgq_push('q', '3')",
        "pgq_reserve('q', lease => '1 ms')",
    ] {
        session.batch_execute(&format!("SELECT {call}")).unwrap();
    }
    let mut places =
        || session.one::<String>("SELECT array_agg(ctid ORDER BY id)::text FROM pgqueue.message");
    until("nobody moves them any more", || {
        let before = places();
        thread::sleep(Duration::from_secs(1));
        places() == before
    });
}

/// How many pages a call looks at.
fn pages(session: &mut Client, call: &str) -> i64 {
    let plan = session.all::<String>(&format!("EXPLAIN (ANALYZE, BUFFERS) {call}")).join(" ");
    let Some((_, hits)) = plan.split_once("shared hit=") else { return 0 };
    hits.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_kind_of_message_that_is_a_group_is_found_past_no_other_messages() {
    let server = Server::start();
    let mut session = server.connect();
    session
        .batch_execute(
            r#"SELECT pgq_create_queue('q', '{"groups": "parallel"}');
               SELECT count(*) FROM pgq_push_batch('q', array_fill('1'::jsonb, ARRAY[20000]), group_key => 'other')"#,
        )
        .unwrap();
    session.batch_execute("VACUUM ANALYZE pgqueue.message").unwrap();
    let by_group = "SELECT id FROM pgq_reserve('q', group_key => 'wanted')";
    pages(&mut session, by_group); // the first call of a session reads the catalog
    let nothing = pages(&mut session, by_group);
    session.execute("SELECT pgq_push('q', '1', group_key => 'wanted')", &[]).unwrap();
    let found = pages(&mut session, by_group);
    assert!(nothing < 30 && found < 30, "{nothing} and {found} pages");
    let by_filter = pages(&mut session, r#"SELECT id FROM pgq_reserve('q', filter => '{"kind": "wanted"}')"#);
    assert!(by_filter > 300, "a filter passes the others: {by_filter} pages");
}

#[test]
fn a_group_of_a_queue_that_is_served_from_its_end_is_looked_at_from_its_beginning() {
    let server = Server::start();
    let mut session = server.connect();
    session.execute(r#"SELECT pgq_create_queue('q', '{"order": "lifo"}')"#, &[]).unwrap();
    for _ in 0..1500 {
        session.execute("SELECT pgq_push('q', '1', group_key => 'a')", &[]).unwrap();
    }
    for _ in 0..2 {
        let looked_at = pages(&mut session, "SELECT id FROM pgq_reserve('q', group_key => 'a')");
        assert!(looked_at < 300, "{looked_at} pages");
    }
}

#[test]
fn the_next_of_a_group_is_found_in_any_lane_when_the_first_is_removed() {
    let server = Server::start();
    let mut session = server.connect();
    let push = "SELECT count(pgq_push('q', '1', group_key => 'g' || n)) FROM generate_series(1, 20000) n";
    session.execute(push, &[]).unwrap();
    session.execute(push, &[]).unwrap();
    assert_eq!(
        session.all::<i64>("SELECT id FROM pgq_reserve('q', max => 40000, lease => '1 h')").len(),
        20000
    );
    // A consumer goes on asking: it takes away what a rescan during its first reserve suspected, and has the
    // worker look further.
    until("it is known that nothing is ready", || {
        let looked_at = pages(&mut session, "SELECT id FROM pgq_reserve('q')");
        looked_at == 0 && session.one("SELECT count(*) = 20000 FROM pgqueue.message WHERE lane = 'b'")
    });
    session.batch_execute("BEGIN; SELECT pgq_delete(max(id)) FROM pgqueue.message WHERE in_turn").unwrap();
    let looked_at = pages(&mut session, "SELECT id FROM pgq_reserve('q')");
    assert!(looked_at < 300, "{looked_at} pages");
    session.batch_execute("ROLLBACK").unwrap();
}

#[test]
fn a_change_of_all_messages_takes_the_first_of_a_group_before_the_next() {
    let server = without_help();
    let (mut consumer, mut observer) = (server.connect(), server.connect());
    for change in [
        "SELECT pgq_purge('q')",
        "SELECT pgq_purge('q', group_key => 'a')",
        "SELECT pgq_drop_queue('q')",
        r#"SELECT pgq_alter_queue('q', '{"groups": "parallel"}')"#,
    ] {
        let mut manager = server.connect();
        let next: i64 = consumer.one("SELECT pgq_push('q', '2', group_key => 'a', priority => 5)");
        let first: i64 = consumer.one("SELECT pgq_push('q', '1', group_key => 'a')");
        assert_eq!(consumer.all::<i64>("SELECT id FROM pgq_reserve('q', max => 9)"), [first]);
        consumer.execute("UPDATE pgqueue.message SET lane = 'b' WHERE id = $1", &[&next]).unwrap();
        // The next lies before the first in the table, as by id.
        consumer.execute("UPDATE pgqueue.message SET priority = 1 WHERE id = $1", &[&first]).unwrap();
        consumer.batch_execute(&format!("BEGIN; SELECT pgq_extend({first}, '1 h')")).unwrap();
        let changing = thread::spawn(move || manager.execute(change, &[]).map(|_| ()));
        until_blocked(&mut observer, 1);
        // A change that had the next would now be waited for, and wait itself.
        consumer.batch_execute(&format!("SELECT pgq_delete({first}); COMMIT")).expect(change);
        changing.join().unwrap().expect(change);
        let is_left = change.contains("alter");
        assert_eq!(consumer.all::<i64>("SELECT id FROM pgq_reserve('q')"), [next][..usize::from(is_left)]);
    }
}

#[test]
fn a_removal_in_passing_waits_for_no_transaction_that_has_the_next() {
    let server = without_help();
    let (mut holder, mut session) = (server.connect(), server.connect());
    session
        .batch_execute(
            r#"SET statement_timeout = '5 s';
               SELECT pgq_create_queue('full', '{"max_length": 3, "on_full": "drop_oldest"}'), pgq_create_queue('replaced');
               SELECT pgq_push('full', '1', group_key => 'a'), pgq_push('full', '2', group_key => 'a'), pgq_push('full', '3');
               SELECT pgq_push('replaced', '1', group_key => 'a', dedup_key => 'k'), pgq_push('replaced', '2', group_key => 'a');
               UPDATE pgqueue.message SET lane = 'b' WHERE payload = '2'"#,
        )
        .unwrap();
    // Its push cannot change the message that the other holds, and leaves a replacement behind it.
    holder.batch_execute("BEGIN; SELECT pgq_update(id, headers => '{}') FROM pgq_peek('replaced')").unwrap();
    let replace =
        "SELECT pgq_push('replaced', '9', dedup_key => 'k', on_duplicate => 'replace', group_key => 'b')";
    session.batch_execute(replace).unwrap();
    holder.batch_execute("COMMIT; BEGIN").unwrap();
    for queue in ["full", "replaced"] {
        let hold = format!("SELECT pgq_update(id, headers => '{{}}') FROM pgq_peek('{queue}', 1, 'blocked')");
        assert_eq!(holder.execute(&hold, &[]).unwrap(), 1);
    }
    session.execute("SELECT pgq_push('full', '4')", &[]).expect("it drops another message");
    assert_eq!(
        session.all::<String>("SELECT payload::text FROM pgqueue.message WHERE queue = 1 ORDER BY id"),
        ["1", "2", "4"]
    );
    session.execute("SELECT pgq_reserve('replaced')", &[]).expect("it leaves the message alone");
    holder.batch_execute("COMMIT").unwrap();
    until("the replacement and the next are delivered", || {
        session.all::<String>("SELECT payload::text FROM pgq_reserve('replaced', max => 9)");
        session.one("SELECT count(*) = 2 FROM pgq_peek('replaced', 9, 'leased') WHERE payload IN ('9', '2')")
    });
}

#[test]
fn of_two_that_decide_at_once_one_takes_the_turn() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off");
    let (mut slow, mut fast) = (server.connect(), server.connect());
    // An index of our own stops whoever takes a turn, after his row has its new version and
    // before it has its entry in the index over groups: indexes are served by age.
    fast.batch_execute(
        "CREATE FUNCTION stop(in_turn boolean) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$
         BEGIN
             IF in_turn THEN PERFORM pg_advisory_xact_lock_shared(7); END IF;
             RETURN in_turn;
         END $$;
         DO $$
         DECLARE over_groups text := pg_get_indexdef('pgqueue.message_group'::regclass);
         BEGIN
             DROP INDEX pgqueue.message_group;
             CREATE INDEX stops ON pgqueue.message (stop(in_turn)) WHERE group_key IS NOT NULL;
             EXECUTE over_groups;
         END $$;
         SELECT pgq_create_queue('q')",
    )
    .unwrap();
    slow.batch_execute("BEGIN").unwrap();
    let low: i64 = slow.one("SELECT pgq_push('q', '1', group_key => 'a')");
    let high: i64 = fast.one("SELECT pgq_push('q', '2', group_key => 'a')");
    let mut gate = server.connect();
    gate.batch_execute("SELECT pg_advisory_lock(7)").unwrap();
    let mut first = server.connect();
    first.batch_execute("SET statement_timeout = '20 s'").unwrap();
    thread::scope(|scope| {
        let deciding = scope.spawn(move || first.all::<i64>("SELECT id FROM pgq_reserve('q', max => 9)"));
        until("one is about to take the turn", || {
            gate.one("SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'advisory'")
        });
        // The lower one is there now, and is the first as far as anybody can see.
        slow.batch_execute("COMMIT; SET statement_timeout = '5 s'").unwrap();
        assert!(slow.all::<i64>("SELECT id FROM pgq_reserve('q', max => 9)").is_empty());
        gate.batch_execute("SELECT pg_advisory_unlock(7)").unwrap();
        assert_eq!(deciding.join().unwrap(), [high]);
    });
    assert!(slow.all::<i64>("SELECT id FROM pgq_reserve('q', max => 9)").is_empty());
    slow.execute("SELECT pgq_delete($1::bigint)", &[&high]).unwrap();
    assert_eq!(slow.all::<i64>("SELECT id FROM pgq_reserve('q', max => 9)"), [low]);
}

#[test]
fn the_next_waits_for_a_settle_of_the_first_whose_last_lease_has_ended() {
    let server = Server::start();
    let (mut slow, mut other) = (server.connect(), server.connect());
    slow.execute("SELECT pgq_create_queue('q', '{\"max_deliveries\": 1}')", &[]).unwrap();
    let [first, next] = ["1", "2"]
        .map(|payload| slow.one::<i64>(&format!("SELECT pgq_push('q', '{payload}', group_key => 'g')")));
    let reserve = "SELECT id FROM pgq_reserve('q', max => 9)";
    assert_eq!(slow.all::<i64>("SELECT id FROM pgq_reserve('q', '50 ms')"), [first]);
    slow.batch_execute("BEGIN").unwrap();
    assert!(slow.one::<bool>(&format!("SELECT pgq_delete({first}, 1)")));
    until("the lease has ended", || {
        other.one(&format!("SELECT lease_until < clock_timestamp() FROM pgqueue.message WHERE id = {first}"))
    });
    assert_eq!(other.all::<i64>(reserve), [0; 0], "what the first has done is not committed");
    slow.batch_execute("COMMIT").unwrap();
    until("it is the turn of the next", || other.all::<i64>(reserve) == [next]);
}

/// A message 'newer' of group 'a', which was leased and given back, becomes an echo of 'older', which has its key
/// and was committed later. Between, `meanwhile` is done: another message of the group is pushed.
fn becomes_an_echo(
    server: &Server,
    of_older: &str,
    meanwhile: impl FnOnce(&mut Client),
    how: &str,
) -> Client {
    let (mut session, mut other) = (server.connect(), server.connect());
    other
        .batch_execute(&format!(
            "BEGIN; SELECT pgq_push('q', '\"older\"', dedup_key => 'k', priority => 5{of_older})"
        ))
        .unwrap();
    session.batch_execute("SELECT pgq_push('q', '\"newer\"', group_key => 'a', dedup_key => 'k')").unwrap();
    let leased = session.query_one("SELECT id, delivery FROM pgq_reserve('q', '1 h')", &[]).unwrap();
    meanwhile(&mut session);
    other.batch_execute("COMMIT").unwrap();
    let (id, delivery): (i64, i64) = (leased.get(0), leased.get(1));
    session.execute("SELECT pgq_release($1, delivery => $2)", &[&id, &delivery]).unwrap();
    let again = "SELECT pgq_push('q', '\"again\"', group_key => 'a', dedup_key => 'k', on_duplicate => $1)";
    session.execute(again, &[&how]).unwrap();
    session
}

#[test]
fn a_group_goes_on_when_its_first_becomes_an_echo() {
    let server = Server::start();
    server.connect().execute("SELECT pgq_create_queue('q')", &[]).unwrap();
    for how in ["ignore", "replace"] {
        let push_behind = |session: &mut Client| {
            session.batch_execute("SELECT pgq_push('q', '\"behind\"', group_key => 'a')").unwrap();
            until("it is moved aside", || {
                session.batch_execute("SELECT pgq_reserve('q', '1 h')").unwrap();
                session.one("SELECT lane = 'b' FROM pgqueue.message WHERE payload = '\"behind\"'")
            });
        };
        let mut session = becomes_an_echo(&server, ", group_key => 'a'", push_behind, how);
        let mut got = Vec::new();
        until("all are delivered", || {
            got.append(&mut session.all::<String>("SELECT payload::text FROM pgq_pop('q')"));
            session.one::<i64>("SELECT count(*) FROM pgqueue.message") == 0
        });
        assert!(got.contains(&"\"behind\"".to_owned()), "{how}: {got:?}");
    }
}

#[test]
fn a_message_that_has_become_an_echo_has_no_turn_in_its_group() {
    let server = Server::start();
    server.connect().execute("SELECT pgq_create_queue('q')", &[]).unwrap();
    let push_behind = |session: &mut Client| {
        session.batch_execute("SELECT pgq_push('q', '\"behind\"', group_key => 'a')").unwrap()
    };
    for how in ["ignore", "replace"] {
        let mut session = becomes_an_echo(&server, "", push_behind, how);
        let mut reserve = || session.all::<String>("SELECT payload::text FROM pgq_reserve('q', '1 h')");
        assert_eq!(reserve(), ["\"behind\""], "{how}");
        if how == "ignore" {
            server
                .connect()
                .batch_execute("SELECT pgq_cancel(id) FROM pgqueue.message WHERE payload = '\"older\"'")
                .unwrap();
        }
        assert_eq!([reserve(), reserve()], [[""; 0]; 2], "{how}: one of the group is leased");
        server.connect().batch_execute("SELECT pgq_purge('q'); DELETE FROM pgqueue.message").unwrap();
    }
}
