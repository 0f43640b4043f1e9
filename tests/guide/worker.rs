//! The worker of the tutorial, against a real server: a slow job, kills, a lost connection, a restart,
//! a poison message, SIGTERM.

use std::fs;

use postgres::Client;
use support::pages::{blocks, file};
use support::python::Python;
use support::signal::{self, Signal};
use support::{Ask, Server, Stop, until};

/// The beginning of its `handle` in this test.
const TRIED: &str = r#"def handle(db, payload):
    import time
    if payload["to"].startswith("slow"):
        time.sleep(SLOW)
    if payload["to"] == "poison":
        raise ValueError("bad \0 \udcff")
"#;

/// The program of the page, with leases of some seconds, and how long slow work takes.
fn program(lease: u32, slow: u32) -> String {
    let page = file("docs/tutorial/worker.md");
    let block = blocks(&page).into_iter().find(|block| block.language == "python").expect("the worker");
    let (page, here) = ("LEASE = \"welcome\", 30 ", format!("LEASE = \"welcome\", {lease} "));
    let tried = TRIED.replace("SLOW", &slow.to_string());
    let text = block.text.replace(page, &here).replace("def handle(db, payload):\n", &tried);
    assert!(text.contains(&here) && text.contains("poison"));
    text
}

fn prepare(server: &Server) {
    let page = file("docs/tutorial/worker.md");
    let path = server.place().join("page.sql");
    let sql = blocks(&page).into_iter().filter(|block| block.language == "sql").map(|block| block.text);
    fs::write(&path, sql.collect::<String>()).unwrap();
    server.client(
        "psql",
        &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-f", path.to_str().unwrap()],
    );
    server
        .connect()
        .batch_execute(
            "SELECT pgq_alter_queue('welcome', '{\"max_deliveries\": 3, \"backoff\": {\"base\": \"50 ms\"}}');
             ALTER DATABASE postgres SET default_transaction_isolation = 'serializable'",
        )
        .unwrap();
}

fn push(session: &mut Client, to: &str) {
    session.execute("SELECT pgq_push('welcome', jsonb_build_object('to', $1::text))", &[&to]).unwrap();
}

fn until_sent(session: &mut Client, to: &str) {
    let sent = format!("SELECT count(*) = 1 FROM sent WHERE address = '{to}'");
    until(to, || session.one(&sent));
    until("it is deleted", || {
        session.one("SELECT total - dead = 0 FROM pgq_stats('welcome', exact => true)")
    });
    assert!(session.one::<bool>(&sent), "once");
}

fn until_leased(session: &mut Client) {
    until("it is leased", || session.one("SELECT leased = 1 FROM pgq_stats('welcome', exact => true)"));
}

fn delivered(session: &mut Client) -> i64 {
    session.one("SELECT delivered FROM pgq_stats('welcome')")
}

/// Stopped for longer than its lease, a worker comes back when another has done the job.
fn one_that_hangs_undoes_its_work(server: &Server, program: &str, workers: &[Python]) {
    let mut session = server.connect();
    push(&mut session, "slow: hangs");
    until_leased(&mut session);
    let signal_all = |signal| workers.iter().for_each(|it| assert!(signal::send(signal, it.0.id() as i32)));
    signal_all(Signal::STOP);
    let _another = Python::start_silently(server, program);
    until_sent(&mut session, "slow: hangs");
    signal_all(Signal::CONT);
    until("all sleep", || {
        session.one(
            "SELECT count(*) = 3 FROM pg_stat_activity WHERE query LIKE 'CALL pgq_wait%' AND state = 'active'",
        )
    });
    assert_eq!(session.one::<i64>("SELECT count(*) FROM sent WHERE address = 'slow: hangs'"), 1);
    assert!(server.log().contains("was refused"), "the late delete");
}

#[test]
fn the_worker_of_the_tutorial_survives() {
    let server = Server::start();
    prepare(&server);
    let program = program(1, 3);
    let start = || [(); 2].map(|()| Python::start_silently(&server, &program));
    let mut workers = start();
    let mut session = server.connect();
    until_sent(&mut session, "ann@example.org");

    let before = delivered(&mut session);
    push(&mut session, "slow: three leases long");
    until_sent(&mut session, "slow: three leases long");
    assert_eq!(delivered(&mut session) - before, 1, "the heartbeat keeps the lease");

    push(&mut session, "slow: killed in the middle");
    until_leased(&mut session);
    drop(workers);
    assert_eq!(session.one::<i64>("SELECT count(*) FROM sent WHERE address LIKE '%killed%'"), 0);
    workers = start();
    until_sent(&mut session, "slow: killed in the middle");

    one_that_hangs_undoes_its_work(&server, &program, &workers);

    session
        .batch_execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
              WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
        )
        .unwrap();
    push(&mut session, "after lost connections");
    until_sent(&mut session, "after lost connections");

    server.stop(Stop::Fast);
    server.launch();
    session = server.connect();
    push(&mut session, "after a restart");
    until_sent(&mut session, "after a restart");

    push(&mut session, "poison");
    until("poison is dead", || session.one("SELECT dead = 1 FROM pgq_stats('welcome')"));
    let error: String = session.one("SELECT errors -> -1 ->> 'error' FROM pgq_peek_dead('welcome')");
    assert_eq!(error, "bad  ?");

    push(&mut session, "slow: the last");
    until_leased(&mut session);
    for worker in &mut workers {
        assert!(worker.is_alive(), "the same two live");
        assert!(signal::send(Signal::TERM, worker.0.id() as i32));
    }
    for worker in &mut workers {
        assert!(worker.0.wait().unwrap().success(), "it ends in order");
    }
    until_sent(&mut session, "slow: the last");
}

/// Cut off while it extends: the lock of a row holds it there.
#[test]
fn a_heartbeat_of_the_tutorial_that_loses_its_connection_keeps_the_lease() {
    let server = Server::start();
    prepare(&server);
    let program = program(9, 14);
    let _workers = [(); 2].map(|()| Python::start_silently(&server, &program));
    let mut session = server.connect();
    until_sent(&mut session, "ann@example.org");
    let before = delivered(&mut session);
    push(&mut session, "slow: longer than a lease");
    until_leased(&mut session);
    let mut holder = server.connect();
    holder.batch_execute("BEGIN; SELECT FROM pgqueue.message FOR UPDATE").unwrap();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE query LIKE 'SELECT pgq_extend(%' AND wait_event_type = 'Lock'";
    until("its connection is cut", || session.all::<bool>(cut) == [true]);
    holder.batch_execute("ROLLBACK").unwrap();
    until_sent(&mut session, "slow: longer than a lease");
    assert_eq!(delivered(&mut session) - before, 1, "no other worker got the message");
}
