//! Queues that are created, paused and dropped while other sessions use them.

use std::thread;

use postgres::Client;
use support::{Ask, Server, Stop, until_blocked};

#[test]
fn a_push_to_a_queue_that_was_dropped_meanwhile_fails() {
    let server = Server::start();
    let (mut producer, mut owner) = (server.connect(), server.connect());
    let again = "SELECT pgq_drop_queue('q'), pgq_create_queue('q')";
    for push in [
        "SELECT pgq_push('q', '1')",
        "SAVEPOINT s; SELECT pgq_push('q', '1'); RELEASE s",
        "SELECT pgq_push('q', '1'); SAVEPOINT s; SELECT pgq_drop_queue('q'); ROLLBACK TO s",
        "SELECT pgq_push('other', '1'); SELECT pgq_move_batch(array_agg(id), 'q') FROM pgq_peek('other')",
    ] {
        owner.execute("SELECT pgq_create_queue('q')", &[]).unwrap();
        producer.batch_execute(&format!("BEGIN; {push}")).unwrap();
        owner.execute(again, &[]).unwrap();
        assert_eq!(producer.sqlstate("COMMIT"), "40001", "{push}");
    }
    // Nor is it lost if it had to wait for the drop.
    owner.execute("SELECT pgq_push('q', '1', dedup_key => 'k')", &[]).unwrap();
    owner.batch_execute("BEGIN; SELECT pgq_drop_queue('q')").unwrap();
    thread::scope(|scope| {
        let push = "SELECT pgq_push('q', '2', dedup_key => 'k', on_duplicate => 'reject')";
        let pushing = scope.spawn(|| server.connect().sqlstate(push));
        until_blocked(&mut server.connect(), 1);
        owner.batch_execute("COMMIT").unwrap();
        assert_eq!(pushing.join().unwrap(), "40001");
    });
    // Who drops it himself knows, and a change of another queue is none of this one.
    producer
        .batch_execute(
            "BEGIN; SELECT pgq_push('q', '1'); SAVEPOINT s; SELECT pgq_drop_queue('q'); RELEASE s; COMMIT",
        )
        .unwrap();
    producer.batch_execute("BEGIN; SELECT pgq_push('q', '1')").unwrap();
    owner.execute("SELECT pgq_create_queue('new')", &[]).unwrap();
    producer.batch_execute("COMMIT").unwrap();
    assert_eq!(producer.one::<i64>("SELECT pgq_count('q')"), 1);
}

#[test]
fn a_queue_is_not_dropped_before_a_prepared_push_to_it_is_decided() {
    let server = Server::start();
    let mut session = server.connect();
    session.execute("SELECT pgq_create_queue('q')", &[]).unwrap();
    session
        .batch_execute(
            "BEGIN; SELECT pgq_push('q', '1'); SAVEPOINT s; SELECT pgq_drop_queue('q'); ROLLBACK TO s;
             PREPARE TRANSACTION 'push'",
        )
        .unwrap();
    server.stop(Stop::Kill);
    server.launch();
    let (mut session, mut owner) = (server.connect(), server.connect());
    thread::scope(|scope| {
        let dropping = scope.spawn(move || owner.one::<i64>("SELECT pgq_drop_queue('q')"));
        until_blocked(&mut session, 1);
        session.batch_execute("BEGIN; SELECT pgq_push('q', '2')").unwrap();
        assert_eq!(session.sqlstate("PREPARE TRANSACTION 'late'"), "40001", "nobody waits behind the drop");
        session.batch_execute("COMMIT PREPARED 'push'").unwrap();
        assert_eq!(dropping.join().unwrap(), 1, "the message went with its queue, after its push");
    });
    // Nor can a push be prepared to a queue that is gone.
    session.execute("SELECT pgq_create_queue('q')", &[]).unwrap();
    session.batch_execute("BEGIN; SELECT pgq_push('q', '1')").unwrap();
    server.connect().execute("SELECT pgq_drop_queue('q')", &[]).unwrap();
    assert_eq!(session.sqlstate("PREPARE TRANSACTION 'push'"), "40001");
    // Who takes everything away himself may.
    session
        .batch_execute(
            "BEGIN; SELECT pgq_push('q', '1'); DROP EXTENSION pgqueue CASCADE; PREPARE TRANSACTION 'push'",
        )
        .unwrap();
    session.batch_execute("ROLLBACK PREPARED 'push'").unwrap();
}

#[test]
fn a_queue_is_dropped_once_and_not_changed_afterwards() {
    let server = Server::start();
    let mut owner = server.connect();
    for call in ["SELECT pgq_drop_queue('q')", "SELECT pgq_alter_queue('q', '{\"ttl\": \"1 h\"}')"] {
        owner.execute("SELECT pgq_create_queue('q')", &[]).unwrap();
        owner.batch_execute("BEGIN; SELECT pgq_drop_queue('q')").unwrap();
        thread::scope(|scope| {
            let second = scope.spawn(|| server.connect().sqlstate(call));
            until_blocked(&mut server.connect(), 1);
            owner.batch_execute("COMMIT").unwrap();
            assert_eq!(second.join().unwrap(), "42704", "{call}");
        });
    }
}

#[test]
fn a_pause_holds_in_other_sessions_at_their_next_call() {
    let server = Server::start();
    let (mut manager, mut consumer) = (server.connect(), server.connect());
    manager.execute("SELECT pgq_push_batch('q', ARRAY['1', '2', '3']::jsonb[])", &[]).unwrap();
    assert_eq!(consumer.all::<i64>("SELECT id FROM pgq_reserve('q')").len(), 1);
    manager.execute("SELECT pgq_pause('q')", &[]).unwrap();
    assert!(consumer.all::<i64>("SELECT id FROM pgq_reserve('q')").is_empty());
    assert!(consumer.all::<i64>("SELECT id FROM pgq_pop('q')").is_empty());
    manager.execute("SELECT pgq_push('q', '4')", &[]).unwrap();
    manager.execute("SELECT pgq_resume('q')", &[]).unwrap();
    assert_eq!(consumer.all::<i64>("SELECT id FROM pgq_reserve('q', max => 9)").len(), 3);
}

#[test]
fn a_transaction_makes_more_queues_than_there_is_room_for_locks() {
    let server = Server::start();
    let mut session = server.connect();
    let made: i64 = session.one(
        r#"SELECT count(pgq_create_queue('q' || n, CASE WHEN n % 2 = 0 THEN '{"max_leased": 1}'::jsonb ELSE '{}' END))
             FROM generate_series(1, 30000) n"#,
    );
    assert_eq!(made, 30_000);
    session.execute("SELECT pgq_push_batch('q2', ARRAY['1', '2']::jsonb[])", &[]).unwrap();
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('q2', max => 9)").len(), 1);
}

#[test]
fn a_call_that_waits_while_the_extension_is_dropped_says_that_it_is_gone() {
    let calls = [
        "SELECT pgq_push('q', '1')",
        "SELECT pgq_push('q', '1', dedup_key => 'k', group_key => 'g', delay => '1 h')",
        "SELECT * FROM pgq_reserve('q')",
        "SELECT * FROM pgq_pop('q')",
        "SELECT * FROM pgq_peek('q')",
        "SELECT pgq_delete(1, 1)",
        "SELECT pgq_fail(1, 'e')",
        "SELECT pgq_count('q')",
        "SELECT * FROM pgq_stats('q')",
        "SELECT pgq_purge('q')",
        "SELECT pgq_create_queue('new')",
        "SELECT pgq_alter_queue('q', '{\"max_leased\": 3}')",
        "SELECT pgq_schedule('s', 'q', '1 h', '1')",
    ];
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.auto_vacuum = off");
    let mut owner = server.connect();
    owner.batch_execute("CREATE EXTENSION pgqueue; SELECT pgq_create_queue('q')").unwrap();
    let sessions: Vec<_> = calls
        .iter()
        .map(|call| {
            let mut session = server.connect();
            session.batch_execute(&format!("BEGIN; {call}; ROLLBACK")).unwrap(); // knows the tables
            (call, session)
        })
        .collect();
    owner.batch_execute("BEGIN; DROP EXTENSION pgqueue CASCADE").unwrap();
    thread::scope(|scope| {
        let waiting = sessions.len() as i64;
        let calls: Vec<_> = sessions
            .into_iter()
            .map(|(call, mut session)| (call, scope.spawn(move || session.sqlstate(call))))
            .collect();
        until_blocked(&mut server.connect(), waiting);
        owner.batch_execute("COMMIT").unwrap();
        for (call, answer) in calls {
            let sqlstate = answer.join().unwrap();
            let is_clear = ["42P01", "42883", "3F000"].contains(&&*sqlstate);
            assert!(is_clear, "{call}: {sqlstate}");
        }
    });
}

/// A server on which only the test's sessions work.
fn quiet_server(settings: &str) -> Server {
    let server = Server::bare(&format!("pgqueue.auto_vacuum = off\n{settings}"));
    server.connect().batch_execute("CREATE EXTENSION pgqueue; CREATE ROLE ada; CREATE ROLE bob").unwrap();
    server
}

const PRELOADED: &str = "shared_preload_libraries = 'pgqueue'";

/// How often a call of a session scans the tables of queues and of rights.
fn scans(session: &mut Client, call: &str) -> i64 {
    const SO_FAR: &str = "SELECT sum(pg_stat_get_xact_numscans(c.oid))::bigint
          FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid
         WHERE coalesce(i.indrelid, c.oid) IN ('pgqueue.queue'::regclass, 'pgqueue.privilege'::regclass)";
    session.batch_execute("BEGIN").unwrap();
    let before: i64 = session.one(SO_FAR);
    session.batch_execute(call).unwrap();
    let after: i64 = session.one(SO_FAR);
    session.batch_execute("COMMIT").unwrap();
    after - before
}

const PUSH: &str = "SELECT pgq_push('q', '1')";

/// Each changes one queue, `other`.
const CHANGES: [&str; 11] = [
    "SELECT pgq_create_queue('other')",
    "SELECT pgq_alter_queue('other', '{\"lease\": \"1 min\"}')",
    "SELECT pgq_alter_queue('other', '{\"max_leased\": 3}')",
    "SELECT pgq_pause('other')",
    "SELECT pgq_resume('other')",
    "SELECT pgq_grant('other', 'bob', 'push')",
    "SELECT pgq_revoke('other', 'bob', 'push')",
    "SELECT pgq_set_owner('other', 'ada')",
    "SELECT pgq_reassign_owned('ada', 'bob')",
    "SELECT pgq_drop_queue('other')",
    "SELECT pgq_push('other', '1')",
];

#[test]
fn a_change_of_one_queue_makes_no_session_read_another_again() {
    for settings in [PRELOADED, ""] {
        let server = quiet_server(settings);
        let (mut session, mut owner) = (server.connect(), server.connect());
        scans(&mut session, PUSH);
        scans(&mut session, PUSH);
        for change in CHANGES {
            owner.batch_execute(change).unwrap();
            assert_eq!(scans(&mut session, PUSH), 0, "{change}, {settings}");
        }
        owner.batch_execute("SELECT pgq_pause('q')").unwrap();
        assert!(scans(&mut session, PUSH) > 0, "its own change is another matter");
    }
}

#[test]
fn a_round_without_work_makes_no_session_read_its_queues_again() {
    let server = quiet_server(PRELOADED);
    let (mut session, mut other) = (server.connect(), server.connect());
    session.batch_execute(PUSH).unwrap();
    other.batch_execute("SELECT pgq_create_queue('gone'); SELECT pgq_drop_queue('gone')").unwrap();
    for statement in [
        "SELECT pgq_vacuum()",
        "DELETE FROM pgqueue.privilege WHERE false",
        "UPDATE pgqueue.queue SET name = name WHERE false",
    ] {
        scans(&mut session, PUSH);
        other.batch_execute(statement).unwrap();
        assert_eq!(scans(&mut session, PUSH), 0, "{statement}");
    }
}

/// The lease that a queue gives by its settings, in seconds, as a session knows it.
fn lease_of(session: &mut Client, queue: &str) -> i64 {
    session.batch_execute(&format!("SELECT pgq_push('{queue}', '1')")).unwrap();
    session.one(&format!(
        "SELECT extract(epoch FROM leased_until - clock_timestamp())::bigint FROM pgq_reserve('{queue}')"
    ))
}

#[test]
fn a_session_knows_the_settings_that_are_committed_or_its_own() {
    let set = |queue, lease| format!("SELECT pgq_alter_queue('{queue}', '{{\"lease\": \"{lease} s\"}}')");
    for settings in [PRELOADED, ""] {
        let server = quiet_server(settings);
        let (mut session, mut owner) = (server.connect(), server.connect());
        owner.batch_execute("SELECT pgq_create_queue('q'), pgq_create_queue('r')").unwrap();
        owner.batch_execute(&(set("q", 100) + ";" + &set("r", 100))).unwrap();
        assert_eq!([lease_of(&mut session, "q"), lease_of(&mut session, "r")], [100, 100]);
        owner.batch_execute(&("BEGIN;".to_string() + &set("q", 200))).unwrap();
        assert_eq!([lease_of(&mut session, "q"), lease_of(&mut owner, "q")], [100, 200]);
        owner.batch_execute(&("SAVEPOINT s;".to_string() + &set("q", 300) + ";" + &set("r", 300))).unwrap();
        assert_eq!([lease_of(&mut owner, "q"), lease_of(&mut owner, "r")], [300, 300]);
        owner.batch_execute("ROLLBACK TO s").unwrap();
        assert_eq!([lease_of(&mut owner, "q"), lease_of(&mut owner, "r")], [200, 100]);
        owner.batch_execute("ROLLBACK").unwrap();
        assert_eq!([lease_of(&mut session, "q"), lease_of(&mut owner, "q")], [100, 100]);
        owner.batch_execute(&("BEGIN;".to_string() + &set("q", 400) + "; PREPARE TRANSACTION 'p'")).unwrap();
        assert_eq!([lease_of(&mut session, "q"), lease_of(&mut owner, "q")], [100, 100]);
        server.connect().batch_execute("COMMIT PREPARED 'p'").unwrap();
        assert_eq!([lease_of(&mut session, "q"), lease_of(&mut owner, "q")], [400, 400]);
        assert_eq!(lease_of(&mut session, "r"), 100);
    }
}

#[test]
fn a_statement_that_changes_many_queues_is_heard_of_for_each() {
    let server = quiet_server(PRELOADED);
    let (mut session, mut owner) = (server.connect(), server.connect());
    owner.execute("SELECT pgq_create_queue('q' || n) FROM generate_series(1, 3000) n", &[]).unwrap();
    let pushes = "SELECT pgq_push('q' || n, '1') FROM generate_series(1, 3000) n";
    session.execute(pushes, &[]).unwrap();
    owner.execute("UPDATE pgqueue.queue SET paused = true", &[]).unwrap();
    session.execute(pushes, &[]).unwrap();
    assert_eq!(
        session.one::<i64>("SELECT count(*) FROM generate_series(1, 3000) n, pgq_reserve('q' || n)"),
        0
    );
    // Numbers of queues are changed by hands only.
    owner
        .execute("UPDATE pgqueue.queue SET paused = false, id = id + 100000 WHERE name = 'q7'", &[])
        .unwrap();
    session.execute("SELECT pgq_push('q7', '1')", &[]).unwrap();
    assert_eq!(session.one::<i64>("SELECT count(*) FROM pgq_reserve('q7', max => 9)"), 1);
}
