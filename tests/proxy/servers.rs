//! Several servers, several sessions, several roles.

use postgres::Client;
use support::{Ask, Stop, until};

use crate::sharded::{PARTITIONS, Sharded, answer, queue_of_each};

#[test]
fn each_message_is_delivered_once_by_many_sessions_on_three_servers() {
    const CLIENTS: usize = 8;
    const QUEUES: usize = 24;
    const EACH: usize = 50;
    let sharded = Sharded::on_three_servers();
    let work = |client: usize| {
        let mut session = sharded.proxy();
        let mut done: Vec<(i64, i32)> = Vec::new();
        for n in 0..EACH {
            let queue = format!("queue {}", (client + n) % QUEUES);
            session
                .execute("SELECT pgq_push($1, to_jsonb($2::int))", &[&queue, &((client * EACH + n) as i32)])
                .unwrap();
            let taken = session
                .query("SELECT id, delivery, payload::text::int FROM pgq_reserve($1, max => 3)", &[&queue])
                .unwrap();
            let mut ids: Vec<i64> = taken.iter().map(|row| row.get(0)).collect();
            let deliveries: Vec<i64> = taken.iter().map(|row| row.get(1)).collect();
            if !ids.is_empty() {
                let mut gone: Vec<i64> =
                    session.all_with("SELECT pgq_delete_batch($1, $2)", &[&ids, &deliveries]);
                // An id whose push committed meanwhile can come after a higher one.
                ids.sort();
                gone.sort();
                assert_eq!(gone, ids);
            }
            done.extend(taken.iter().map(|row| (row.get::<_, i64>(0), row.get::<_, i32>(2))));
        }
        done
    };
    let done: Vec<Vec<(i64, i32)>> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || work(client))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let mut session = sharded.proxy();
    let left = "SELECT m.id, m.payload::text::int FROM pgq_list_queues() q, pgq_pop(q.queue, 1000) m";
    let left = session.query(left, &[]).unwrap();
    let all = done.into_iter().flatten().chain(left.iter().map(|row| (row.get(0), row.get(1))));
    let (mut ids, mut numbers): (Vec<i64>, Vec<i32>) = all.unzip();
    ids.sort();
    numbers.sort();
    ids.dedup();
    assert_eq!(numbers, (0..(CLIENTS * EACH) as i32).collect::<Vec<_>>());
    assert_eq!(ids.len(), numbers.len());

    // Every server has had its share, and each queue is where the proxy says.
    for n in 0..PARTITIONS {
        let mut partition = sharded.partition(n);
        assert!(partition.one::<i64>("SELECT sum(deleted)::bigint FROM pgq_stats()") > 0);
        for queue in partition.all::<String>("SELECT queue FROM pgq_list_queues()") {
            let shard: String = session.query_one("SELECT pgq_shard($1)", &[&queue]).unwrap().get(0);
            assert_eq!(shard, sharded.address(n));
        }
    }
}

#[test]
fn while_a_server_is_down_the_queues_of_the_others_go_on() {
    let sharded = Sharded::on_three_servers();
    let mut proxy = sharded.proxy();
    let queues = queue_of_each(&mut proxy);
    let mut ids: Vec<i64> =
        queues.iter().map(|queue| proxy.all_with::<i64>("SELECT pgq_push($1, '1')", &[queue])[0]).collect();
    let down = 2; // Partition 2 only; 0 and 3 are on one server.
    sharded.server(down).stop(Stop::Fast);

    // The session that was connected, and one that was not.
    for session in [&mut proxy, &mut sharded.proxy()] {
        for (n, queue) in queues.iter().enumerate() {
            let push = format!("SELECT pgq_push('{queue}', '2')");
            match answer(session, &push) {
                Ok(_) => assert_ne!(n, down),
                Err(sqlstate) => {
                    assert_eq!(n, down);
                    assert!(["08006", "57P01"].contains(&&sqlstate[..]), "{sqlstate}");
                }
            }
        }
        assert_eq!(session.sqlstate("SELECT * FROM pgq_stats()"), "08006");
        assert_eq!(session.sqlstate("SELECT * FROM pgq_list_queues()"), "08006");
    }
    let error = proxy.batch_execute(&format!("SELECT pgq_push('{}', '3')", queues[down])).unwrap_err();
    let error = error.as_db_error().unwrap();
    assert!(error.message().contains("connection to server"), "{error:?}");
    assert!(error.hint().unwrap().contains("those of others can be used now"), "{error:?}");

    // A call on messages of several partitions has been carried out as far as it came.
    assert_eq!(proxy.sqlstate(&format!("SELECT pgq_cancel_batch(ARRAY{ids:?})")), "08006");
    let gone =
        |proxy: &mut Client, id: i64| proxy.query("SELECT 1 FROM pgq_get($1)", &[&id]).unwrap().is_empty();
    assert_eq!([0, 1, 3].map(|n| gone(&mut proxy, ids[n])), [true, true, false]);
    // What is left can be settled again, without harm to what was.
    ids.remove(down);
    assert_eq!(proxy.all_with::<i64>("SELECT pgq_cancel_batch($1::bigint[])", &[&ids]), [ids[2]]);

    sharded.server(down).launch();
    until("the same session reaches it again", || answer(&mut proxy, "SELECT pgq_list_queues()").is_ok());
    let back = format!("SELECT payload::text FROM pgq_reserve('{}', max => 9)", queues[down]);
    assert_eq!(proxy.all::<String>(&back), ["1"]);
}

#[test]
fn a_proxy_call_has_the_rights_of_the_role_in_the_user_mapping() {
    let sharded = Sharded::on_one_server();
    sharded.everywhere(
        "CREATE ROLE ann LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE carl LOGIN; CREATE ROLE dave LOGIN",
    );
    sharded
        .proxy()
        .batch_execute(
            "GRANT USAGE ON FOREIGN SERVER pgqueue TO ann, bob, carl;
             CREATE USER MAPPING FOR ann SERVER pgqueue;
             CREATE USER MAPPING FOR bob SERVER pgqueue OPTIONS (user 'carl');
             CREATE USER MAPPING FOR dave SERVER pgqueue",
        )
        .unwrap();
    let [mut ann, mut bob, mut carl, mut dave] =
        ["ann", "bob", "carl", "dave"].map(|role| sharded.proxy_as(role));
    let id: i64 = ann.one("SELECT pgq_push('hers', '1')");
    let owners = "SELECT queue || ' ' || owner FROM pgq_list_queues() ORDER BY queue";
    assert_eq!(ann.all::<String>(owners), ["hers ann"]);
    for call in
        ["pgq_push('hers', '2')", "pgq_reserve('hers')", "pgq_drop_queue('hers')", "pgq_count('hers')"]
    {
        assert_eq!(bob.sqlstate(&format!("SELECT {call}")), "42501", "{call}");
    }
    assert!(!bob.one::<bool>(&format!("SELECT pgq_delete({id})")));
    bob.batch_execute("SELECT pgq_push('his', '1')").unwrap();
    assert_eq!(bob.all::<String>(owners), ["his carl"]);
    assert_eq!(sharded.proxy().all::<String>(owners), ["hers ann", "his carl"]);
    assert_eq!(bob.sqlstate("SELECT * FROM pgq_vacuum()"), "42501");
    assert_eq!(bob.sqlstate("SELECT * FROM pgq_vacuum_stats"), "42501");
    // No mapping; no right on the server; and a proxy that is nobody's to rebuild.
    assert_eq!(carl.sqlstate("SELECT pgq_push('q', '1')"), "42704");
    assert_eq!(dave.sqlstate("SELECT pgq_push('q', '1')"), "42501");
    assert_eq!(ann.sqlstate("SELECT pgqueue_proxy.build()"), "42501");
    // Who takes another role calls as that one, in the same session.
    let mut anybody = sharded.proxy();
    anybody.batch_execute("SET ROLE ann").unwrap();
    assert_eq!(anybody.all::<String>(owners), ["hers ann"]);
    anybody.batch_execute("SET ROLE bob").unwrap();
    assert_eq!(anybody.all::<String>(owners), ["his carl"]);
}

/// With USAGE on a server Postgres lets a role write its own mapping, and PL/Proxy asks for no password.
#[test]
fn a_role_cannot_name_another_in_its_user_mapping() {
    let sharded = Sharded::on_one_server();
    sharded.everywhere("CREATE ROLE ann LOGIN; CREATE ROLE bob LOGIN");
    let mut owner = sharded.proxy();
    owner
        .batch_execute(
            "GRANT USAGE ON FOREIGN SERVER pgqueue TO ann, bob;
             CREATE USER MAPPING FOR ann SERVER pgqueue OPTIONS (user 'ann');
             CREATE SERVER other FOREIGN DATA WRAPPER plproxy OPTIONS (p0 'dbname=postgres');
             GRANT USAGE ON FOREIGN SERVER other TO ann;
             CREATE SCHEMA of_ann AUTHORIZATION ann",
        )
        .unwrap();
    let (mut ann, mut bob) = (sharded.proxy_as("ann"), sharded.proxy_as("bob"));
    // Operators of a role's own do not answer for those of Postgres.
    ann.batch_execute(
        "CREATE FUNCTION of_ann.never(name, text) RETURNS boolean LANGUAGE sql AS 'SELECT false';
         CREATE OPERATOR of_ann.= (LEFTARG = name, RIGHTARG = text, FUNCTION = of_ann.never);
         SET search_path = of_ann, pg_catalog, public",
    )
    .unwrap();
    for change in [
        "ALTER USER MAPPING FOR ann SERVER pgqueue OPTIONS (SET user 'postgres')",
        "ALTER USER MAPPING FOR CURRENT_USER SERVER pgqueue OPTIONS (DROP user)",
        "DROP USER MAPPING FOR ann SERVER pgqueue",
    ] {
        assert_eq!(ann.sqlstate(change), "42501", "{change}");
    }
    let create = "CREATE USER MAPPING FOR bob SERVER pgqueue OPTIONS (user 'postgres')";
    assert_eq!(bob.sqlstate(create), "42501");
    ann.batch_execute("CREATE USER MAPPING FOR ann SERVER other OPTIONS (user 'ann')").unwrap();
    ann.batch_execute("ALTER USER MAPPING FOR ann SERVER other OPTIONS (SET user 'ann'); DROP USER MAPPING FOR ann SERVER other")
        .unwrap();
    ann.batch_execute("RESET search_path; SELECT pgq_push('hers', '1')").unwrap();
    assert_eq!(ann.all::<String>("SELECT owner::text FROM pgq_list_queues()"), ["ann"]);
    owner
        .batch_execute(
            "ALTER USER MAPPING FOR ann SERVER pgqueue OPTIONS (SET user 'bob');
             DROP USER MAPPING FOR ann SERVER pgqueue",
        )
        .unwrap();
}

#[test]
fn a_call_that_is_cancelled_is_cancelled_on_its_partition_too() {
    let sharded = Sharded::on_one_server();
    let (mut proxy, mut observer) = (sharded.proxy(), sharded.servers[0].connect());
    let id: i64 = proxy.one("SELECT pgq_push('q', '1')");
    let place: String = proxy.one("SELECT substring(pgq_shard('q') FROM 'dbname=(\\S*)')");
    let mut other = sharded.servers[0].connect_to(&place);
    other.batch_execute(&format!("BEGIN; SELECT pgq_update({id}, '2')")).unwrap();
    proxy.batch_execute("SET statement_timeout = '300 ms'").unwrap();
    assert_eq!(proxy.sqlstate(&format!("SELECT pgq_delete({id})")), "57014");
    let runs = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{place}' AND state = 'active' AND query LIKE '%pgq_delete%'"
    );
    until("nothing of it runs", || observer.one::<i64>(&runs) == 0);
    other.batch_execute("COMMIT").unwrap();
    assert_eq!(proxy.all::<String>("SELECT payload::text FROM pgq_reserve('q')"), ["2"]);
}
