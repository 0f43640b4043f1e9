//! The launcher and the workers.

use postgres::Client;
use support::{Ask, Server, Stop, until};

const WORKERS: &str = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pgqueue worker'";

fn has_worker(session: &mut Client, database: &str) -> bool {
    session.one::<i64>(&format!("{WORKERS} AND datname = '{database}'")) == 1
}

fn ran(session: &mut Client) -> Option<std::time::SystemTime> {
    session.one("SELECT last_run FROM pgq_vacuum_stats")
}

#[test]
fn the_launcher_finds_every_database_also_later_ones() {
    let server = Server::start();
    let mut session = server.connect();
    assert_eq!(
        session.one::<i64>("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pgqueue launcher'"),
        1
    );
    until("a worker for the first database", || has_worker(&mut session, "postgres"));
    session.batch_execute("CREATE DATABASE later").unwrap();
    let mut later = server.connect_to("later");
    later.batch_execute("CREATE EXTENSION pgqueue; SELECT pgq_push('q', '1')").unwrap();
    until("a worker for the second", || has_worker(&mut session, "later"));
    // A copy has the extension, but nobody has called it there.
    until("the worker makes room for the copy", || {
        drop(std::mem::replace(&mut later, server.connect()));
        session.batch_execute("CREATE DATABASE copy TEMPLATE later").is_ok()
    });
    until("a worker for the copy", || has_worker(&mut session, "copy"));
    assert!(has_worker(&mut session, "postgres"));
}

/// Before the launcher has seen it. Nothing calls pgqueue meanwhile, which would start a worker too.
#[test]
fn a_worker_that_ends_in_its_first_moments_comes_back_soon() {
    let server = Server::start();
    server.stop(Stop::Fast);
    server.launch();
    let mut session = server.connect();
    until("the worker is there", || has_worker(&mut session, "postgres"));
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pgqueue worker'";
    session.execute(end, &[]).unwrap();
    until("it is gone", || !has_worker(&mut session, "postgres"));
    let gone = std::time::Instant::now();
    until("a worker is there again", || has_worker(&mut session, "postgres"));
    assert!(gone.elapsed().as_secs() < 20, "it took {:?}", gone.elapsed());
}

#[test]
fn a_killed_worker_comes_back() {
    let server = Server::start();
    let mut session = server.connect();
    until("a worker", || has_worker(&mut session, "postgres"));
    let kill =
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE backend_type = 'pgqueue worker'";
    assert!(session.one::<bool>(kill));
    until("a worker again", || has_worker(&mut session, "postgres"));
    let before = ran(&mut session);
    until("a round of it", || ran(&mut session) > before);
}

#[test]
fn without_preload_the_first_call_starts_a_worker() {
    let server = Server::bare("pgqueue.vacuum_interval = '100ms'");
    let mut session = server.connect();
    session.batch_execute("CREATE EXTENSION pgqueue").unwrap();
    until("a worker from the beginning", || has_worker(&mut session, "postgres"));
    session
        .batch_execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE backend_type = 'pgqueue worker'")
        .unwrap();
    until("a worker again", || {
        session.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
        has_worker(&mut session, "postgres")
    });
    until("a round of it", || ran(&mut session).is_some());
}

#[test]
fn everything_is_correct_without_any_worker() {
    let server = Server::bare("max_worker_processes = 0");
    let mut session = server.connect();
    session.batch_execute("CREATE EXTENSION pgqueue").unwrap();
    let id: i64 = session.one("SELECT pgq_push('q', '1', delay => '2 ms', max_deliveries => 2)");
    until("the delay is over", || session.one::<i64>("SELECT pgq_count('q')") == 1);
    assert_eq!(session.all::<i64>("SELECT delivery FROM pgq_reserve('q', lease => '2 ms')"), [1]);
    until("the lease has expired", || session.one::<i64>("SELECT pgq_count('q')") == 1);
    assert_eq!(session.all::<i64>("SELECT delivery FROM pgq_reserve('q', lease => '2 ms')"), [2]);
    until("the last lease has expired", || session.one::<i64>("SELECT leased FROM pgq_stats('q')") == 0);
    assert!(session.all::<i64>("SELECT delivery FROM pgq_reserve('q')").is_empty());
    assert_eq!(session.one::<String>(&format!("SELECT reason FROM pgq_get({id})")), "timeout");
    session.batch_execute("SET pgqueue.max_deliveries = 1; SELECT pgq_push('q', '2')").unwrap();
    session.batch_execute("CALL pgq_wait('q', '1 s')").unwrap();
    assert_eq!(session.one::<i64>(WORKERS), 0);
}

#[test]
fn the_log_names_a_database_that_finds_no_room_for_its_worker() {
    let server = Server::bare(
        "shared_preload_libraries = 'pgqueue'\nmax_logical_replication_workers = 0\nmax_worker_processes = 2",
    );
    let mut session = server.connect();
    session.batch_execute("CREATE EXTENSION pgqueue").unwrap();
    until("the only worker", || has_worker(&mut session, "postgres"));
    session.batch_execute("CREATE DATABASE crowded").unwrap();
    let complaint = "no slot is free for the worker of database \"crowded\"";
    until("a complaint", || server.log().contains(complaint));
    let mut crowded = server.connect_to("crowded");
    crowded.batch_execute("CREATE EXTENSION pgqueue; SELECT pgq_push('q', '1')").unwrap();
    assert_eq!(crowded.all::<i64>("SELECT delivery FROM pgq_reserve('q')"), [1]);
    assert_eq!(server.log().matches(complaint).count(), 1);
}

#[test]
fn a_step_that_takes_long_is_cancelled_when_the_worker_is_to_end() {
    let server = Server::start();
    let mut session = server.connect();
    let pid = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pgqueue worker'";
    until("a round", || ran(&mut session).is_some());
    session
        .batch_execute(
            "CREATE FUNCTION sleep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1e6); RETURN NEW; END';
             CREATE TRIGGER sleep BEFORE UPDATE ON pgqueue.vacuum_run FOR EACH ROW EXECUTE FUNCTION sleep()",
        )
        .unwrap();
    until("it sleeps in a step", || {
        session.one(&format!("SELECT EXISTS ({pid} AND wait_event = 'PgSleep')"))
    });
    session.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
    session.execute(&format!("SELECT pg_terminate_backend(({pid}))"), &[]).unwrap();
    until("it ends", || !session.one::<bool>(&format!("SELECT EXISTS ({pid} AND wait_event = 'PgSleep')")));
    let written = "SELECT coalesce(sum(pushed), 0)::bigint FROM pgqueue.counter";
    until("it has written down what was counted", || session.one::<i64>(written) == 1);
}

#[test]
fn the_worker_clears_expired_and_dead_messages_away() {
    let server = Server::start();
    let mut session = server.connect();
    session
        .batch_execute(
            "SELECT pgq_create_queue('q', '{\"max_deliveries\": 1}'), pgq_create_queue('drop', '{\"max_deliveries\": 1, \"dead_letter\": false}');
             SELECT pgq_push(q, '1') FROM unnest(ARRAY['q', 'drop', 'again']) q;
             SELECT pgq_reserve(q, lease => '1 ms') FROM unnest(ARRAY['q', 'drop', 'again']) q;
             SELECT pgq_push('ttl', '1', ttl => '1 ms'), pgq_push('due', '1', delay => '1 ms')",
        )
        .unwrap();
    until("the lease that expired for the last time is a dead letter", || {
        session.one::<i64>("SELECT dead FROM pgq_stats('q')") == 1
    });
    until("the queue without dead letters has dropped its message", || {
        session.one::<i64>("SELECT total + died * 100 FROM pgq_stats('drop')") == 100
    });
    until("the other expired lease is taken back", || {
        session.one("SELECT lease_until = '-infinity' FROM pgqueue.message m JOIN pgqueue.queue q ON q.id = m.queue WHERE name = 'again'")
    });
    until("what outlived its time to live is gone", || {
        session.one::<i64>("SELECT total + expired * 100 FROM pgq_stats('ttl')") == 100
    });
    until("what was due is in the ready lane", || {
        session.one::<i64>("SELECT count(*) FROM pgqueue.message WHERE lane = 'd'") == 0
    });
}

/// A server without rounds, whose pages have ten messages, and a session.
fn with_small_pages() -> (Server, Client) {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off\npgqueue.vacuum_page_size = 10");
    let mut session = server.connect();
    until("the settings have arrived", || session.one::<String>("SHOW pgqueue.vacuum_page_size") == "10");
    (server, session)
}

#[test]
fn rounds_are_bounded_by_the_page_size_and_go_on_until_all_is_done() {
    let (_server, mut session) = with_small_pages();
    session
        .execute("SELECT pgq_push('q', to_jsonb(n), max_deliveries => 1) FROM generate_series(1, 95) n", &[])
        .unwrap();
    session.execute("SELECT pgq_reserve('q', lease => '1 ms', max => 95)", &[]).unwrap();
    until("the leases have expired", || session.one::<i64>("SELECT leased FROM pgq_stats('q')") == 0);
    let rounds: Vec<i64> = (0..11).map(|_| session.one("SELECT moved_to_dead FROM pgq_vacuum()")).collect();
    assert_eq!(rounds, [10, 10, 10, 10, 10, 10, 10, 10, 10, 5, 0]);
    assert_eq!(session.one::<i64>("SELECT dead FROM pgq_stats('q')"), 95);
}

#[test]
fn a_server_whose_synchronous_standby_is_away_is_looked_after_and_can_be_stopped() {
    let server = Server::start();
    let mut session = server.connect();
    session
        .batch_execute("SET synchronous_commit = local; SELECT pgq_push('q', '1', delay => '1 s')")
        .unwrap();
    server.set("synchronous_standby_names = 'away'");
    until("the message is in the ready lane, by the worker", || {
        session.one::<i64>("SELECT count(*) FROM pgqueue.message WHERE lane = 'r'") == 1
    });
    assert_eq!(session.one::<i64>("SELECT count(*) FROM pgq_reserve('q')"), 1);
    let before = ran(&mut session);
    until("rounds go on", || ran(&mut session) > before);
    drop(session);
    server.stop(Stop::Fast); // fails if that takes long
}

#[test]
fn a_failing_step_is_logged_with_its_sqlstate_and_the_others_go_on() {
    let server = Server::start();
    let mut session = server.connect();
    session.batch_execute("ALTER TABLE pgqueue.dead RENAME TO away").unwrap();
    session
        .batch_execute(
            "SELECT pgq_push('q', '1', max_deliveries => 1); SELECT pgq_reserve('q', lease => '1 ms');
             INSERT INTO pgqueue.archive (id, enqueued_at, settled_at, deliveries, queue, priority)
             SELECT -1, now(), now(), 1, id, 0 FROM pgqueue.queue",
        )
        .unwrap();
    until("the error is noted", || {
        session
            .one::<Option<String>>("SELECT errors -> 'leases' ->> 'sqlstate' FROM pgq_vacuum_stats")
            .as_deref()
            == Some("42P01")
    });
    until("a later step has done its work", || {
        session.one::<i64>("SELECT count(*) FROM pgqueue.archive") == 0
    });
    assert!(server.log().contains("step \"leases\" failed with 42P01"));
    session.batch_execute("ALTER TABLE pgqueue.away RENAME TO dead").unwrap();
    until("the next round has made up for it", || session.one::<i64>("SELECT dead FROM pgq_stats('q')") == 1);
}

#[test]
fn calls_in_a_template_are_counted_although_the_launcher_skips_it() {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.auto_vacuum = off");
    let mut session = server.connect();
    session.batch_execute("CREATE DATABASE mould").unwrap();
    session.batch_execute("ALTER DATABASE mould IS_TEMPLATE true").unwrap();
    let mut mould = server.connect_to("mould");
    mould
        .batch_execute("CREATE EXTENSION pgqueue; SELECT pgq_push_batch('q', ARRAY['1', '2']::jsonb[])")
        .unwrap();
    mould.execute("SELECT pg_sleep(2.5)", &[]).unwrap(); // the launcher looks every second
    mould.execute("SELECT pgq_push('q', '3')", &[]).unwrap();
    assert_eq!(mould.one::<i64>("SELECT pushed FROM pgq_stats('q')"), 3);
}

#[test]
fn a_database_without_the_extension_is_left_alone() {
    let server = Server::start();
    let mut session = server.connect();
    session.batch_execute("CREATE DATABASE plain").unwrap();
    until("a worker where there is work", || has_worker(&mut session, "postgres"));
    // The launcher asks it once, and then not again for half a minute.
    let seen = (0..80).filter(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        has_worker(&mut session, "plain")
    });
    assert!(seen.count() < 20);
}

#[test]
fn a_round_by_hand_that_is_not_committed_does_not_stop_the_worker() {
    let server = Server::start();
    let (mut idle, mut session) = (server.connect(), server.connect());
    idle.batch_execute("BEGIN; SELECT pgq_vacuum()").unwrap();
    session
        .batch_execute(
            "SELECT pgq_push('q', '1', max_deliveries => 1); SELECT pgq_reserve('q', lease => '1 ms')",
        )
        .unwrap();
    until("the worker has moved what is dead", || session.one::<i64>("SELECT dead FROM pgq_stats('q')") == 1);
    idle.batch_execute("COMMIT").unwrap();
    assert!(!server.log().contains("failed with 55P03"));
}

#[test]
fn auto_vacuum_and_the_interval_are_obeyed_on_reload() {
    let server = Server::start();
    let mut session = server.connect();
    until("a round", || ran(&mut session).is_some());
    server.set("pgqueue.auto_vacuum = off");
    until("no more rounds", || {
        let before = ran(&mut session);
        std::thread::sleep(std::time::Duration::from_millis(500));
        before == ran(&mut session)
    });
    assert!(has_worker(&mut session, "postgres"), "it idles, but stays");
    let before = ran(&mut session);
    server.set("pgqueue.auto_vacuum = on\npgqueue.vacuum_interval = '1h'");
    until("a round again", || ran(&mut session) > before);
    let before = ran(&mut session);
    server.set("pgqueue.vacuum_interval = '20ms'");
    until("a round without waiting for the hour", || ran(&mut session) > before);
}

#[test]
fn dropping_the_extension_or_the_database_stops_the_worker() {
    let server = Server::start();
    let mut session = server.connect();
    session.batch_execute("CREATE DATABASE second").unwrap();
    server.connect_to("second").batch_execute("CREATE EXTENSION pgqueue; SELECT pgq_push('q', '1')").unwrap();
    until("both workers", || session.one::<i64>(WORKERS) == 2);
    session.batch_execute("DROP DATABASE second").unwrap();
    until("one worker", || session.one::<i64>(WORKERS) == 1);
    session.batch_execute("DROP EXTENSION pgqueue CASCADE").unwrap();
    until("no worker", || session.one::<i64>(WORKERS) == 0);
    session.batch_execute("CREATE EXTENSION pgqueue; SELECT pgq_push('q', '1')").unwrap();
    until("a worker again", || session.one::<i64>(WORKERS) == 1);
}

#[test]
fn a_worker_that_cannot_connect_to_its_database_keeps_no_server_from_stopping() {
    let server = Server::start();
    let (mut session, mut observer) = (server.connect(), server.connect());
    session.batch_execute("CREATE DATABASE other").unwrap();
    server.connect_to("other").batch_execute("CREATE EXTENSION pgqueue; SELECT pgq_push('q', '1')").unwrap();
    until("its worker", || has_worker(&mut session, "other"));
    session.execute("SELECT pg_sleep(1.5)", &[]).unwrap(); // the launcher looks every second
    session
        .batch_execute("BEGIN; ALTER DATABASE other RENAME TO renamed; PREPARE TRANSACTION 'rename'")
        .unwrap();
    // It is in no view yet but that of locks.
    until("the next worker waits for that", || {
        observer
            .one("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND classid = 'pg_database'::regclass")
    });
    drop((session, observer));
    server.stop(Stop::Fast); // fails if that takes long
}

#[test]
fn a_copy_of_a_database_has_its_counts() {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.vacuum_interval = '1h'");
    let mut session = server.connect();
    session.batch_execute("CREATE DATABASE live").unwrap();
    let mut live = server.connect_to("live");
    live.batch_execute("CREATE EXTENSION pgqueue").unwrap();
    until("its first round", || ran(&mut live).is_some());
    live.batch_execute("SELECT pgq_push('q', '1') FROM generate_series(1, 40)").unwrap();
    drop(live);
    session.batch_execute("CREATE DATABASE copy TEMPLATE live").unwrap();
    for database in ["live", "copy"] {
        let pushed = "SELECT pushed FROM pgq_stats('q')";
        assert_eq!(server.connect_to(database).one::<i64>(pushed), 40, "{database}");
    }
}

/// In a queue of its own: expired messages that cannot be cleared, since an open transaction cancels what
/// waits behind them in their groups. The transaction is given back.
fn hold_up_expired_messages(server: &Server, messages: u32) -> Client {
    let mut holder = server.connect();
    holder
        .batch_execute(&format!(
            "SELECT pgq_create_queue('held');
             SELECT pgq_push('held', '1', group_key => 'g' || n, ttl => '1 ms') FROM generate_series(1, {messages}) n;
             SELECT pgq_push('held', '2', group_key => 'g' || n) FROM generate_series(1, {messages}) n"
        ))
        .unwrap();
    holder.batch_execute("BEGIN").unwrap();
    let cancelled = "SELECT pgq_cancel_batch(ARRAY(SELECT id FROM pgq_peek('held', 1000000, 'blocked')))";
    assert_eq!(holder.execute(cancelled, &[]).unwrap(), u64::from(messages));
    holder
}

fn expired(session: &mut Client, queue: &str) -> i64 {
    session.one(&format!("SELECT expired FROM pgq_stats('{queue}')"))
}

/// The worker clears a message behind so many that a transaction holds up, and those when it has ended.
fn the_worker_clears_one_behind_those(server: &Server, holder: &mut Client, held: i64) {
    let mut session = server.connect();
    session.batch_execute("SELECT pgq_push('other', '1', ttl => '1 ms')").unwrap();
    server.set("pgqueue.auto_vacuum = on");
    until("the worker has cleared the message of another", || expired(&mut session, "other") == 1);
    assert_eq!(expired(&mut session, "held"), 0);
    holder.batch_execute("ROLLBACK").unwrap();
    until("it has cleared the others too", || expired(&mut session, "held") == held);
}

#[test]
fn an_open_transaction_does_not_block_the_clearing_of_other_queues() {
    let (server, mut session) = with_small_pages();
    let mut holder = hold_up_expired_messages(&server, 30);
    session
        .batch_execute(
            "SELECT pgq_create_queue('hand', '{\"on_expire\": \"dead\"}');
             SELECT pgq_push('hand', '1', ttl => '1 ms'); SELECT pg_sleep(0.01); SELECT pgq_vacuum()",
        )
        .unwrap();
    assert_eq!(session.one::<i64>("SELECT dead FROM pgq_stats('hand')"), 1, "by hand");

    the_worker_clears_one_behind_those(&server, &mut holder, 30);
}

#[test]
fn the_worker_goes_on_behind_expired_messages_that_take_longer_than_its_turn() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off\npgqueue.vacuum_interval = '1s'");
    let mut holder = hold_up_expired_messages(&server, 8_000);
    the_worker_clears_one_behind_those(&server, &mut holder, 8_000);
}

#[test]
fn a_queue_with_many_messages_that_are_due_keeps_no_other_waiting() {
    let (_server, mut session) = with_small_pages();
    // A message in the delayed lane falls due without a call that looks at the queue.
    session
        .batch_execute(
            "SELECT pgq_create_queue(q) FROM unnest(ARRAY['many', 'one', 'later']) q;
             SELECT pgq_push('many', '1', delay => '1 ms') FROM generate_series(1, 95);
             SELECT pgq_push('one', '1', delay => '1 ms'), pgq_push('later', '1', delay => '1 day');
             SELECT pg_sleep(0.01)",
        )
        .unwrap();
    let promoted = "SELECT array_agg((SELECT count(*) FROM pgqueue.message m WHERE m.queue = q.id AND lane = 'r') ORDER BY q.id)
                      FROM pgqueue.queue q";
    session.batch_execute("SELECT pgq_vacuum()").unwrap();
    assert_eq!(
        session.one::<Vec<i64>>(promoted),
        [9, 1, 0],
        "a share for each, and the rest to the one with more"
    );
    let rounds: Vec<i64> = (0..9)
        .map(|_| {
            session.batch_execute("SELECT pgq_vacuum()").unwrap();
            session.one::<Vec<i64>>(promoted)[0]
        })
        .collect();
    assert_eq!(rounds, [19, 29, 39, 49, 59, 69, 79, 89, 95]);
}

#[test]
fn more_queues_with_due_messages_than_fit_a_round_take_turns() {
    let (_server, mut session) = with_small_pages();
    session
        .batch_execute(
            "SELECT pgq_create_queue('q' || n) FROM generate_series(1, 20) n; SELECT pgq_create_queue('last');
             SELECT pgq_push('q' || n, '1', delay => '1 ms') FROM generate_series(1, 20) n, generate_series(1, 100);
             SELECT pgq_push('last', '1', delay => '1 ms')",
        )
        .unwrap();
    // By chance: once in a million million millions this takes more than 65 rounds.
    let is_ready = "SELECT EXISTS (SELECT FROM pgqueue.message m JOIN pgqueue.queue q ON q.id = m.queue
                                    WHERE q.name = 'last' AND lane = 'r')";
    assert!((0..65).any(|_| {
        session.batch_execute("SELECT pgq_vacuum()").unwrap();
        session.one::<bool>(is_ready)
    }));
}

#[test]
fn an_open_transaction_keeps_no_role_from_being_followed() {
    let server = Server::start();
    let mut session = server.connect();
    session
        .batch_execute(
            "CREATE ROLE mallory LOGIN; CREATE ROLE alice LOGIN; CREATE ROLE erin;
             SET ROLE mallory; SELECT pgq_create_queue('held'), pgq_schedule('held', 'held', '1 h', '1'); RESET ROLE;
             SET ROLE alice; SELECT pgq_create_queue('free'), pgq_schedule('free', 'free', '1 h', '1'); RESET ROLE;
             SELECT pgq_grant('free', 'erin', 'consume'), pgq_grant('held', 'erin', 'consume')",
        )
        .unwrap();
    let before = ran(&mut session);
    until("a round", || ran(&mut session) > before);
    let mut holder = server.connect();
    holder
        .batch_execute("BEGIN; SELECT FROM pgqueue.queue WHERE name = 'held' FOR UPDATE; SELECT FROM pgqueue.schedule WHERE name = 'held' FOR UPDATE;
                        SELECT FROM pgqueue.privilege p JOIN pgqueue.queue q ON q.id = p.queue WHERE q.name = 'held' FOR UPDATE OF p")
        .unwrap();
    session
        .batch_execute(
            "ALTER ROLE mallory RENAME TO mallory2; ALTER ROLE alice RENAME TO alice2; DROP ROLE erin",
        )
        .unwrap();
    let owners = "SELECT string_agg(name || ' ' || owner, ', ' ORDER BY name) FROM";
    let rights = "SELECT count(*) FROM pgqueue.privilege";
    until("the other's queue has the new name", || {
        session.one::<String>(&format!("{owners} pgqueue.queue")) == "free alice2, held mallory"
    });
    assert_eq!(session.one::<String>(&format!("{owners} pgqueue.schedule")), "free alice2, held mallory");
    assert_eq!(session.one::<i64>(rights), 1);
    holder.batch_execute("ROLLBACK").unwrap();
    until("what was held follows", || {
        session.one::<String>(&format!("{owners} pgqueue.queue")) == "free alice2, held mallory2"
            && session.one::<String>(&format!("{owners} pgqueue.schedule")) == "free alice2, held mallory2"
            && session.one::<i64>(rights) == 0
    });
}
