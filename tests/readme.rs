//! The examples of the README run as they stand there.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;

use support::{Ask, Server, until};

/// The contents of the README's code blocks in a language.
fn blocks(language: &str) -> Vec<String> {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let fence = format!("```{language}\n");
    let blocks: Vec<String> = readme
        .split(&fence)
        .skip(1)
        .map(|rest| rest.split("\n```").next().unwrap().to_owned() + "\n")
        .collect();
    assert!(!blocks.is_empty(), "the README has {language} examples");
    blocks
}

#[test]
fn the_examples_run() {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'");
    // As a person at psql would type them, one block after the other.
    let script = std::env::temp_dir().join(format!("pgqueue.readme.{}.sql", std::process::id()));
    fs::write(&script, blocks("sql").concat()).unwrap();
    server.client(
        "psql",
        &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-f", script.to_str().unwrap()],
    );
    fs::remove_file(&script).unwrap();

    let mut session = server.connect();
    assert_eq!(
        session.one::<i64>("SELECT ready FROM pgq_stats('emails')"),
        0,
        "the worker in SQL has worked"
    );
    assert!(session.one::<i64>("SELECT count(*) FROM done") > 0);
    assert_eq!(session.one::<i64>("SELECT ready FROM pgq_stats('welcome')"), 1);

    // The trigger fires for a session that has no schema in its path, as postgres_fdw's.
    let mut elsewhere = server.connect();
    elsewhere
        .batch_execute("SET search_path = ''; INSERT INTO public.customer VALUES ('Zoe', 'zoe@example.org')")
        .unwrap();
    look_for_long_transactions(&server);
    the_python_worker_lives(&server);
}

/// The query that leaves sleepers out shows any other transaction.
fn look_for_long_transactions(server: &Server) {
    let query =
        blocks("sql").into_iter().find(|block| block.contains("pg_stat_activity")).expect("the query");
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

/// What its `handle` does in this test: the work is slow, and an error's text is no text for Postgres.
const TRIED: &str = r#"def handle(db, payload):
    import time
    if payload["to"].startswith("slow"):
        time.sleep(0.6)
    if payload["to"] == "nul@example.org":
        raise ValueError("bad \0 \udcff")
"#;

/// A process that ends with the test.
struct Worker(Child);

impl Worker {
    fn start(server: &Server, program: &str) -> Self {
        let mut python = Command::new("/usr/bin/python3");
        python.args(["-c", program]).envs(server.environment()).stdin(Stdio::null());
        Self(python.spawn().unwrap())
    }

    fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _it_may_have_ended = self.0.kill();
        let _status = self.0.wait();
    }
}

/// The worker in Python goes on where the blocks in SQL ended, in a database where transactions are
/// serializable.
fn the_python_worker_lives(server: &Server) {
    let mut session = server.connect();
    session
        .batch_execute(
            "ALTER DATABASE postgres SET default_transaction_isolation = 'serializable';
             SELECT pgq_alter_queue('welcome', '{\"lease\": \"3 s\", \"backoff\": {\"base\": \"1 h\"}}');
             CREATE TABLE sent (address text)",
        )
        .unwrap();
    let example = blocks("python").concat();
    assert!(example.contains("def handle(db, payload):\n"));
    let example = example.replace("def handle(db, payload):\n", TRIED);
    let mut workers = [(); 2].map(|()| Worker::start(server, &example));
    let mut until_done = |what: &str, condition: &str| {
        until(what, || {
            assert!(workers.iter_mut().all(Worker::is_alive), "a worker has ended: {what}");
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
    assert_eq!(sent, ["ann@example.org", "late@example.org", "zoe@example.org"]);
    assert_eq!(producer.one::<i64>("SELECT count(*) FROM sent WHERE address LIKE 'slow%'"), 8);
}
