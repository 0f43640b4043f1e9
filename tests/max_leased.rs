//! `max_leased`: slots for leases, while other sessions lease, settle and change the limit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;
use support::{Ask, Ending, Server, Stop, median, seconds, until, until_blocked};

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

/// A queue with these settings and so many messages.
fn queue_with(session: &mut Client, settings: &str, messages: i32) {
    session.batch_execute(&format!("SELECT pgq_create_queue('q', '{settings}')")).unwrap();
    let push = format!("SELECT pgq_push('q', to_jsonb(n)) FROM generate_series(1, {messages}) n");
    session.batch_execute(&push).unwrap();
}

fn reserve(session: &mut Client, max: i32) -> Vec<i64> {
    session.all(&format!("SELECT id FROM pgq_reserve('q', max => {max}, lease => '1 h')"))
}

/// A server without a worker and without shared memory.
fn without_help() -> Server {
    let server = Server::bare("pgqueue.auto_vacuum = off\nmax_prepared_transactions = 5");
    server.connect().batch_execute("CREATE EXTENSION pgqueue").unwrap();
    server
}

/// So many cycles: push, reserve, delete, and commit.
fn cycles(session: &mut Client, queue: &str, times: i32) {
    session
        .batch_execute(&format!(
            "DO $$ DECLARE leased record; BEGIN
                 FOR n IN 1..{times} LOOP
                     PERFORM pgq_push('{queue}', '1');
                     SELECT id, delivery INTO STRICT leased FROM pgq_reserve('{queue}');
                     PERFORM pgq_delete(leased.id, leased.delivery);
                     COMMIT;
                 END LOOP;
             END $$"
        ))
        .unwrap();
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

// Slots.

#[test]
fn each_slot_that_comes_free_wakes_a_sleeper() {
    const SLEEPERS: usize = 10;
    let server = Server::start();
    let (mut session, mut observer) = (server.connect(), server.connect());
    for settle in [
        "SELECT pgq_delete_batch(ARRAY(SELECT id FROM leased))",
        "SELECT pgq_bury(id, 'no') FROM leased",
        "SELECT pgq_fail(id, 'no') FROM leased",
        "SELECT pgq_purge('q', 'leased')",
        "SELECT pgq_release_batch(ARRAY(SELECT id FROM leased))",
    ] {
        queue_with(&mut session, r#"{"max_leased": 10, "max_deliveries": 1}"#, 30);
        session
            .batch_execute(
                "CREATE TEMP TABLE leased AS SELECT id FROM pgq_reserve('q', max => 10, lease => '1 h')",
            )
            .unwrap();
        thread::scope(|scope| {
            let sleepers: Vec<_> = (0..SLEEPERS)
                .map(|_| {
                    let mut sleeper = server.connect();
                    scope.spawn(move || {
                        sleeper.batch_execute("CALL pgq_wait('q', '30 s')").unwrap();
                        Instant::now()
                    })
                })
                .collect();
            until("all sleep", || {
                observer.one(&format!(
                    "SELECT count(*) = {SLEEPERS} FROM pg_stat_activity
                      WHERE query LIKE 'CALL pgq_wait%' AND state = 'active' AND wait_event = 'Extension'"
                ))
            });
            let begun = Instant::now();
            session.batch_execute(settle).unwrap();
            let woken: Vec<_> = sleepers.into_iter().map(|sleeper| sleeper.join().unwrap() - begun).collect();
            let in_time = woken.iter().filter(|&&after| after < Duration::from_millis(700)).count();
            assert_eq!(in_time, SLEEPERS, "{settle}: {woken:?}");
        });
        session.batch_execute("DROP TABLE leased; SELECT pgq_drop_queue('q')").unwrap();
    }
}

#[test]
fn a_lowered_limit_counts_all_that_are_out_not_one_of_them() {
    let server = Server::start();
    let mut session = server.connect();
    for last in 0..5 {
        queue_with(&mut session, r#"{"max_leased": 5}"#, 20);
        let mut out = reserve(&mut session, 9);
        assert_eq!(out.len(), 5);
        session.execute(r#"SELECT pgq_alter_queue('q', '{"max_leased": 4}')"#, &[]).unwrap();
        assert!(reserve(&mut session, 9).is_empty(), "five are out of four");
        // Whichever goes on, the others make room.
        let stays = out.remove(last);
        let first = out.remove(0);
        session.execute("SELECT pgq_delete($1::bigint)", &[&first]).unwrap();
        assert!(reserve(&mut session, 9).is_empty(), "four are out of four");
        session.execute("SELECT pgq_delete_batch($1::bigint[])", &[&out]).unwrap();
        assert_eq!(reserve(&mut session, 9).len(), 3, "one is out of four, message {stays}");
        assert!(reserve(&mut session, 9).is_empty());
        session.execute("SELECT pgq_drop_queue('q')", &[]).unwrap();
    }
}

#[test]
fn a_limit_that_changes_again_and_again_counts_the_leases() {
    let server = Server::start();
    let (mut session, mut other) = (server.connect(), server.connect());
    queue_with(&mut session, r#"{"max_leased": 6}"#, 100);
    let mut out = reserve(&mut session, 9);
    for limit in [2usize, 7, 1, 3, 10, 4, 12, 5] {
        session
            .execute(&format!(r#"SELECT pgq_alter_queue('q', '{{"max_leased": {limit}}}')"#), &[])
            .unwrap();
        let more = reserve(&mut other, 99);
        assert_eq!(more.len(), limit.saturating_sub(out.len()), "{} are out of {limit}", out.len());
        out.extend(more);
        let gone: Vec<i64> =
            (0..out.len() / 2).map(|_| out.swap_remove(fastrand::usize(..out.len()))).collect();
        other.execute("SELECT pgq_delete_batch($1::bigint[])", &[&gone]).unwrap();
        let more = reserve(&mut session, 99);
        assert_eq!(more.len(), limit.saturating_sub(out.len()), "{} are out of {limit}", out.len());
        out.extend(more);
    }
}

#[test]
fn a_first_limit_at_repeatable_read_counts_leases_that_are_committed() {
    let server = Server::start();
    let (mut manager, mut session) = (server.connect(), server.connect());
    queue_with(&mut session, "{}", 20);
    manager.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class").unwrap();
    assert_eq!(reserve(&mut session, 3).len(), 3);
    manager.batch_execute(r#"SELECT pgq_alter_queue('q', '{"max_leased": 2}'); COMMIT"#).unwrap();
    assert!(reserve(&mut session, 9).is_empty(), "three are out of two");
}

#[test]
fn a_lease_whose_row_is_locked_keeps_its_slot() {
    let server = Server::start();
    let (mut holder, mut other) = (server.connect(), server.connect());
    queue_with(&mut other, r#"{"max_leased": 1}"#, 2);
    assert_eq!(other.all::<i64>("SELECT id FROM pgq_reserve('q', lease => '500 ms')").len(), 1);
    // Who extends a lease holds its row while it is judged: if in time, the lease goes on.
    holder.batch_execute("BEGIN; SELECT id FROM pgqueue.message ORDER BY id LIMIT 1 FOR UPDATE").unwrap();
    thread::sleep(Duration::from_millis(600));
    let second = "SELECT id FROM pgq_reserve('q', max => 9)";
    assert_eq!(other.all::<i64>(second), [0; 0], "it may still be extended");
    holder.batch_execute("ROLLBACK").unwrap();
    until("the slot is free", || other.all::<i64>(second).len() == 1);
}

#[test]
fn an_extension_in_a_queue_with_a_limit_is_judged_under_the_lock_of_its_row() {
    let server = Server::start();
    let mut session = server.connect();
    queue_with(&mut session, r#"{"max_leased": 1}"#, 1);
    let id = reserve(&mut session, 1)[0];
    // The log tells what the call does to the row, and in which order.
    session.batch_execute("CREATE EXTENSION pg_walinspect").unwrap();
    let begun: String = session.one("SELECT pg_current_wal_insert_lsn()::text");
    session.batch_execute("BEGIN").unwrap();
    let transaction: String = session.one("SELECT pg_current_xact_id()::text");
    session.execute("SELECT pgq_extend($1::bigint, '2 h')", &[&id]).unwrap();
    session.batch_execute("COMMIT").unwrap();
    let done: Vec<String> = session.all(&format!(
        "SELECT record_type FROM pg_get_wal_records_info('{begun}', pg_current_wal_flush_lsn())
          WHERE xid = '{transaction}'
                AND resource_manager = 'Heap' AND record_type ~ 'LOCK|UPDATE'
          ORDER BY start_lsn"
    ));
    let kinds: Vec<&str> = done.iter().map(|kind| kind.split('+').next().unwrap_or_default()).collect();
    assert_eq!(kinds[..2], ["LOCK", "HOT_UPDATE"]);
}

#[test]
fn a_message_that_is_leased_anew_counts_once() {
    let server = Server::start();
    let (mut one, mut other) = (server.connect(), server.connect());
    for _ in 0..8 {
        queue_with(&mut one, r#"{"max_leased": 2}"#, 3);
        let first: i64 = one.one("SELECT id FROM pgq_reserve('q', lease => '1 ms')");
        thread::sleep(Duration::from_millis(5));
        one.batch_execute("BEGIN").unwrap();
        assert_eq!(reserve(&mut one, 1), [first], "again");
        assert_eq!(reserve(&mut other, 9).len(), 1, "one is out of two");
        one.batch_execute("COMMIT").unwrap();
        assert!(reserve(&mut other, 9).is_empty());
        one.execute("SELECT pgq_drop_queue('q')", &[]).unwrap();
    }
}

#[test]
fn a_slot_whose_lease_was_settled_in_a_transaction_that_rolls_back_is_in_use_again() {
    let server = Server::start();
    let (mut one, mut other) = (server.connect(), server.connect());
    for settle in ["pgq_delete", "pgq_release", "pgq_bury"] {
        queue_with(&mut one, r#"{"max_leased": 1}"#, 5);
        let first = reserve(&mut one, 1)[0];
        let more = if settle == "pgq_bury" { ", 'no'" } else { "" };
        // Who settles a lease may take its slot before the commit.
        for end in ["ROLLBACK", "ROLLBACK TO s; COMMIT"] {
            one.batch_execute("BEGIN; SAVEPOINT s").unwrap();
            one.execute(&format!("SELECT {settle}($1::bigint{more})"), &[&first]).unwrap();
            assert_eq!(reserve(&mut one, 9).len(), 1, "{settle}");
            assert!(reserve(&mut one, 9).is_empty(), "{settle}");
            assert!(reserve(&mut other, 9).is_empty(), "{settle}");
            one.batch_execute(end).unwrap();
            assert!(reserve(&mut other, 9).is_empty(), "{settle}, {end}: {first} is out");
        }
        one.batch_execute("BEGIN").unwrap();
        one.execute(&format!("SELECT {settle}($1::bigint{more})"), &[&first]).unwrap();
        assert_eq!(reserve(&mut one, 9).len(), 1, "{settle}");
        one.batch_execute("COMMIT").unwrap();
        assert!(reserve(&mut other, 9).is_empty(), "{settle}");
        one.execute("SELECT pgq_drop_queue('q')", &[]).unwrap();
    }
}

#[test]
fn leases_beyond_a_lowered_limit_count_after_a_rollback_that_had_made_room() {
    let server = Server::start();
    let (mut one, mut other) = (server.connect(), server.connect());
    for end in ["ROLLBACK", "ROLLBACK TO s; COMMIT"] {
        queue_with(&mut one, r#"{"max_leased": 3}"#, 9);
        let out = reserve(&mut one, 9);
        one.execute(r#"SELECT pgq_alter_queue('q', '{"max_leased": 2}')"#, &[]).unwrap();
        one.batch_execute("BEGIN; SAVEPOINT s").unwrap();
        one.execute("SELECT pgq_delete_batch($1::bigint[])", &[&&out[..2]]).unwrap();
        assert_eq!(reserve(&mut one, 9).len(), 1, "one is out of two");
        assert!(reserve(&mut other, 9).is_empty());
        one.batch_execute(end).unwrap();
        // Three are out of two, whichever goes first.
        for id in &out[..2] {
            assert!(reserve(&mut other, 9).is_empty(), "{end}");
            other.execute("SELECT pgq_delete($1::bigint)", &[id]).unwrap();
        }
        assert_eq!(reserve(&mut other, 9).len(), 1, "{end}");
        one.execute("SELECT pgq_drop_queue('q')", &[]).unwrap();
    }
}

#[test]
fn a_restored_dump_counts_leases_beside_reserves_during_the_dump() {
    let (from, to) = (Server::start(), Server::start());
    let (mut session, mut there) = (from.connect(), to.connect());
    queue_with(&mut session, r#"{"max_leased": 3}"#, 9);
    assert_eq!(reserve(&mut session, 3).len(), 3);
    there.batch_execute("DROP EXTENSION pgqueue CASCADE").unwrap();
    to.restore(&from.client("pg_dump", &[]));
    let mut there = to.connect();
    assert!(reserve(&mut there, 9).is_empty(), "three are out");
    let one: i64 = there.one("SELECT min(id) FROM pgqueue.message");
    there.execute("SELECT pgq_delete($1::bigint)", &[&one]).unwrap();
    assert_eq!(reserve(&mut there, 9).len(), 1);
    assert!(reserve(&mut there, 9).is_empty());
}

#[test]
fn a_crash_loses_no_lease_s_slot() {
    let server = Server::start();
    let mut session = server.connect();
    session.batch_execute("CHECKPOINT").unwrap();
    queue_with(&mut session, r#"{"max_leased": 5, "durable_lease": true}"#, 20);
    let out = reserve(&mut session, 3);
    // One more in a transaction that is prepared, and one in a transaction that the crash ends.
    session.batch_execute("BEGIN").unwrap();
    assert_eq!(reserve(&mut session, 1).len(), 1);
    session.batch_execute("PREPARE TRANSACTION 'lease'").unwrap();
    session.batch_execute("BEGIN").unwrap();
    assert_eq!(reserve(&mut session, 9).len(), 1);
    server.stop(Stop::Kill);
    server.launch();
    let mut session = server.connect();
    let more = reserve(&mut session, 9);
    assert_eq!(more.len(), 1, "four are out of five");
    session.batch_execute("COMMIT PREPARED 'lease'").unwrap();
    session.execute("SELECT pgq_delete_batch($1::bigint[])", &[&out]).unwrap();
    assert_eq!(reserve(&mut session, 9).len(), 3);
    assert_eq!(session.one::<i64>("SELECT leased FROM pgq_stats('q', exact => true)"), 5);
}

#[test]
fn a_prepared_lease_has_a_slot_and_one_that_is_rolled_back_has_none() {
    let server = Server::start();
    let mut session = server.connect();
    for (end, left) in [("COMMIT", 0), ("ROLLBACK", 1)] {
        queue_with(&mut session, r#"{"max_leased": 1}"#, 3);
        session.batch_execute("BEGIN").unwrap();
        assert_eq!(reserve(&mut session, 9).len(), 1);
        session.batch_execute("PREPARE TRANSACTION 'lease'").unwrap();
        assert!(reserve(&mut session, 9).is_empty());
        session.batch_execute(&format!("{end} PREPARED 'lease'")).unwrap();
        until("it is known", || reserve(&mut session, 9).len() == left || left == 0);
        assert!(reserve(&mut session, 9).is_empty());
        session.execute("SELECT pgq_drop_queue('q')", &[]).unwrap();
    }
}

#[test]
fn a_message_that_a_transaction_has_pushed_and_leased_itself_has_a_slot() {
    let server = Server::start();
    let (mut one, mut other) = (server.connect(), server.connect());
    for end in ["COMMIT", "PREPARE TRANSACTION 'lease'"] {
        queue_with(&mut other, r#"{"max_leased": 1}"#, 0);
        one.batch_execute("BEGIN; SELECT pgq_push('q', '1')").unwrap();
        assert_eq!(reserve(&mut one, 9).len(), 1);
        other.batch_execute("SELECT pgq_push('q', '2')").unwrap();
        assert!(reserve(&mut other, 9).is_empty(), "one is out of one");
        one.batch_execute(end).unwrap();
        assert!(reserve(&mut other, 9).is_empty(), "one is out of one, {end}");
        if end != "COMMIT" {
            one.batch_execute("COMMIT PREPARED 'lease'").unwrap();
            assert!(reserve(&mut other, 9).is_empty(), "one is out of one");
        }
        other.execute("SELECT pgq_drop_queue('q')", &[]).unwrap();
    }
}

#[test]
fn a_lease_that_was_rolled_back_and_given_again_counts_once() {
    for server in [Server::start(), without_help()] {
        let (mut one, mut other) = (server.connect(), server.connect());
        queue_with(&mut one, r#"{"max_leased": 4}"#, 20);
        // The same receipts come again, and in other slots.
        for n in 0..20 {
            one.batch_execute("BEGIN; SAVEPOINT s").unwrap();
            assert_eq!(reserve(&mut one, 2 + n % 3).len(), 2 + n as usize % 3);
            one.batch_execute(["ROLLBACK", "ROLLBACK TO s; COMMIT"][n as usize % 2]).unwrap();
        }
        let mut out: Vec<i64> = (0..9).flat_map(|_| reserve(&mut one, 1)).collect();
        assert_eq!(out.len(), 4, "each lease has one slot");
        assert!(reserve(&mut other, 9).is_empty());
        other.execute("SELECT pgq_delete($1::bigint)", &[&out.pop()]).unwrap();
        assert_eq!(reserve(&mut other, 9).len(), 1);
    }
}

#[test]
fn a_slot_that_a_transaction_has_taken_in_a_savepoint_can_be_taken_again_in_the_next() {
    for server in [Server::start(), without_help()] {
        let (mut one, mut other) = (server.connect(), server.connect());
        queue_with(&mut one, r#"{"max_leased": 1}"#, 20);
        let mut out = reserve(&mut one, 1);
        one.batch_execute("BEGIN").unwrap();
        for n in 0..6 {
            one.batch_execute("SAVEPOINT settles").unwrap();
            one.execute("SELECT pgq_delete($1::bigint)", &[&out[0]]).unwrap();
            one.batch_execute("RELEASE settles; SAVEPOINT leases").unwrap();
            out = reserve(&mut one, 9);
            assert_eq!(out.len(), 1, "lease {n}");
            assert!(reserve(&mut one, 9).is_empty());
            one.batch_execute("ROLLBACK TO leases").unwrap();
            out = reserve(&mut one, 9);
            assert_eq!(out.len(), 1, "lease {n}, given again");
            one.batch_execute("RELEASE leases").unwrap();
        }
        assert!(reserve(&mut other, 9).is_empty());
        one.batch_execute("COMMIT").unwrap();
        assert!(reserve(&mut other, 9).is_empty());
        other.execute("SELECT pgq_delete($1::bigint)", &[&out[0]]).unwrap();
        assert_eq!(reserve(&mut other, 9).len(), 1);
    }
}

#[test]
fn a_slot_of_a_lease_that_a_savepoint_takes_back_is_free_at_once() {
    for server in [Server::start(), without_help()] {
        let (mut one, mut other) = (server.connect(), server.connect());
        queue_with(&mut one, r#"{"max_leased": 1}"#, 5);
        one.batch_execute("BEGIN; SAVEPOINT one; SAVEPOINT two").unwrap();
        for end in ["ROLLBACK TO two", "RELEASE two; ROLLBACK TO one; SAVEPOINT two"] {
            assert_eq!(reserve(&mut one, 9).len(), 1);
            assert!(reserve(&mut one, 9).is_empty());
            assert!(reserve(&mut other, 9).is_empty());
            one.batch_execute(end).unwrap();
            assert_eq!(reserve(&mut one, 9).len(), 1, "{end}");
            assert!(reserve(&mut other, 9).is_empty(), "{end}");
            one.batch_execute("ROLLBACK TO two").unwrap();
        }
        assert_eq!(reserve(&mut other, 9).len(), 1);
        one.batch_execute("COMMIT").unwrap();
    }
}

#[test]
fn a_session_that_sleeps_before_the_first_reserve_after_a_restore_gets_ready_messages() {
    let (from, to) = (Server::start(), Server::start());
    let (mut session, mut there) = (from.connect(), to.connect());
    queue_with(&mut session, r#"{"max_leased": 3}"#, 9);
    assert_eq!(reserve(&mut session, 2).len(), 2);
    there.batch_execute("DROP EXTENSION pgqueue CASCADE").unwrap();
    to.restore(&from.client("pg_dump", &[]));
    let mut there = to.connect();
    let begun = Instant::now();
    there.batch_execute("CALL pgq_wait('q', '20 s')").unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "one is ready, and a slot is free");
    assert_eq!(reserve(&mut there, 9).len(), 1);
    assert!(reserve(&mut there, 9).is_empty());
}

#[test]
fn a_lease_costs_the_same_with_a_limit_of_ten_and_of_a_thousand() {
    let server = Server::start();
    let mut session = server.connect();
    session
        .batch_execute(
            r#"SET synchronous_commit = off;
               SELECT pgq_create_queue('free');
               SELECT pgq_create_queue('ten', '{"max_leased": 10}');
               SELECT pgq_create_queue('many', '{"max_leased": 1000}')"#,
        )
        .unwrap();
    let mut against_free = Vec::new();
    let mut against_ten = Vec::new();
    for _ in 0..7 {
        let [free, ten, many] =
            ["free", "ten", "many"].map(|queue| seconds(|| cycles(&mut session, queue, 200)));
        against_free.push(ten / free);
        against_ten.push(many / ten);
    }
    let (limit, size) = (median(against_free), median(against_ten));
    assert!(limit < 1.6, "{limit} times as much with a limit");
    assert!(size < 1.6, "{size} times as much with a higher limit");
}

#[test]
fn leases_leave_nothing_in_the_slots_that_a_held_snapshot_keeps() {
    let server = Server::start();
    let (mut session, mut holder) = (server.connect(), server.connect());
    session.execute(r#"SELECT pgq_create_queue('q', '{"max_leased": 20}')"#, &[]).unwrap();
    holder.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class").unwrap();
    let size = "SELECT pg_relation_size('pgqueue.slot') + pg_relation_size('pgqueue.slot_is_unique')";
    cycles(&mut session, "q", 50);
    let before: i64 = session.one(size);
    cycles(&mut session, "q", 3_000);
    assert_eq!(session.one::<i64>(size), before);
}

#[test]
fn a_queue_all_of_whose_slots_are_taken_is_not_looked_through_by_every_reserve() {
    let server = Server::start();
    server.set("autovacuum = off");
    let mut session = server.connect();
    queue_with(&mut session, r#"{"max_leased": 2000}"#, 3_000);
    assert_eq!(reserve(&mut session, 3_000).len(), 2_000);
    let looks = "SELECT heap_blks_hit FROM pg_statio_user_tables WHERE relname = 'message'";
    let hits = |session: &mut Client| {
        session.batch_execute("SELECT pg_stat_force_next_flush()").unwrap();
        session.one::<i64>(looks)
    };
    assert!(reserve(&mut session, 1).is_empty());
    let before = hits(&mut session);
    for _ in 0..20 {
        assert!(reserve(&mut session, 1).is_empty());
    }
    let looked = hits(&mut session) - before;
    assert!(looked < 20 * 2_000 / 2, "{looked} looks at messages");
}
