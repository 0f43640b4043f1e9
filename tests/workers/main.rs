//! The workers of docs/workers, each as it stands on its page, against a real server: a slow job, kills,
//! a hang, lost connections, a restart, a poison message, SIGTERM.
//!
//! `tests/workers/setup` installs the clients.

mod process;
mod programs;

use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;
use process::Process;
use programs::{Program, WORKERS};
use support::pages::{Block, blocks, file, guide};
use support::signal::Signal;
use support::{Ask, Server, Stop, until};

/// The workers' leases here, and how long slow work takes.
const LEASE: f64 = 2.0;
const SLOW: f64 = 5.0;
/// How many messages each works at once, as it states.
const CONCURRENCY: usize = 4;

/// A table for the effects. Its trigger makes work slow, as its message says.
fn prepare(server: &Server) {
    let slow = format!(
        "CREATE TABLE sent (address text NOT NULL);
         CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.address LIKE 'slow%' THEN PERFORM pg_sleep({SLOW}); END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER slow BEFORE INSERT ON sent FOR EACH ROW EXECUTE FUNCTION slow();
         SELECT pgq_create_queue('welcome', '{{\"max_deliveries\": 3, \"backoff\": {{\"base\": \"50 ms\"}}}}')"
    );
    server.connect().batch_execute(&slow).unwrap();
}

/// A worker at its server.
struct Stage {
    server: Server,
    program: Program,
    session: Client,
}

impl Stage {
    fn set(name: &str) -> Self {
        let worker = WORKERS.iter().find(|worker| worker.name == name).expect("a worker");
        let server = programs::server();
        prepare(&server);
        let session = server.connect();
        Self { program: worker.build(&server), server, session }
    }

    fn start(&self) -> Process {
        self.program.start(&self.server)
    }

    fn push(&mut self, to: &str) {
        let push = "SELECT pgq_push('welcome', jsonb_build_object('to', $1::text))";
        self.session.execute(push, &[&to]).unwrap();
    }

    fn sent(&mut self, to: &str) -> i64 {
        self.session.one(&format!("SELECT count(*) FROM sent WHERE address = '{to}'"))
    }

    fn until_all_is_deleted(&mut self) {
        until("all messages are deleted", || {
            self.session.one("SELECT total - dead = 0 FROM pgq_stats('welcome', exact => true)")
        });
    }

    fn until_sent(&mut self, to: &str) {
        until(to, || self.sent(to) > 0);
        self.until_all_is_deleted();
        assert_eq!(self.sent(to), 1, "{to}");
    }

    /// Waits until so many messages are under slow work.
    fn until_under_work(&mut self, messages: usize) {
        until("slow work has begun", || {
            let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
            self.session.one::<i64>(sleeping) == messages as i64
        });
    }

    fn delivered(&mut self) -> i64 {
        self.session.one("SELECT delivered FROM pgq_stats('welcome')")
    }
}

/// Each once, and as many at the same time as the worker states.
fn it_works_each_message_once(stage: &mut Stage) {
    let push =
        "SELECT pgq_push('welcome', jsonb_build_object('to', 'fast ' || n)) FROM generate_series(1, 50) n";
    stage.session.execute(push, &[]).unwrap();
    stage.until_all_is_deleted();
    let each: Vec<i64> = stage.session.all("SELECT count(*) FROM sent GROUP BY address");
    assert_eq!(each, [1; 50]);
}

fn its_heartbeat_keeps_the_leases(stage: &mut Stage) {
    let before = stage.delivered();
    let names: Vec<String> = (0..CONCURRENCY).map(|n| format!("slow: longer than its lease, {n}")).collect();
    names.iter().for_each(|name| stage.push(name));
    stage.until_under_work(CONCURRENCY);
    names.iter().for_each(|name| stage.until_sent(name));
    assert_eq!(stage.delivered() - before, CONCURRENCY as i64, "each is delivered once");
}

/// Killed in the middle of its work; another does it. Returns the other.
fn another_takes_over_what_a_killed_one_had(stage: &mut Stage, killed: Process) -> Process {
    stage.push("slow: killed");
    stage.until_under_work(1);
    drop(killed);
    assert_eq!(stage.sent("slow: killed"), 0);
    let another = stage.start();
    stage.until_sent("slow: killed");
    another
}

/// Stopped for longer than its lease, it comes back when another has done the work.
fn one_that_hangs_undoes_its_work(stage: &mut Stage, worker: &Process) {
    stage.push("slow: hangs");
    stage.until_under_work(1);
    worker.send(Signal::STOP);
    let another = stage.start();
    stage.until_sent("slow: hangs");
    worker.send(Signal::CONT);
    until("the late delete is refused", || stage.server.log().contains("was refused"));
    drop(another);
    stage.push("after a hang");
    stage.until_sent("after a hang");
    assert_eq!(stage.sent("slow: hangs"), 1);
}

/// Its error, which Postgres would not store as it is, is kept, and others go on.
fn what_fails_each_time_becomes_a_dead_letter(stage: &mut Stage) {
    stage.push("poison");
    stage.push("beside the poison");
    until("the poison is dead", || stage.session.one("SELECT dead = 1 FROM pgq_stats('welcome')"));
    let last = "SELECT errors -> -1 ->> 'error' FROM pgq_peek_dead('welcome')";
    let error: String = stage.session.one(last);
    assert!(error.contains(stage.program.stored), "{error:?}");
    stage.until_sent("beside the poison");
}

fn it_connects_again(stage: &mut Stage) {
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    stage.session.batch_execute(cut).unwrap();
    stage.push("after lost connections");
    stage.until_sent("after lost connections");

    stage.push("slow: in a restart");
    stage.until_under_work(1);
    stage.server.stop(Stop::Fast);
    thread::sleep(Duration::from_secs(2));
    stage.server.launch();
    stage.session = stage.server.connect();
    stage.push("after a restart");
    stage.until_sent("after a restart");
    stage.until_sent("slow: in a restart");
}

/// On SIGTERM: one message is under work, and a reserve of another is on its way.
fn it_ends_in_order(stage: &mut Stage, mut worker: Process) {
    let hold = "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    PERFORM pg_advisory_xact_lock_shared(1);
                    RETURN NULL;
                END $$;
                CREATE TRIGGER hold AFTER UPDATE ON pgqueue.message FOR EACH ROW
                    WHEN (NEW.payload ->> 'to' = 'reserved' AND NEW.deliveries > OLD.deliveries) EXECUTE FUNCTION hold();
                SELECT pg_advisory_lock(1)";
    stage.push("slow: the last");
    stage.until_under_work(1);
    stage.session.batch_execute(hold).unwrap();
    stage.push("reserved");
    until("it reserves", || {
        stage.session.one("SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE '%pgq_reserve%' AND wait_event = 'advisory'")
    });
    assert!(worker.is_alive());
    worker.send_to_first(Signal::TERM);
    thread::sleep(Duration::from_millis(300)); // the signal is handled
    stage.session.batch_execute("SELECT pg_advisory_unlock(1)").unwrap();
    let released = "SELECT count(*) = 1 FROM pgq_peek('welcome') m, pgq_get(m.id) d
                     WHERE m.payload ->> 'to' = 'reserved' AND d.attempts = 0 AND m.delivery = 1";
    until("what is not begun is given back", || stage.session.one(released));
    assert_eq!(stage.sent("slow: the last"), 0, "and at once: the other is still under work");
    assert!(worker.is_alive());
    until("it is finished", || stage.sent("slow: the last") == 1);
    let begun = Instant::now();
    assert!(worker.wait().success(), "it ends in order");
    assert!(begun.elapsed().as_secs_f64() < 6.0, "and soon");
    assert!(stage.session.one::<bool>(released), "it is there for others");
    let left = "SELECT total - dead FROM pgq_stats('welcome', exact => true)";
    assert_eq!(stage.session.one::<i64>(left), 1);
}

fn survives(name: &str) {
    let mut stage = Stage::set(name);
    let first = stage.start();
    it_works_each_message_once(&mut stage);
    its_heartbeat_keeps_the_leases(&mut stage);
    let worker = another_takes_over_what_a_killed_one_had(&mut stage, first);
    one_that_hangs_undoes_its_work(&mut stage, &worker);
    what_fails_each_time_becomes_a_dead_letter(&mut stage);
    it_connects_again(&mut stage);
    it_ends_in_order(&mut stage, worker);
}

#[test]
fn each_worker_of_the_pages_is_run() {
    let marks = guide().into_iter().filter_map(|page| {
        let name = page.strip_prefix("docs/workers/")?.trim_end_matches(".md").to_owned();
        let of_workers = |block: &Block| block.mark.starts_with("worker").then(|| block.mark.clone());
        Some(
            blocks(&file(&page))
                .iter()
                .filter_map(of_workers)
                .map(|mark| (name.clone(), mark))
                .collect::<Vec<_>>(),
        )
    });
    let mut found: Vec<(String, String)> = marks.flatten().collect();
    let mut known: Vec<_> = WORKERS.iter().map(|it| (it.page.to_owned(), it.mark.to_owned())).collect();
    found.sort();
    known.sort();
    assert_eq!(found, known);
}

#[test]
fn the_worker_with_asyncpg_survives() {
    survives("asyncpg");
}

#[test]
fn the_worker_with_psycopg_survives() {
    survives("psycopg");
}

#[test]
fn the_worker_with_node_postgres_survives() {
    survives("pg");
}

#[test]
fn the_worker_with_postgres_js_survives() {
    survives("postgres.js");
}

#[test]
fn the_worker_with_tokio_postgres_survives() {
    survives("tokio-postgres");
}

#[test]
fn the_worker_with_sqlx_survives() {
    survives("sqlx");
}

#[test]
fn the_worker_with_jdbc_survives() {
    survives("java");
}

#[test]
fn the_worker_with_ruby_pg_survives() {
    survives("ruby");
}

#[test]
fn the_worker_with_pdo_survives() {
    survives("php");
}

#[test]
fn the_worker_with_pgx_survives() {
    survives("go");
}

#[test]
fn the_worker_with_dbd_pg_survives() {
    survives("perl");
}
