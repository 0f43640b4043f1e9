//! pgqueue beside the tools of others: what they put on its tables, and do to them, is obeyed or
//! refused (docs/tools.md).

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use postgres::Client;
use support::load::{Load, assert_kept};
use support::{Ask, Ending, Server, until};

/// The tables of pgqueue that pg_repack can rewrite: those with a key.
const REPACKED: [&str; 4] = ["message", "archive", "slot", "dead"];

/// A server with pg_repack; other majors than 15 lack it.
fn server_with_repack() -> Option<Server> {
    let server = Server::start();
    let is_there: bool = server
        .connect()
        .one("SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_repack')");
    assert_eq!(is_there, std::env::var("PG_MAJOR").is_ok_and(|major| major == "15"), "Debian has it for 15");
    is_there.then(|| {
        server.connect().batch_execute("CREATE EXTENSION pg_repack").unwrap();
        server
    })
}

fn repack(server: &Server, table: &str) {
    server.client("pg_repack", &["--no-order", "-d", "postgres", "-t", &format!("pgqueue.{table}")]);
}

/// Runs `work` between the copy that pg_repack makes of a table and the moment it puts the copy in
/// its place: an old transaction keeps it there.
fn while_repacked(server: &Server, table: &str, work: impl FnOnce(&mut Client)) {
    let (mut old, mut session) = (server.connect(), server.connect());
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; CREATE TEMP TABLE held (); SELECT txid_current()")
        .unwrap();
    thread::scope(|scope| {
        let tool = scope.spawn(|| repack(server, table));
        until("the table is copied", || {
            session.one(
                "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'repack_trigger')
                    AND EXISTS (SELECT FROM pg_class WHERE relnamespace = 'repack'::regnamespace AND relname ~ '^log_')",
            )
        });
        work(&mut session);
        old.batch_execute("COMMIT").unwrap();
        tool.join().unwrap();
    });
}

#[test]
fn what_is_done_while_pg_repack_rewrites_the_messages_is_kept() {
    let Some(server) = server_with_repack() else { return };
    let mut session = server.connect();
    session
        .batch_execute(
            "CREATE ROLE app; GRANT USAGE ON SCHEMA public TO app;
             SELECT pgq_push('q', to_jsonb(n)) FROM generate_series(1, 4) n;
             SELECT pgq_grant('q', 'app', 'push');
             SELECT pgq_reserve('q', '10 min', max => 3)",
        )
        .unwrap();
    while_repacked(&server, "message", |session| {
        for statements in [
            "SELECT pgq_delete(1::bigint, 1)",
            "SELECT pgq_fail(2::bigint, 'again', 1, '0')",
            "SELECT pgq_push_batch('q', '{5,6}')",
            "BEGIN; SELECT pgq_push('q', '\"undone\"'); ROLLBACK",
            "SET SESSION AUTHORIZATION app; SELECT pgq_push('q', '8')",
            "RESET SESSION AUTHORIZATION",
        ] {
            session.batch_execute(statements).unwrap();
        }
    });
    let left: Vec<String> = session
        .all("SELECT concat_ws(' ', payload, deliveries, state) FROM pgqueue.message_state ORDER BY id");
    assert_eq!(left, ["2 1 ready", "3 1 leased", "4 0 ready", "5 0 ready", "6 0 ready", "8 0 ready"]);
    let counted: i64 = session.one("SELECT total FROM pgq_stats('q')");
    assert_eq!(counted, 6, "and is counted once");
}

#[test]
fn leases_stay_within_the_limit_while_pg_repack_rewrites_the_slots() {
    let Some(server) = server_with_repack() else { return };
    let mut session = server.connect();
    session
        .batch_execute(
            "SELECT pgq_create_queue('q', '{\"max_leased\": 3}');
             SELECT pgq_push('q', to_jsonb(n)) FROM generate_series(1, 9) n;
             SELECT pgq_reserve('q', '10 min')",
        )
        .unwrap();
    while_repacked(&server, "slot", |session| {
        session.batch_execute("BEGIN; SELECT pgq_reserve('q', '10 min', max => 5); ROLLBACK").unwrap();
        let leased = session.all::<i64>("SELECT id FROM pgq_reserve('q', '10 min', max => 5)").len();
        assert_eq!(leased, 2, "two slots are left");
    });
    assert!(session.all::<i64>("SELECT id FROM pgq_reserve('q', '10 min', max => 5)").is_empty());
    session.batch_execute("SELECT pgq_delete(1::bigint, 1)").unwrap();
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('q', '10 min', max => 5)").len(), 1);
}

#[test]
fn nothing_is_lost_or_delivered_twice_beside_pg_repack() {
    let Some(server) = server_with_repack() else { return };
    let mut session = server.connect();
    session
        .batch_execute("SELECT pgq_create_queue('load', '{\"archive\": \"1 day\", \"max_leased\": 15}')")
        .unwrap();
    let load = Load::start(&server.config("postgres"), 2, 2);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _ending = Ending(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                REPACKED.iter().for_each(|table| repack(&server, table));
            }
        });
        load.go_on(4_000);
    });
    let history = load.finish(&mut session);
    assert_kept(&history);
    let is_whole: bool = session.one(
        "SELECT bool_and(pushed = deleted AND pushed = (SELECT count(*) FROM pgqueue.archive)) FROM pgq_stats('load')",
    );
    assert!(is_whole, "each message is in the archive");
}
