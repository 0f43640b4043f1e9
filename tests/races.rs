//! Several sessions at once: one promise an interleaving.

use std::collections::HashMap;
use std::thread;

use support::{Ask, Server, referred_to, until, until_blocked};

#[test]
fn a_message_of_an_old_snapshot_that_was_buried_is_skipped() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off");
    let (mut old, mut other) = (server.connect(), server.connect());
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        other
            .execute("SELECT pgq_create_queue('q', '{\"max_deliveries\": 1}'), pgq_push('q', '1')", &[])
            .unwrap();
        other.execute("SELECT pgq_reserve('q', lease => '1 ms')", &[]).unwrap();
        other.execute("SELECT pgq_push('q', '2')", &[]).unwrap();
        old.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}; SELECT 1 FROM pg_class LIMIT 1")).unwrap();
        until("it is dead, and not yet buried", || {
            other.one("SELECT count(*) = 1 FROM pgqueue.message_state WHERE state = 'gone'")
        });
        other.execute("SELECT pgq_vacuum()", &[]).unwrap();
        assert_eq!(
            old.all::<String>("SELECT payload::text FROM pgq_reserve('q', max => 2)"),
            ["2"],
            "{level}"
        );
        old.batch_execute("COMMIT").unwrap();
        other.execute("SELECT pgq_drop_queue('q')", &[]).unwrap();
    }
}

#[test]
fn ten_consumers_deliver_each_message_exactly_once() {
    let server = Server::start();
    const MESSAGES: i64 = 3_000;
    server
        .connect()
        .execute("SELECT pgq_push('work', to_jsonb(n)) FROM generate_series(1, 3000) n", &[])
        .unwrap();
    let delivered: Vec<i64> = thread::scope(|scope| {
        let consumers: Vec<_> = (1..=10)
            .map(|n| {
                let mut session = server.connect();
                scope.spawn(move || {
                    let mut delivered = Vec::new();
                    // Batches of 1 to 10, so that sizes mix.
                    let reserve = format!("SELECT id, delivery FROM pgq_reserve('work', max => {n})");
                    loop {
                        let rows = session.query(&reserve, &[]).unwrap();
                        if rows.is_empty() {
                            return delivered;
                        }
                        let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
                        let receipts: Vec<i64> = rows.iter().map(|row| row.get(1)).collect();
                        assert!(receipts.iter().all(|&delivery| delivery == 1), "nothing expires here");
                        let gone: Vec<i64> =
                            session.all_with("SELECT pgq_delete_batch($1, $2)", &[&ids, &receipts]);
                        assert_eq!(gone.len(), ids.len());
                        delivered.extend(ids);
                    }
                })
            })
            .collect();
        consumers.into_iter().flat_map(|consumer| consumer.join().unwrap()).collect()
    });
    let mut times: HashMap<i64, usize> = HashMap::new();
    for id in &delivered {
        *times.entry(*id).or_default() += 1;
    }
    assert_eq!(times.len() as i64, MESSAGES);
    assert!(times.values().all(|&n| n == 1));
    let mut session = server.connect();
    assert_eq!(session.one::<i64>("SELECT total FROM pgq_stats('work')"), 0);
    assert_eq!(session.one::<i64>("SELECT pushed FROM pgq_stats('work')"), MESSAGES);
    assert_eq!(session.one::<i64>("SELECT deleted FROM pgq_stats('work')"), MESSAGES);
}

#[test]
fn a_producer_that_reserves_once_for_each_push_never_finds_the_queue_empty() {
    // Each session pushes one and takes one, so that there is one for everybody at any
    // time; but the one a snapshot shows may go to somebody else.
    let server = Server::start();
    server.connect().execute("SELECT pgq_create_queue('q')", &[]).unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            let mut session = server.connect();
            scope.spawn(move || {
                for _ in 0..500 {
                    session.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
                    let taken: Vec<i64> = session.all("SELECT id FROM pgq_reserve('q')");
                    assert_eq!(taken.len(), 1);
                    session.execute("SELECT pgq_delete($1::bigint)", &[&taken[0]]).unwrap();
                }
            });
        }
    });
    assert_eq!(server.connect().one::<i64>("SELECT total FROM pgq_stats('q')"), 0);
}

#[test]
fn a_late_commit_of_a_lower_id_is_found() {
    let server = Server::start();
    let (mut slow, mut fast, mut consumer) = (server.connect(), server.connect(), server.connect());
    fast.execute("SELECT pgq_create_queue('late')", &[]).unwrap();
    slow.batch_execute("BEGIN").unwrap();
    let low: i64 = slow.one("SELECT pgq_push('late', '1')");
    let high: i64 = fast.one("SELECT pgq_push('late', '2')");
    assert!(low < high);
    assert_eq!(consumer.all::<i64>("SELECT id FROM pgq_reserve('late', max => 9)"), [high]);
    slow.batch_execute("COMMIT").unwrap();
    assert_eq!(consumer.all::<i64>("SELECT id FROM pgq_reserve('late', max => 9)"), [low]);
}

#[test]
fn a_reserve_waits_for_no_transaction() {
    let server = Server::start();
    let (mut first, mut second) = (server.connect(), server.connect());
    second.batch_execute("SET statement_timeout = '5 s'").unwrap();
    first.execute("SELECT pgq_push_batch('q', ARRAY['1', '2']::jsonb[])", &[]).unwrap();
    first.batch_execute("BEGIN").unwrap();
    let held: i64 = first.one("SELECT id FROM pgq_reserve('q')");
    let other: i64 = second.one("SELECT id FROM pgq_reserve('q', lease => '1 h')");
    assert_ne!(held, other);
    assert!(second.all::<i64>("SELECT id FROM pgq_reserve('q')").is_empty());
    first.batch_execute("ROLLBACK").unwrap();
    let again = second.query_one("SELECT id, delivery FROM pgq_reserve('q')", &[]).unwrap();
    assert_eq!((again.get::<_, i64>(0), again.get::<_, i64>(1)), (held, 1));
}

#[test]
fn a_purge_of_ready_messages_spares_those_leased_while_it_waited() {
    let server = Server::start();
    let (mut consumer, mut manager, mut observer) = (server.connect(), server.connect(), server.connect());
    consumer.execute("SELECT pgq_push_batch('q', ARRAY['1', '2']::jsonb[])", &[]).unwrap();
    consumer.batch_execute("BEGIN; SELECT pgq_reserve('q')").unwrap();
    let purging = thread::spawn(move || manager.one::<i64>("SELECT pgq_purge('q', 'ready')"));
    until_blocked(&mut observer, 1);
    consumer.batch_execute("COMMIT").unwrap();
    assert_eq!(purging.join().unwrap(), 1);
    assert_eq!(observer.one::<i64>("SELECT leased FROM pgq_stats('q')"), 1);
}

#[test]
fn dropping_or_purging_a_queue_removes_messages_that_die_or_are_archived_meanwhile() {
    let server = Server::start();
    let (mut consumer, mut observer) = (server.connect(), server.connect());
    let settles = ["pgq_bury({id}, 'x')", "pgq_delete({id})"];
    let removes = ["SELECT pgq_drop_queue('q')", "SELECT pgq_purge('q')"];
    for (settle, remove) in settles.iter().flat_map(|settle| removes.map(|remove| (settle, remove))) {
        let mut manager = server.connect();
        consumer.execute("SELECT pgq_create_queue('q', '{\"archive\": \"1 h\"}')", &[]).unwrap();
        let id: i64 = consumer.one("SELECT pgq_push('q', '1')");
        consumer
            .batch_execute(&format!("BEGIN; SELECT {}", settle.replace("{id}", &id.to_string())))
            .unwrap();
        let dropping = thread::spawn(move || manager.one::<i64>(remove));
        until_blocked(&mut observer, 1);
        consumer.batch_execute("COMMIT").unwrap();
        assert_eq!(dropping.join().unwrap(), 1, "{settle}, {remove}");
        assert_eq!(
            observer.one::<i64>(
                "SELECT count(*) FROM (SELECT id FROM pgqueue.message UNION ALL SELECT id FROM pgqueue.dead
                                       UNION ALL SELECT id FROM pgqueue.archive) rest"
            ),
            0
        );
    }
}

#[test]
fn settling_an_outdated_row_under_repeatable_read_is_a_serialization_failure() {
    let server = Server::start();
    let (mut old, mut new) = (server.connect(), server.connect());
    new.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
    let id: i64 = new.one("SELECT id FROM pgq_reserve('q')");
    for settle in ["pgq_delete", "pgq_release"] {
        old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class LIMIT 1").unwrap();
        new.execute(&format!("SELECT pgq_extend({id}, '1 h')"), &[]).unwrap();
        assert_eq!(old.sqlstate(&format!("SELECT {settle}({id})")), "40001", "{settle}");
        old.batch_execute("ROLLBACK").unwrap();
    }
    // A reserve skips what it cannot have instead of failing.
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class LIMIT 1").unwrap();
    new.execute(&format!("SELECT pgq_release({id})"), &[]).unwrap();
    assert!(old.all::<i64>("SELECT id FROM pgq_reserve('q')").is_empty());
    old.batch_execute("ROLLBACK").unwrap();
    assert_eq!(old.all::<i64>("SELECT id FROM pgq_reserve('q')"), [id]);
}

#[test]
fn a_serializable_reserve_that_finds_nothing_has_read_that() {
    let server = Server::start();
    let (mut reader, mut writer) = (server.connect(), server.connect());
    reader.batch_execute("CREATE TABLE seen (n bigint); SELECT pgq_create_queue('q')").unwrap();
    for look in ["pgq_reserve('q')", "pgq_peek('q')"] {
        let begin = "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1";
        reader.batch_execute(begin).unwrap();
        writer.batch_execute(begin).unwrap();
        reader.execute(&format!("INSERT INTO seen SELECT count(*) FROM {look}"), &[]).unwrap();
        writer.batch_execute("SELECT count(*) FROM seen; SELECT pgq_push('q', '1'); COMMIT").unwrap();
        assert_eq!(reader.sqlstate("COMMIT"), "40001", "{look}: each came before the other");
        writer.execute("SELECT pgq_purge('q')", &[]).unwrap();
    }
}

#[test]
fn a_prepared_push_appears_soon_after_commit_prepared() {
    let server = Server::start();
    let (mut producer, mut consumer) = (server.connect(), server.connect());
    producer.execute("SELECT pgq_create_queue('q')", &[]).unwrap();
    producer.batch_execute("BEGIN; SELECT pgq_push('q', '1'); PREPARE TRANSACTION 'push'").unwrap();
    assert!(consumer.all::<i64>("SELECT id FROM pgq_reserve('q')").is_empty());
    producer.batch_execute("COMMIT PREPARED 'push'").unwrap();
    until("the message is found", || consumer.all::<i64>("SELECT id FROM pgq_reserve('q')").len() == 1);
}

#[test]
fn a_prepared_push_appears_at_once_where_nothing_is_shared() {
    let server = Server::bare("");
    let (mut producer, mut consumer) = (server.connect(), server.connect());
    producer.batch_execute("CREATE EXTENSION pgqueue; SELECT pgq_create_queue('q')").unwrap();
    producer.batch_execute("BEGIN; SELECT pgq_push('q', '1'); PREPARE TRANSACTION 'push'").unwrap();
    assert!(consumer.all::<i64>("SELECT id FROM pgq_reserve('q')").is_empty());
    producer.batch_execute("COMMIT PREPARED 'push'").unwrap();
    assert_eq!(consumer.all::<i64>("SELECT id FROM pgq_reserve('q')").len(), 1);
}

#[test]
fn a_prepared_reserve_holds_its_message_until_it_is_decided() {
    let server = Server::start();
    let (mut first, mut second) = (server.connect(), server.connect());
    first.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
    first.batch_execute("BEGIN; SELECT pgq_reserve('q'); PREPARE TRANSACTION 'work'").unwrap();
    assert!(second.all::<i64>("SELECT id FROM pgq_reserve('q')").is_empty());
    first.batch_execute("ROLLBACK PREPARED 'work'").unwrap();
    until("the message is back", || second.all::<i64>("SELECT delivery FROM pgq_reserve('q')") == [1]);
}

#[test]
fn two_dumps_at_once_never_return_the_same_letter() {
    let server = Server::start();
    let (mut first, mut second) = (server.connect(), server.connect());
    first.execute("SELECT pgq_push_batch('q', ARRAY['1', '2', '3']::jsonb[])", &[]).unwrap();
    first.execute("SELECT pgq_bury(id, 'x') FROM pgq_reserve('q', max => 3)", &[]).unwrap();
    first.batch_execute("BEGIN").unwrap();
    let some: Vec<i64> = first.all("SELECT id FROM pgq_dump_dead('q', 2)");
    let rest: Vec<i64> = second.all("SELECT id FROM pgq_dump_dead('q', 9)");
    assert_eq!((some.len(), rest.len()), (2, 1));
    assert!(!some.contains(&rest[0]));
    first.batch_execute("ROLLBACK").unwrap();
    assert_eq!(second.all::<i64>("SELECT id FROM pgq_dump_dead('q', 9)"), some);
}

#[test]
fn first_pushes_at_once_make_one_queue() {
    let server = Server::start();
    thread::scope(|scope| {
        for n in 0..8 {
            let mut session = server.connect();
            scope.spawn(move || {
                for queue in 0..20 {
                    session.execute(&format!("SELECT pgq_push('q{queue}', '{n}')"), &[]).unwrap();
                }
            });
        }
    });
    let mut session = server.connect();
    assert_eq!(session.one::<i64>("SELECT count(*) FROM pgq_stats() WHERE ready = 8"), 20);
    assert_eq!(session.one::<i64>("SELECT count(*) FROM pgq_list_queues()"), 20);
}

#[test]
fn other_sessions_see_a_change_of_settings_at_their_next_call() {
    let server = Server::start();
    let (mut manager, mut consumer) = (server.connect(), server.connect());
    let seconds =
        "SELECT round(extract(epoch FROM leased_until - clock_timestamp()))::int FROM pgq_reserve('q')";
    for lease in [100, 200, 300] {
        manager.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
        manager
            .execute(&format!("SELECT pgq_alter_queue('q', '{{\"lease\": \"{lease} s\"}}')"), &[])
            .unwrap();
        assert_eq!(consumer.one::<i32>(seconds), lease);
    }
    // In the middle of a transaction too, and by the hand of a DBA.
    consumer.batch_execute("BEGIN").unwrap();
    for paused in [true, false] {
        manager.execute(&format!("UPDATE pgqueue.queue SET paused = {paused}"), &[]).unwrap();
        manager.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
        assert_eq!(consumer.all::<i64>("SELECT id FROM pgq_reserve('q')").is_empty(), paused);
    }
    consumer.batch_execute("COMMIT").unwrap();
    // A queue dropped and made again is another queue.
    manager.execute("SELECT pgq_drop_queue('q')", &[]).unwrap();
    assert!(consumer.all::<i64>("SELECT id FROM pgq_reserve('q')").is_empty());
    manager.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
    assert_eq!(consumer.all::<i64>("SELECT id FROM pgq_reserve('q')").len(), 1);
}

#[test]
fn a_stale_snapshot_does_not_make_a_session_remember_old_settings() {
    let server = Server::start();
    let (mut manager, mut consumer) = (server.connect(), server.connect());
    manager.execute("SELECT pgq_push_batch('q', ARRAY['1', '2']::jsonb[])", &[]).unwrap();
    consumer.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class LIMIT 1").unwrap();
    manager.execute("SELECT pgq_alter_queue('q', '{\"lease\": \"1000 s\"}')", &[]).unwrap();
    let seconds =
        "SELECT round(extract(epoch FROM leased_until - clock_timestamp()))::int FROM pgq_reserve('q')";
    assert_eq!(consumer.one::<i32>(seconds), 1000);
    consumer.batch_execute("COMMIT").unwrap();
    assert_eq!(consumer.one::<i32>(seconds), 1000);
}

#[test]
fn overlapping_batches_never_deadlock() {
    let server = Server::start();
    let mut session = server.connect();
    let ids: Vec<i64> = session.all("SELECT pgq_push('q', to_jsonb(n)) FROM generate_series(1, 200) n");
    session.execute("SELECT pgq_reserve('q', max => 200)", &[]).unwrap();
    thread::scope(|scope| {
        for n in 0..4 {
            let mut session = server.connect();
            let mut ids = ids.clone();
            if n % 2 == 0 {
                ids.reverse();
            }
            scope.spawn(move || {
                for _ in 0..20 {
                    session.execute("SELECT pgq_extend_batch($1::bigint[], '1 h')", &[&ids]).unwrap();
                }
                session.execute("SELECT pgq_delete_batch($1::bigint[])", &[&ids]).unwrap();
            });
        }
    });
    assert_eq!(session.one::<i64>("SELECT deleted FROM pgq_stats('q')"), 200);
}

#[test]
fn an_empty_poll_writes_no_wal() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off\nautovacuum = off");
    let mut session = server.connect();
    session.execute("SELECT pgq_push('q', '1', delay => '1 h')", &[]).unwrap();
    session.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
    session.execute("SELECT pgq_reserve('q', lease => '1 h')", &[]).unwrap();
    session.batch_execute("CHECKPOINT; SELECT pg_switch_wal(); CHECKPOINT").unwrap();
    let poll = "SELECT count(*) FROM pgq_reserve('q', max => 10), pgq_next('q', NULL), pgq_pop('q')";
    session.execute(poll, &[]).unwrap();
    until("a hundred polls in a row write no WAL", || {
        let before: String = session.one("SELECT pg_current_wal_insert_lsn()::text");
        for _ in 0..100 {
            session.execute(poll, &[]).unwrap();
        }
        // Others (the background writer's snapshots of running transactions) may write.
        before == session.one::<String>("SELECT pg_current_wal_insert_lsn()::text")
    });
}

#[test]
fn a_timeout_in_the_middle_of_a_reserve_takes_nothing() {
    let server = Server::start();
    let mut session = server.connect();
    session.execute("SELECT pgq_push('q', to_jsonb(n)) FROM generate_series(1, 20000) n", &[]).unwrap();
    session.batch_execute("SET statement_timeout = '15 ms'").unwrap();
    assert_eq!(session.sqlstate("SELECT pgq_reserve('q', max => 20000), pg_sleep(0.01)"), "57014");
    session.batch_execute("RESET statement_timeout").unwrap();
    assert_eq!(session.one::<i64>("SELECT pgq_count('q')"), 20_000);
    assert_eq!(
        session.one::<i64>("SELECT count(*) FROM pgq_reserve('q', max => 20000) WHERE delivery = 1"),
        20_000
    );
}

#[test]
fn a_push_counts_on_a_message_that_others_refer_to() {
    let server = Server::start();
    let mut session = server.connect();
    for (queue, on_duplicate) in [("q", "ignore"), ("r", "replace")] {
        let push = |n: i32| {
            format!("SELECT pgq_push('{queue}', '{n}', dedup_key => 'k', on_duplicate => '{on_duplicate}')")
        };
        let id: i64 = session.one(&push(1));
        let _open = referred_to(&server, &mut session, queue, 2);
        assert_eq!(session.one::<i64>(&push(2)), id);
        assert_eq!(session.one::<i64>(&format!("SELECT total FROM pgq_stats('{queue}', exact => true)")), 1);
    }
}

#[test]
fn a_message_that_others_lock_or_refer_to_is_not_removed_or_leased_under_them() {
    let server = Server::start();
    let mut session = server.connect();
    let id: i64 = session.one("SELECT pgq_push('q', '1')");
    let open = referred_to(&server, &mut session, "q", 1);
    assert!(session.all::<i64>("SELECT id FROM pgq_pop('q')").is_empty(), "a removal conflicts");
    for strength in ["NO KEY UPDATE", "SHARE"] {
        let mut locker = server.connect();
        locker.batch_execute(&format!("BEGIN; SELECT FROM pgqueue.message FOR {strength}")).unwrap();
        assert!(session.all::<i64>("SELECT id FROM pgq_reserve('q')").is_empty(), "{strength}, with another");
    }
    drop(open);
    until("they are gone", || {
        session.one("SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'client backend'")
    });
    for strength in ["UPDATE", "NO KEY UPDATE", "SHARE"] {
        let mut locker = server.connect();
        locker.batch_execute(&format!("BEGIN; SELECT FROM pgqueue.message FOR {strength}")).unwrap();
        assert!(session.all::<i64>("SELECT id FROM pgq_reserve('q')").is_empty(), "{strength}");
        locker.batch_execute("ROLLBACK").unwrap();
        until("it is free again", || session.all::<i64>("SELECT id FROM pgq_reserve('q')") == [id]);
        session.execute("SELECT pgq_release($1::bigint)", &[&id]).unwrap();
    }
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_pop('q')"), [id]);
}
