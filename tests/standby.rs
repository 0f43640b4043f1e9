//! What calls do on a streaming standby.

use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, SimpleQueryMessage};
use support::{Ask, Server, until};

/// What a function does where nothing can be written.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// It answers as on the primary.
    Reads,
    /// 25006, with a hint.
    Writes,
    /// Nothing fires it: it is a trigger function.
    Trigger,
}
use Kind::{Reads, Trigger, Writes};

/// Every function. Those that read show only what time does
/// not change.
#[rustfmt::skip]
const CALLS: [(&str, Kind, &str); 78] = [
    ("pgq_alter_queue", Writes, "SELECT pgq_alter_queue('q', '{}')"),
    ("pgq_bury", Writes, "SELECT pgq_bury(1, 'no')"),
    ("pgq_bury_batch", Writes, "SELECT pgq_bury_batch(ARRAY[1], 'no')"),
    ("pgq_bury_by_receipt", Writes, "SELECT pgq_bury_by_receipt('1-1', 'no')"),
    ("pgq_bury_by_receipts", Writes, "SELECT pgq_bury_by_receipts(ARRAY['1-1'], 'no')"),
    ("pgq_cancel", Writes, "SELECT pgq_cancel(1)"),
    ("pgq_cancel_batch", Writes, "SELECT pgq_cancel_batch(ARRAY[1])"),
    ("pgq_capture", Trigger, ""),
    ("pgq_count", Reads, "SELECT pgq_count('q'), pgq_count('q', exact => true), pgq_count('q', group_key => 'g')"),
    ("pgq_create_queue", Writes, "SELECT pgq_create_queue('new')"),
    ("pgq_create_topic", Writes, "SELECT pgq_create_topic('other')"),
    ("pgq_delete", Writes, "SELECT pgq_delete(1)"),
    ("pgq_delete_batch", Writes, "SELECT pgq_delete_batch(ARRAY[1])"),
    ("pgq_delete_by_receipt", Writes, "SELECT pgq_delete_by_receipt('1-1')"),
    ("pgq_delete_by_receipts", Writes, "SELECT pgq_delete_by_receipts(ARRAY['1-1'])"),
    ("pgq_delete_dead", Writes, "SELECT pgq_delete_dead(1)"),
    ("pgq_delete_dead_batch", Writes, "SELECT pgq_delete_dead_batch(ARRAY[1])"),
    ("pgq_drop_queue", Writes, "SELECT pgq_drop_queue('q')"),
    ("pgq_drop_topic", Writes, "SELECT pgq_drop_topic('news')"),
    ("pgq_dump_dead", Writes, "SELECT pgq_dump_dead('q')"),
    ("pgq_extend", Writes, "SELECT pgq_extend(1, '1 min')"),
    ("pgq_extend_batch", Writes, "SELECT pgq_extend_batch(ARRAY[1], '1 min')"),
    ("pgq_extend_by_receipt", Writes, "SELECT pgq_extend_by_receipt('1-1', '1 min')"),
    ("pgq_extend_by_receipts", Writes, "SELECT pgq_extend_by_receipts(ARRAY['1-1'], '1 min')"),
    ("pgq_fail", Writes, "SELECT pgq_fail(1, 'no')"),
    ("pgq_fail_batch", Writes, "SELECT pgq_fail_batch(ARRAY[1], 'no')"),
    ("pgq_fail_by_receipt", Writes, "SELECT pgq_fail_by_receipt('1-1', 'no')"),
    ("pgq_fail_by_receipts", Writes, "SELECT pgq_fail_by_receipts(ARRAY['1-1'], 'no')"),
    ("pgq_get", Reads, "SELECT m.* FROM generate_series(1, 10) id, pgq_get(id) m"),
    ("pgq_grant", Writes, "SELECT pgq_grant('q', 'pg_monitor', 'push')"),
    ("pgq_grant_topic", Writes, "SELECT pgq_grant_topic('news', 'pg_monitor', 'publish')"),
    ("pgq_list_grants", Reads, "SELECT * FROM pgq_list_grants()"),
    ("pgq_list_queues", Reads, "SELECT * FROM pgq_list_queues()"),
    ("pgq_list_schedules", Reads, "SELECT * FROM pgq_list_schedules()"),
    ("pgq_list_subscriptions", Reads, "SELECT * FROM pgq_list_subscriptions() ORDER BY 1, 2"),
    ("pgq_list_topic_grants", Reads, "SELECT * FROM pgq_list_topic_grants()"),
    ("pgq_list_topics", Reads, "SELECT * FROM pgq_list_topics()"),
    ("pgq_list_watches", Reads, "SELECT name, queue, query FROM pgq_list_watches()"),
    ("pgq_move", Writes, "SELECT pgq_move(1, 'q')"),
    ("pgq_move_batch", Writes, "SELECT pgq_move_batch(ARRAY[1], 'q')"),
    ("pgq_next", Writes, "SELECT pgq_next('q', ARRAY[1])"),
    ("pgq_pause", Writes, "SELECT pgq_pause('q')"),
    ("pgq_peek", Reads, "SELECT state, m.* FROM unnest(ARRAY['ready', 'delayed', 'leased', 'blocked', 'archived']) state, pgq_peek('q', 10, state) m"),
    ("pgq_peek_dead", Reads, "SELECT * FROM pgq_peek_dead('q', 10)"),
    ("pgq_pop", Writes, "SELECT pgq_pop('q')"),
    ("pgq_publish", Writes, "SELECT pgq_publish('news', '1')"),
    ("pgq_publish_batch", Writes, "SELECT pgq_publish_batch('news', ARRAY['1']::jsonb[])"),
    ("pgq_purge", Writes, "SELECT pgq_purge('q')"),
    ("pgq_push", Writes, "SELECT pgq_push('q', '1')"),
    ("pgq_push_batch", Writes, "SELECT pgq_push_batch('q', ARRAY['1']::jsonb[])"),
    ("pgq_push_bytes", Writes, "SELECT pgq_push_bytes('q', '1')"),
    ("pgq_push_bytes_batch", Writes, "SELECT pgq_push_bytes_batch('q', ARRAY['1']::bytea[])"),
    ("pgq_push_each", Writes, "SELECT pgq_push_each('q', '[{\"payload\": 1}]')"),
    ("pgq_push_result", Writes, "SELECT pgq_push_result('q', '1')"),
    ("pgq_reassign_owned", Writes, "SELECT pgq_reassign_owned('pg_monitor', 'postgres')"),
    ("pgq_redrive", Writes, "SELECT pgq_redrive('q')"),
    ("pgq_redrive_dead", Writes, "SELECT pgq_redrive_dead(1)"),
    ("pgq_redrive_dead_batch", Writes, "SELECT pgq_redrive_dead_batch(ARRAY[1])"),
    ("pgq_release", Writes, "SELECT pgq_release(1)"),
    ("pgq_release_batch", Writes, "SELECT pgq_release_batch(ARRAY[1])"),
    ("pgq_release_by_receipt", Writes, "SELECT pgq_release_by_receipt('1-1')"),
    ("pgq_release_by_receipts", Writes, "SELECT pgq_release_by_receipts(ARRAY['1-1'])"),
    ("pgq_reserve", Writes, "SELECT pgq_reserve('q')"),
    ("pgq_resume", Writes, "SELECT pgq_resume('q')"),
    ("pgq_revoke", Writes, "SELECT pgq_revoke('q', 'pg_monitor', 'consume')"),
    ("pgq_revoke_topic", Writes, "SELECT pgq_revoke_topic('news', 'pg_monitor', 'publish')"),
    ("pgq_schedule", Writes, "SELECT pgq_schedule('s', 'q', '1 h', '1')"),
    ("pgq_set_owner", Writes, "SELECT pgq_set_owner('q', 'pg_monitor')"),
    ("pgq_set_topic_owner", Writes, "SELECT pgq_set_topic_owner('news', 'pg_monitor')"),
    ("pgq_stats", Reads, "SELECT queue, ready, delayed, leased, blocked, dead, total FROM pgq_stats() ORDER BY 1"),
    ("pgq_subscribe", Writes, "SELECT pgq_subscribe('news', 'many')"),
    ("pgq_unschedule", Writes, "SELECT pgq_unschedule('s')"),
    ("pgq_unsubscribe", Writes, "SELECT pgq_unsubscribe('news', 'q')"),
    ("pgq_unwatch", Writes, "SELECT pgq_unwatch('w')"),
    ("pgq_update", Writes, "SELECT pgq_update(1, '2')"),
    ("pgq_vacuum", Writes, "SELECT pgq_vacuum()"),
    ("pgq_wait", Reads, "CALL pgq_wait('q')"),
    ("pgq_watch", Writes, "SELECT pgq_watch('w', 'q', 'SELECT 1, 1', '1 h')"),
];

/// Messages in all states, a schedule and a watch.
fn fill(primary: &Server) {
    primary
        .connect()
        .batch_execute(
            "SELECT pgq_create_queue('q', '{\"archive\": \"1 day\", \"lease\": \"1 h\"}');
             SELECT pgq_push_batch('q', ARRAY['1', '2', '3', '4']::jsonb[]);
             SELECT pgq_push_batch('q', ARRAY['5', '6']::jsonb[], group_key => 'g');
             SELECT pgq_push('q', '7', delay => '1 day');
             SELECT pgq_delete(id) FROM pgq_reserve('q');
             SELECT pgq_bury(id, 'dead') FROM pgq_reserve('q');
             SELECT pgq_reserve('q');
             SELECT pgq_push('many', to_jsonb(n)) FROM generate_series(1, 300) n;
             SELECT pgq_schedule('s', 'many', '1 day', '1');
             SELECT pgq_watch('w', 'many', 'SELECT 1, 1', '1 day');
             SELECT pgq_grant('q', 'pg_monitor', 'consume');
             SELECT pgq_create_topic('news'), pgq_grant_topic('news', 'pg_monitor', 'subscribe');
             SELECT pgq_subscribe('news', 'q', 'eu.#');
             SELECT pgq_vacuum()",
        )
        .unwrap();
}

/// What a query answers, as a person at psql would see it.
fn answer(session: &mut Client, query: &str) -> Vec<String> {
    let messages = session.simple_query(query).unwrap_or_else(|error| panic!("{query}: {error:?}"));
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => {
            let values = (0..row.len()).map(|n| row.get(n).unwrap_or("null").to_owned());
            Some(values.collect::<Vec<_>>().join(" | "))
        }
        _ => None,
    };
    messages.into_iter().filter_map(row).collect()
}

#[test]
fn every_function_reads_as_on_the_primary_or_refuses_with_a_hint() {
    let primary = Server::start();
    primary.set("pgqueue.auto_vacuum = off");
    fill(&primary);
    let standby = primary.standby("standby");
    primary.until_replayed_by(&standby);
    let (mut there, mut here) = (primary.connect(), standby.connect());

    let known: Vec<String> =
        here.all("SELECT proname::text FROM pg_proc WHERE proname LIKE 'pgq\\_%' ORDER BY 1");
    assert_eq!(CALLS.map(|(name, ..)| name).to_vec(), known, "each function has its line in CALLS");
    for (name, kind, call) in CALLS {
        match kind {
            Reads => {
                let read = answer(&mut here, call);
                assert_eq!(read, answer(&mut there, call), "{call}");
                assert!(!read.is_empty(), "{name}: {call}");
            }
            Writes => {
                let error = here.simple_query(call).expect_err(call);
                let error = error.as_db_error().expect(call);
                assert_eq!(error.code().code(), "25006", "{call}: {error:?}");
                assert_eq!(error.hint(), Some("Connect to the primary server."), "{call}");
                assert!(error.message().contains(&format!("{name}()")), "{call}: {error:?}");
            }
            Trigger => {}
        }
    }
    let rounds = "SELECT last_run, page_size FROM pgq_vacuum_stats";
    assert_eq!(answer(&mut here, rounds), answer(&mut there, rounds));
}

#[test]
fn a_standby_has_no_worker_before_its_promotion_and_one_after() {
    let primary = Server::start();
    let standby = primary.standby("standby");
    let mut session = standby.connect();
    let ours = "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'pgqueue%'";
    session.batch_execute("SELECT pgq_stats(); CALL pgq_wait('q', '2 s')").unwrap();
    assert_eq!(session.one::<i64>(ours), 0);
    assert!(!standby.log().contains("pgqueue worker"), "{}", standby.log());
    standby.promote();
    until("the launcher and the worker run", || session.one::<i64>(ours) == 2);
    let ran =
        |session: &mut Client| session.one::<Option<String>>("SELECT last_run::text FROM pgq_vacuum_stats");
    let before = ran(&mut session);
    until("a round of it", || ran(&mut session) != before);
}

/// Sleepers look by themselves every five seconds; news must be sooner.
const SOONER: Duration = Duration::from_secs(4);

/// Lets a session of a server sleep on a queue, does something and gives how long the sleep
/// went on after it.
fn sleep_after(server: &Server, something: impl FnOnce()) -> Duration {
    let (mut sleeper, mut observer) = (server.connect(), server.connect());
    let pid: i32 = sleeper.one("SELECT pg_backend_pid()");
    let sleeping = thread::spawn(move || sleeper.batch_execute("CALL pgq_wait('q', '60 s')").unwrap());
    until("it sleeps without a snapshot", || {
        observer.one(&format!(
            "SELECT coalesce((SELECT wait_event_type = 'Extension' AND backend_xmin IS NULL
                                FROM pg_stat_activity WHERE pid = {pid}), false)"
        ))
    });
    something();
    let begun = Instant::now();
    sleeping.join().unwrap();
    begun.elapsed()
}

#[test]
fn a_sleeper_on_a_standby_wakes_when_a_message_arrives_there() {
    let primary = Server::start();
    let mut producer = primary.connect();
    producer.execute("SELECT pgq_create_queue('q')", &[]).unwrap();
    let standby = primary.standby("standby");
    primary.until_replayed_by(&standby);
    let slept = sleep_after(&standby, || {
        producer.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
        primary.until_replayed_by(&standby);
    });
    assert!(slept < SOONER, "{slept:?}");
    assert_eq!(standby.connect().one::<i64>("SELECT pgq_count('q')"), 1);
}

#[test]
fn a_sleeper_sleeps_through_the_promotion_and_wakes_at_the_first_push_after_it() {
    let primary = Server::start();
    primary.connect().execute("SELECT pgq_create_queue('q')", &[]).unwrap();
    let standby = primary.standby("standby");
    primary.until_replayed_by(&standby);
    let slept = sleep_after(&standby, || {
        standby.promote();
        standby.connect().execute("SELECT pgq_push('q', '1')", &[]).unwrap();
    });
    assert!(slept < SOONER, "{slept:?}");
}
