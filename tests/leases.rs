//! Leases: how long they hold, their extension, and what happens when they expire.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use support::{Ask, Server, referred_to, until, until_blocked};

#[test]
fn a_late_delete_does_not_remove_a_message_that_was_delivered_again() {
    let server = Server::start();
    let (mut late, mut other, mut observer) = (server.connect(), server.connect(), server.connect());
    other.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
    let id: i64 = late.one("SELECT id FROM pgq_reserve('q')");
    other.execute("UPDATE pgqueue.message SET lease_until = now() - interval '1 s'", &[]).unwrap();
    other.batch_execute("BEGIN").unwrap();
    assert_eq!(other.one::<i64>("SELECT delivery FROM pgq_reserve('q')"), 2);
    // The delete comes while the second lease is not committed: it waits, and then
    // judges the row as it has become.
    let (tell, told) = mpsc::channel();
    let deleting = thread::spawn(move || {
        tell.send(late.one::<bool>(&format!("SELECT pgq_delete({id}, 1)"))).unwrap();
        late
    });
    until_blocked(&mut observer, 1);
    other.batch_execute("COMMIT").unwrap();
    assert!(!told.recv_timeout(Duration::from_secs(10)).unwrap());
    deleting.join().unwrap();
    assert!(other.one::<bool>(&format!("SELECT pgq_delete({id}, 2)")));
}

#[test]
fn a_delete_after_an_uncommitted_extend_still_deletes() {
    let server = Server::start();
    let (mut worker, mut keeper, mut observer) = (server.connect(), server.connect(), server.connect());
    worker.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
    let id: i64 = worker.one("SELECT id FROM pgq_reserve('q')");
    keeper.batch_execute(&format!("BEGIN; SELECT pgq_extend({id}, '1 h', 1)")).unwrap();
    let deleting = thread::spawn(move || worker.one::<bool>(&format!("SELECT pgq_delete({id}, 1)")));
    until_blocked(&mut observer, 1);
    keeper.batch_execute("COMMIT").unwrap();
    assert!(deleting.join().unwrap());
}

#[test]
fn a_lease_that_ended_while_its_extension_waited_is_not_extended() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off"); // a round would hold the row for a moment
    let (mut worker, mut other, mut observer) = (server.connect(), server.connect(), server.connect());
    worker.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
    for settle in [
        "SELECT id FROM pgq_extend({id}, '1 h', {n})",
        "SELECT 1::bigint WHERE pgq_release({id}, delivery => {n})",
        "SELECT id FROM pgq_fail({id}, 'x', {n})",
    ] {
        let row = worker.query_one("SELECT id, delivery FROM pgq_reserve('q', lease => '2 s')", &[]).unwrap();
        let (id, delivery): (i64, i64) = (row.get(0), row.get(1));
        other
            .batch_execute(&format!("BEGIN; SELECT FROM pgqueue.message WHERE id = {id} FOR UPDATE"))
            .unwrap();
        let settle = settle.replace("{id}", &id.to_string()).replace("{n}", &delivery.to_string());
        let waiting = thread::spawn(move || {
            let done = worker.all::<i64>(&settle);
            (worker, done)
        });
        until_blocked(&mut observer, 1);
        until("the lease has ended", || {
            observer
                .one(&format!("SELECT lease_until < clock_timestamp() FROM pgqueue.message WHERE id = {id}"))
        });
        other.batch_execute("ROLLBACK").unwrap();
        let (session, done) = waiting.join().unwrap();
        assert!(done.is_empty());
        worker = session;
    }
}

#[test]
fn a_lease_is_as_long_as_it_was_asked_for_though_the_reserve_had_to_wait() {
    let server = Server::start();
    let (mut mover, mut consumer, mut observer) = (server.connect(), server.connect(), server.connect());
    mover.batch_execute("SET allow_in_place_tablespaces = on").unwrap();
    mover.batch_execute("CREATE TABLESPACE spare LOCATION ''").unwrap();
    mover.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
    mover.batch_execute("BEGIN; ALTER INDEX pgqueue.message_ready SET TABLESPACE spare").unwrap();
    let lasts = "SELECT leased_until > clock_timestamp() FROM pgq_reserve('q', lease => '2 s')";
    let reserving = thread::spawn(move || consumer.all::<bool>(lasts));
    until_blocked(&mut observer, 1);
    observer.execute("SELECT pg_sleep(2.1)", &[]).unwrap();
    mover.batch_execute("COMMIT").unwrap();
    assert_eq!(reserving.join().unwrap(), [true]);
}

#[test]
fn a_last_lease_extended_in_time_is_not_buried_by_a_session_that_saw_it_end() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off");
    let (mut worker, mut other) = (server.connect(), server.connect());
    let id: i64 = worker.one("SELECT pgq_push('q', '1', max_deliveries => 1)");
    worker.execute("SELECT pgq_reserve('q', lease => '2 s')", &[]).unwrap();
    worker.batch_execute(&format!("BEGIN; SELECT pgq_extend({id}, '1 h', 1)")).unwrap();
    until("the old lease has ended", || {
        other.one(&format!("SELECT lease_until < clock_timestamp() FROM pgqueue.message WHERE id = {id}"))
    });
    // It looks exhausted to the others, who may not touch it.
    other.batch_execute("SELECT pgq_reserve('q'); SELECT pgq_vacuum()").unwrap();
    worker.batch_execute("COMMIT").unwrap();
    other.batch_execute("SELECT pgq_reserve('q'); SELECT pgq_vacuum()").unwrap();
    assert_eq!(other.one::<String>(&format!("SELECT state FROM pgq_get({id})")), "leased");
    assert!(worker.one::<bool>(&format!("SELECT pgq_delete({id}, 1)")));
}

#[test]
fn a_message_that_others_refer_to_is_leased_at_once() {
    for preload in ["shared_preload_libraries = 'pgqueue'", ""] {
        for lockers in [1, 2, 3] {
            let server = Server::bare(preload);
            let mut session = server.connect();
            session.batch_execute("CREATE EXTENSION pgqueue; SET statement_timeout = '20 s'").unwrap();
            let queues = ["plain", "keyed", "grouped", "limited"];
            session.batch_execute("SELECT pgq_create_queue('limited', '{\"max_leased\": 5}')").unwrap();
            for (queue, options) in queues.iter().zip(["", ", dedup_key => 'k'", ", group_key => 'g'", ""]) {
                session.batch_execute(&format!("SELECT pgq_push('{queue}', '1'{options})")).unwrap();
                let _open = referred_to(&server, &mut session, queue, lockers);
                let context = format!("{queue}, {lockers} lockers, {preload}");
                let given = session
                    .query(&format!("SELECT id, delivery FROM pgq_reserve('{queue}', lease => '1 h')"), &[])
                    .unwrap();
                assert_eq!(given.len(), 1, "{context}");
                let (id, delivery): (i64, i64) = (given[0].get(0), given[0].get(1));
                for settle in [
                    "SELECT count(*) = 1 FROM pgq_extend($1, '2 h'::interval, $2)",
                    "SELECT pgq_release($1, '0'::interval, $2)",
                ] {
                    let is_done: bool = session.query_one(settle, &[&id, &delivery]).unwrap().get(0);
                    assert!(is_done, "{context}: {settle}");
                }
                assert_eq!(
                    session.all::<i64>(&format!("SELECT id FROM pgq_reserve('{queue}')")),
                    [id],
                    "{context}"
                );
            }
        }
    }
}

#[test]
fn a_lease_does_not_wait_for_the_disk_with_page_checksums_either() {
    let server = Server::of(
        support::bindir("PGQUEUE_BINDIR"),
        &["--data-checksums"],
        "shared_preload_libraries = 'pgqueue'\npgqueue.auto_vacuum = off",
    );
    let mut session = server.connect();
    session.batch_execute("CREATE EXTENSION pgqueue; SELECT pgq_push('q', '1')").unwrap();
    // Each page that is read from now on is logged, when its hint bits are set.
    session.execute("CHECKPOINT", &[]).unwrap();
    server.set("synchronous_standby_names = 'away'");
    let mut consumer = server.connect();
    let lease = thread::spawn(move || consumer.all::<i64>("SELECT id FROM pgq_reserve('q')"));
    until("a lease is given", || lease.is_finished());
    assert_eq!(lease.join().unwrap(), [1]);
}

#[test]
fn an_expired_lease_of_a_killed_consumer_is_delivered_again() {
    let server = Server::start();
    let (mut victim, mut other) = (server.connect(), server.connect());
    victim.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
    assert_eq!(victim.all::<i64>("SELECT delivery FROM pgq_reserve('q', lease => '8 s')"), [1]);
    let pid: i32 = victim.one("SELECT pg_backend_pid()");
    other.execute(&format!("SELECT pg_terminate_backend({pid}, 5000)"), &[]).unwrap();
    assert!(other.all::<i64>("SELECT delivery FROM pgq_reserve('q')").is_empty());
    let mut delivery = Vec::new();
    until("the lease has ended", || {
        delivery = other.all::<i64>("SELECT delivery FROM pgq_reserve('q')");
        !delivery.is_empty()
    });
    assert_eq!(delivery, [2]);
}
