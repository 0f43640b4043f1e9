//! Schedules and watches: by themselves, in time, and once.

use std::thread;

use postgres::Client;
use support::{Ask, Server, Stop, until};

/// A server whose worker does a round an hour: what happens sooner happens in between.
fn server_with_rare_rounds() -> Server {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.vacuum_interval = '1h'");
    server.connect().batch_execute("CREATE EXTENSION pgqueue").unwrap();
    server
}

/// A server whose worker idles.
fn server_without_rounds() -> Server {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.auto_vacuum = off");
    server.connect().batch_execute("CREATE EXTENSION pgqueue").unwrap();
    server
}

fn pushed(session: &mut Client, queue: &str) -> i64 {
    session.one(&format!("SELECT coalesce((SELECT pushed FROM pgq_stats('{queue}')), 0)"))
}

/// How late the messages of a queue were at least, in seconds, by the grid of their schedule.
fn least_late(session: &mut Client, queue: &str, first: &str) -> f64 {
    session.one(&format!(
        "SELECT min(mod(extract(epoch FROM enqueued_at - '{first}'), 2))::float8
           FROM pgqueue.message m JOIN pgqueue.queue q ON q.id = m.queue WHERE q.name = '{queue}'"
    ))
}

#[test]
fn a_schedule_runs_by_itself_within_a_second_of_its_time() {
    let server = server_with_rare_rounds();
    let mut session = server.connect();
    until("the first round is over", || session.one("SELECT last_run IS NOT NULL FROM pgq_vacuum_stats"));
    let first: String = session.one("SELECT pgq_schedule('tick', 'ticks', '2 s', '1')::text");
    until("it has run three times", || pushed(&mut session, "ticks") >= 3);
    let late = least_late(&mut session, "ticks", &first);
    assert!(late < 1.0, "{late} s");
    // One that is put later is noticed too, and one that is removed rests.
    session
        .batch_execute("SELECT pgq_unschedule('tick'), pgq_schedule('tock', 'tocks', '1 s', '1')")
        .unwrap();
    let before = pushed(&mut session, "ticks");
    until("the other runs", || pushed(&mut session, "tocks") >= 3);
    assert_eq!(pushed(&mut session, "ticks"), before);
}

#[test]
fn a_time_is_not_run_twice_by_rounds_at_once() {
    const SCHEDULES: i64 = 20;
    let server = server_without_rounds();
    let mut session = server.connect();
    session
        .batch_execute(
            "SELECT pgq_schedule('s' || n, 'work', '1 h', to_jsonb(n)) FROM generate_series(1, 20) n",
        )
        .unwrap();
    for round in 1..=5 {
        session.batch_execute("UPDATE pgqueue.schedule SET next_run = now() - '1 day'::interval").unwrap();
        thread::scope(|scope| {
            for _ in 0..8 {
                let mut other = server.connect();
                scope.spawn(move || {
                    (0..5).for_each(|_| other.batch_execute("SELECT pgq_vacuum()").unwrap());
                });
            }
        });
        assert_eq!(pushed(&mut session, "work"), round * SCHEDULES);
    }
    assert_eq!(session.one::<i64>("SELECT count(*) FROM pgqueue.schedule WHERE next_run > now()"), SCHEDULES);
}

#[test]
fn a_round_that_is_not_committed_keeps_others_from_its_schedules_only() {
    let server = server_without_rounds();
    let mut session = server.connect();
    session.batch_execute("SELECT pgq_schedule('held', 'held', '1 h', '1')").unwrap();
    session.batch_execute("UPDATE pgqueue.schedule SET next_run = now()").unwrap();
    let mut idle = server.connect();
    idle.batch_execute("BEGIN; SELECT pgq_vacuum()").unwrap();
    session
        .batch_execute("SET lock_timeout = '5s'; SELECT pgq_schedule('free', 'free', '1 h', '1')")
        .unwrap();
    session.batch_execute("UPDATE pgqueue.schedule SET next_run = now() WHERE name = 'free'").unwrap();
    session.batch_execute("SELECT pgq_vacuum()").unwrap();
    assert_eq!((pushed(&mut session, "held"), pushed(&mut session, "free")), (0, 1));
    idle.batch_execute("ROLLBACK").unwrap();
    session.batch_execute("SELECT pgq_vacuum()").unwrap();
    assert_eq!((pushed(&mut session, "held"), pushed(&mut session, "free")), (1, 1));
}

#[test]
fn a_schedule_missed_while_the_worker_was_off_runs_once() {
    let server = server_without_rounds();
    let mut session = server.connect();
    session.batch_execute("SELECT pgq_schedule('late', 'late', '1 h', '1')").unwrap();
    session.batch_execute("UPDATE pgqueue.schedule SET next_run = now() - '299 min'::interval").unwrap();
    let planned: String = session.one("SELECT next_run::text FROM pgq_list_schedules()");
    server.stop(Stop::Fast);
    server.launch();
    server.set("pgqueue.auto_vacuum = on");
    let mut session = server.connect();
    until("it has run", || pushed(&mut session, "late") == 1);
    assert!(session.one::<bool>(&format!(
        "SELECT next_run = '{planned}'::timestamptz + '5 h'::interval FROM pgq_list_schedules()"
    )));
    session.batch_execute("SELECT pgq_vacuum()").unwrap();
    assert_eq!(pushed(&mut session, "late"), 1);
}

#[test]
fn services_that_put_the_same_schedule_at_once_all_succeed() {
    let server = server_with_rare_rounds();
    thread::scope(|scope| {
        for n in 0..10 {
            let mut session = server.connect();
            scope.spawn(move || {
                for _ in 0..20 {
                    session
                        .batch_execute(&format!("SELECT pgq_schedule('shared', 'work', '1 h', '{n}')"))
                        .unwrap();
                }
            });
        }
    });
    assert_eq!(server.connect().one::<i64>("SELECT count(*) FROM pgq_list_schedules()"), 1);
}

#[test]
fn a_dump_holds_schedules() {
    let server = server_with_rare_rounds();
    let mut session = server.connect();
    session
        .batch_execute(
            "SELECT pgq_schedule('kept', 'work', '0 0 29 2 *', '{\"n\": 1.10}', time_zone => 'Asia/Tokyo')",
        )
        .unwrap();
    let dump = server.client("pg_dump", &["--dbname=postgres"]);
    session.batch_execute("CREATE DATABASE restored").unwrap();
    let script = std::env::temp_dir().join(format!("pgqueue.schedules.{}.sql", std::process::id()));
    std::fs::write(&script, dump).unwrap();
    server.client(
        "psql",
        &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "restored", "-f", script.to_str().unwrap()],
    );
    std::fs::remove_file(&script).unwrap();
    let list =
        "SELECT (name, queue, every, time_zone, payload, next_run, owner)::text FROM pgq_list_schedules()";
    assert_eq!(server.connect_to("restored").one::<String>(list), session.one::<String>(list));
}

#[test]
fn none_runs_while_a_dump_is_being_restored() {
    let server = server_with_rare_rounds();
    let mut session = server.connect();
    // What a restore has loaded when the sequences are still as they were made.
    session
        .batch_execute(
            "BEGIN;
             INSERT INTO pgqueue.queue (id, name, owner) VALUES (7, 'restored', 'postgres');
             SELECT pgq_schedule('s', 'restored', '1 s', '1');
             COMMIT;
             SELECT pgq_schedule('other', 'restored', '1 h', '1')",
        )
        .unwrap();
    session.execute("SELECT pg_sleep(2.5)", &[]).unwrap(); // its time comes twice
    assert_eq!(pushed(&mut session, "restored"), 0);
    session.execute("SELECT setval('pgqueue.queue_id', 7)", &[]).unwrap();
    until("it runs when all is there", || pushed(&mut session, "restored") > 0);
}

#[test]
fn a_watch_runs_by_itself_and_pushes_each_change_once() {
    let server = server_with_rare_rounds();
    let mut session = server.connect();
    session
        .batch_execute(
            "CREATE TABLE part (id int PRIMARY KEY, v int);
             SELECT pgq_watch('parts', 'parts', 'SELECT id, v FROM part', '1 s', page_size => 7)",
        )
        .unwrap();
    thread::scope(|scope| {
        // Rounds by hand beside the worker's.
        for _ in 0..3 {
            let mut other = server.connect();
            scope.spawn(move || (0..40).for_each(|_| other.batch_execute("SELECT pgq_vacuum()").unwrap()));
        }
        session.batch_execute("INSERT INTO part SELECT n, 0 FROM generate_series(1, 100) n").unwrap();
        until("all are pushed", || pushed(&mut session, "parts") >= 100);
        session.batch_execute("UPDATE part SET v = 1 WHERE id <= 50").unwrap();
        until("the changes too", || pushed(&mut session, "parts") >= 150);
    });
    let changes =
        "SELECT count(*) FROM (SELECT DISTINCT payload FROM pgq_pop('parts', max => 1000)) distinct_ones";
    assert_eq!(session.one::<i64>(changes), 150);
    assert_eq!(pushed(&mut session, "parts"), 150);
}

/// A server that counts the calls of `asked()`, which the queries of its watches call once.
fn server_that_counts_queries() -> Server {
    let server = server_with_rare_rounds();
    server.set("track_functions = 'all'");
    server
        .connect()
        .batch_execute(
            "CREATE FUNCTION asked() RETURNS boolean LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN true; END $$;
             CREATE TABLE part AS SELECT n AS id, 0 AS v FROM generate_series(1, 300) n",
        )
        .unwrap();
    server
}

/// How often the queries of watches have run.
fn asked(session: &mut Client) -> i64 {
    session.one("SELECT coalesce(pg_stat_get_function_calls('asked'::regproc), 0)")
}

/// Puts a watch of table `part` that pushes few changes at a time, and has it run at once, each part slowly.
fn watch_parts_slowly(session: &mut Client) {
    session
        .batch_execute(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN NULL; END $$;
             CREATE TRIGGER slow AFTER INSERT ON pgqueue.watch_seen EXECUTE FUNCTION slow();
             SELECT pgq_watch('parts', 'parts', 'SELECT id, v FROM part WHERE (SELECT asked())', '1 h', page_size => 3);
             UPDATE pgqueue.schedule SET next_run = now()",
        )
        .unwrap();
}

#[test]
fn a_watch_runs_its_query_once_however_many_changes_it_pushes() {
    let server = server_that_counts_queries();
    let mut session = server.connect();
    watch_parts_slowly(&mut session);
    until("some are pushed before the others", || {
        let some = pushed(&mut session, "parts");
        assert!(some < 300, "a part is pushed at a time");
        some > 0
    });
    until("all are pushed", || pushed(&mut session, "parts") == 300);
    until("the watcher has left", || {
        session.one("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'pgqueue watch')")
    });
    assert_eq!(asked(&mut session), 1);
}

#[test]
fn a_watch_whose_process_ends_between_two_parts_pushes_each_change_once() {
    let server = server_that_counts_queries();
    let mut session = server.connect();
    watch_parts_slowly(&mut session);
    until("some are pushed", || pushed(&mut session, "parts") > 0);
    let end =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type = 'pgqueue watch'";
    assert_eq!(session.one::<i64>(end), 1);
    session
        .batch_execute(
            "UPDATE part SET v = 1 WHERE id > 290; ALTER TABLE pgqueue.watch_seen DISABLE TRIGGER slow",
        )
        .unwrap();
    until("the watch goes on", || {
        session.batch_execute("UPDATE pgqueue.schedule SET retry_at = NULL").unwrap();
        pushed(&mut session, "parts") >= 300
    });
    until("the run is over", || {
        session.one("SELECT next_run > now() AND seen_to IS NULL FROM pgqueue.schedule")
    });
    let changes = "SELECT count(DISTINCT payload ->> 'object_id') FROM pgqueue.message";
    assert_eq!((session.one::<i64>(changes), pushed(&mut session, "parts")), (300, 300));
    let as_found =
        "SELECT count(*) FROM pgqueue.watch_seen JOIN part ON id::text = object_id WHERE hash = v::text";
    assert_eq!(session.one::<i64>(as_found), 300);
}

#[test]
fn a_watch_that_is_put_again_between_two_parts_pushes_what_its_new_query_gives() {
    let server = server_that_counts_queries();
    let mut session = server.connect();
    watch_parts_slowly(&mut session);
    until("some are pushed", || pushed(&mut session, "parts") > 0);
    session
        .batch_execute(
            "SELECT pgq_watch('parts', 'parts', 'SELECT id, ''new'' FROM part WHERE (SELECT asked())', '1 h', page_size => 3);
             ALTER TABLE pgqueue.watch_seen DISABLE TRIGGER slow;
             UPDATE pgqueue.schedule SET next_run = now()",
        )
        .unwrap();
    until("the run is over", || {
        session.one("SELECT next_run > now() AND seen_to IS NULL FROM pgqueue.schedule")
    });
    let last = "SELECT count(*) FROM (SELECT DISTINCT ON (payload ->> 'object_id') payload ->> 'hash' AS hash
                                        FROM pgqueue.message ORDER BY payload ->> 'object_id', id DESC) m
                 WHERE hash = 'new'";
    assert_eq!(session.one::<i64>(last), 300);
    let old = "SELECT bool_and(payload ->> 'old_hash' = '0') FROM pgqueue.message WHERE payload ->> 'op' = 'update'";
    assert!(session.one::<bool>(old));
}

#[test]
fn a_watch_that_always_finds_more_delays_no_other() {
    let server = Server::start();
    let mut session = server.connect();
    session
        .batch_execute(
            "SELECT pgq_watch('restless', 'changes', 'SELECT n, random() FROM generate_series(1, 3) n', '1 s', page_size => 1),
                    pgq_schedule('tick', 'ticks', '1 s', '1')",
        )
        .unwrap();
    until("the watch has begun", || pushed(&mut session, "changes") > 0);
    let round = "SELECT last_run::text FROM pgqueue.vacuum_run";
    for _ in 0..3 {
        let (before, ticks) = (session.one::<String>(round), pushed(&mut session, "ticks"));
        until("a round is done", || session.one::<String>(round) != before);
        until("the schedule runs", || pushed(&mut session, "ticks") > ticks);
    }
    server.set("pgqueue.auto_vacuum = off");
    until("it rests when it is told to", || {
        let before = pushed(&mut session, "changes");
        session.execute("SELECT pg_sleep(1.5)", &[]).unwrap();
        pushed(&mut session, "changes") == before
    });
}

#[test]
fn a_watch_that_hangs_is_cancelled_and_the_worker_goes_on() {
    let server = server_with_rare_rounds();
    server.set("pgqueue.watch_timeout = '200ms'");
    let mut session = server.connect();
    until("the setting has arrived", || session.one::<String>("SHOW pgqueue.watch_timeout") == "200ms");
    session
        .batch_execute(
            "SELECT pgq_watch('hangs', 'hangs', 'SELECT 1, pg_sleep(600)', '1 s'),
                    pgq_schedule('tick', 'ticks', '1 s', '1')",
        )
        .unwrap();
    until("it is noted", || {
        session
            .one::<Option<String>>("SELECT last_error FROM pgq_list_watches()")
            .is_some_and(|error| error.starts_with("57014"))
    });
    let before = pushed(&mut session, "ticks");
    until("the schedule still runs", || pushed(&mut session, "ticks") >= before + 2);
    assert_eq!(pushed(&mut session, "hangs"), 0);
}

#[test]
fn cancelling_a_round_by_hand_is_not_an_error_of_its_watch() {
    let server = server_without_rounds();
    let mut session = server.connect();
    session.batch_execute("SELECT pgq_watch('hangs', 'hangs', 'SELECT 1, pg_sleep(600)', '1 s')").unwrap();
    session
        .batch_execute("UPDATE pgqueue.schedule SET next_run = now(); SET statement_timeout = '100ms'")
        .unwrap();
    assert_eq!(session.sqlstate("SELECT pgq_vacuum()"), "57014");
    session.batch_execute("RESET statement_timeout").unwrap();
    assert!(session.one::<bool>(
        "SELECT last_error IS NULL AND last_run IS NULL AND next_run <= now() FROM pgq_list_watches()"
    ));
}

/// The time of a daily schedule comes while another transaction has pushed with its key. That is
/// rolled back after `meanwhile`, and the schedule runs; returns a session.
fn run_that_has_to_wait(server: &Server, meanwhile: impl FnOnce(&mut Client)) -> Client {
    let (mut session, mut other) = (server.connect(), server.connect());
    // Pushes of a key that is remembered wait for each other.
    session.execute("SELECT pgq_create_queue('q', '{\"dedup_window\": \"1 h\"}')", &[]).unwrap();
    other.batch_execute("BEGIN; SELECT pgq_push('q', '\"other\"', dedup_key => 'k')").unwrap();
    session
        .batch_execute(
            "SELECT pgq_schedule('daily', 'q', '1 day', '\"daily\"', dedup_key => 'k', on_duplicate => 'reject');
             UPDATE pgqueue.schedule SET next_run = now()",
        )
        .unwrap();
    meanwhile(&mut session);
    other.batch_execute("ROLLBACK").unwrap();
    until("it has run", || {
        session.all::<String>("SELECT payload #>> '{}' FROM pgqueue.message") == ["daily"]
    });
    session
}

#[test]
fn a_run_in_which_the_worker_is_ended_is_made_up_for() {
    let worker =
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pgqueue worker' AND wait_event_type = 'Lock'";
    let end = format!("SELECT coalesce((SELECT pg_terminate_backend(pid) FROM ({worker}) w), false)");
    run_that_has_to_wait(&server_with_rare_rounds(), |session| {
        until("the worker has waited in the run and was ended", || session.one(&end));
    });
}

#[test]
fn a_run_that_a_lock_blocks_is_made_up_for_soon() {
    let server = server_with_rare_rounds();
    let mut session = run_that_has_to_wait(&server, |session| {
        until("it has waited in vain", || {
            session.one("SELECT coalesce(last_error LIKE '55P03%', false) FROM pgqueue.schedule")
        });
    });
    assert!(session.one::<bool>("SELECT next_run > now() + interval '23 h' FROM pgqueue.schedule"));
}

/// When a schedule or watch will run, in seconds from now.
fn seconds_to_next_run(session: &mut Client, name: &str) -> f64 {
    session.one(&format!(
        "SELECT extract(epoch FROM next_run - clock_timestamp())::float8 FROM pgqueue.schedule WHERE name = '{name}'"
    ))
}

/// What a clock that is an hour ahead writes into schedules and watches that run then.
const AHEAD: &str = "UPDATE pgqueue.schedule SET next_run = next_run + '1 h'::interval,
                                                 last_run = clock_timestamp() + '1 h'::interval,
                                                 retry_at = clock_timestamp() + '1 h'::interval";

#[test]
fn a_clock_that_was_ahead_for_a_moment_silences_no_schedule_and_no_watch() {
    let server = server_with_rare_rounds();
    let mut session = server.connect();
    session
        .batch_execute(
            "SELECT pgq_schedule('tick', 'ticks', '2 s', '1'), pgq_watch('look', 'seen', 'SELECT 1, 2', '2 s'),
                    pgq_schedule('minute', 'minutes', '* * * * *', '1')",
        )
        .unwrap();
    until("both have run", || pushed(&mut session, "ticks") >= 1 && pushed(&mut session, "seen") >= 1);
    session.batch_execute(AHEAD).unwrap();
    assert!(seconds_to_next_run(&mut session, "tick") > 3000.0);
    let before = pushed(&mut session, "ticks");
    until("it runs again", || pushed(&mut session, "ticks") > before);
    for name in ["tick", "look", "minute"] {
        let to_next = seconds_to_next_run(&mut session, name);
        assert!(to_next < 61.0, "{name}: {to_next}");
    }
    assert!(session.one::<bool>("SELECT bool_and(last_run <= clock_timestamp()) FROM pgqueue.schedule"));
}

#[test]
fn a_schedule_that_is_put_again_is_not_planned_by_a_clock_that_was_ahead() {
    let server = server_without_rounds();
    let mut session = server.connect();
    let put =
        "SELECT pgq_schedule('tick', 'ticks', '1 h', '1'), pgq_schedule('daily', 'days', '0 0 * * *', '1')";
    session.batch_execute(put).unwrap();
    let planned: String =
        session.one("SELECT string_agg(next_run::text, ' ' ORDER BY name) FROM pgqueue.schedule");
    session.batch_execute("UPDATE pgqueue.schedule SET next_run = next_run + '240 h'::interval").unwrap();
    session.batch_execute(put).unwrap();
    let again: String =
        session.one("SELECT string_agg(next_run::text, ' ' ORDER BY name) FROM pgqueue.schedule");
    assert_eq!(again, planned, "they keep their grid");
    // A round by hand plans anew, too; what is put off for ever stays so.
    session
        .batch_execute(
            "UPDATE pgqueue.schedule SET next_run = CASE name WHEN 'tick' THEN 'infinity' ELSE next_run + '240 h'::interval END;
             SELECT FROM pgq_vacuum()",
        )
        .unwrap();
    let daily: String = session.one("SELECT next_run::text FROM pgqueue.schedule WHERE name = 'daily'");
    assert!(planned.contains(&daily), "{daily}");
    assert_eq!(
        session.one::<String>("SELECT next_run::text FROM pgqueue.schedule WHERE name = 'tick'"),
        "infinity"
    );
}
