//! What hints must not hide, and what they are for.

use std::thread;
use std::time::Duration;

use postgres::Client;
use support::{Ask, Server, Stop, until};

/// The payloads that reserves of one message each give, until one gives none.
fn drain(session: &mut Client, queue: &str) -> Vec<String> {
    let reserve = format!("SELECT payload::text FROM pgq_reserve('{queue}', lease => '1 h')");
    std::iter::from_fn(|| session.all::<String>(&reserve).pop()).collect()
}

fn reserve(session: &mut Client) -> Vec<String> {
    session.all("SELECT payload::text FROM pgq_reserve('q', lease => '1 h')")
}

#[test]
fn a_message_of_one_s_own_is_found_though_others_have_gone_past_it() {
    let server = Server::start();
    let (mut first, mut second) = (server.connect(), server.connect());
    first.execute("SELECT pgq_create_queue('q')", &[]).unwrap();
    first.batch_execute("BEGIN; SELECT pgq_push('q', '\"own\"')").unwrap();
    second.execute("SELECT pgq_push('q', '\"later\"')", &[]).unwrap();
    assert_eq!(reserve(&mut second), ["\"later\""]);
    assert_eq!(reserve(&mut first), ["\"own\""]);
    first.batch_execute("ROLLBACK; SELECT pgq_push('q', '\"next\"')").unwrap();
    assert_eq!(reserve(&mut second), ["\"next\""]);
}

#[test]
fn a_lease_that_ends_in_its_own_transaction_is_found_before_newer_messages() {
    let server = Server::start();
    let mut session = server.connect();
    session.batch_execute("SELECT pgq_push_batch('q', ARRAY['1', '2']::jsonb[])").unwrap();
    let ids: Vec<i64> = session.all("SELECT id FROM pgqueue.message ORDER BY id");
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('q', '1 h')"), ids[..1]);
    session.batch_execute("BEGIN; SELECT pgq_reserve('q', '1 ms'); SELECT pg_sleep(0.01)").unwrap();
    let new: i64 = session.one("SELECT pgq_push('q', '3')");
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('q', max => 9)"), [ids[1], new]);
    session.batch_execute("COMMIT").unwrap();
}

#[test]
fn a_message_that_goes_to_another_queue_with_its_id_is_not_found_in_the_first_any_more() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off");
    let mut session = server.connect();
    let id: i64 = session.one("SELECT pgq_push('q', '1')");
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('q')"), [id]);
    session.batch_execute(&format!("SELECT pgq_release({id}::bigint), pgq_bury({id}::bigint, 'x')")).unwrap();
    session.batch_execute("SELECT pgq_create_queue('other')").unwrap();
    session.batch_execute("SELECT pgq_redrive('q', to_queue => 'other', reset => false)").unwrap();
    assert!(session.all::<i64>("SELECT id FROM pgq_reserve('q')").is_empty());
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('other')"), [id]);
}

#[test]
fn a_session_that_sees_the_past_moves_no_hint() {
    let server = Server::start();
    let (mut past, mut present) = (server.connect(), server.connect());
    present.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        assert_eq!(drain(&mut present, "q").len(), 1);
        past.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}; SELECT 1")).unwrap();
        present.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
        assert!(reserve(&mut past).is_empty(), "{level}");
        past.batch_execute("COMMIT").unwrap();
    }
    assert_eq!(drain(&mut present, "q").len(), 1);
}

#[test]
fn a_filter_hides_from_others_nothing_that_it_does_not_take() {
    let server = Server::start();
    let mut session = server.connect();
    let push = "SELECT pgq_push('q', to_jsonb(n), headers => jsonb_build_object('n', n)) FROM generate_series(1, 300) n";
    session.execute(push, &[]).unwrap();
    let filtered = "SELECT payload::text FROM pgq_reserve('q', '1 h', 10, filter => '{\"n\": 250}')";
    assert_eq!(session.all::<String>(filtered), ["250"]);
    let rest = drain(&mut session, "q");
    assert_eq!(rest.len(), 299);
    assert_eq!(rest[0], "1");
}

#[test]
fn both_ends_of_a_queue_can_be_consumed_at_once() {
    let server = Server::start();
    let mut session = server.connect();
    session.execute("SELECT pgq_push('q', to_jsonb(n)) FROM generate_series(1, 400) n", &[]).unwrap();
    let mut given = Vec::new();
    loop {
        let oldest: Vec<i64> = session.all("SELECT payload::bigint FROM pgq_reserve('q', '1 h', 3)");
        let newest: Vec<i64> =
            session.all("SELECT payload::bigint FROM pgq_reserve('q', '1 h', 2, lifo => true)");
        if oldest.is_empty() && newest.is_empty() {
            break;
        }
        given.extend(oldest);
        given.extend(newest);
    }
    assert_eq!(given[..5], [1, 2, 3, 400, 399]);
    given.sort_unstable();
    assert_eq!(given, (1..=400).collect::<Vec<_>>());
}

#[test]
fn more_priorities_than_hints_come_in_order() {
    let server = Server::start();
    let mut session = server.connect();
    let push = "SELECT pgq_push('q', to_jsonb(p), priority => p) FROM generate_series(1, 3), generate_series(40, -5, -1) p";
    session.execute(push, &[]).unwrap();
    let expected: Vec<String> =
        (-5..=40).flat_map(|p| [p.to_string(), p.to_string(), p.to_string()]).collect();
    assert_eq!(drain(&mut session, "q"), expected);
    // A priority that comes later, among those with hints and among the others.
    session
        .batch_execute("SELECT pgq_push('q', '2', priority => 100), pgq_push('q', '1', priority => -100)")
        .unwrap();
    assert_eq!(drain(&mut session, "q"), ["1", "2"]);
}

#[test]
fn a_hint_cache_of_a_hundred_thousand_places_is_looked_after_like_a_small_one() {
    let server = Server::bare(
        "shared_preload_libraries = 'pgqueue'\npgqueue.max_queues_hint = 100000\npgqueue.vacuum_interval = '1 h'",
    );
    let mut session = server.connect();
    session.batch_execute("CREATE EXTENSION pgqueue").unwrap();
    let push = "SELECT count(pgq_push('q' || n, '1', delay => '15 s')) FROM generate_series(1, 300) n";
    session.batch_execute(push).unwrap();
    let early: i64 = session.one("SELECT count(*) FROM generate_series(1, 300) n, pgq_reserve('q' || n)");
    assert_eq!(early, 0, "reserves tell the hints when messages are due");
    // No round comes: only the hints tell the worker what is due.
    until("the worker has moved all due messages", || {
        session.one("SELECT count(*) = 300 FROM pgqueue.message WHERE lane = 'r'")
    });
    for n in [1, 150, 300] {
        let taken: Vec<i64> =
            session.all(&format!("SELECT delivery FROM pgq_reserve('q{n}', lease => '300 ms')"));
        assert_eq!(taken, [1]);
    }
    let again = "SELECT count(*) FROM pgq_reserve('q1', lease => '1 h')";
    until("a message whose lease has ended comes again", || session.one::<i64>(again) == 1);
}

#[test]
fn rows_that_a_statement_writes_are_found_at_once() {
    let server = Server::start();
    let mut session = server.connect();
    session.execute("SELECT pgq_push('q', to_jsonb(n)) FROM generate_series(1, 10) n", &[]).unwrap();
    assert_eq!(drain(&mut session, "q").len(), 10);
    let insert = "INSERT INTO pgqueue.message (id, queue, priority, payload)
                  SELECT -n, q.id, 0, to_jsonb(-n) FROM pgqueue.queue q, generate_series(1, 200) n WHERE q.name = 'q'";
    session.execute(insert, &[]).unwrap();
    assert_eq!(drain(&mut session, "q").len(), 200);
    session
        .execute("UPDATE pgqueue.message SET lease_until = '-infinity' WHERE id IN (-50, 5)", &[])
        .unwrap();
    assert_eq!(drain(&mut session, "q"), ["-50", "5"]);
    session
        .execute("UPDATE pgqueue.message SET priority = 7, lease_until = '-infinity' WHERE id = 6", &[])
        .unwrap();
    assert_eq!(drain(&mut session, "q"), ["6"]);
}

#[test]
fn rows_that_no_transaction_tells_of_are_found_soon() {
    for maintenance in ["on", "off"] {
        let server = Server::start();
        server.set(&format!("pgqueue.auto_vacuum = {maintenance}"));
        let mut session = server.connect();
        session.execute("SELECT pgq_push('q', to_jsonb(n)) FROM generate_series(1, 10) n", &[]).unwrap();
        assert_eq!(drain(&mut session, "q").len(), 10);
        let untold = "SET session_replication_role = replica;
                      ALTER TABLE pgqueue.message DISABLE TRIGGER ALL;
                      UPDATE pgqueue.message SET lease_until = '-infinity' WHERE id = 5;
                      ALTER TABLE pgqueue.message ENABLE ALWAYS TRIGGER announce_message;
                      ALTER TABLE pgqueue.message ENABLE ALWAYS TRIGGER announce_removal";
        session.batch_execute(untold).unwrap();
        until("a routine pass finds it", || reserve(&mut session) == ["5"]);
    }
}

#[test]
fn messages_of_a_removal_that_is_rolled_back_are_found_at_once() {
    let server = Server::start();
    let (mut remover, mut session) = (server.connect(), server.connect());
    for removal in [
        "SELECT pgq_purge('q')",
        "SELECT pgq_drop_queue('q')",
        "SELECT pgq_bury(id, 'x') FROM pgq_peek('q', 9)",
        "SELECT pgq_delete(id) FROM pgq_peek('q', 9)",
        "SELECT pgq_pop('q', 9)",
    ] {
        session.execute("SELECT pgq_push('q', to_jsonb(n)) FROM generate_series(1, 3) n", &[]).unwrap();
        remover.batch_execute(&format!("BEGIN; {removal}")).unwrap();
        assert!(reserve(&mut session).is_empty(), "{removal}");
        remover.batch_execute("ROLLBACK").unwrap();
        assert_eq!(drain(&mut session, "q"), ["1", "2", "3"], "{removal}");
    }
}

#[test]
fn a_due_message_is_due_again_when_its_removal_is_rolled_back() {
    // Without rounds of the worker, which look at what is due by themselves.
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.auto_vacuum = off");
    let mut session = server.connect();
    session.batch_execute("CREATE EXTENSION pgqueue").unwrap();
    for way in [
        "SELECT pgq_delete(id) FROM pgq_peek('q')",
        "SELECT pgq_cancel(id) FROM pgq_peek('q')",
        "SELECT pgq_update(id, deliver_at => now()) FROM pgq_peek('q')",
        "SELECT count(*) FROM pgq_pop('q')",
        "SELECT count(*) FROM pgq_reserve('q', '1 h')",
    ] {
        session.execute("SELECT pgq_push('q', to_jsonb(n), delay => n * interval '1 ms') FROM generate_series(1, 2) n", &[]).unwrap();
        until("both are due", || session.one::<i64>("SELECT count(*) FROM pgq_peek('q', 9)") == 2);
        // The second look, which does not see the first message, must not be what others go by.
        session
            .batch_execute(&format!("BEGIN; {way}; SELECT count(*) FROM pgq_reserve('q', '1 h'); ROLLBACK"))
            .unwrap();
        let scanned = "SELECT payload::text FROM pgq_peek('q', 9)";
        assert_eq!(session.all::<String>(scanned), ["1", "2"], "{way}");
        assert_eq!(drain(&mut session, "q"), ["1", "2"], "{way}");
    }
}

#[test]
fn an_extension_that_is_made_anew_knows_nothing_of_the_one_before() {
    let server = Server::start();
    let mut session = server.connect();
    for _ in 0..2 {
        session.execute("SELECT pgq_push('q', to_jsonb(n)) FROM generate_series(1, 50) n", &[]).unwrap();
        assert_eq!(drain(&mut session, "q").len(), 50);
        assert_eq!(session.one::<i64>("SELECT delivered FROM pgq_stats('q')"), 50);
        session.batch_execute("DROP EXTENSION pgqueue; CREATE EXTENSION pgqueue").unwrap();
    }
}

#[test]
fn more_queues_than_places_lose_nothing_and_count_right() {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.max_queues_hint = 1");
    server.connect().batch_execute("CREATE EXTENSION pgqueue").unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            let mut session = server.connect();
            scope.spawn(move || {
                for n in 0..400 {
                    let queue = format!("q{}", n % 40);
                    session.execute("SELECT pgq_push($1, '1')", &[&queue]).unwrap();
                    let took =
                        session.query("SELECT pgq_delete(id) FROM pgq_reserve($1)", &[&queue]).unwrap();
                    assert_eq!(took.len(), 1, "pushed one and found none in {queue}");
                }
            });
        }
    });
    let mut session = server.connect();
    let odd = "SELECT queue || ' ' || pushed || ' ' || delivered || ' ' || deleted FROM pgq_stats()
                WHERE (pushed, delivered, deleted) <> (40, 40, 40)";
    assert_eq!(session.all::<String>(odd), [""; 0]);
}

#[test]
fn counters_survive_a_clean_restart_and_roll_back_with_savepoints() {
    let server = Server::start();
    let mut session = server.connect();
    session
        .batch_execute(
            "SELECT pgq_push('q', '1');
             BEGIN; SELECT pgq_push('q', '2'); SAVEPOINT s; SELECT pgq_push('q', '3'); ROLLBACK TO s;
             SAVEPOINT t; SELECT pgq_push('q', '4'); RELEASE t; COMMIT;
             BEGIN; SELECT pgq_push('q', '5'); ROLLBACK;
             BEGIN; SELECT pgq_push('q', '6'); PREPARE TRANSACTION 'p'",
        )
        .unwrap();
    session.batch_execute("COMMIT PREPARED 'p'").unwrap();
    assert_eq!(session.one::<i64>("SELECT pushed FROM pgq_stats('q')"), 4);
    drop(session);
    server.stop(Stop::Fast);
    server.launch();
    assert_eq!(server.connect().one::<i64>("SELECT pushed FROM pgq_stats('q')"), 4);
    server.set("pgqueue.auto_vacuum = off");
    server.connect().execute("SELECT pgq_push('q', '7')", &[]).unwrap();
    server.stop(Stop::Fast);
    server.launch();
    assert_eq!(server.connect().one::<i64>("SELECT pushed FROM pgq_stats('q')"), 5);
}

#[test]
fn after_a_restart_the_front_is_found_though_much_is_in_flight() {
    for order in ["fifo", "lifo"] {
        let server = Server::start();
        let mut session = server.connect();
        session
            .batch_execute(&format!(
                "SELECT pgq_create_queue('q', '{{\"order\": \"{order}\"}}');
                 SELECT pgq_push('q', to_jsonb(n)) FROM generate_series(1, 9000) n;
                 SELECT pgq_reserve('q', '1 h', 8000);
                 SELECT pgq_release_batch(ARRAY[1500, 8500]) WHERE '{order}' = 'lifo';
                 SELECT pgq_release_batch(ARRAY[100, 4000]) WHERE '{order}' = 'fifo'"
            ))
            .unwrap();
        drop(session);
        server.stop(Stop::Fast);
        server.launch();
        let rest = drain(&mut server.connect(), "q");
        assert_eq!(rest.len(), 1_002, "{order}: what was jumped over is found as well");
    }
}

#[test]
fn many_index_entries_of_one_message_hide_nothing_behind_them() {
    let server = Server::start();
    server.set("autovacuum = off");
    let (mut holder, mut session) = (server.connect(), server.connect());
    session
        .batch_execute(
            "SELECT pgq_create_queue('q', '{}');
             SELECT pgq_push('q', to_jsonb(repeat(md5('1'), 60))), pgq_push('q', '2'), pgq_push('q', '3');
             SELECT pgq_reserve('q', '1 h')",
        )
        .unwrap();
    holder.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").unwrap();
    for _ in 0..3_000 {
        session.execute("SELECT pgq_extend(1::bigint, '1 h')", &[]).unwrap();
    }
    // Forgets where the messages are.
    session.execute("SELECT pgq_alter_queue('q', '{}')", &[]).unwrap();
    assert_eq!(drain(&mut session, "q"), ["2", "3"]);
    session.execute("SELECT pgq_release(1::bigint)", &[]).unwrap();
    session.execute("SELECT pgq_alter_queue('q', '{}')", &[]).unwrap();
    assert_eq!(drain(&mut session, "q").len(), 1);
}

#[test]
fn an_index_of_a_dba_s_that_sums_up_pages_has_every_lease() {
    let server = Server::start();
    let mut session = server.connect();
    session
        .execute("SELECT pgq_push_batch('q', array_agg(to_jsonb(n))) FROM generate_series(1, 100) n", &[])
        .unwrap();
    session.batch_execute("CREATE INDEX sums ON pgqueue.message USING brin (lease_until)").unwrap();
    session.execute("SELECT pgq_reserve('q', '1 h', max => 10)", &[]).unwrap();
    session.batch_execute("SET enable_seqscan = off; SET enable_indexscan = off").unwrap();
    let leased = "SELECT count(*) FROM pgqueue.message WHERE lease_until > now()";
    let plan = session.all::<String>(&format!("EXPLAIN {leased}")).concat();
    assert!(plan.contains("sums"), "{plan}");
    assert_eq!(session.one::<i64>(leased), 10);
}

#[test]
fn a_prepared_push_is_found_although_no_session_scanned_meanwhile() {
    let server = Server::start();
    let (mut producer, mut consumer) = (server.connect(), server.connect());
    producer.execute("SELECT pgq_create_queue('q')", &[]).unwrap();
    assert!(drain(&mut consumer, "q").is_empty());
    for delay in ["NULL", "'1 ms'"] {
        producer
            .batch_execute(&format!(
                "BEGIN; SELECT pgq_push('q', '1', delay => {delay}); PREPARE TRANSACTION 'p'"
            ))
            .unwrap();
        producer.batch_execute("SELECT pgq_alter_queue('q', '{}')").unwrap();
        producer.batch_execute("COMMIT PREPARED 'p'").unwrap();
        thread::sleep(Duration::from_millis(1_200));
        assert_eq!(drain(&mut consumer, "q"), ["1"], "delay {delay}");
    }
}

/// How many pages a call looks at.
fn pages(session: &mut Client, call: &str) -> i64 {
    let plan = session.all::<String>(&format!("EXPLAIN (ANALYZE, BUFFERS) {call}")).join(" ");
    let Some((_, hits)) = plan.split_once("shared hit=") else { return 0 };
    hits.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn priorities_that_were_used_once_leave_their_hints_to_those_in_use() {
    let server =
        Server::bare("shared_preload_libraries = 'pgqueue'\nautovacuum = off\npgqueue.auto_vacuum = off");
    let mut session = server.connect();
    session
        .batch_execute(
            "CREATE EXTENSION pgqueue;
             SELECT pgq_push('q', '1', priority => p) FROM generate_series(1, 20) p;
             SELECT pgq_pop('q') FROM generate_series(1, 20);
             SELECT count(*) FROM pgq_push_batch('q', array_fill('1'::jsonb, ARRAY[20000]), priority => 30);
             SELECT count(*) FROM pgq_reserve('q', '1 h', max => 19900)",
        )
        .unwrap();
    let reserve = "SELECT id FROM pgq_reserve('q', '1 h')";
    until("the priorities are looked up again", || pages(&mut session, reserve) < 30);
}

#[test]
fn a_look_passes_what_has_expired_once() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off");
    let mut session = server.connect();
    let push = |session: &mut Client, ttl: &str| {
        let many = "array_fill('1'::jsonb, ARRAY[20000])";
        session
            .execute(&format!("SELECT count(*) FROM pgq_push_batch('q', {many}, ttl => {ttl})"), &[])
            .unwrap();
    };
    for look in ["SELECT id FROM pgq_peek('q')", "SELECT oldest_ready_age FROM pgq_stats('q')"] {
        push(&mut session, "'1 ms'");
        session.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
        let first = pages(&mut session, look);
        let last: i64 = pages(&mut session, look);
        assert!(first > 300 && last < 150, "{look}: {first} pages, then {last}");
        assert_eq!(session.all::<i64>("SELECT id FROM pgq_pop('q')").len(), 1);
    }
    // Nor does a wait read it again.
    push(&mut session, "'1 ms'");
    let read = "SELECT idx_blks_hit + heap_blks_hit FROM pg_statio_user_tables WHERE relname = 'message'";
    let mut waits = || {
        session.batch_execute("SELECT pg_stat_force_next_flush()").unwrap();
        let before: i64 = session.one(read);
        session.batch_execute("CALL pgq_wait('q', '0'); SELECT pg_stat_force_next_flush()").unwrap();
        session.one::<i64>(read) - before
    };
    let (first, last) = (waits(), waits());
    assert!(first > 300 && last < 150, "wait: {first} pages, then {last}");
}

#[test]
fn a_peek_at_one_state_passes_a_limited_number_of_messages_in_others() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off");
    let mut session = server.connect();
    session
        .batch_execute(
            "SELECT count(*) FROM pgq_push_batch('q', array_fill('1'::jsonb, ARRAY[40000]));
             SELECT count(*) FROM pgq_reserve('q', '1 ms', max => 40000);
             SELECT count(pgq_push('g', '1', group_key => 'g' || n)) FROM generate_series(1, 40000) n",
        )
        .unwrap();
    for (queue, state, most) in [("q", "leased", 400), ("g", "blocked", 75_000)] {
        let call = format!("SELECT id FROM pgq_peek('{queue}', 1, '{state}')");
        assert_eq!(session.all::<i64>(&call), [0; 0]);
        let looked_at = pages(&mut session, &call);
        assert!(looked_at < most, "{state}: {looked_at} pages");
    }
}

#[test]
fn sleepers_of_queues_that_share_a_place_do_not_take_each_other_s_signals() {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.max_queues_hint = 1");
    server.connect().batch_execute("CREATE EXTENSION pgqueue").unwrap();
    let mut session = server.connect();
    session.batch_execute("SELECT pgq_create_queue('q' || n) FROM generate_series(1, 30) n").unwrap();
    thread::scope(|scope| {
        for n in 1..=30 {
            let mut sleeper = server.connect();
            scope.spawn(move || sleeper.batch_execute(&format!("CALL pgq_wait('q{n}', '20 s')")).unwrap());
        }
        until("all sleep", || {
            session.one::<i64>(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CALL%' AND wait_event_type = 'Extension'",
            ) == 30
        });
        session.batch_execute("SELECT pgq_push('q' || n, '1') FROM generate_series(1, 30) n").unwrap();
        let begun = std::time::Instant::now();
        until("all are awake", || {
            session.one::<i64>(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CALL%' AND state = 'active'",
            ) == 0
        });
        assert!(begun.elapsed() < Duration::from_secs(3), "somebody found out by itself");
    });
}

/// Whether commits were on disk when they returned. Of many, because other processes
/// write to the log now and then, and to the disk.
fn waits_for_disk(session: &mut Client, statement: &str) -> bool {
    let on_disk = (0..30)
        .filter(|_| {
            session.batch_execute(statement).unwrap();
            session.one("SELECT pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn()")
        })
        .count();
    assert!(!(10..20).contains(&on_disk), "{statement}: {on_disk} of 30 commits were on disk");
    on_disk >= 20
}

#[test]
fn a_transaction_that_only_leases_does_not_wait_for_the_disk_and_any_other_does() {
    let server = Server::start();
    server.set("wal_writer_delay = '10s'\nautovacuum = off\npgqueue.auto_vacuum = off");
    thread::sleep(Duration::from_millis(300)); // processes hear of it
    let mut session = server.connect();
    session
        .batch_execute(
            "CREATE TABLE work (id bigint);
             SELECT pgq_create_queue('strict', '{\"durable_lease\": true}'),
                    pgq_create_queue('loose', '{\"durable_delete\": false}'),
                    pgq_create_queue('kept', '{\"durable_delete\": false, \"archive\": \"1 h\"}');
             SELECT pgq_push(q, '1') FROM unnest(ARRAY['q', 'strict', 'loose', 'kept']) q, generate_series(1, 300)",
        )
        .unwrap();
    let lease = "SELECT pgq_reserve('q', '1 h')";
    assert!(!waits_for_disk(&mut session, lease), "leases");
    assert!(waits_for_disk(&mut session, &format!("BEGIN; {lease}; INSERT INTO work VALUES (1); COMMIT")));
    assert!(waits_for_disk(&mut session, &format!("BEGIN; INSERT INTO work VALUES (1); {lease}; COMMIT")));
    assert!(waits_for_disk(&mut session, "SELECT pgq_push('q', '1')"), "pushes");
    assert!(waits_for_disk(&mut session, "SELECT pgq_reserve('strict', '1 h')"), "durable_lease");
    assert!(waits_for_disk(&mut session, "SELECT pgq_pop('loose')"), "a pop is a delivery at most once");
    assert!(waits_for_disk(&mut session, "SELECT pgq_delete(id) FROM pgq_reserve('q', '1 h')"), "deletes");
    let delete = |queue| format!("SELECT pgq_delete(id) FROM pgq_peek('{queue}')");
    assert!(!waits_for_disk(&mut session, &delete("loose")), "durable_delete: false");
    assert!(waits_for_disk(&mut session, &delete("kept")), "what is archived is more than a deletion");
    assert_eq!(session.one::<String>("SHOW synchronous_commit"), "on");
}

#[test]
fn a_message_that_has_got_another_priority_does_not_come_at_its_old_one() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off");
    let mut session = server.connect();
    let was_urgent: i64 = session.one("SELECT pgq_push('q', '1', priority => -1, dedup_key => 'k')");
    let is_urgent: i64 = session.one("SELECT pgq_push('q', '2', priority => 3)");
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('q', '1 ms')"), [was_urgent]);
    session.execute("SELECT pgq_update($1, priority => -1)", &[&is_urgent]).unwrap();
    until("its lease has ended", || {
        session.one("SELECT count(*) = 0 FROM pgqueue.message WHERE lease_until > clock_timestamp()")
    });
    // Its key is known where it was.
    session.execute("UPDATE pgqueue.message SET priority = -1", &[]).unwrap();
    let replace =
        "SELECT outcome FROM pgq_push_result('q', '3', dedup_key => 'k', on_duplicate => 'replace')";
    assert_eq!(session.one::<String>(replace), "replaced");
    for expected in [is_urgent, was_urgent] {
        assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('q')"), [expected]);
    }
}

/// A server with eight places, whose worker writes no counts down.
fn crowded_server() -> Server {
    let settings =
        "shared_preload_libraries = 'pgqueue'\npgqueue.max_queues_hint = 8\npgqueue.vacuum_interval = '1 h'";
    let server = Server::bare(settings);
    server.connect().batch_execute("CREATE EXTENSION pgqueue").unwrap();
    server
}

/// Pushes into many queues and consumes from some.
const CROWD: [&str; 3] = [
    "SELECT pgq_vacuum()", // what was counted before is written down
    "SELECT pgq_push('crowd' || n, '1') FROM generate_series(1, 100) n",
    "SELECT pgq_reserve('crowd' || n) FROM generate_series(1, 4) n",
];

#[test]
fn a_queue_that_is_used_keeps_its_hint_beside_a_crowd_of_others() {
    let server = crowded_server();
    let (mut old, mut session, mut others) = (server.connect(), server.connect(), server.connect());
    session.batch_execute("SELECT pgq_create_queue('q')").unwrap();
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pgqueue.queue").unwrap();
    session.batch_execute("SELECT pgq_push_batch('q', array_fill('1'::jsonb, ARRAY[20000]))").unwrap();
    session.batch_execute("SELECT count(pgq_delete(id)) FROM pgq_reserve('q', max => 20000)").unwrap();
    for _ in 0..20 {
        CROWD.iter().for_each(|call| others.batch_execute(call).unwrap());
        session.batch_execute("SELECT pgq_push('q', '2')").unwrap();
        // What was fetched by transactions before may be counted too.
        let fetched = "SELECT pg_stat_get_xact_blocks_fetched('pgqueue.message_ready'::regclass)";
        let mut reserving = session.transaction().unwrap();
        let before: i64 = reserving.query_one(fetched, &[]).unwrap().get(0);
        reserving.batch_execute("SELECT pgq_delete(id) FROM pgq_reserve('q')").unwrap();
        let blocks = reserving.query_one(fetched, &[]).unwrap().get::<_, i64>(0) - before;
        assert!((1..30).contains(&blocks), "a reserve reads {blocks} blocks of the index");
        reserving.commit().unwrap();
    }
}

#[test]
fn a_rollback_gives_back_each_message_it_had_reserved_not_all_in_between() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off");
    let (mut first, mut second) = (server.connect(), server.connect());
    let reserve =
        |max: i32| format!("SELECT id FROM pgq_reserve('q', lease => '1 h', max => {max}) ORDER BY id");
    second.batch_execute("SELECT pgq_push_batch('q', array_fill('1'::jsonb, ARRAY[30020]))").unwrap();
    first.batch_execute("BEGIN").unwrap();
    let mut reserved = first.all::<i64>(&reserve(10));
    assert_eq!(second.all::<i64>(&reserve(30_000)).len(), 30_000);
    reserved.extend(first.all::<i64>(&reserve(10)));
    first.batch_execute("ROLLBACK").unwrap();
    // One call looks at 20,000 entries at most that give nothing, and these lie 30,000 apart.
    assert_eq!(second.all::<i64>(&reserve(20)), reserved);
}

#[test]
fn a_prepared_transaction_that_pushes_to_many_queues_leaves_places_for_the_hints_of_others() {
    let server = crowded_server();
    let (mut old, mut session, mut others) = (server.connect(), server.connect(), server.connect());
    session.batch_execute("SELECT pgq_create_queue('q' || n) FROM generate_series(1, 200) n").unwrap();
    others
        .batch_execute(
            "BEGIN; SELECT pgq_push('q' || n, '1') FROM generate_series(1, 200) n; PREPARE TRANSACTION 'many'",
        )
        .unwrap();
    session.batch_execute("SELECT pgq_create_queue('q')").unwrap();
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pgqueue.queue").unwrap();
    session.batch_execute("SELECT pgq_push_batch('q', array_fill('1'::jsonb, ARRAY[20000]))").unwrap();
    session.batch_execute("SELECT count(pgq_delete(id)) FROM pgq_reserve('q', max => 20000)").unwrap();
    for _ in 0..10 {
        session.batch_execute("SELECT pgq_push('q', '2')").unwrap();
        session.batch_execute("SELECT pgq_delete(id) FROM pgq_reserve('q')").unwrap();
    }
    let fetched = "SELECT pg_stat_get_xact_blocks_fetched('pgqueue.message_ready'::regclass)";
    session.batch_execute("SELECT pgq_push('q', '2')").unwrap();
    let mut reserving = session.transaction().unwrap();
    let before: i64 = reserving.query_one(fetched, &[]).unwrap().get(0);
    reserving.batch_execute("SELECT pgq_delete(id) FROM pgq_reserve('q')").unwrap();
    let blocks = reserving.query_one(fetched, &[]).unwrap().get::<_, i64>(0) - before;
    assert!((1..30).contains(&blocks), "a reserve reads {blocks} blocks of the index");
    reserving.commit().unwrap();
    others.batch_execute("COMMIT PREPARED 'many'").unwrap();
    until("the prepared messages are found", || {
        let found = "SELECT count(id) FROM generate_series(1, 200) n, pgq_peek('q' || n)";
        session.one::<i64>(found) == 200
            && session.one::<i64>("SELECT count(id) FROM generate_series(1, 200) n, pgq_pop('q' || n)") == 200
    });
}
