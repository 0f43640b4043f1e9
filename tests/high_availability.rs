//! What docs/high-availability.md says is run, and the tests it names exist.

use std::fs;
use std::path::{Path, PathBuf};

use postgres::Client;
use support::pages::{file, quoted};
use support::{Ask, Server, Stop, until};

/// A block of code: a script, or statements that begin with a comment saying for whom.
struct Block {
    language: String,
    text: String,
}

impl Block {
    fn is_for(&self, whom: &str) -> bool {
        self.language == "sql" && self.text.starts_with(&format!("-- {whom}\n"))
    }
}

/// The blocks under a heading.
fn section(heading: &str) -> Vec<Block> {
    let text = file("docs/high-availability.md");
    let section = text.split("\n## ").find(|section| section.starts_with(&format!("{heading}\n")));
    let mut blocks = Vec::new();
    for block in section.unwrap_or_else(|| panic!("no section {heading}")).split("\n```").skip(1).step_by(2) {
        let (language, text) = block.split_once('\n').unwrap();
        blocks.push(Block { language: language.to_owned(), text: text.to_owned() });
    }
    assert!(!blocks.is_empty(), "{heading} has examples");
    blocks
}

/// Runs statements one by one, as a person at psql would.
fn run_at(server: &Server, place: &[&str], statements: &str) {
    let script = server.place().join("script.sql");
    fs::write(&script, statements).unwrap();
    let mut args = vec!["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", script.to_str().unwrap()];
    args.extend(place);
    server.client("psql", &args);
}

/// The standby of the examples, which has its socket beside that of its primary.
struct Standby<'a> {
    primary: &'a Server,
    data: PathBuf,
}

impl Standby<'_> {
    fn shell(&self, script: &str) {
        self.primary.shell(script, &[("STANDBY", &self.data)]);
    }
}

impl Drop for Standby<'_> {
    fn drop(&mut self) {
        self.shell(
            "[ ! -s \"$STANDBY/postmaster.pid\" ] || pg_ctl stop -s -m immediate --pgdata=\"$STANDBY\"",
        );
    }
}

impl Standby<'_> {
    fn run(&self, block: &Block) {
        match block.language.as_str() {
            "sh" => self.shell(&block.text),
            "sql" if block.is_for("primary") => run_at(self.primary, &[], &block.text),
            "sql" if block.is_for("standby") => run_at(self.primary, &["-p", "5433"], &block.text),
            "ini" => {
                let preloaded: String = self.primary.connect().one("SHOW shared_preload_libraries");
                assert!(block.text.contains(&preloaded));
            }
            other => panic!("nobody runs {other}: {}", block.text),
        }
    }
}

#[test]
fn the_examples_of_a_standby_and_its_promotion_run() {
    let primary = Server::start();
    primary.connect().execute("SELECT pgq_push('jobs', '1')", &[]).unwrap();
    let standby = Standby { primary: &primary, data: primary.place().join("standby") };
    section("A standby").iter().for_each(|block| standby.run(block));
    // It waits for the standby: without one this push would not return.
    primary.connect().execute("SELECT pgq_push('jobs', '2')", &[]).unwrap();
    primary.stop(Stop::Kill);
    section("Promotion").iter().for_each(|block| standby.run(block));
    let count = primary
        .client("psql", &["-X", "-A", "-t", "-p", "5433", "-c", "SELECT ready FROM pgq_stats('jobs')"]);
    assert_eq!(count.trim(), "3", "what was there, and the push of the client with both servers");
}

#[test]
fn the_examples_of_a_backup_run_and_old_receipts_fit_nothing_that_comes_after_it() {
    let server = Server::start();
    let mut session = server.connect();
    session.execute("SELECT pgq_push('jobs', to_jsonb(n)) FROM generate_series(1, 10) n", &[]).unwrap();
    let backup = server.place().join("backup");
    for block in section("Backups") {
        match block.language.as_str() {
            "sh" => _ = server.shell(&block.text, &[("BACKUP", &backup)]),
            "sql" if block.is_for("restored") => {
                session
                    .execute("SELECT pgq_push('jobs', to_jsonb(n)) FROM generate_series(1, 100) n", &[])
                    .unwrap();
                run_at(&server, &["-d", "restored"], &block.text);
            }
            other => panic!("nobody runs {other}: {}", block.text),
        }
    }
    let mut restored = server.connect_to("restored");
    assert_eq!(restored.all::<i64>("SELECT id FROM pgq_reserve('jobs', max => 100)").len(), 10);
    let highest: i64 = session.one("SELECT max(id) FROM pgqueue.message");
    assert!(restored.one::<i64>("SELECT pgq_push('jobs', '1')") > highest);
}

/// Where messages are, as the counters tell and as looking at each tells.
fn counts(session: &mut Client, exact: bool) -> Vec<String> {
    session.all(&format!(
        "SELECT (queue, ready, delayed, leased, blocked, dead, total)::text FROM pgq_stats(exact => {exact}) ORDER BY queue"
    ))
}

/// Messages in all states, and more than are looked at to be counted.
const IN_ALL_STATES: &str = "
    SELECT pgq_create_queue('jobs', '{\"lease\": \"1 h\", \"archive\": \"1 day\", \"max_leased\": 50}');
    SELECT pgq_push('jobs', to_jsonb(n), group_key => 'g' || n / 2) FROM generate_series(1, 300) n;
    SELECT pgq_push('jobs', to_jsonb(n), delay => '1 h', dedup_key => n::text) FROM generate_series(1, 20) n;
    SELECT pgq_delete(id) FROM pgq_reserve('jobs', max => 10);
    SELECT pgq_bury(id, 'dead') FROM pgq_reserve('jobs', max => 3);
    SELECT pgq_fail(id, 'again', delay => '0') FROM pgq_reserve('jobs', max => 2);
    SELECT pgq_schedule('nightly', 'jobs', '@daily', '1')";

#[test]
fn a_copy_of_a_running_server_counts_right_and_goes_its_own_way() {
    let server = Server::start();
    let mut session = server.connect();
    session.batch_execute(IN_ALL_STATES).unwrap();
    let receipt = session.query_one("SELECT id, delivery FROM pgq_reserve('jobs')", &[]).unwrap();
    let (id, delivery): (i64, i64) = (receipt.get(0), receipt.get(1));
    server.set("synchronous_commit = on");
    session.execute("SELECT pgq_push('other', '1')", &[]).unwrap(); // the lease is on disk, too
    let copy = server.copy();
    let mut there = copy.connect();
    let counted = counts(&mut session, true);
    assert_eq!(counts(&mut there, true), counted);
    until("its worker has counted", || counts(&mut there, false) == counted);
    let settled = there.query_one("SELECT pgq_delete($1, $2)", &[&id, &delivery]).unwrap();
    assert!(settled.get::<_, bool>(0), "the lease is there as well");
    let free: i64 = there.one("SELECT pgq_count('jobs', exact => true)");
    there.execute("SELECT pgq_alter_queue('jobs', '{\"max_leased\": null}')", &[]).unwrap();
    assert_eq!(there.all::<i64>("SELECT id FROM pgq_reserve('jobs', max => 1000)").len() as i64, free);
    assert_eq!(counts(&mut session, true), counted, "the original knows nothing of it");
}

#[test]
fn a_subscriber_gets_everything_and_can_take_over() {
    let publisher = Server::bare(
        "shared_preload_libraries = 'pgqueue'\npgqueue.vacuum_interval = '100ms'\nwal_level = logical",
    );
    let subscriber = Server::start();
    let mut there = publisher.connect();
    there.batch_execute("CREATE EXTENSION pgqueue").unwrap();
    there.batch_execute(IN_ALL_STATES).unwrap();
    let blocks = section("Logical replication");
    let [publication, subscription, take_over] = &blocks[..] else { panic!("three blocks") };
    assert!(
        publication.is_for("publisher")
            && subscription.is_for("subscriber")
            && take_over.is_for("subscriber")
    );
    run_at(&publisher, &[], &publication.text);
    let address = format!("host={} user=postgres", publisher.place().display());
    run_at(&subscriber, &[], &subscription.text.replace("host=publisher", &address));

    // Changes of all kinds, after the first copy.
    let mut here = subscriber.connect();
    let left_out: Vec<String> = there.all(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'pgqueue'::regnamespace AND relkind = 'r'
          AND oid NOT IN (SELECT prrelid FROM pg_publication_rel)",
    );
    assert_eq!(left_out, ["dropped_queue", "slot", "vacuum_run"], "all else is published");
    until("the copy is made", || {
        here.one("SELECT count(*) = 12 FROM pg_subscription_rel WHERE srsubstate = 'r'")
    });
    let lease = there.query_one("SELECT id, delivery FROM pgq_reserve('jobs')", &[]).unwrap();
    there
        .batch_execute(
            "SELECT pgq_push('new', '1');
             SELECT pgq_push('jobs', to_jsonb(n)) FROM generate_series(1, 50) n;
             SELECT pgq_delete(id) FROM pgq_reserve('jobs', max => 20);
             SELECT pgq_redrive('jobs', max => 1);
             SELECT pgq_bury(id, 'no') FROM pgq_reserve('jobs');
             SELECT pgq_cancel(id) FROM pgq_peek('jobs', 5, 'delayed')",
        )
        .unwrap();
    let state = "SELECT (id, queue, priority, lane, deliveries, lease_until, group_key, dedup_key, payload)::text FROM pgqueue.message
                 UNION ALL SELECT d::text FROM pgqueue.dead d UNION ALL SELECT a::text FROM pgqueue.archive a
                 UNION ALL SELECT s::text FROM pgqueue.schedule s
                 UNION ALL SELECT q::text FROM pgqueue.queue q ORDER BY 1";
    until("all has arrived", || here.all::<String>(state) == there.all::<String>(state));
    let happened =
        "SELECT (queue, pushed, delivered, deleted, retried, died)::text FROM pgq_stats() ORDER BY 1";
    until("a round has written down what happened", || {
        here.all::<String>(happened) == there.all::<String>(happened)
    });

    let highest: i64 = there.one("SELECT last_value FROM pgqueue.message_id");
    run_at(&subscriber, &[], &take_over.text);
    let mut here = subscriber.connect();
    until("its worker has counted", || counts(&mut here, false) == counts(&mut here, true));
    assert_eq!(counts(&mut here, true), counts(&mut there, true));
    let (id, delivery): (i64, i64) = (lease.get(0), lease.get(1));
    let settled = here.query_one("SELECT pgq_delete($1, $2)", &[&id, &delivery]).unwrap();
    assert!(settled.get::<_, bool>(0), "the receipt is good here");
    assert!(here.one::<i64>("SELECT pgq_push('jobs', '1')") > highest);
    here.execute("SELECT pgq_create_queue('made here')", &[]).unwrap();
    here.execute("SELECT pgq_alter_queue('jobs', '{\"max_leased\": null}')", &[]).unwrap();
    let free: i64 = here.one("SELECT pgq_count('jobs', exact => true)");
    assert_eq!(here.all::<i64>("SELECT id FROM pgq_reserve('jobs', max => 1000)").len() as i64, free);
}

#[test]
fn the_tests_that_are_named_exist() {
    let text = file("docs/high-availability.md");
    let words = quoted(&text).into_iter().filter(|word| word.ends_with(".rs"));
    let named: Vec<&str> = words.map(|word| word.strip_prefix("tests/").unwrap_or(word)).collect();
    assert!(named.len() > 5);
    for name in named {
        assert!(Path::new(&format!("{}/tests/{name}", env!("CARGO_MANIFEST_DIR"))).exists(), "{name}");
    }
}
