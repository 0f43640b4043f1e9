//! Topics: publishing beside subscribing, rolled back, prepared, refused; rights; what other sessions hear.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use postgres::Client;
use postgres::error::DbError;
use support::{Ask, Server, Stop, until, until_blocked};

/// A server with the topic `news`, to which `all` and `sport` are subscribed.
fn server_with_topic() -> Server {
    let server = Server::start();
    let topic = "SELECT pgq_create_topic('news');
                 SELECT pgq_subscribe('news', 'all'), pgq_subscribe('news', 'sport', 'sport.#')";
    server.connect().batch_execute(topic).unwrap();
    server
}

const PUBLISH: &str = "SELECT pgq_publish('news', '1', 'sport.chess')";

/// How many messages the queues hold.
fn held(session: &mut Client) -> i64 {
    session.one("SELECT count(*) FROM pgqueue.message")
}

fn error_of(session: &mut Client, statement: &str) -> DbError {
    session.batch_execute(statement).expect_err(statement).as_db_error().expect("of the server").clone()
}

#[test]
fn a_publish_is_part_of_its_transaction() {
    let server = server_with_topic();
    let (mut publisher, mut observer) = (server.connect(), server.connect());
    publisher.batch_execute(&format!("BEGIN; {PUBLISH}")).unwrap();
    assert_eq!(held(&mut observer), 0, "before the commit");
    publisher.batch_execute("ROLLBACK").unwrap();
    assert_eq!(held(&mut observer), 0);
    publisher.batch_execute(&format!("BEGIN; SAVEPOINT s; {PUBLISH}; ROLLBACK TO s; COMMIT")).unwrap();
    assert_eq!(held(&mut observer), 0);
    publisher.batch_execute(&format!("BEGIN; SAVEPOINT s; {PUBLISH}; RELEASE s; COMMIT")).unwrap();
    assert_eq!(
        observer.all::<String>(
            "SELECT queue FROM pgq_pop('all', 9) UNION ALL SELECT queue FROM pgq_pop('sport', 9)"
        ),
        ["all", "sport"]
    );
    // An exception of PL/pgSQL takes back what was published in its block, in each queue.
    publisher
        .batch_execute(&format!(
            "DO $$ BEGIN BEGIN PERFORM {}; RAISE 'no'; EXCEPTION WHEN OTHERS THEN END; END $$",
            &PUBLISH[7..]
        ))
        .unwrap();
    assert_eq!(held(&mut observer), 0);
}

#[test]
fn a_prepared_publish_survives_a_crash_and_is_decided_in_all_queues() {
    let server = server_with_topic();
    let mut session = server.connect();
    for (name, decide, expected) in [("a", "ROLLBACK", 0), ("b", "COMMIT", 2)] {
        session.batch_execute(&format!("BEGIN; {PUBLISH}; PREPARE TRANSACTION '{name}'")).unwrap();
        server.stop(Stop::Kill);
        server.launch();
        session = server.connect();
        assert_eq!(held(&mut session), 0, "before it is decided");
        session.batch_execute(&format!("{decide} PREPARED '{name}'")).unwrap();
        assert_eq!(held(&mut session), expected, "{decide}");
    }
    for queue in ["all", "sport"] {
        until("it is delivered", || {
            session.all::<i64>(&format!("SELECT id FROM pgq_pop('{queue}')")).len() == 1
        });
    }
}

#[test]
fn a_prepared_subscription_counts_when_it_is_committed() {
    let server = server_with_topic();
    let (mut session, mut publisher) = (server.connect(), server.connect());
    publisher.batch_execute(PUBLISH).unwrap();
    let prepare = "BEGIN; SELECT pgq_subscribe('news', 'late'); PREPARE TRANSACTION 'p'";
    session.batch_execute(prepare).unwrap();
    assert_eq!(publisher.one::<i64>(PUBLISH), 2);
    session.batch_execute("COMMIT PREPARED 'p'").unwrap();
    assert_eq!(publisher.one::<i64>(PUBLISH), 3);
}

#[test]
fn a_change_of_the_subscriptions_counts_from_its_commit_on_in_every_session() {
    let server = server_with_topic();
    let (mut owner, mut publisher) = (server.connect(), server.connect());
    let mut old = server.connect();
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pgq_publish('news', '0', 'x')").unwrap();
    assert_eq!(publisher.one::<i64>(PUBLISH), 2);
    owner.batch_execute("BEGIN; SELECT pgq_subscribe('news', 'more', '*.chess')").unwrap();
    assert_eq!(publisher.one::<i64>(PUBLISH), 2, "it is not committed");
    assert_eq!(owner.one::<i64>(PUBLISH), 3, "the own transaction sees it");
    owner.batch_execute("SAVEPOINT s; SELECT pgq_unsubscribe('news', 'all')").unwrap();
    assert_eq!(owner.one::<i64>(PUBLISH), 2);
    owner.batch_execute("ROLLBACK TO s").unwrap();
    assert_eq!(owner.one::<i64>(PUBLISH), 3);
    owner.batch_execute("COMMIT").unwrap();
    assert_eq!(publisher.one::<i64>(PUBLISH), 3);
    assert_eq!(old.one::<i64>(PUBLISH), 3, "as committed now, at every isolation level");
    old.batch_execute("COMMIT").unwrap();
    owner.batch_execute("SELECT pgq_unsubscribe('news', 'sport')").unwrap();
    assert_eq!(publisher.one::<i64>(PUBLISH), 2);
    owner.batch_execute("SELECT pgq_drop_queue('more')").unwrap();
    assert_eq!(publisher.one::<i64>(PUBLISH), 1);
    owner.batch_execute("SELECT pgq_drop_topic('news')").unwrap();
    assert_eq!(publisher.sqlstate(PUBLISH), "42704");
    owner.batch_execute("SELECT pgq_create_topic('news')").unwrap();
    assert_eq!(publisher.one::<i64>(PUBLISH), 0, "another topic of that name");
    // A queue that is made again is another one.
    owner
        .batch_execute("SELECT pgq_subscribe('news', 'all'), pgq_drop_queue('all'), pgq_create_queue('all')")
        .unwrap();
    assert_eq!(publisher.one::<i64>(PUBLISH), 0);
}

#[test]
fn a_publish_that_one_queue_refuses_puts_nothing_anywhere() {
    let server = server_with_topic();
    let mut owner = server.connect();
    owner
        .batch_execute(
            "CREATE ROLE publisher; SELECT pgq_grant_topic('news', 'publisher', 'publish');
             SELECT pgq_alter_queue('sport', '{\"max_length\": 1}');
             SELECT pgq_push('sport', '1', dedup_key => 'secret')",
        )
        .unwrap();
    let mut publisher = server.connect();
    publisher.batch_execute("SET ROLE publisher").unwrap();
    let full = error_of(&mut publisher, PUBLISH);
    assert_eq!(full.code().code(), "53400");
    // Not in a transaction either that goes on.
    publisher.batch_execute("BEGIN; SAVEPOINT s").unwrap();
    assert_eq!(publisher.sqlstate("SELECT pgq_publish_batch('news', '{1,2}', '{art,sport}')"), "53400");
    publisher.batch_execute("ROLLBACK TO s; SELECT pgq_publish('news', '2', 'art'); COMMIT").unwrap();
    assert_eq!(owner.all::<i64>("SELECT payload::int8 FROM pgq_pop('all', 9)"), [2]);
    owner.batch_execute("SELECT pgq_alter_queue('sport', '{\"max_length\": null}')").unwrap();
    let reject = "SELECT pgq_publish('news', '1', 'sport', dedup_key => 'secret', on_duplicate => 'reject')";
    let duplicate = error_of(&mut publisher, reject);
    assert_eq!(duplicate.code().code(), "23505");
    assert_eq!(held(&mut owner), 1, "the one that was there");
    for error in [full, duplicate] {
        let told =
            format!("{} {:?} {:?} {:?}", error.message(), error.detail(), error.hint(), error.where_());
        assert!(!told.contains("sport\""), "{told}");
        assert_eq!(error.detail(), None, "no length and no id");
    }
    // A publisher with a right on the queue may know.
    owner.batch_execute("SELECT pgq_grant('sport', 'publisher', 'monitor')").unwrap();
    assert!(error_of(&mut publisher, reject).detail().is_some());
}

#[test]
fn a_publish_to_a_queue_that_was_dropped_meanwhile_fails_and_can_be_repeated() {
    let server = server_with_topic();
    let (mut publisher, mut owner) = (server.connect(), server.connect());
    publisher.batch_execute(&format!("BEGIN; {PUBLISH}")).unwrap();
    owner.batch_execute("SELECT pgq_drop_queue('sport')").unwrap();
    assert_eq!(publisher.sqlstate("COMMIT"), "40001");
    assert_eq!(held(&mut owner), 0, "nothing in the other queue");
    assert_eq!(publisher.one::<i64>(PUBLISH), 1);
}

#[test]
fn a_subscription_ends_with_its_topic_and_its_queue_whoever_comes_first() {
    let server = Server::start();
    let (mut one, mut other) = (server.connect(), server.connect());
    for drop in ["SELECT pgq_drop_queue('q')", "SELECT pgq_drop_topic('t')"] {
        for level in ["READ COMMITTED", "REPEATABLE READ"] {
            one.batch_execute("SELECT pgq_create_topic('t'), pgq_create_queue('q')").unwrap();
            // The drop waits for the subscription, and takes it away; an old snapshot cannot.
            one.batch_execute("BEGIN; SELECT pgq_subscribe('t', 'q')").unwrap();
            other.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}; SELECT 1")).unwrap();
            let outcome = thread::scope(|scope| {
                let dropping = scope
                    .spawn(|| other.batch_execute(drop).map_err(|e| e.code().unwrap().code().to_owned()));
                until_blocked(&mut server.connect(), 1);
                one.batch_execute("COMMIT").unwrap();
                dropping.join().unwrap()
            });
            other.batch_execute(if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" }).unwrap();
            if let Err(code) = &outcome {
                assert_eq!((code.as_str(), level), ("40001", "REPEATABLE READ"), "{drop}");
                one.batch_execute(drop).unwrap();
            }
            assert_eq!(one.one::<i64>("SELECT count(*) FROM pgqueue.subscription"), 0, "{drop} {level}");
            // The subscription waits for the drop, and there is none.
            one.batch_execute("SELECT pgq_create_topic('t'), pgq_create_queue('q')").unwrap();
            other.batch_execute(&format!("BEGIN; {drop}")).unwrap();
            let code = thread::scope(|scope| {
                let subscribing = scope.spawn(|| one.sqlstate("SELECT pgq_subscribe('t', 'q')"));
                until_blocked(&mut server.connect(), 1);
                other.batch_execute("COMMIT").unwrap();
                subscribing.join().unwrap()
            });
            assert!(["42704", "40001"].contains(&code.as_str()), "{drop}: {code}");
            assert_eq!(one.one::<i64>("SELECT count(*) FROM pgqueue.subscription"), 0);
            one.batch_execute("SELECT pgq_drop_queue(queue) FROM pgq_list_queues(); SELECT pgq_drop_topic(topic) FROM pgq_list_topics()").unwrap();
        }
    }
}

/// Subscribes and unsubscribes a queue while others publish. Each message reaches the queue that is always
/// subscribed once; and the other one, if it was subscribed during the whole call, not if it was during no part.
#[test]
fn subscribing_beside_publishers_loses_no_message_and_doubles_none() {
    const PUBLISHERS: usize = 3;
    let server = server_with_topic();
    // Odd while the queue is surely subscribed; even and not 0 modulo 4 while something changes.
    let (phase, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let (is_in, is_out) = (1, 3);
    let published = thread::scope(|scope| {
        let publisher = |n: usize| {
            let (server, phase, is_over) = (&server, &phase, &is_over);
            move || {
                let mut session = server.connect();
                let mut all = Vec::new();
                for i in 0.. {
                    let (number, before) = (n * 1_000_000 + i, phase.load(Ordering::SeqCst));
                    session.batch_execute(&format!("SELECT pgq_publish('news', '{number}', 'a.b')")).unwrap();
                    let is_same = phase.load(Ordering::SeqCst) == before;
                    all.push((number as i64, if is_same { before % 4 } else { 0 }));
                    if is_over.load(Ordering::SeqCst) {
                        break;
                    }
                }
                all
            }
        };
        let publishing: Vec<_> = (0..PUBLISHERS).map(|n| scope.spawn(publisher(n))).collect();
        let mut session = server.connect();
        let next = || phase.fetch_add(1, Ordering::SeqCst);
        for _ in 0..60 {
            session.batch_execute("SELECT pgq_subscribe('news', 'some', 'a.*')").unwrap();
            next();
            thread::sleep(Duration::from_millis(15));
            next();
            session.batch_execute("SELECT pgq_unsubscribe('news', 'some')").unwrap();
            next();
            thread::sleep(Duration::from_millis(15));
            next();
        }
        is_over.store(true, Ordering::SeqCst);
        publishing.into_iter().flat_map(|publishing| publishing.join().unwrap()).collect::<Vec<_>>()
    });
    let mut session = server.connect();
    let mut got = |queue: &str| -> Vec<i64> {
        session.all(&format!("SELECT payload::int8 FROM pgq_pop('{queue}', 10000000) ORDER BY 1"))
    };
    let mut all: Vec<i64> = published.iter().map(|(number, _)| *number).collect();
    all.sort();
    assert_eq!(got("all"), all, "each once");
    let some = got("some");
    let reached: BTreeSet<i64> = some.iter().copied().collect();
    assert_eq!(reached.len(), some.len(), "none twice");
    let sure = |phase: u64| published.iter().filter(move |(_, its)| *its == phase).map(|(number, _)| *number);
    assert!(sure(is_in).count() > 50 && sure(is_out).count() > 50, "both were met");
    assert_eq!(sure(is_in).filter(|number| !reached.contains(number)).count(), 0, "subscribed all the time");
    assert_eq!(sure(is_out).filter(|number| reached.contains(number)).count(), 0, "at no time");
}

/// A server with a topic of `boss`, and roles: `writer` may publish, `reader` may subscribe, `other` may nothing.
fn server_with_roles() -> Server {
    let server = Server::start();
    server
        .connect()
        .batch_execute(
            "CREATE ROLE boss; CREATE ROLE writer; CREATE ROLE reader; CREATE ROLE other; CREATE ROLE mate IN ROLE boss;
             SET ROLE boss; SELECT pgq_create_topic('news'), pgq_subscribe('news', 'own');
             SELECT pgq_grant_topic('news', 'writer', 'publish'), pgq_grant_topic('news', 'reader', 'subscribe')",
        )
        .unwrap();
    server
}

fn session_of(server: &Server, role: &str) -> Client {
    let mut session = server.connect();
    session.batch_execute(&format!("SET ROLE {role}")).unwrap();
    session
}

#[test]
fn each_role_may_do_with_a_topic_what_it_was_granted() {
    let server = server_with_roles();
    session_of(&server, "reader").batch_execute("SELECT pgq_subscribe('news', 'read', 'a.#')").unwrap();
    session_of(&server, "other").batch_execute("SELECT pgq_create_queue('others')").unwrap();
    let calls = [
        ("SELECT pgq_publish('news', '1', 'a')", &["boss", "mate", "writer"][..]),
        ("SELECT pgq_publish_batch('news', '{1}', '{a}')", &["boss", "mate", "writer"]),
        ("SELECT pgq_subscribe('news', 'a new one')", &["boss", "mate", "reader"]),
        ("SELECT pgq_subscribe('news', 'own', 'b')", &["boss", "mate"]),
        ("SELECT pgq_subscribe('news', 'read', 'b')", &["reader"]),
        ("SELECT pgq_subscribe('news', 'others')", &[]),
        ("SELECT pgq_unsubscribe('news', 'own')", &["boss", "mate"]),
        ("SELECT pgq_unsubscribe('news', 'read')", &["boss", "mate", "reader"]),
        ("SELECT pgq_grant_topic('news', 'other', 'publish')", &["boss", "mate"]),
        ("SELECT pgq_revoke_topic('news', 'writer', 'publish')", &["boss", "mate"]),
        ("SELECT pgq_list_topic_grants('news')", &["boss", "mate"]),
        ("SELECT pgq_set_topic_owner('news', 'boss')", &["boss", "mate"]),
        ("SELECT pgq_drop_topic('news')", &["boss", "mate"]),
        ("SELECT pgq_push('own', '1')", &["boss", "mate"]),
        ("SELECT pgq_push('read', '1')", &["reader"]),
        ("SELECT pgq_reserve('read')", &["reader"]),
    ];
    let mut session = server.connect();
    for (call, allowed) in calls {
        for role in ["boss", "mate", "writer", "reader", "other"] {
            session.batch_execute(&format!("BEGIN; SET LOCAL ROLE {role}")).unwrap();
            let code = session.batch_execute(call).err().map(|error| error.code().unwrap().code().to_owned());
            session.batch_execute("ROLLBACK").unwrap();
            let expected = (!allowed.contains(&role)).then(|| "42501".to_owned());
            assert_eq!(code, expected, "{role}: {call}");
        }
    }
    // A superuser may all, but subscribes no queue of a role that may not.
    assert_eq!(session.sqlstate("SELECT pgq_subscribe('news', 'others')"), "42501");
    // The subscriptions that are seen.
    let seen = "SELECT topic || ' ' || queue || ' ' || pattern FROM pgq_list_subscriptions()";
    for (role, topics, subscriptions) in [
        ("boss", 1, &["news own #", "news read a.#"][..]),
        ("writer", 1, &[]),
        ("reader", 1, &["news read a.#"]),
        ("other", 0, &[]),
    ] {
        let mut session = session_of(&server, role);
        assert_eq!(session.one::<i64>("SELECT count(*) FROM pgq_list_topics()"), topics, "{role}");
        assert_eq!(session.all::<String>(seen), subscriptions, "{role}");
    }
    assert_eq!(
        session_of(&server, "writer").one::<Option<i64>>("SELECT pgq_publish('news', '1', 'a')"),
        None,
        "not even how many"
    );
    assert_eq!(
        session_of(&server, "boss").one::<Option<i64>>("SELECT pgq_publish('news', '1', 'a')"),
        Some(2)
    );
}

#[test]
fn the_right_to_subscribe_is_judged_at_each_publish() {
    let server = server_with_roles();
    let (mut boss, mut root) = (session_of(&server, "boss"), server.connect());
    let mut reader = session_of(&server, "reader");
    reader.batch_execute("SELECT pgq_subscribe('news', 'read')").unwrap();
    const PUBLISH: &str = "SELECT pgq_publish('news', '1')";
    let active = "SELECT active FROM pgq_list_subscriptions('news') WHERE queue = 'read'";
    let is_read = |boss: &mut Client, expected: bool, when: &str| {
        assert_eq!(boss.one::<i64>(PUBLISH), if expected { 2 } else { 1 }, "{when}");
        assert_eq!(boss.one::<bool>(active), expected, "{when}");
    };
    is_read(&mut boss, true, "granted");
    boss.batch_execute("SELECT pgq_revoke_topic('news', 'reader', 'subscribe')").unwrap();
    is_read(&mut boss, false, "revoked");
    assert!(!reader.one::<bool>(active), "its owner sees why");
    boss.batch_execute("SELECT pgq_grant_topic('news', 'public', 'subscribe')").unwrap();
    is_read(&mut boss, true, "granted to all");
    boss.batch_execute("SELECT pgq_revoke_topic('news', 'public', 'subscribe')").unwrap();
    root.batch_execute("CREATE ROLE readers; GRANT readers TO reader; SELECT pgq_grant_topic('news', 'readers', 'subscribe')").unwrap();
    is_read(&mut boss, true, "by a membership");
    root.batch_execute("REVOKE readers FROM reader").unwrap();
    is_read(&mut boss, false, "no member any more");
    root.batch_execute("GRANT readers TO reader; SELECT pgq_set_owner('read', 'other')").unwrap();
    is_read(&mut boss, false, "given to a role that may not");
    root.batch_execute("SELECT pgq_set_owner('read', 'reader')").unwrap();
    is_read(&mut boss, true, "given back");
    root.batch_execute("ALTER ROLE reader RENAME TO former; CREATE ROLE reader").unwrap();
    is_read(&mut boss, true, "renamed");
    // The queues of a former owner of the topic have no more right than others.
    boss.batch_execute("SELECT pgq_set_topic_owner('news', 'boss')").unwrap();
    root.batch_execute("SELECT pgq_set_topic_owner('news', 'mate')").unwrap();
    assert_eq!(session_of(&server, "mate").one::<i64>(PUBLISH), 1);
    assert_eq!(boss.sqlstate(PUBLISH), "42501");
}

#[test]
fn owners_of_topics_are_renamed_dropped_and_replaced_like_those_of_queues() {
    let server = server_with_roles();
    let mut root = server.connect();
    root.batch_execute(
        "ALTER ROLE boss RENAME TO chief; ALTER ROLE writer RENAME TO author; CREATE ROLE boss",
    )
    .unwrap();
    assert_eq!(root.one::<String>("SELECT owner FROM pgq_list_topics()"), "chief");
    assert_eq!(session_of(&server, "boss").sqlstate("SELECT pgq_drop_topic('news')"), "42501");
    root.batch_execute("SELECT FROM pgq_vacuum()").unwrap();
    assert_eq!(root.one::<String>("SELECT owner::text FROM pgqueue.topic"), "chief", "as a dump carries it");
    assert_eq!(
        root.all::<String>("SELECT role || ' ' || privilege FROM pgq_list_topic_grants()"),
        ["author publish", "reader subscribe"]
    );
    assert_eq!(
        root.all::<String>("SELECT role::text FROM pgqueue.privilege ORDER BY 1"),
        ["author", "reader"]
    );
    assert_eq!(root.one::<i64>("SELECT pgq_reassign_owned('chief', 'other')"), 2, "the topic and the queue");
    assert_eq!(session_of(&server, "other").one::<i64>("SELECT pgq_publish('news', '1')"), 1);
    root.batch_execute("REVOKE chief FROM mate; DROP ROLE other, author; SELECT FROM pgq_vacuum()").unwrap();
    assert!(root.one::<bool>("SELECT owner IS NULL AND owner_id IS NULL FROM pgqueue.topic"));
    assert_eq!(root.one::<i64>("SELECT count(*) FROM pgqueue.privilege"), 1, "grants go with their role");
    root.batch_execute("CREATE ROLE other").unwrap();
    assert_eq!(session_of(&server, "other").sqlstate("SELECT pgq_publish('news', '1')"), "42501");
    assert_eq!(root.one::<i64>("SELECT pgq_publish('news', '1')"), 0, "a queue without an owner gets none");
    root.batch_execute("SELECT pgq_set_topic_owner('news', 'other'), pgq_set_owner('own', 'other')").unwrap();
    assert_eq!(session_of(&server, "other").one::<i64>("SELECT pgq_publish('news', '1')"), 1);
}

#[test]
fn the_tables_of_topics_are_written_by_their_functions_alone() {
    let server = server_with_roles();
    let mut root = server.connect();
    root.batch_execute("CREATE ROLE writes IN ROLE pg_write_all_data, pg_read_all_data; GRANT USAGE ON SCHEMA pgqueue TO writes; SET ROLE writes").unwrap();
    for statement in [
        "INSERT INTO pgqueue.topic (name, owner) VALUES ('t', 'writes')",
        "UPDATE pgqueue.topic SET owner = 'writes'",
        "DELETE FROM pgqueue.topic",
        "INSERT INTO pgqueue.subscription SELECT t.id, q.id, 'x' FROM pgqueue.topic t, pgqueue.queue q",
        "UPDATE pgqueue.subscription SET pattern = 'x'",
        "DELETE FROM pgqueue.subscription",
        "INSERT INTO pgqueue.privilege SELECT id, 'writes', NULL, 'publish' FROM pgqueue.topic",
    ] {
        assert_eq!(root.sqlstate(statement), "42501", "{statement}");
    }
}

#[test]
fn a_dump_carries_topics_by_name_and_drop_extension_takes_them() {
    let server = server_with_roles();
    let mut root = server.connect();
    session_of(&server, "reader").batch_execute("SELECT pgq_subscribe('news', 'read', 'a.*')").unwrap();
    let all =
        "SELECT format('%s %s %s', s.topic, queue, pattern) || ' ' || active FROM pgq_list_subscriptions() s
                UNION ALL SELECT topic || ' of ' || owner FROM pgq_list_topics()
                UNION ALL SELECT role || ' may ' || privilege FROM pgq_list_topic_grants() ORDER BY 1";
    let before: Vec<String> = root.all(all);
    assert_eq!(before.len(), 5, "{before:?}");
    let dump = server.client("pg_dump", &["postgres"]);
    root.batch_execute("CREATE DATABASE restored").unwrap();
    server.restore_into("restored", &dump);
    let mut restored = server.connect_to("restored");
    assert_eq!(restored.all::<String>(all), before);
    assert_eq!(restored.one::<i64>("SELECT pgq_publish('news', '1', 'a.b')"), 2);
    restored.batch_execute("SELECT pgq_create_topic('next')").unwrap();
    let numbers = "SELECT count(*) = count(DISTINCT id) FROM (SELECT id FROM pgqueue.topic UNION ALL SELECT id FROM pgqueue.queue) n";
    assert!(restored.one::<bool>(numbers), "no topic has the number of a queue");
    // A restore that disables triggers leaves numbers of roles that mean nothing here; the worker mends that.
    restored
        .batch_execute(
            "ALTER TABLE pgqueue.topic DISABLE TRIGGER ALL; UPDATE pgqueue.topic SET owner_id = 1; ALTER TABLE pgqueue.topic ENABLE TRIGGER ALL;
             ALTER TABLE pgqueue.subscription DISABLE TRIGGER ALL; ALTER TABLE pgqueue.subscription ENABLE TRIGGER ALL",
        )
        .unwrap();
    let mended = "SELECT owner = 'boss' AND NOT EXISTS (SELECT FROM pg_trigger
                          WHERE tgrelid IN ('pgqueue.topic'::regclass, 'pgqueue.subscription'::regclass) AND NOT tgisinternal AND tgenabled <> 'A')
                    FROM pgq_list_topics() WHERE topic = 'news'";
    until("it is mended", || restored.one::<Option<bool>>(mended) == Some(true));
    restored.batch_execute("DROP EXTENSION pgqueue; CREATE EXTENSION pgqueue").unwrap();
    assert_eq!(restored.all::<String>(all), [""; 0]);
    assert_eq!(restored.sqlstate("SELECT pgq_publish('news', '1', 'a.b')"), "42704", "nothing is remembered");
}

#[test]
fn topics_work_without_worker_and_shared_memory() {
    let server = Server::bare("");
    let mut session = server.connect();
    session
        .batch_execute(
            "CREATE EXTENSION pgqueue; SELECT pgq_create_topic('news'), pgq_subscribe('news', 'all')",
        )
        .unwrap();
    let mut publisher = server.connect();
    assert_eq!(publisher.one::<i64>("SELECT pgq_publish('news', '1')"), 1);
    session.batch_execute("SELECT pgq_subscribe('news', 'more', '#')").unwrap();
    assert_eq!(publisher.one::<i64>("SELECT pgq_publish('news', '2')"), 2);
    assert_eq!(session.all::<i64>("SELECT payload::int8 FROM pgq_pop('all', 9)"), [1, 2]);
}

/// Blocks that a query touches.
fn blocks(session: &mut Client, query: &str) -> i64 {
    let plan: Vec<String> = session.all(&format!("EXPLAIN (ANALYZE, BUFFERS) {query}"));
    let line = plan.iter().find(|line| line.contains("Buffers: shared")).expect("the call reads blocks");
    let number = |word: &str| {
        let kind = word.strip_prefix("hit=").or_else(|| word.strip_prefix("read="));
        kind.map(|number| number.parse::<i64>().expect("a number of blocks"))
    };
    line.split(' ').filter_map(number).sum()
}

#[test]
fn a_publish_to_three_of_ten_thousand_touches_what_three_pushes_do() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off\nautovacuum = off");
    let mut session = server.connect();
    session
        .batch_execute(
            "SELECT pgq_create_topic('news');
             SELECT count(pgq_subscribe('news', 'q' || n, 'region' || n || '.#')) FROM generate_series(1, 9997) n;
             SELECT pgq_subscribe('news', 'a', 'x.y'), pgq_subscribe('news', 'b', '*.y'), pgq_subscribe('news', 'c', 'x.#');
             ANALYZE pgqueue.subscription",
        )
        .unwrap();
    let mut session = server.connect();
    let publish = "SELECT pgq_publish('news', '1', 'x.y', '{}')";
    assert_eq!(session.one::<i64>(publish), 3);
    let three = "SELECT pgq_push('a', '1', '{}'), pgq_push('b', '1', '{}'), pgq_push('c', '1', '{}')";
    for _ in 0..10 {
        session.batch_execute(&format!("{publish}; {three}")).unwrap(); // each page is there
    }
    let (mut published, mut pushed) = (0, 0);
    for _ in 0..20 {
        published += blocks(&mut session, publish);
        pushed += blocks(&mut session, three);
    }
    assert!(published * 10 <= pushed * 11, "{published} blocks, {pushed} for three pushes");
    assert_eq!(session.one::<i64>("SELECT pgq_publish('news', '1', 'region77.north')"), 1);
    assert_eq!(session.one::<i64>("SELECT pgq_publish('news', '1', 'nowhere')"), 0);
}

/// Patterns of one role make a publish of another take long: it can be cancelled.
#[test]
fn a_publish_beside_many_hostile_patterns_can_be_cancelled() {
    let server = Server::start();
    let mut session = server.connect();
    session
        .batch_execute(
            "SELECT pgq_create_topic('news'), pgq_create_queue('q');
             INSERT INTO pgqueue.subscription
             SELECT t.id, q.id, 'w' || n || repeat('.#.a', 60) FROM pgqueue.topic t, pgqueue.queue q, generate_series(1, 20000) n;
             INSERT INTO pgqueue.subscription
             SELECT t.id, q.id, '#.' || n || repeat('.#.a', 60) FROM pgqueue.topic t, pgqueue.queue q, generate_series(1, 20000) n;",
        )
        .unwrap();
    let key = ["a"; 127].join(".");
    let publish = format!("SELECT pgq_publish('news', '1', '{key}')");
    session.batch_execute(&publish).unwrap();
    session.batch_execute("SET statement_timeout = '100 ms'").unwrap();
    // A key that leads to as many places as can be, again and again.
    let batch = format!(
        "SELECT pgq_publish_batch('news', array_fill('1'::jsonb, ARRAY[500000]), array_fill('1.{key}'::text, ARRAY[500000]))"
    );
    assert_eq!(session.sqlstate(&batch), "57014");
}
