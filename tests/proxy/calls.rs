//! What the functions of a proxy give.

use std::time::{Duration, Instant};

use support::{Ask, until};

use crate::sharded::{PARTITIONS, ROWS, Sharded, answer, queue_of_each};

/// Name, parameters and result of the functions in the schema of the extension.
const FUNCTIONS: &str = "SELECT p.proname || '(' || pg_get_function_arguments(p.oid) || ') '
                             || coalesce(pg_get_function_result(p.oid), 'procedure')
                           FROM pg_proc p
                          WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'pgq\\_%'
                          ORDER BY 1";

#[test]
fn every_function_of_the_extension_is_there_or_named_as_not_to_be_had() {
    let sharded = Sharded::on_one_server();
    let (mut proxy, mut partition) = (sharded.proxy(), sharded.partition(1));

    let mut expected: Vec<String> = partition.all(FUNCTIONS);
    assert!(expected.len() > 40, "{expected:?}");
    // Only a trigger function cannot be there and say no: it would say so much later.
    expected.retain(|function| function != "pgq_capture() trigger");
    let found: Vec<String> = proxy.all(FUNCTIONS);
    let own = "pgq_shard(queue text) text";
    assert!(found.iter().any(|function| function == own));
    let found: Vec<String> = found.into_iter().filter(|function| function != own).collect();
    assert_eq!(found, expected);
    assert_eq!(proxy.all::<String>(ROWS), partition.all::<String>(ROWS));

    // A route for each function, no route for what is not there, and a reason for each that is none.
    let calls = "SELECT DISTINCT format('%s(%s)', p.proname, (p.proargnames[1:p.pronargs])[1]) COLLATE \"C\"
                   FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid JOIN pg_extension e ON e.oid = d.refobjid
                  WHERE p.pronamespace = e.extnamespace AND e.extname = 'pgqueue' AND d.deptype = 'e' ORDER BY 1";
    let expected: Vec<String> = partition.all(calls);
    let routes: Vec<String> = proxy.all("SELECT call FROM pgqueue_proxy.route ORDER BY call COLLATE \"C\"");
    assert_eq!(routes, expected);
    assert_eq!(
        proxy.one::<i64>(
            "SELECT count(*) FROM pgqueue_proxy.route WHERE (run_on IS NULL) <> (note IS NOT NULL)"
        ),
        0
    );
}

/// A day in the life of a queue, with each call in it. Each statement gives the same on any
/// pgqueue, but for ids and times.
const DAY: &[&str] = &[
    "SELECT pgq_create_queue('{day} jobs', '{\"lease\": \"5 min\", \"events_to\": \"{day} events\"}')",
    "SELECT pgq_create_queue('{day} jobs')",
    "SELECT pgq_alter_queue('{day} jobs', '{\"max_deliveries\": 3, \"archive\": \"1 day\"}')",
    "SELECT queue, owner, settings, created_at <= clock_timestamp(), paused FROM pgq_list_queues() ORDER BY queue",
    // Each way to push.
    "SELECT pgq_push('{day} jobs', '{\"n\": 1.10}', '{\"h\": 1}', priority => 5, group_key => 'g', max_deliveries => 1) > 0",
    "SELECT outcome FROM pgq_push_result('{day} jobs', '2', dedup_key => 'k', lease => '2 h 2 ms')",
    "SELECT outcome FROM pgq_push_result('{day} jobs', '2', dedup_key => 'k')",
    "SELECT id - min(id) OVER () FROM pgq_push_batch('{day} jobs', ARRAY['3', '4', '5', '6', '7', '8']::jsonb[]) id",
    "SELECT id - min(id) OVER () FROM pgq_push_each('{day} each', '[{\"payload\": 1, \"delay\": \"1 h\"}, {\"payload\": {\"n\": 2.10}, \"priority\": 3}]') id",
    "SELECT payload, priority FROM pgq_peek('{day} each', state => 'delayed') UNION ALL SELECT payload, priority FROM pgq_pop('{day} each')",
    "SELECT pgq_drop_queue('{day} each')",
    "SELECT pgq_push_bytes('{day} jobs', '\\x00ff', deliver_at => '2100-02-01 10:00:00+00') > 0",
    "SELECT count(*) FROM pgq_push_bytes_batch('{day} jobs', ARRAY['\\x01', '']::bytea[], priority => 9, ttl => '1 day')",
    // Looking, taking.
    "SELECT pgq_count('{day} jobs'), pgq_count('{day} jobs', true), pgq_count('{day} jobs', group_key => 'g')",
    "SELECT queue, payload, body, headers, priority, group_key, delivery FROM pgq_peek('{day} jobs', 20)",
    "SELECT body FROM pgq_peek('{day} jobs', state => 'delayed')",
    "CREATE TEMP TABLE m AS SELECT * FROM pgq_reserve('{day} jobs', max => 6)",
    "SELECT payload, delivery, leased_until > now() + '4 min', leased_until > now() + '1 h' FROM m ORDER BY id",
    "SELECT m.payload, g.state, g.dedup_key, g.max_deliveries, g.leased_until = m.leased_until
       FROM m, pgq_get(m.id) g ORDER BY m.id",
    "SELECT payload, body FROM pgq_pop('{day} jobs', filter => '{\"h\": 1}')",
    "CREATE TEMP TABLE n AS SELECT * FROM pgq_next('{day} jobs', ARRAY(SELECT id FROM m WHERE payload = '2'),
                                                   ARRAY(SELECT delivery FROM m WHERE payload = '2'))",
    "SELECT payload, delivery FROM n",
    "SELECT r.id = m.id, r.queue, r.delivery, r.payload FROM m, pgq_next('{day} jobs', ARRAY[m.id], ARRAY[9], show_refused => true, group_key => 'nobody''s') r
      WHERE m.payload = '3'",
    // Settling one.
    "SELECT pgq_extend(id, '5 min', delivery, true) IS NULL FROM m WHERE payload = '3'",
    "SELECT pgq_delete(id, delivery + 1), pgq_delete(id, delivery), pgq_delete(id) FROM m WHERE payload = '3'",
    "SELECT e.leased_until > now() + '3 h' FROM m, pgq_extend(m.id, '4 h', m.delivery) e WHERE payload = '4'",
    "SELECT pgq_release(id, '1 h', delivery) FROM m WHERE payload = '4'",
    "SELECT outcome, retry_at > now() + '50 min' FROM m, pgq_fail(m.id, 'no', delay => '1 h') WHERE payload = '5'",
    "SELECT pgq_bury(id, 'never', delivery) FROM m WHERE payload = '6'",
    // Settling many.
    "SELECT count(*) FROM pgq_extend_batch(ARRAY(SELECT id FROM m), '4 h')",
    "SELECT count(*) FROM pgq_delete_batch('{}', '{}')",
    "SELECT count(*) FROM pgq_extend_batch('{}', '1 h', strict => true)",
    "SELECT count(*) FROM pgq_push_batch('{day} jobs', '{}')",
    "SELECT count(*) FROM pgq_next('{day} jobs', '{}', '{}', group_key => 'nobody''s')",
    "SELECT count(*) FROM pgq_release_batch(ARRAY(SELECT id FROM m WHERE payload = '7'), strict => true)",
    "SELECT payload FROM pgq_reserve('{day} jobs', max => 10) ORDER BY id",
    "SELECT outcome FROM pgq_fail_batch(ARRAY(SELECT id FROM m), 'no') ORDER BY id",
    "SELECT count(*) FROM pgq_bury_batch(ARRAY(SELECT id FROM n), 'never', ARRAY(SELECT delivery FROM n))",
    "SELECT count(*) FROM pgq_delete_batch(ARRAY(SELECT id FROM m))",
    "SELECT payload ->> 'event', payload ->> 'reason' FROM pgq_pop('{day} events', 20) ORDER BY id",
    // The same by receipt.
    "SELECT count(*) FROM pgq_push_batch('{day} receipts', array_fill('1'::jsonb, ARRAY[12]))",
    "CREATE TEMP TABLE r AS SELECT receipt, row_number() OVER (ORDER BY id) AS n FROM pgq_reserve('{day} receipts', '1 h', 10)",
    "SELECT count(*) FROM r, pgq_extend_by_receipt(receipt, '2 h') WHERE n = 1",
    "SELECT pgq_release_by_receipt(receipt, '1 h'), pgq_release_by_receipt(receipt) FROM r WHERE n = 1",
    "SELECT outcome FROM r, pgq_fail_by_receipt(receipt, 'no') WHERE n = 2",
    "SELECT pgq_bury_by_receipt(receipt, 'no'), pgq_bury_by_receipt(receipt, 'no') FROM r WHERE n = 3",
    "SELECT pgq_delete_by_receipt(receipt), pgq_delete_by_receipt(receipt) FROM r WHERE n = 4",
    "SELECT count(*) FROM pgq_extend_by_receipts(ARRAY(SELECT receipt FROM r), '2 h')",
    "SELECT count(*) FROM pgq_release_by_receipts(ARRAY(SELECT receipt FROM r WHERE n = 5), '1 h')",
    "SELECT count(*) FROM pgq_fail_by_receipts(ARRAY(SELECT receipt FROM r WHERE n = 6), 'no')",
    "SELECT count(*) FROM pgq_bury_by_receipts(ARRAY(SELECT receipt FROM r WHERE n = 7), 'no')",
    "SELECT count(*) FROM pgq_delete_by_receipts(ARRAY(SELECT receipt FROM r WHERE n IN (4, 8)))",
    "SELECT count(*) FROM pgq_delete_by_receipts('{}', true)",
    "SELECT receipt = (SELECT receipt FROM r WHERE n = 8), queue FROM pgq_next('{day} receipts', receipts => ARRAY(SELECT receipt FROM r WHERE n IN (8, 9)), show_refused => true)",
    "SELECT count(*), count(receipt) FROM pgq_peek('{day} receipts', 20, 'leased')",
    "SELECT pgq_purge('{day} receipts') > 0, pgq_drop_queue('{day} receipts')",
    // Changing what nobody holds.
    "CREATE TEMP TABLE waiting AS SELECT pgq_push('{day} jobs', n::text::jsonb, delay => '1 h') AS id FROM generate_series(21, 26) n",
    "SELECT pgq_update(min(id), '{\"new\": 1}', deliver_at => now()) FROM waiting",
    "SELECT payload FROM pgq_peek('{day} jobs', 10)",
    "SELECT pgq_cancel(max(id)), pgq_cancel(max(id)) FROM waiting",
    "SELECT count(*) FROM pgq_cancel_batch(ARRAY(SELECT id FROM waiting ORDER BY id DESC LIMIT 2))",
    "SELECT pgq_move(min(id), '{day} events') > min(id), pgq_move(min(id), '{day} events') IS NULL FROM waiting",
    "SELECT new_id > id FROM pgq_move_batch(ARRAY(SELECT id FROM waiting), '{day} events')",
    // The dead.
    "SELECT payload, delivery, reason, errors -> 0 ->> 'error' FROM pgq_peek_dead('{day} jobs', 10)",
    "SELECT pgq_redrive('{day} jobs', max => 1, to_queue => '{day} events')",
    "SELECT payload, delivery, reason FROM pgq_dump_dead('{day} jobs', 10)",
    "CREATE TEMP TABLE letter AS SELECT pgq_push('{day} jobs', n::text::jsonb) AS id FROM generate_series(31, 35) n",
    "SELECT pgq_bury(id, 'x') FROM letter",
    "SELECT pgq_redrive_dead(min(id)) > max(id), pgq_redrive_dead(min(id)) IS NULL, pgq_delete_dead(max(id)), pgq_delete_dead(max(id)) FROM letter",
    "SELECT new_id > l.id FROM (SELECT id FROM letter ORDER BY id OFFSET 1 LIMIT 2) l, pgq_redrive_dead_batch(ARRAY[l.id], '{day} events') ORDER BY l.id",
    "SELECT count(*) FROM pgq_delete_dead_batch(ARRAY(SELECT id FROM letter))",
    "SELECT pgq_redrive('{day} jobs')",
    "SELECT a.payload, g.state FROM pgq_peek('{day} jobs', 20, 'archived') a, pgq_get(a.id) g ORDER BY a.id",
    // Managing.
    "SELECT queue, ready, delayed, leased, blocked, dead, total, pushed, delivered, deleted, retried, died
       FROM pgq_stats('{day} jobs', true)",
    "SELECT queue, total FROM pgq_stats() ORDER BY queue",
    "SELECT count(*) FROM pgq_stats('nobody')",
    "SELECT pgq_pause('{day} jobs'), pgq_pause('{day} jobs'), pgq_count('{day} jobs'), pgq_resume('{day} jobs')",
    "CALL pgq_wait('{day} events', '1 h', 2)",
    "CALL pgq_wait('{day} nobody', '0')",
    "SELECT pgq_schedule('day', '{day} jobs', '0 0 1 1 *', '{\"y\": 1}', time_zone => 'Europe/Berlin') > now()",
    "SELECT name, queue, every, time_zone, payload, priority, last_run, owner FROM pgq_list_schedules()",
    "SELECT pgq_unschedule('day'), pgq_unschedule('day')",
    "SELECT count(*) > 0, bool_and(last_run IS NOT NULL), bool_and(errors = '{}') FROM pgq_vacuum()",
    "SELECT count(*) > 0, bool_and(page_size = 1000) FROM pgq_vacuum_stats",
    "SELECT pgq_grant('{day} jobs', 'pg_monitor', 'push'), pgq_grant('{day} jobs', 'pg_monitor', 'push')",
    "SELECT pgq_grant('{day} events', 'public', 'consume')",
    "SELECT * FROM pgq_list_grants('{day} jobs')",
    "SELECT * FROM pgq_list_grants() ORDER BY queue",
    "SELECT pgq_revoke('{day} jobs', 'pg_monitor', 'push'), pgq_revoke('{day} jobs', 'pg_monitor', 'push')",
    "SELECT pgq_set_owner('{day} jobs', 'pg_monitor'), pgq_set_owner('{day} jobs', 'pg_monitor')",
    "SELECT pgq_reassign_owned('pg_monitor', 'postgres'), pgq_reassign_owned('pg_monitor', 'postgres')",
    "SELECT pgq_purge('{day} events', 'ready') > 0",
    "SELECT pgq_drop_queue('{day} jobs') > 0, pgq_drop_queue('{day} events') >= 0",
];

/// Mistakes, which the proxy leaves to the partition.
const MISTAKES: &[&str] = &[
    "SELECT pgq_push(NULL, '1')",
    "SELECT pgq_push('', '1')",
    "SELECT pgq_push(repeat('x', 513), '1')",
    "SELECT pgq_push('q', NULL)",
    "SELECT pgq_push('q', '1', delay => '-1 s')",
    "SELECT pgq_push('q', '1', on_duplicate => 'maybe')",
    "SELECT pgq_reserve('q', max => 0)",
    "SELECT pgq_delete(NULL::bigint)",
    "SELECT pgq_delete_batch(NULL::bigint[])",
    "SELECT pgq_delete_batch('{}'::bigint[])",
    "SELECT pgq_delete_batch('{1, NULL}'::bigint[])",
    "SELECT pgq_delete_batch('{1, 10000000000001, NULL}'::bigint[])",
    "SELECT pgq_delete_batch('{1, 10000000000001}'::bigint[], '{1}')",
    "SELECT pgq_delete_batch('{1, 10000000000001}'::bigint[], '{1, NULL}')",
    "SELECT pgq_delete_batch('{{1, 10000000000001}, {2, 3}}'::bigint[])",
    "SELECT pgq_extend_batch('{1, 10000000000001}'::bigint[], '0')",
    "SELECT pgq_delete(-1), pgq_delete(9223372036854775807), pgq_delete(0)",
    "SELECT pgq_delete(5, 1, NULL)",
    "SELECT pgq_delete(5, strict => true)",
    "SELECT pgq_extend(5, '1 h', 4294967297, true)",
    "SELECT pgq_release(5, '0', 1, true)",
    "SELECT pgq_fail(5, 'no', 1, strict => true)",
    "SELECT pgq_bury(5, 'no', 1, true)",
    "SELECT pgq_delete_batch('{5}', strict => true)",
    "SELECT pgq_extend_batch('{5,6}', '1 h', strict => true)",
    "SELECT pgq_release_batch('{5}', strict => true)",
    "SELECT pgq_fail_batch('{5}', 'no', strict => true)",
    "SELECT pgq_bury_batch('{5}', 'no', '{1}', true)",
    "SELECT pgq_next('q', '{-5}', strict => true)",
    "SELECT pgq_move(NULL, 'q')",
    "SELECT pgq_get(NULL)",
    "SELECT pgq_drop_queue('nobody')",
    "SELECT pgq_create_queue('q', '{\"no\": 1}')",
    "SELECT pgq_create_queue('q', '[]')",
    "SELECT pgq_create_queue('q', NULL)",
    "SELECT pgq_move_batch('{}', 'q')",
    "SELECT pgq_schedule(NULL, 'q', '1 h', '1')",
    "SELECT pgq_schedule('s', 'q', 'whenever', '1')",
    "SELECT pgq_unschedule(NULL)",
    "CALL pgq_wait(NULL)",
    "CALL pgq_wait('q', NULL)",
    "CALL pgq_wait('q', '-1 s')",
    "CALL pgq_wait('q', min => 0)",
    "CALL pgq_wait('q', min => NULL)",
    "CALL pgq_wait('q', '101 years')",
    "CALL pgq_wait('q', '1000000 years')",
    "SELECT pgq_push_each('q', '[{\"payload\": 1, \"delya\": 1}]')",
    "SELECT pgq_push_each(NULL, '[]')",
    "SELECT pgq_push_each('q', NULL)",
    "SELECT pgq_delete_by_receipt(NULL)",
    "SELECT pgq_delete_by_receipt('soon')",
    "SELECT pgq_extend_by_receipt('10000000000001-1', NULL)",
    "SELECT pgq_release_by_receipt('99999999999999999999-1')",
    "SELECT pgq_fail_by_receipt('20000000000001-7', 'no', strict => true)",
    "SELECT pgq_delete_by_receipts(NULL)",
    "SELECT pgq_delete_by_receipts('{1-1, NULL, 10000000000001-1}')",
    "SELECT pgq_delete_by_receipts('{1-1, later, 10000000000001-1}')",
    "SELECT pgq_bury_by_receipts('{{1-1}, {10000000000001-1}}', 'no')",
    "SELECT pgq_next('q', '{1}', receipts => '{1-1}')",
    "SELECT pgq_next('q', receipts => '{1-1, NULL}')",
    // What the proxy looks at before.
    "SELECT pgq_move_batch('{20000000000001}', NULL)",
    "SELECT pgq_move_batch('{20000000000001, NULL}', 'q')",
    "SELECT pgq_move_batch('{-30000000000001, 0}', 'q')",
    "SELECT pgq_next('q', '{NULL}'::bigint[])",
    "SELECT pgq_next(NULL, '{20000000000001}'::bigint[])",
    "SELECT pgq_release_batch('{1, 10000000000001, NULL}'::bigint[], strict => true)",
    "SELECT pgq_redrive(NULL, to_queue => 'q')",
    "SELECT pgq_redrive('q', to_queue => '')",
    "SELECT pgq_redrive_dead(NULL)",
    "SELECT pgq_redrive_dead(20000000000001, '')",
    "SELECT pgq_redrive_dead_batch('{1, NULL}', 'q')",
    "SELECT pgq_delete_dead(NULL)",
    "SELECT pgq_delete_dead_batch('{{1}, {10000000000001}}')",
    "SELECT pgq_create_queue('z', '{\"events_to\": \"\"}')",
    "SELECT pgq_create_queue('z', '{\"events_to\": 5}')",
    "SELECT pgq_extend_batch('{1, 10000000000001}'::bigint[], '1 h', '{{1}, {1}}')",
    "SELECT pgq_grant('q', 'gone', 'push')",
    "SELECT pgq_revoke('q', NULL, 'push')",
    "SELECT pgq_set_owner('q', 'public')",
];

#[test]
fn each_call_gives_the_answer_of_a_single_server() {
    let sharded = Sharded::on_one_server();
    sharded.servers[0].connect().batch_execute("CREATE DATABASE single").unwrap();
    let mut single = sharded.servers[0].connect_to("single");
    single.batch_execute("CREATE EXTENSION pgqueue").unwrap();
    let mut proxy = sharded.proxy();
    for statement in DAY {
        let expected = answer(&mut single, statement);
        assert!(expected.is_ok(), "{statement}: {expected:?}");
        assert_eq!(answer(&mut proxy, statement), expected, "{statement}");
    }
    for statement in MISTAKES {
        assert_eq!(answer(&mut proxy, statement), answer(&mut single, statement), "{statement}");
    }
    // None was forgotten.
    drop(proxy);
    let mut proxy = sharded.proxy();
    let mut idle = Vec::new();
    until("all functions are known to have been called", || {
        idle = proxy.all::<String>(
            "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pgqueue_proxy.route r
                 ON r.call = format('%s(%s)', p.proname, (p.proargnames[1:p.pronargs])[1])
              WHERE p.pronamespace = 'public'::regnamespace AND r.run_on IS NOT NULL
                AND pg_stat_get_function_calls(p.oid) IS NULL",
        );
        idle.is_empty()
    });
}

#[test]
fn calls_through_the_proxy_stay_done_after_a_rollback() {
    let sharded = Sharded::on_one_server();
    let mut proxy = sharded.proxy();
    proxy.batch_execute("BEGIN; SELECT pgq_push('q', '1'); ROLLBACK").unwrap();
    assert_eq!(proxy.one::<i64>("SELECT pgq_count('q')"), 1);
    proxy.batch_execute("BEGIN READ ONLY; SELECT pgq_push('q', '2'); COMMIT").unwrap();
    proxy.batch_execute("BEGIN; SELECT pgq_delete(id) FROM pgq_reserve('q'); ROLLBACK").unwrap();
    assert_eq!(proxy.all::<String>("SELECT payload::text FROM pgq_reserve('q', max => 9)"), ["2"]);
}

#[test]
fn values_arrive_as_they_were_whatever_the_session_s_formats() {
    let sharded = Sharded::on_one_server();
    let mut proxy = sharded.proxy();
    let push = "SELECT pgq_push('q', '{\"n\": 1.10000000000000000000001}', deliver_at => '2100-02-01 10:00+00', ttl => '100000 h 30 min')";
    let seen = "SELECT deliver_at = '2100-02-01T10:00Z', expires_at BETWEEN now() + interval '99999 h' AND now() + interval '100001 h', payload::text FROM pgq_get($1)";
    for formats in [
        "SET DateStyle = 'SQL, DMY'; SET IntervalStyle = sql_standard; SET TimeZone = 'America/St_Johns'",
        "SET DateStyle = 'German'; SET IntervalStyle = iso_8601; SET TimeZone = 'Asia/Kolkata'",
        "SET DateStyle = 'Postgres, MDY'; SET IntervalStyle = postgres_verbose; SET bytea_output = escape",
    ] {
        proxy.batch_execute(formats).unwrap();
        let id: i64 = proxy.one(push);
        let row = proxy.query_one(seen, &[&id]).unwrap();
        assert!(row.get::<_, bool>(0) && row.get::<_, bool>(1), "{formats}");
        assert_eq!(row.get::<_, String>(2), "{\"n\": 1.10000000000000000000001}");
        let held: bool = proxy.one("SELECT pgq_push('held', '1') > 0");
        assert!(held);
        let row = proxy.query_one("SELECT leased_until - now() BETWEEN '89 s' AND '91 s', age FROM pgq_reserve('held', '90 s'), LATERAL (SELECT now() - enqueued_at < '10 s' AS age) a", &[]).unwrap();
        assert!(row.get::<_, bool>(0) && row.get::<_, bool>(1), "{formats}");
    }
    let body: Vec<u8> = (0..20_000_000_u32).map(|n| (n * 7) as u8).collect();
    proxy.execute("SELECT pgq_push_bytes('bytes', $1)", &[&body]).unwrap();
    assert!(proxy.one::<Vec<u8>>("SELECT body FROM pgq_pop('bytes')") == body);
}

#[test]
fn values_are_read_as_they_were_meant_whatever_roles_have_set_on_partitions() {
    let sharded = Sharded::on_one_server();
    for n in 0..PARTITIONS {
        let settings = format!(
            "ALTER ROLE postgres IN DATABASE queues_{n} SET DateStyle = 'SQL, DMY';
             ALTER ROLE postgres IN DATABASE queues_{n} SET IntervalStyle = sql_standard"
        );
        sharded.partition(n).batch_execute(&settings).unwrap();
    }
    let mut proxy = sharded.proxy();
    proxy.batch_execute("SELECT pgq_push('q', '1', deliver_at => '2001-12-13')").unwrap();
    let seen =
        "SELECT enqueued_at BETWEEN now() - interval '1 min' AND now() + interval '1 min' FROM pgq_pop('q')";
    assert_eq!(proxy.all::<bool>(seen), [true]);
    let first = "SELECT pgq_schedule('year', 'q', '0 10 1 2 *', '1') AT TIME ZONE 'UTC'";
    assert!(proxy.one::<String>(&format!("SELECT ({first})::text")).ends_with("-02-01 10:00:00"));
}

#[test]
fn an_array_of_ids_may_begin_anywhere() {
    let sharded = Sharded::on_one_server();
    let mut proxy = sharded.proxy();
    for queue in queue_of_each(&mut proxy) {
        let id: i64 = proxy.query_one("SELECT pgq_push($1, '1')", &[&queue]).unwrap().get(0);
        let cancel = format!("SELECT pgq_cancel_batch('[5:5]={{{id}}}'::bigint[])");
        assert_eq!(proxy.all::<i64>(&cancel), [id]);
    }
}

#[test]
fn a_set_is_whole_although_the_same_select_list_calls_again() {
    let sharded = Sharded::on_one_server();
    let mut proxy = sharded.proxy();
    let pushed =
        "SELECT pgq_push_batch('q', ARRAY['1', '2', '3']::jsonb[]), pgq_count('q'), pgq_push('q', '4')";
    assert_eq!(proxy.query(pushed, &[]).unwrap().len(), 3);
    let nested = "SELECT pgq_delete(id), pgq_push('done', payload) FROM pgq_reserve('q', max => 6)";
    assert_eq!(proxy.all::<bool>(nested), [true; 6]);
    assert_eq!(proxy.one::<i64>("SELECT pgq_count('done')"), 6);
}

#[test]
fn a_waiting_session_goes_on_soon_after_a_push_and_holds_nothing_on_the_partition() {
    let sharded = Sharded::on_one_server();
    let (mut proxy, mut pusher) = (sharded.proxy(), sharded.proxy());
    let waiter = std::thread::spawn(move || {
        let begun = Instant::now();
        proxy.batch_execute("CALL pgq_wait('q', '1 h')").unwrap();
        begun.elapsed()
    });
    let waits =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CALL pgq_wait%' AND state = 'active'";
    until("it waits", || pusher.one::<i64>(waits) == 1);
    let looks =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pgq_count%' AND datname LIKE 'queues\\_%'";
    until("it has looked", || pusher.one::<i64>(looks) > 0);
    let holds = "SELECT count(*) FROM pg_stat_activity
                  WHERE datname LIKE 'queues\\_%' AND backend_type = 'client backend' AND state <> 'active' AND backend_xmin IS NOT NULL";
    assert_eq!(pusher.one::<i64>(holds), 0);
    assert!(!waiter.is_finished());
    pusher.batch_execute("SELECT pgq_push('q', '1')").unwrap();
    assert!(waiter.join().unwrap() < Duration::from_secs(60));
    let begun = Instant::now();
    pusher.batch_execute("CALL pgq_wait('empty', '300 ms')").unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(300));
}
