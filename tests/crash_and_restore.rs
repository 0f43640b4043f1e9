//! What survives: dump and restore, crashes, kills.

use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use postgres::Client;
use support::{Ask, Server, Stop, counted_ready, end_worker, until};

const STATS: &str = "SELECT queue || ' ' || (s - '{oldest_ready_age,oldest_ready_seconds}'::text[])::text FROM (SELECT queue, to_jsonb(s) AS s FROM pgq_stats() s) s ORDER BY 1";

#[test]
fn a_dump_restored_has_the_same_stats_and_goes_on_counting() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off");
    let mut session = server.connect();
    session
        .batch_execute(
            "SELECT pgq_create_queue('states', '{\"max_deliveries\": 2, \"lease\": \"1 h\", \"archive\": \"1 day\"}');
             SELECT pgq_push('states', to_jsonb(n), headers => '{\"h\": 1}') FROM generate_series(1, 6) n;
             SELECT pgq_push('states', '\"later\"', delay => '1 day', priority => -3);
             SELECT pgq_push_bytes('bytes', '\\x00ff');
             SELECT pgq_push('Ünï \"q\"', '1E400');
             SELECT pgq_delete(id) FROM pgq_reserve('states');
             SELECT pgq_fail(id, 'boom', delay => '1 h') FROM pgq_reserve('states');
             SELECT pgq_bury(id, 'dead') FROM pgq_reserve('states');
             SELECT pgq_reserve('states');
             SELECT pgq_push_batch('many', array_fill('1'::jsonb, ARRAY[300]));
             SELECT pgq_reserve('many', lease => '1 h');
             SELECT pgq_pause('bytes')",
        )
        .unwrap();
    // What was counted lately is in memory; a round writes it down.
    session.execute("SELECT pgq_vacuum()", &[]).unwrap();
    let highest: i64 = session.one("SELECT max(id) FROM pgqueue.message");
    let before: Vec<String> = session.all(STATS);
    assert_eq!(before.len(), 4);
    let rows =
        "SELECT m::text FROM pgqueue.message m UNION ALL SELECT a::text FROM pgqueue.archive a ORDER BY 1";
    let messages: Vec<String> = session.all(rows);
    assert_eq!(messages.len(), 308, "one is dead, one of the others is archived");

    session.batch_execute("CREATE DATABASE restored").unwrap();
    server.restore_into("restored", &server.client("pg_dump", &["postgres"]));

    let mut restored = server.connect_to("restored");
    assert_eq!(restored.all::<String>(STATS), before);
    // Of very many messages the counters tell; they have counted what the restore brought.
    let many = "SELECT (ready, leased, delayed, dead, total)::text FROM pgq_stats('many', exact => ";
    let looked_at: String = restored.one(&format!("{many} true)"));
    assert_eq!(looked_at, "(299,1,0,0,300)");
    assert_eq!(restored.one::<String>(&format!("{many} false)")), looked_at);
    assert_eq!(restored.all::<String>(rows), messages);
    assert!(restored.one::<i64>("SELECT pgq_push('states', '1')") > highest);
    assert_eq!(
        restored.one::<i64>("SELECT count(*) FROM pgq_list_queues() WHERE paused AND queue = 'bytes'"),
        1
    );
    restored.execute("SELECT pgq_push('a queue of its own', '1')", &[]).unwrap();
}

/// pg_restore loads a table after the other, each in a transaction of its own, and
/// messages before queues.
#[test]
fn a_restore_loses_nothing_although_the_worker_does_its_rounds_meanwhile() {
    let server = Server::start();
    let mut session = server.connect();
    session
        .batch_execute(
            "SELECT pgq_create_queue('q', '{\"archive\": \"1 day\", \"dedup_window\": \"1 day\", \"max_deliveries\": 9, \"on_expire\": \"dead\"}');
             SELECT pgq_push('q', '1'); SELECT pgq_delete(id) FROM pgq_reserve('q');
             SELECT pgq_push('q', '2', dedup_key => 'k');
             SELECT pgq_push('q', '3'); SELECT pgq_fail(id, 'x', delay => '1 h') FROM pgq_reserve('q', '1 h', lifo => true);
             SELECT pgq_bury(pgq_push('q', '4'), 'x')",
        )
        .unwrap();
    // Delivered more often than the server's default allows, and expired while it was off.
    server.set("pgqueue.auto_vacuum = off");
    until("rounds are off", || session.one::<String>("SHOW pgqueue.auto_vacuum") == "off");
    session
        .batch_execute(
            "UPDATE pgqueue.message SET deliveries = 6, lease_until = now() - interval '1 s' WHERE payload = '2';
             SELECT pgq_push('q', '5', ttl => '1 ms')",
        )
        .unwrap();
    // In two parts, which psql's restricted mode does not know.
    let dump = server.client("pg_dump", &["postgres"]);
    let dump: String = dump.split_inclusive('\n').filter(|line| !line.contains("restrict ")).collect();
    let (tables, queues) = dump.split_at(dump.find("COPY pgqueue.queue ").unwrap());
    let rows = |session: &mut postgres::Client| -> Vec<String> {
        session.all(
            "SELECT row FROM (SELECT m::text FROM pgqueue.message m WHERE payload <> '5' UNION ALL SELECT a::text FROM pgqueue.archive a
                    UNION ALL SELECT k::text FROM pgqueue.recent_key k UNION ALL SELECT d::text FROM pgqueue.dead d WHERE payload <> '5'
) t (row) ORDER BY 1",
        )
    };
    let before = rows(&mut session);
    assert_eq!(before.len(), 5, "{before:?}");
    session.batch_execute("CREATE DATABASE restored").unwrap();
    server.restore_into("restored", tables);
    let mut restored = server.connect_to("restored");
    for _ in 0..3 {
        restored.batch_execute("SELECT FROM pgq_vacuum()").unwrap();
    }
    server.restore_into("restored", queues);
    assert_eq!(rows(&mut restored), before);
    restored.batch_execute("SELECT FROM pgq_vacuum()").unwrap();
    let expired: Vec<String> = restored.all("SELECT reason FROM pgq_peek_dead('q', 9) WHERE payload = '5'");
    assert_eq!(expired, ["expired"], "it became a letter when its queue was there to say so");
}

#[test]
fn a_session_of_the_restored_database_sees_the_restored_queues() {
    let server = Server::start();
    let mut session = server.connect();
    assert!(session.all::<i64>("SELECT id FROM pgq_reserve('q')").is_empty());
    // Rows that come behind our back, as COPY in a restore brings them.
    server.client(
        "psql",
        &["-X", "-q", "-c", "INSERT INTO pgqueue.queue (id, name, owner) VALUES (77, 'q', 'postgres'); INSERT INTO pgqueue.message (queue, payload) VALUES (77, '1')"],
    );
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('q')").len(), 1);
}

#[test]
fn a_crash_loses_no_acknowledged_push_and_doubles_no_acknowledged_delete() {
    let server = Server::start();
    server.set("pgqueue.default_lease = '500ms'");
    for how in [Stop::Kill, Stop::Immediate, Stop::Kill] {
        let mut observer = server.connect();
        let count = "SELECT coalesce(sum(deleted), 0)::bigint FROM pgq_stats()";
        let before: i64 = observer.one(count);
        let (pushed, deleted) = thread::scope(|scope| {
            let producers: Vec<_> = (0..3)
                .map(|_| {
                    let mut session = server.connect();
                    scope.spawn(move || {
                        let mut pushed: Vec<i64> = Vec::new();
                        while let Ok(row) = session.query_one("SELECT pgq_push('q', '1')", &[]) {
                            pushed.push(row.get(0));
                        }
                        pushed
                    })
                })
                .collect();
            let consumers: Vec<_> = (0..3)
                .map(|_| {
                    let mut session = server.connect();
                    scope.spawn(move || {
                        let mut deleted: Vec<i64> = Vec::new();
                        let next = "SELECT id, delivery FROM pgq_reserve('q', max => 3)";
                        while let Ok(rows) = session.query(next, &[]) {
                            for row in rows {
                                let (id, delivery): (i64, i64) = (row.get(0), row.get(1));
                                match session.query_one("SELECT pgq_delete($1, $2)", &[&id, &delivery]) {
                                    Ok(gone) if gone.get(0) => deleted.push(id),
                                    _ => {}
                                }
                            }
                        }
                        deleted
                    })
                })
                .collect();
            until("much is done", || observer.one::<i64>(count) > before + 300);
            server.stop(how);
            let all = |threads: Vec<thread::ScopedJoinHandle<'_, Vec<i64>>>| -> Vec<i64> {
                threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
            };
            (all(producers), all(consumers))
        });
        assert!(
            pushed.len() > 50 && deleted.len() > 50,
            "{} pushed, {} deleted",
            pushed.len(),
            deleted.len()
        );
        server.launch();
        let mut session = server.connect();
        let left: Vec<i64> = session.all("SELECT id FROM pgqueue.message");
        let lost = pushed.iter().filter(|id| !left.contains(id) && !deleted.contains(id));
        // A delete whose answer the crash swallowed may have happened: one a consumer.
        assert!(lost.count() <= 3, "acknowledged pushes are there or were delivered");
        assert_eq!(
            deleted.iter().filter(|id| left.contains(id)).count(),
            0,
            "what was deleted stays deleted"
        );
        // All that is left comes again, leases in flight at the crash included.
        let mut drained: Vec<i64> = Vec::new();
        until("the rest is delivered", || {
            drained.extend(session.all::<i64>(
                "SELECT pgq_delete_batch(array_agg(id)) FROM pgq_reserve('q', max => 1000) HAVING count(*) > 0",
            ));
            session.one::<i64>("SELECT total FROM pgq_stats('q')") == 0
        });
        drained.sort_unstable();
        let mut left = left;
        left.sort_unstable();
        assert_eq!(drained, left);
    }
}

#[test]
fn after_a_crash_messages_are_counted_anew() {
    // No round writes down what was counted, and more are pushed than are looked at.
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.auto_vacuum = off");
    let mut session = server.connect();
    session
        .batch_execute(
            "CREATE EXTENSION pgqueue;
             SELECT pgq_push('q', to_jsonb(n)) FROM generate_series(1, 500) n;
             SELECT pgq_push('q', to_jsonb(n), delay => '1 h') FROM generate_series(1, 20) n;
             SELECT pgq_bury(id, 'no') FROM pgq_reserve('q', max => 30);
             SELECT pgq_reserve('q', lease => '1 h', max => 100)",
        )
        .unwrap();
    assert_eq!(session.one::<i64>("SELECT count(*) FROM pgqueue.counter"), 0);
    drop(session);
    server.stop(Stop::Kill);
    server.launch();
    let mut session = server.connect();
    let stats = "SELECT row(ready, delayed, leased, blocked, dead, total)::text FROM pgq_stats('q')";
    until("the worker has counted", || session.one::<String>(stats) == "(370,20,100,0,30,520)");
}

/// A transaction that locks the dead letters, from the moment when it gets the lock until `let_go`.
struct Holder {
    let_go: mpsc::Sender<()>,
    transaction: JoinHandle<()>,
}

impl Holder {
    fn of(server: &Server) -> Self {
        let mut session = server.connect();
        let (let_go, is_to_let_go) = mpsc::channel();
        let transaction = thread::spawn(move || {
            session.batch_execute("BEGIN; LOCK TABLE pgqueue.dead IN ACCESS EXCLUSIVE MODE").unwrap();
            is_to_let_go.recv().unwrap();
            session.batch_execute("COMMIT").unwrap();
        });
        Self { let_go, transaction }
    }

    fn let_go(self) {
        self.let_go.send(()).unwrap();
        self.transaction.join().unwrap();
    }
}

/// Whether processes of these types wait for the lock of the dead letters.
fn wait_for_dead(session: &mut Client, types: &[&str]) -> bool {
    let waiting: Vec<String> = session.all(
        "SELECT DISTINCT backend_type FROM pg_locks l JOIN pg_stat_activity a USING (pid)
          WHERE NOT granted AND relation = 'pgqueue.dead'::regclass ORDER BY 1",
    );
    waiting == types
}

#[test]
fn a_recount_that_waited_for_a_lock_counts_each_message_once() {
    let server = Server::start();
    let mut session = server.connect();
    session.batch_execute(r#"SELECT pgq_create_queue('q', '{"max_length": 20}')"#).unwrap();
    let mut holder = Holder::of(&server);
    until("the lock is held", || {
        session.one("SELECT count(*) = 1 FROM pg_locks WHERE relation = 'pgqueue.dead'::regclass AND granted")
    });
    end_worker(&mut session);
    until("its recount waits", || wait_for_dead(&mut session, &["pgqueue worker"]));
    for pushed in [1, 1, 18] {
        session
            .execute("SELECT pgq_push_batch('q', array_fill('1'::jsonb, ARRAY[$1::integer]))", &[&pushed])
            .unwrap();
        let next = Holder::of(&server);
        until("the next waits behind it", || {
            wait_for_dead(&mut session, &["client backend", "pgqueue worker"])
        });
        holder.let_go();
        holder = next;
        let has_come_back = (0..20).any(|_| {
            thread::sleep(Duration::from_millis(50));
            wait_for_dead(&mut session, &["pgqueue worker"])
        });
        if !has_come_back {
            break; // the worker has counted
        }
    }
    holder.let_go();
    let messages: i64 = session.one("SELECT count(*) FROM pgqueue.message");
    thread::sleep(Duration::from_secs(1)); // ten rounds
    assert_eq!(counted_ready(&mut session), messages);
}

/// A queue whose deaths are told of in another, where all is archived: with ids of before a
/// restore, what the worker tells would never be settled.
#[test]
fn nothing_is_told_with_ids_that_are_in_use_while_a_dump_is_being_restored() {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.auto_vacuum = off");
    let mut session = server.connect();
    session.batch_execute("CREATE EXTENSION pgqueue").unwrap();
    session
        .batch_execute(
            "SELECT pgq_create_queue('told', '{\"archive\": \"1 day\"}');
             SELECT pgq_create_queue('q', '{\"events_to\": \"told\", \"max_deliveries\": 1, \"on_expire\": \"dead\"}');
             SELECT pgq_push('told', '\"old\"') FROM generate_series(1, 3);
             SELECT pgq_delete(id) FROM pgq_reserve('told', max => 3);
             SELECT pgq_push('q', '\"leased\"'), pgq_push('q', '\"expired\"', ttl => '1 s', priority => 1);
             SELECT pgq_reserve('q', lease => '1 ms')",
        )
        .unwrap();
    session.batch_execute("SELECT pg_sleep(1)").unwrap(); // it has expired, and no call has met it since
    let dump = server.client("pg_dump", &["postgres"]);
    let dump: String = dump.split_inclusive('\n').filter(|line| !line.contains("restrict ")).collect();
    let (tables, sequences) = dump.split_at(dump.find("SELECT pg_catalog.setval").unwrap());
    session.batch_execute("CREATE DATABASE restored").unwrap();
    server.restore_into("restored", tables);
    let mut restored = server.connect_to("restored");
    let told = "SELECT payload ->> 'event' FROM pgq_peek('told', 9) ORDER BY 1";
    for _ in 0..3 {
        restored.batch_execute("SELECT FROM pgq_vacuum()").unwrap();
    }
    assert_eq!(restored.all::<String>(told), [""; 0]);
    server.restore_into("restored", sequences);
    restored.batch_execute("SELECT FROM pgq_vacuum()").unwrap();
    assert_eq!(restored.all::<String>(told), ["dead", "dead"]);
    assert_eq!(
        restored.all::<bool>("SELECT pgq_delete(id, delivery) FROM pgq_reserve('told', max => 9)"),
        [true; 2]
    );
}

#[test]
fn messages_are_counted_anew_although_that_fails_at_first() {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.vacuum_interval = '1h'");
    let mut session = server.connect();
    session.batch_execute("CREATE EXTENSION pgqueue").unwrap();
    until("the first round", || session.one("SELECT last_run IS NOT NULL FROM pgq_vacuum_stats"));
    session.execute("SELECT pgq_push('q', '1') FROM generate_series(1, 500)", &[]).unwrap();
    session.execute("SELECT pgq_vacuum()", &[]).unwrap(); // writes down what was counted
    session.execute("SELECT pgq_push('q', '1') FROM generate_series(1, 500)", &[]).unwrap();
    session
        .batch_execute("BEGIN; LOCK TABLE pgqueue.queue IN ACCESS EXCLUSIVE MODE; PREPARE TRANSACTION 'lock'")
        .unwrap();
    server.stop(Stop::Immediate);
    server.launch();
    until("it has failed", || server.log().contains("step \"recount\" failed with 55P03"));
    let mut session = server.connect();
    session.batch_execute("ROLLBACK PREPARED 'lock'").unwrap();
    server.set("pgqueue.vacuum_interval = '100ms'");
    until("they are counted", || session.one::<i64>("SELECT ready FROM pgq_stats('q')") == 1000);
}

#[test]
fn an_extension_that_is_not_made_anew_after_all_forgets_no_counts() {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.auto_vacuum = off");
    let mut session = server.connect();
    session
        .batch_execute("CREATE EXTENSION pgqueue; SELECT pgq_push('q', '1') FROM generate_series(1, 50)")
        .unwrap();
    let counts = "SELECT concat_ws(' ', ready, pushed) FROM pgq_stats()";
    let anew = "DROP EXTENSION pgqueue; CREATE EXTENSION pgqueue;
                SELECT pgq_create_queue('other'), pgq_reserve('other'); SELECT pgq_push('other', '1')";
    session.batch_execute(&format!("BEGIN; {anew}; ROLLBACK")).unwrap();
    assert_eq!(session.all::<String>(counts), ["50 50"]);
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('q')").len(), 1, "nor does it hide messages");
    session.batch_execute(&format!("BEGIN; SAVEPOINT s; {anew}; ROLLBACK TO s; COMMIT")).unwrap();
    assert_eq!(session.all::<String>(counts), ["49 50"]);
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('q')").len(), 1);
    session.batch_execute(&format!("BEGIN; SAVEPOINT s; {anew}; RELEASE s; COMMIT")).unwrap();
    assert_eq!(session.all::<String>(counts), ["1 1"]);
}
