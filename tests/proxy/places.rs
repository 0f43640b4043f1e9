//! Which partition a call goes to, and what cannot be done because it would be two.

use postgres::Client;
use support::{Ask, until_blocked};

use crate::sharded::{IDS_EACH, PARTITIONS, ROWS, Sharded, answer, partition_of, queue_of_each};

#[test]
fn a_settle_call_finds_each_message_by_its_id() {
    let sharded = Sharded::on_one_server();
    let mut proxy = sharded.proxy();
    let queues = queue_of_each(&mut proxy);
    let mut ids: Vec<i64> = Vec::new();
    for (n, queue) in queues.iter().enumerate() {
        ids.extend(proxy.all_with::<i64>("SELECT pgq_push($1, '1') FROM generate_series(1, 5)", &[queue]));
        assert_eq!(sharded.partition(n).one::<i64>("SELECT sum(total)::bigint FROM pgq_stats()"), 5);
    }
    assert_eq!(
        ids.iter().map(|&id| partition_of(id)).collect::<Vec<_>>(),
        [[0; 5], [1; 5], [2; 5], [3; 5]].concat()
    );
    assert_eq!(ids[0], 1);
    assert!(ids.iter().all(|&id| id < 1 << 53));

    // Of all partitions at once, some with a wrong receipt, and some that are nowhere.
    let (mut receipts, mut wrong) = (Vec::new(), Vec::new());
    for queue in &queues {
        let rows =
            proxy.query("SELECT id, delivery FROM pgq_reserve($1, max => 4) ORDER BY id", &[queue]).unwrap();
        receipts.extend(rows.iter().map(|row| (row.get::<_, i64>(0), row.get::<_, i64>(1))));
        wrong.push(receipts.last().unwrap().0);
    }
    receipts.push((9 * IDS_EACH + 1, 1));
    receipts.reverse();
    for (id, delivery) in &mut receipts {
        *delivery += i64::from(wrong.contains(id));
    }
    let (given, deliveries): (Vec<i64>, Vec<i64>) = receipts.into_iter().unzip();
    let settled: Vec<i64> = proxy.all_with("SELECT pgq_delete_batch($1, $2)", &[&given, &deliveries]);
    let mut expected: Vec<i64> = given.clone();
    expected.retain(|id| *id < 4 * IDS_EACH && !wrong.contains(id));
    expected.sort();
    assert_eq!(settled, expected);
    assert_eq!(settled.len(), 12);
    // What is left is left.
    assert_eq!(proxy.one::<i64>("SELECT sum(total)::bigint FROM pgq_stats()"), 8);
    assert_eq!(proxy.all_with::<i64>("SELECT pgq_cancel_batch($1::bigint[])", &[&ids]).len(), 4);
}

#[test]
fn receipts_that_cannot_be_read_change_nothing_on_any_partition() {
    let sharded = Sharded::on_one_server();
    let mut proxy = sharded.proxy();
    for queue in queue_of_each(&mut proxy) {
        proxy.execute("SELECT pgq_push($1, '1')", &[&queue]).unwrap();
    }
    proxy
        .batch_execute(
            "CREATE TEMP TABLE held AS SELECT m.id FROM pgq_list_queues() q, pgq_reserve(q.queue) m",
        )
        .unwrap();
    let ids = "ARRAY(SELECT id FROM held ORDER BY id)";
    for (mistake, sqlstate) in [
        (format!("pgq_delete_batch({ids}, '{{1, 1, 1, NULL}}')"), "22004"),
        (format!("pgq_delete_batch({ids} || NULL::bigint)"), "22004"),
        (format!("pgq_delete_batch({ids}, '{{1, 1, 1}}')"), "22023"),
        (format!("pgq_bury_batch({ids}, NULL)"), "22004"),
        (format!("pgq_release_batch({ids}, '-1 s')"), "22023"),
    ] {
        assert_eq!(proxy.sqlstate(&format!("SELECT {mistake}")), sqlstate, "{mistake}");
        assert_eq!(proxy.one::<i64>("SELECT sum(leased)::bigint FROM pgq_stats()"), 4, "{mistake}");
    }
}

#[test]
fn a_call_over_two_partitions_is_refused() {
    let sharded = Sharded::on_one_server();
    let mut proxy = sharded.proxy();
    let [a, b, ..] = &queue_of_each(&mut proxy)[..] else { unreachable!() };
    proxy
        .batch_execute(&format!(
            "SELECT pgq_push('{a}', '1'), pgq_push('{b}', '2'), pgq_push('{a}', '3');
             CREATE TEMP TABLE waiting AS SELECT id FROM pgq_peek('{a}', 1);
             CREATE TEMP TABLE held AS SELECT id, receipt FROM pgq_reserve('{a}') UNION ALL SELECT id, receipt FROM pgq_reserve('{b}');
             SELECT pgq_bury(pgq_push('{a}', '5'), 'no');
             SELECT pgq_schedule('s', '{a}', '1 h', '1')"
        ))
        .unwrap();
    let state = |proxy: &mut Client| {
        let messages = "SELECT queue, ready, leased, dead, delivered FROM pgq_stats() ORDER BY queue";
        let schedules = "SELECT name, queue, payload FROM pgq_list_schedules()";
        [messages, "SELECT queue, settings FROM pgq_list_queues() ORDER BY queue", schedules]
            .map(|query| answer(proxy, query))
    };
    let before = state(&mut proxy);
    for statement in [
        "SELECT pgq_release_batch(ARRAY(SELECT id FROM held), strict => true)".to_owned(),
        "SELECT pgq_delete_batch(ARRAY(SELECT id FROM held), strict => true)".to_owned(),
        "SELECT pgq_extend_batch(ARRAY(SELECT id FROM held), '1 h', strict => true)".to_owned(),
        "SELECT pgq_fail_batch(ARRAY(SELECT id FROM held), 'no', strict => true)".to_owned(),
        "SELECT pgq_bury_batch(ARRAY(SELECT id FROM held), 'no', strict => true)".to_owned(),
        format!("SELECT pgq_move((SELECT id FROM waiting), '{b}')"),
        format!("SELECT pgq_next('{a}', ARRAY(SELECT id FROM held))"),
        format!("SELECT pgq_next('{b}', ARRAY(SELECT min(id) FROM held))"),
        format!("SELECT pgq_move_batch(ARRAY(SELECT id FROM waiting), '{b}')"),
        format!("SELECT pgq_redrive('{a}', to_queue => '{b}')"),
        "SELECT pgq_delete_by_receipts(ARRAY(SELECT receipt FROM held), strict => true)".to_owned(),
        "SELECT pgq_bury_by_receipts(ARRAY(SELECT receipt FROM held), 'no', strict => true)".to_owned(),
        format!("SELECT pgq_next('{a}', receipts => ARRAY(SELECT receipt FROM held))"),
        format!("SELECT pgq_redrive_dead(id, '{b}') FROM pgq_peek_dead('{a}')"),
        format!("SELECT pgq_redrive_dead_batch(ARRAY(SELECT id FROM pgq_peek_dead('{a}')), '{b}')"),
        format!("SELECT pgq_create_queue('{{{a}}} new', '{{\"events_to\": \"{b}\"}}')"),
        format!("SELECT pgq_alter_queue('{a}', '{{\"events_to\": \"{b}\"}}')"),
        format!("SELECT pgq_schedule('s', '{b}', '1 h', '2')"),
        format!("SELECT pgq_watch('w', '{a}', 'SELECT 1, 1', '1 h')"),
        "SELECT pgq_unwatch('w')".to_owned(),
        "SELECT pgq_list_watches()".to_owned(),
    ] {
        assert_eq!(proxy.sqlstate(&statement), "0A000", "{statement}");
        assert_eq!(state(&mut proxy), before, "{statement}");
    }
}

#[test]
fn queues_with_the_same_part_in_braces_are_on_one_partition() {
    let sharded = Sharded::on_one_server();
    let mut proxy = sharded.proxy();
    proxy
        .batch_execute(
            "SELECT pgq_create_queue('{shop} orders', '{\"events_to\": \"{shop} events\"}');
             SELECT pgq_create_queue('orders to {shop}s');
             SELECT pgq_push('{shop} orders', '1');
             SELECT pgq_bury(id, 'no') FROM pgq_reserve('{shop} orders');
             SELECT pgq_redrive('{shop} orders', to_queue => 'orders to {shop}s');
             SELECT pgq_move_batch(ARRAY(SELECT id FROM pgq_peek('orders to {shop}s')), '{shop} orders');
             SELECT pgq_schedule('s', '{shop} orders', '1 h', '1');
             SELECT pgq_schedule('s', 'shop', '1 h', '2')",
        )
        .unwrap();
    let queues: Vec<String> = proxy.all("SELECT queue || ' ' || total FROM pgq_stats() ORDER BY queue");
    assert_eq!(queues, ["orders to {shop}s 0", "shop 0", "{shop} events 1", "{shop} orders 1"]);
    assert_eq!(proxy.one::<i64>("SELECT count(DISTINCT pgq_shard(queue)) FROM pgq_list_queues()"), 1);
    assert_eq!(proxy.all::<String>("SELECT payload::text FROM pgq_list_schedules()"), ["2"]);
    // Empty or open braces hold nothing.
    for names in ["'{}a', '{}b', '{}c', '{}d'", "'{a', '{b', '{c', '{d'", "'}{a', '}{b', '}{c', '}{d'"] {
        let places =
            format!("SELECT count(DISTINCT pgqueue_proxy.of_queue(name)) FROM unnest(ARRAY[{names}]) name");
        assert_eq!(proxy.one::<i64>(&places), 4, "{names}");
    }
}

#[test]
fn ids_stay_within_their_partition() {
    let sharded = Sharded::on_one_server();
    let mut partition = sharded.partition(1);
    let first: i64 = partition.one("SELECT pgq_push('q', '1')");
    assert!((IDS_EACH..2 * IDS_EACH).contains(&first), "{first}");
    // Made again, it goes on; made another, or of what has had messages, it is refused.
    sharded.make_partition(1, 1).unwrap();
    assert_eq!(partition.one::<i64>("SELECT pgq_push('q', '2')"), first + 1);
    let errors = sharded.make_partition(1, 2).unwrap_err();
    assert!(errors.contains("ids of another partition"), "{errors}");
    assert_eq!(partition.one::<i32>("SELECT pgqueue_proxy.partition()"), 1);
    assert!(sharded.make_partition(3, 256).unwrap_err().contains("not between 0 and 255"));
    // Where the sequence ends, and where this timeline's last range does.
    const RANGE: i64 = 1 << 32;
    let end_of_last_range = (2 * IDS_EACH / RANGE / 16 * 16 + 1) * RANGE;
    for last in [2 * IDS_EACH - 1, end_of_last_range.min(2 * IDS_EACH) - 1] {
        partition.batch_execute(&format!("SELECT setval('pgqueue.message_id', {last})")).unwrap();
        assert_eq!(partition.sqlstate("SELECT pgq_push('q', '3')"), "2200H");
    }
}

#[test]
fn a_proxy_is_not_made_of_parts_that_do_not_fit_together() {
    let sharded = Sharded::on_one_server();
    let mut proxy = sharded.proxy();
    let mut refused = |session: &mut Client, change: &str, back: &str, reason: &str| {
        session.batch_execute(change).unwrap();
        let errors = sharded.make_proxy().expect_err(change);
        assert!(errors.contains(reason), "{errors}");
        // What was built before is still there.
        assert_eq!(proxy.one::<i64>("SELECT count(*) FROM pg_proc WHERE proname = 'pgq_push'"), 2);
        session.batch_execute(back).unwrap();
        sharded.make_proxy().unwrap();
    };
    let set_p1 = |address: &str| format!("ALTER SERVER pgqueue OPTIONS (SET p1 '{address}')");
    let [p1, p2] = [1, 2].map(|n| sharded.address(n));
    let mut owner = sharded.proxy();
    refused(&mut owner, &set_p1(&p2), &set_p1(&p1), "p1 leads to partition 2");
    for address in [
        format!("{p1} user=postgres"),
        format!("dbname=postgresql://postgres@localhost/queues_1 {p1}"),
        p1.split(" options").next().unwrap().to_owned(),
    ] {
        assert_eq!(owner.sqlstate(&set_p1(&address)), "22023", "{address}");
    }
    let mut partition = sharded.partition(1);
    let version: String = partition.one("SELECT extversion FROM pg_extension WHERE extname = 'pgqueue'");
    let set_version =
        |to: &str| format!("UPDATE pg_extension SET extversion = '{to}' WHERE extname = 'pgqueue'");
    refused(&mut partition, &set_version("other"), &set_version(&version), "partition 1 has pgqueue other");
}

#[test]
fn a_proxy_made_again_keeps_its_dependents_and_privileges() {
    let sharded = Sharded::on_one_server();
    let mut proxy = sharded.proxy();
    proxy
        .batch_execute(
            "CREATE VIEW report AS SELECT queue, total FROM pgq_stats();
             CREATE TABLE job (message pgq_message);
             REVOKE EXECUTE ON FUNCTION pgq_drop_queue(text) FROM PUBLIC",
        )
        .unwrap();
    sharded.make_proxy().unwrap();
    proxy.batch_execute("SELECT pgq_push('q', '1')").unwrap();
    assert_eq!(proxy.one::<i64>("SELECT total FROM report"), 1);
    assert!(
        proxy.one::<bool>(
            "SELECT NOT has_function_privilege('pg_monitor', 'pgq_drop_queue(text)', 'EXECUTE')"
        )
    );
}

#[test]
fn a_partition_made_again_gives_no_id_twice_beside_pushes() {
    let sharded = Sharded::on_one_server();
    let (mut pusher, mut observer) = (sharded.partition(1), sharded.partition(1));
    pusher.batch_execute("BEGIN; SELECT pgq_push('q', '1')").unwrap();
    std::thread::scope(|scope| {
        let making = scope.spawn(|| sharded.make_partition(1, 1));
        until_blocked(&mut observer, 1);
        pusher.batch_execute("SELECT pgq_push('q', '2'); COMMIT").unwrap();
        making.join().unwrap().unwrap();
    });
    let given: i64 = pusher.one("SELECT max(id) FROM pgq_pop('q', 9)");
    assert!(pusher.one::<i64>("SELECT pgq_push('q', '3')") > given);
}

#[test]
fn a_schema_whose_name_needs_quotes_is_refused() {
    let sharded = Sharded::on_one_server();
    for n in 0..PARTITIONS {
        let again =
            "DROP EXTENSION pgqueue; CREATE SCHEMA \"Queue\"; CREATE EXTENSION pgqueue SCHEMA \"Queue\"";
        sharded.partition(n).batch_execute(again).unwrap();
        sharded.make_partition(n, n).unwrap();
    }
    let errors = sharded.make_proxy().unwrap_err();
    assert!(errors.contains("needs quotes: \"Queue\""), "{errors}");
}

#[test]
fn a_schedule_is_removed_where_it_is_the_callers_and_nowhere_else() {
    let sharded = Sharded::on_one_server();
    sharded.everywhere("CREATE ROLE shop LOGIN; CREATE ROLE eve LOGIN");
    let queues = queue_of_each(&mut sharded.proxy());
    let mut sessions = ["shop", "eve"].map(|role| {
        sharded
            .proxy()
            .batch_execute(&format!(
                "GRANT USAGE ON FOREIGN SERVER pgqueue TO {role};
                 CREATE USER MAPPING FOR {role} SERVER pgqueue OPTIONS (user '{role}')"
            ))
            .unwrap();
        sharded.proxy_as(role)
    });
    for (session, queue) in sessions.iter_mut().zip(&queues) {
        session.batch_execute(&format!("SELECT pgq_schedule('nightly', '{queue}', '1 h', '1')")).unwrap();
    }
    let [shop, eve] = &mut sessions;
    // A session that writes dates otherwise has functions of its own.
    for style in ["ISO", "German"] {
        shop.batch_execute(&format!(
            "SET DateStyle = {style}; SELECT pgq_schedule('nightly', '{}', '1 h', '1')",
            queues[0]
        ))
        .unwrap();
        assert!(shop.one::<bool>("SELECT pgq_unschedule('nightly')"), "{style}");
        assert!(!shop.one::<bool>("SELECT pgq_unschedule('nightly')"), "{style}");
        assert_eq!(eve.one::<i64>("SELECT count(*) FROM pgq_list_schedules()"), 1);
    }
}

#[test]
fn after_an_update_of_the_extension_the_proxy_is_made_anew() {
    let sharded = Sharded::on_one_server();
    let mut proxy = sharded.proxy();
    for n in 0..PARTITIONS {
        sharded
            .partition(n)
            .batch_execute(
                "CREATE FUNCTION pgq_new(queue text) RETURNS text LANGUAGE sql AS 'SELECT current_database()::text';
                 ALTER EXTENSION pgqueue ADD FUNCTION pgq_new(text);
                 ALTER TYPE pgq_lease ADD ATTRIBUTE more text",
            )
            .unwrap();
    }
    let errors = sharded.make_proxy().unwrap_err();
    assert!(errors.contains("there is no route for pgq_new(queue text)"), "{errors}");
    // As the route of the next version would say.
    let definition: String = proxy.one("SELECT pg_get_viewdef('pgqueue_proxy.route'::regclass)");
    let definition = definition.trim_end_matches(';');
    proxy
        .batch_execute(&format!(
            "CREATE OR REPLACE VIEW pgqueue_proxy.route (call, run_on, before, note) AS
             {definition} UNION ALL VALUES ('pgq_new(queue)', 'of_queue(queue)', NULL, NULL);
             SELECT pgqueue_proxy.build()"
        ))
        .unwrap();
    assert!(proxy.one::<bool>("SELECT pgq_new('q') = substring(pgq_shard('q') FROM 'dbname=(\\S*)')"));
    assert_eq!(proxy.all::<String>(ROWS), sharded.partition(0).all::<String>(ROWS));
}
