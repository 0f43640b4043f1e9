//! The examples of the README run as they stand there.

use std::fs;
use std::thread;

use support::pages::{blocks, file};
use support::python::Python;
use support::{Ask, Server, until};

/// The texts of a page's blocks in a language, together.
fn code(page: &str, language: &str) -> String {
    let all = blocks(&file(page)).into_iter().filter(|block| block.language == language);
    let text: String = all.map(|block| block.text).collect();
    assert!(!text.is_empty(), "{page} has {language} examples");
    text
}

#[test]
fn the_examples_run() {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'");
    // As a person at psql would type them, one block after the other.
    let script = server.place().join("readme.sql");
    fs::write(&script, code("README.md", "sql")).unwrap();
    server.client(
        "psql",
        &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-f", script.to_str().unwrap()],
    );
    let mut session = server.connect();
    let stats = "SELECT (pushed, deleted, retried, delayed)::text FROM pgq_stats('emails', exact => true)";
    assert_eq!(session.one::<String>(stats), "(3,1,1,2)");
    look_for_long_transactions(&server);
    the_python_worker_lives(&server);
}

/// The query of docs/operations/monitoring.md that leaves sleepers out shows any other transaction.
fn look_for_long_transactions(server: &Server) {
    let page = blocks(&file("docs/operations/monitoring.md"));
    let query = page.into_iter().find(|block| block.text.contains("backend_xmin")).expect("the query").text;
    let query = query.replace("5 min", "0 s");
    let mut session = server.connect();
    let (mut sleeper, mut idle) = (server.connect(), server.connect());
    let pids: [i32; 2] = [sleeper.one("SELECT pg_backend_pid()"), idle.one("SELECT pg_backend_pid()")];
    idle.batch_execute("BEGIN; SELECT pg_current_xact_id()").unwrap();
    thread::scope(|scope| {
        let sleeping = scope.spawn(|| sleeper.batch_execute("CALL pgq_wait('nothing', '60 s')"));
        until("it sleeps", || {
            session.one(&format!(
                "SELECT coalesce(wait_event_type = 'Extension', false) FROM pg_stat_activity WHERE pid = {}",
                pids[0]
            ))
        });
        let shown: Vec<i32> = session.all(&query);
        assert_eq!(shown.into_iter().filter(|pid| pids.contains(pid)).collect::<Vec<_>>(), [pids[1]]);
        session.execute("SELECT pg_cancel_backend($1)", &[&pids[0]]).unwrap();
        sleeping.join().unwrap().unwrap_err();
    });
}

/// The beginning of its `handle` in this test: the work is slow, and an error's text is no text for Postgres.
const TRIED: &str = r#"def handle(db, payload):
    import time
    if payload["to"].startswith("slow"):
        time.sleep(0.6)
    if payload["to"] == "nul@example.org":
        raise ValueError("bad \0 \udcff")
"#;

/// The worker in Python, in a database where transactions are serializable.
fn the_python_worker_lives(server: &Server) {
    let mut session = server.connect();
    session
        .batch_execute(
            "ALTER DATABASE postgres SET default_transaction_isolation = 'serializable';
             SELECT pgq_create_queue('welcome', '{\"lease\": \"3 s\", \"backoff\": {\"base\": \"1 h\"}}');
             SELECT pgq_push('welcome', '{\"to\": \"ann@example.org\"}');
             CREATE TABLE sent (address text)",
        )
        .unwrap();
    let example = code("README.md", "python");
    assert!(example.contains("def handle(db, payload):\n"));
    let example = example.replace("def handle(db, payload):\n", TRIED);
    let mut workers = [(); 2].map(|()| Python::start(server, &example));
    let mut until_done = |what: &str, condition: &str| {
        until(what, || {
            assert!(workers.iter_mut().all(Python::is_alive), "a worker has ended: {what}");
            session.one(&format!("SELECT {condition} FROM pgq_stats('welcome')"))
        });
    };
    until_done("the Python worker has done its messages", "total = 0");
    let mut producer = server.connect();
    producer
        .batch_execute(
            "SELECT pgq_push('welcome', '{\"to\": \"late@example.org\"}'), pgq_push('welcome', '{}');
             SELECT pgq_push('welcome', '{\"to\": \"nul@example.org\"}', max_deliveries => 1)",
        )
        .unwrap();
    until_done("it has woken up, and failed what it can't do", "retried >= 1 AND died = 1");
    producer.batch_execute("SELECT pgq_purge('welcome', 'delayed')").unwrap();
    let before: i64 = producer.one("SELECT delivered FROM pgq_stats('welcome')");
    // Together longer than a lease.
    producer
        .batch_execute(
            "SELECT pgq_push_batch('welcome', array_agg(jsonb_build_object('to', 'slow ' || n))) FROM generate_series(1, 8) n",
        )
        .unwrap();
    until_done("slow work is done", "ready + leased + delayed = 0");
    assert_eq!(
        producer.one::<i64>("SELECT delivered FROM pgq_stats('welcome')") - before,
        8,
        "each given once"
    );
    let sent: Vec<String> =
        producer.all("SELECT address FROM sent WHERE address NOT LIKE 'slow%' ORDER BY address");
    assert_eq!(sent, ["ann@example.org", "late@example.org"]);
    assert_eq!(producer.one::<i64>("SELECT count(*) FROM sent WHERE address LIKE 'slow%'"), 8);
}
