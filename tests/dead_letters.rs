//! Messages that die while several sessions look at them.

use std::thread;

use support::{Ask, Server, until};

#[test]
fn an_expired_message_is_never_delivered_with_or_without_worker() {
    for settings in [r#"{"on_expire": "dead"}"#, r#"{"on_expire": "drop"}"#] {
        let server = Server::start();
        server.set("pgqueue.auto_vacuum = off");
        let mut session = server.connect();
        session.execute(&format!("SELECT pgq_create_queue('q', '{settings}')"), &[]).unwrap();
        session
            .batch_execute(
                "SELECT pgq_push('q', to_jsonb(n), ttl => '1 ms') FROM generate_series(1, 200) n;
                 SELECT pgq_push('q', '0')",
            )
            .unwrap();
        until("their time is over", || {
            session.one("SELECT max(expires_at) < clock_timestamp() FROM pgqueue.message")
        });
        let delivered: Vec<i32> = thread::scope(|scope| {
            let consumers: Vec<_> = (0..4)
                .map(|_| {
                    let mut session = server.connect();
                    scope.spawn(move || {
                        let reserve = "SELECT payload::int FROM pgq_reserve('q', max => 5)";
                        (0..20).flat_map(|_| session.all::<i32>(reserve)).collect::<Vec<_>>()
                    })
                })
                .collect();
            session.batch_execute("SELECT pgq_vacuum()").unwrap();
            consumers.into_iter().flat_map(|consumer| consumer.join().unwrap()).collect()
        });
        assert_eq!(delivered, [0]);
        let kept = if settings.contains("dead") { 200 } else { 0 };
        assert_eq!(session.one::<i64>("SELECT dead FROM pgq_stats('q')"), kept);
        assert_eq!(session.one::<i64>("SELECT expired FROM pgq_stats('q')"), 200);
    }
}

#[test]
fn a_death_is_told_once_however_many_find_it() {
    let server = Server::start();
    server.set("pgqueue.vacuum_interval = '20ms'");
    let mut session = server.connect();
    session.execute("SELECT pgq_create_queue('q', '{\"events_to\": \"ops\"}')", &[]).unwrap();
    for round in 1..=5 {
        session
            .batch_execute(
                "SELECT pgq_push('q', to_jsonb(n), max_deliveries => 1) FROM generate_series(1, 150) n;
                 SELECT pgq_reserve('q', lease => '50 ms', max => 150)",
            )
            .unwrap();
        thread::scope(|scope| {
            for n in 0..4 {
                let mut session = server.connect();
                let call = if n == 0 { "SELECT pgq_vacuum()" } else { "SELECT pgq_reserve('q', max => 10)" };
                scope.spawn(move || {
                    until("all are dead", || {
                        session.batch_execute(call).unwrap();
                        session.one::<i64>("SELECT dead FROM pgq_stats('q')") == 150 * round
                    });
                });
            }
        });
    }
    let told = "SELECT count(*), count(DISTINCT payload -> 'id') FROM pgq_peek('ops', 10000)
                 WHERE payload ->> 'event' = 'dead' AND payload ->> 'reason' = 'timeout'";
    let row = session.query_one(told, &[]).unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (750, 750));
    assert_eq!(session.one::<i64>("SELECT pushed FROM pgq_stats('ops')"), 750);
}

#[test]
fn a_letter_that_two_sessions_take_by_its_id_goes_to_one_of_them() {
    let server = Server::start();
    let mut session = server.connect();
    for (first, second) in [
        ("SELECT pgq_redrive_dead($1) IS NOT NULL", "SELECT pgq_redrive_dead($1) IS NOT NULL"),
        ("SELECT pgq_delete_dead($1)", "SELECT pgq_redrive_dead($1, reset => false) IS NOT NULL"),
        ("SELECT pgq_redrive_dead($1, 'other') IS NOT NULL", "SELECT pgq_delete_dead($1)"),
    ] {
        for end in ["COMMIT", "ROLLBACK"] {
            session.batch_execute("SELECT pgq_create_queue('other')").unwrap();
            let letter: i64 = session.one("SELECT pgq_push('q', '1')");
            session.execute("SELECT pgq_bury($1, 'x')", &[&letter]).unwrap();
            let mut holder = server.connect();
            holder.batch_execute("BEGIN").unwrap();
            assert!(holder.query_one(first, &[&letter]).unwrap().get::<_, bool>(0), "{first}");
            // The oldest letters are another call's business: it passes over this one.
            assert_eq!(session.one::<i64>("SELECT pgq_redrive('q')"), 0, "{first}");
            let got = thread::scope(|scope| {
                let mut waiter = server.connect();
                let pid: i32 = waiter.one("SELECT pg_backend_pid()");
                let waiter =
                    scope.spawn(move || waiter.query_one(second, &[&letter]).unwrap().get::<_, bool>(0));
                until("it waits", || {
                    session.one(&format!(
                        "SELECT wait_event_type IS NOT DISTINCT FROM 'Lock' FROM pg_stat_activity WHERE pid = {pid}"
                    ))
                });
                holder.batch_execute(end).unwrap();
                waiter.join().unwrap()
            });
            assert_eq!(got, end == "ROLLBACK", "{first}, {end}, {second}");
            session.batch_execute("SELECT pgq_purge(queue) FROM pgq_stats()").unwrap();
            assert_eq!(session.one::<i64>("SELECT sum(total)::bigint FROM pgq_stats(exact => true)"), 0);
        }
    }
}

#[test]
fn a_right_that_is_taken_back_while_a_call_waits_counts() {
    let server = Server::start();
    let mut session = server.connect();
    session
        .batch_execute(
            "CREATE ROLE manager; SELECT pgq_create_queue('q'); SELECT pgq_grant('q', 'manager', 'manage')",
        )
        .unwrap();
    let letter: i64 = session.one("SELECT pgq_push('q', '1')");
    session.execute("SELECT pgq_bury($1, 'x')", &[&letter]).unwrap();
    let mut holder = server.connect();
    holder.batch_execute(&format!("BEGIN; SELECT FROM pgqueue.dead WHERE id = {letter} FOR UPDATE")).unwrap();
    let got = thread::scope(|scope| {
        let mut waiter = server.connect();
        let pid: i32 = waiter.one("SELECT pg_backend_pid()");
        waiter.batch_execute("SET ROLE manager").unwrap();
        let waiter = scope.spawn(move || {
            waiter.query_one("SELECT pgq_delete_dead($1)", &[&letter]).unwrap().get::<_, bool>(0)
        });
        until("it waits", || {
            session.one(&format!(
                "SELECT wait_event_type IS NOT DISTINCT FROM 'Lock' FROM pg_stat_activity WHERE pid = {pid}"
            ))
        });
        assert!(session.one::<bool>("SELECT pgq_revoke('q', 'manager', 'manage')"));
        holder.batch_execute("COMMIT").unwrap();
        waiter.join().unwrap()
    });
    assert!(!got);
    assert_eq!(session.one::<i64>("SELECT dead FROM pgq_stats('q')"), 1);
}
