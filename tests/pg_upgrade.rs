//! pg_upgrade: what a server of an older major holds is there, and goes on, in a newer one.
//!
//! It needs a second server beside the one of the other tests: `make test-all` has it.

use postgres::Client;
use support::{Ask, Server, Stop, bindir, until};

/// A server of the older major.
fn older(settings: &str) -> Server {
    // The newest majors checksum their pages unless told otherwise, and both must agree.
    Server::of(bindir("PGQUEUE_OLD_BINDIR"), &["-k"], &preloaded(settings))
}

/// One of the major under test, stopped, which has taken over what the other holds.
/// Returns what was logged meanwhile too.
fn upgraded(older: &Server, settings: &str) -> (Server, String) {
    let newer = Server::of(bindir("PGQUEUE_BINDIR"), &["-k"], &preloaded(settings));
    newer.stop(Stop::Fast);
    older.stop(Stop::Fast);
    let log = newer.take_over(older);
    (newer, log)
}

fn preloaded(settings: &str) -> String {
    format!("shared_preload_libraries = 'pgqueue'\n{settings}")
}

/// Messages in every state. The receipts that are given out are noted in `receipt`.
const EVERY_STATE: &str = r#"
    CREATE EXTENSION pgqueue;
    CREATE ROLE clerk;
    CREATE TABLE receipt (queue text, id bigint, delivery int);
    CREATE FUNCTION take(queue text, max int = 1) RETURNS void LANGUAGE sql AS
        $$ INSERT INTO receipt SELECT m.queue, m.id, m.delivery FROM pgq_reserve($1, '1 h', $2) m $$;

    SELECT pgq_create_queue('states', '{"max_deliveries": 2, "archive": "1 day", "backoff": {"base": "1 h"}}');
    SELECT pgq_push('states', to_jsonb(n), headers => '{"h": 1}') FROM generate_series(1, 4) n;
    SELECT pgq_delete(id) FROM pgq_reserve('states');
    SELECT pgq_fail(id, 'boom') FROM pgq_reserve('states');
    SELECT pgq_bury(id, 'too bad') FROM pgq_reserve('states');
    SELECT take('states');
    SELECT pgq_push('states', '"later"', delay => '1 day', priority => -3);
    SELECT pgq_push('states', '"tried"', priority => -2);
    SELECT pgq_fail(id, 'once', delay => '0') FROM pgq_reserve('states');
    SELECT pgq_push('states', '"short-lived"', ttl => '1 day', lease => '7 s', max_deliveries => 9);
    SELECT pgq_push_bytes('bytes', '\x00ff');
    SELECT pgq_push('long', jsonb_agg(md5(n::text))) FROM generate_series(1, 5000) n;
    SELECT pgq_push('Ünï "q"', '1E400');

    SELECT pgq_push('groups', to_jsonb(n), group_key => 'g' || n % 2) FROM generate_series(1, 6) n;
    SELECT take('groups');

    SELECT pgq_create_queue('keys', '{"dedup_window": "1 day"}');
    SELECT pgq_push('keys', '1', dedup_key => 'waits'), pgq_push('keys', '2', dedup_key => 'was here');
    SELECT pgq_cancel(id) FROM pgq_peek('keys', 2) WHERE payload = '2';

    SELECT pgq_create_queue('slots', '{"max_leased": 1}');
    SELECT pgq_push('slots', '1'), pgq_push('slots', '2');
    SELECT take('slots');

    SELECT pgq_push_batch('many', array_agg(to_jsonb(n))) FROM generate_series(1, 1000) n;
    SELECT take('many', 300);
    SELECT pgq_push('paused', '1'), pgq_pause('paused');
    SET ROLE clerk;
    SELECT pgq_push('the clerk''s', '1');
    RESET ROLE;

    SELECT pgq_schedule('daily', 'ticks', '@daily', '"tick"', time_zone => 'America/New_York');
    CREATE TABLE part (id int, name text);
    INSERT INTO part VALUES (1, 'one'), (2, 'two');
    SELECT pgq_watch('parts', 'parts', 'SELECT id, md5(name) FROM part', '1 h');
    UPDATE pgqueue.schedule SET next_run = clock_timestamp() WHERE name = 'parts';
"#;

/// All rows of our tables, and where their sequences stand.
fn rows(session: &mut Client) -> Vec<String> {
    let tables = "SELECT c.oid::regclass::text FROM pg_class c
                   WHERE relnamespace = 'pgqueue'::regnamespace AND relkind = 'r' ORDER BY 1";
    let mut rows = Vec::new();
    for table in session.all::<String>(tables) {
        rows.extend(
            session.all::<String>(&format!("SELECT '{table}: ' || t::text FROM {table} t ORDER BY 1")),
        );
    }
    rows.extend(session.all::<String>(
        "SELECT sequencename || ' ' || last_value FROM pg_sequences WHERE schemaname = 'pgqueue' ORDER BY 1",
    ));
    rows
}

/// What belongs to the extension, and what of it a dump would carry. The row types of
/// tables belong to it only up to some major.
const EXTENSION: &str = "
    SELECT pg_describe_object(classid, objid, objsubid) FROM pg_depend
     WHERE deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pgqueue')
       AND (classid <> 'pg_type'::regclass OR objid IN (SELECT reltype FROM pg_class WHERE relkind = 'c'))
    UNION ALL
    SELECT format('%s %s', table_oid::regclass, condition)
      FROM pg_extension, unnest(extconfig, extcondition) AS dumped (table_oid, condition)
     WHERE extname = 'pgqueue'
    UNION ALL
    SELECT format('%s %s', tgname, tgenabled) FROM pg_trigger WHERE NOT tgisinternal
    ORDER BY 1";

const STATS: &str = "SELECT queue || ' ' || (s - '{oldest_ready_age,oldest_ready_seconds}'::text[])::text FROM (SELECT queue, to_jsonb(s) AS s FROM pgq_stats() s) s ORDER BY 1";

#[test]
#[ignore = "needs a server of an older major: make test-all"]
fn everything_is_there_after_pg_upgrade_and_goes_on() {
    // Rounds are the test's own: nothing changes by itself.
    let old = older("pgqueue.auto_vacuum = off");
    let mut session = old.connect();
    session.batch_execute(EVERY_STATE).unwrap();
    // A round writes down what was counted in memory, the second also what the first did.
    for _ in 0..2 {
        session.execute("SELECT pgq_vacuum()", &[]).unwrap();
    }
    let rows_before = rows(&mut session);
    let [extension_before, stats_before] = [EXTENSION, STATS].map(|query| session.all::<String>(query));
    assert_eq!(stats_before.len(), 12);
    drop(session);

    let (new, _) = upgraded(&old, "pgqueue.auto_vacuum = off");
    new.launch();
    let mut session = new.connect();
    assert_eq!(rows(&mut session), rows_before);
    assert_eq!(session.all::<String>(EXTENSION), extension_before);
    assert_eq!(session.all::<String>(STATS), stats_before);
    receipts_are_good(&mut session);
    messages_wait_for_what_they_waited_for(&mut session);
    keys_are_remembered(&mut session);
    dead_and_settled_messages_are_kept(&mut session);
    schedules_and_watches_go_on(&mut session);
    queues_keep_their_owners_and_settings(&mut session);
    counters_and_ids_go_on(&mut session);
}

fn receipts_are_good(session: &mut Client) {
    let deleted = |session: &mut Client, deliveries: &str| {
        session.one::<i64>(&format!(
            "SELECT count(*) FROM (SELECT array_agg(id) AS ids, array_agg({deliveries}) AS deliveries
                                     FROM receipt WHERE queue = 'states') r, pgq_delete_batch(r.ids, r.deliveries)"
        ))
    };
    assert_eq!(deleted(session, "delivery + 1"), 0, "it is no receipt");
    let extended = "SELECT count(*) FROM receipt r, pgq_extend(r.id, '2 h', delivery => r.delivery) e
                     WHERE r.queue = 'states' AND e.leased_until > clock_timestamp() + '1 h'::interval";
    assert_eq!(session.one::<i64>(extended), 1);
    assert_eq!(deleted(session, "delivery"), 1);
    assert_eq!(deleted(session, "delivery"), 0, "it is gone");
}

fn messages_wait_for_what_they_waited_for(session: &mut Client) {
    let next = "SELECT payload::text || ' ' || delivery FROM pgq_reserve('states', max => 10)";
    assert_eq!(session.all::<String>(next), ["\"tried\" 2", "\"short-lived\" 1"]);
    let delayed = "SELECT payload::text FROM pgq_peek('states', 10, 'delayed')";
    assert_eq!(session.all::<String>(delayed), ["2", "\"later\""]);

    // Of the groups one has its turn out, and the other its first ready.
    let next = "SELECT payload::text FROM pgq_reserve('groups', max => 10)";
    assert_eq!(session.all::<String>(next), ["2"]);
    session.execute("SELECT pgq_delete(id, delivery) FROM receipt WHERE queue = 'groups'", &[]).unwrap();
    assert_eq!(session.all::<String>(next), ["3"]);

    let next = "SELECT payload::text FROM pgq_reserve('slots')";
    assert_eq!(session.all::<String>(next), [""; 0], "the one slot is taken");
    session.execute("SELECT pgq_delete(id, delivery) FROM receipt WHERE queue = 'slots'", &[]).unwrap();
    assert_eq!(session.all::<String>(next), ["2"]);
}

fn keys_are_remembered(session: &mut Client) {
    let outcome = |session: &mut Client, key: &str| {
        session
            .one::<String>(&format!("SELECT outcome FROM pgq_push_result('keys', '3', dedup_key => '{key}')"))
    };
    assert_eq!(outcome(session, "waits"), "ignored");
    assert_eq!(outcome(session, "was here"), "ignored");
    assert_eq!(outcome(session, "is new"), "pushed");
}

fn dead_and_settled_messages_are_kept(session: &mut Client) {
    let dead = "SELECT payload::text || ' ' || reason || ' ' || (errors #>> '{0,error}') FROM pgq_peek_dead('states', 10)";
    assert_eq!(session.all::<String>(dead), ["3 buried too bad"]);
    assert_eq!(session.one::<i64>("SELECT pgq_redrive('states')"), 1);
    assert_eq!(session.all::<String>("SELECT payload::text FROM pgq_reserve('states')"), ["3"]);
    let settled = "SELECT payload::text FROM pgq_peek('states', 10, 'archived')";
    assert_eq!(session.all::<String>(settled), ["4", "1"]);
}

fn schedules_and_watches_go_on(session: &mut Client) {
    session
        .batch_execute(
            "INSERT INTO part VALUES (3, 'three');
             UPDATE pgqueue.schedule SET next_run = clock_timestamp();
             SELECT pgq_vacuum()",
        )
        .unwrap();
    assert_eq!(session.all::<String>("SELECT payload::text FROM pgq_pop('ticks', 10)"), ["\"tick\""]);
    let changes = "SELECT payload ->> 'object_id' FROM pgq_pop('parts', 10)";
    assert_eq!(session.all::<String>(changes), ["1", "2", "3"], "it knows what it has told before");
}

fn queues_keep_their_owners_and_settings(session: &mut Client) {
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('paused')"), [0; 0]);
    assert_eq!(session.all::<i64>("SELECT 1::bigint FROM pgq_resume('paused'), pgq_reserve('paused')"), [1]);
    session.batch_execute("SET ROLE clerk").unwrap();
    assert_eq!(session.sqlstate("SELECT pgq_pop('bytes')"), "42501");
    assert_eq!(session.all::<String>("SELECT payload::text FROM pgq_pop('the clerk''s')"), ["1"]);
    session.batch_execute("RESET ROLE").unwrap();
    assert_eq!(session.all::<Vec<u8>>("SELECT body FROM pgq_pop('bytes')"), [[0, 255]]);
    let long = "SELECT payload = (SELECT jsonb_agg(md5(n::text)) FROM generate_series(1, 5000) n) FROM pgq_pop('long')";
    assert!(session.one::<bool>(long));
}

fn counters_and_ids_go_on(session: &mut Client) {
    session.execute("SELECT pgq_delete(id, delivery) FROM receipt WHERE queue = 'many'", &[]).unwrap();
    let highest: i64 = session.one("SELECT max(id) FROM pgqueue.message");
    assert!(session.one::<i64>("SELECT pgq_push('many', '1')") > highest);
    for exact in [false, true] {
        let stats = format!(
            "SELECT (ready, leased, pushed, delivered, deleted)::text FROM pgq_stats('many', {exact})"
        );
        assert_eq!(session.one::<String>(&stats), "(701,0,1001,300,300)");
    }
}

#[test]
#[ignore = "needs a server of an older major: make test-all"]
fn workers_keep_still_during_pg_upgrade_and_begin_anew_after_it() {
    let old = older("pgqueue.vacuum_interval = '100ms'");
    let mut session = old.connect();
    session
        .batch_execute(
            "CREATE EXTENSION pgqueue;
             SELECT pgq_schedule('often', 'ticks', '1 s', '1');
             SELECT pgq_push('q', '1', delay => '1 s')",
        )
        .unwrap();
    until("the schedule runs", || session.one::<i64>("SELECT pushed FROM pgq_stats('ticks')") > 0);
    drop(session);

    let (new, log) = upgraded(&old, "pgqueue.vacuum_interval = '100ms'\nlog_min_messages = debug1");
    assert!(log.contains("database system is ready"), "the log has what the servers did:\n{log}");
    assert!(!log.contains("pgqueue launcher") && !log.contains("pgqueue worker"), "{log}");
    new.launch();
    let mut session = new.connect();
    let before: i64 = session.one("SELECT pushed FROM pgq_stats('ticks')");
    until("the schedule goes on", || session.one::<i64>("SELECT pushed FROM pgq_stats('ticks')") > before);
    until("what was delayed comes", || !session.all::<i64>("SELECT id FROM pgq_pop('q')").is_empty());
}
