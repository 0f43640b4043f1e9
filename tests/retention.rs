//! What queues keep, and for how long.

use support::{Ask, Server, until};

/// A server whose rounds are done by hand, ten messages each.
fn server_with_small_rounds() -> Server {
    let server = Server::bare(
        "shared_preload_libraries = 'pgqueue'\npgqueue.auto_vacuum = off\npgqueue.vacuum_page_size = 10",
    );
    server.connect().batch_execute("CREATE EXTENSION pgqueue").unwrap();
    server
}

#[test]
fn the_archive_is_trimmed_a_page_a_round() {
    let server = server_with_small_rounds();
    let mut session = server.connect();
    session
        .batch_execute(
            "SELECT pgq_create_queue(q, '{\"archive\": \"1 h\"}') FROM unnest(ARRAY['a', 'b', 'c']) q;
             SELECT pgq_push(q, '1') FROM unnest(ARRAY['a', 'b', 'c']) q, generate_series(1, 15);
             SELECT pgq_pop(q, max => 15) FROM unnest(ARRAY['a', 'b', 'c']) q;
             UPDATE pgqueue.archive SET settled_at = settled_at - interval '2 h'
              WHERE queue IN (SELECT id FROM pgqueue.queue WHERE name IN ('a', 'b'))",
        )
        .unwrap();
    let rounds: Vec<i64> = (0..4).map(|_| session.one("SELECT archive_dropped FROM pgq_vacuum()")).collect();
    assert_eq!(rounds, [10, 10, 10, 0]);
    assert_eq!(session.one::<i64>("SELECT count(*) FROM pgq_peek('c', 100, 'archived')"), 15);
}

#[test]
fn dead_letters_are_trimmed_a_page_a_round() {
    let server = server_with_small_rounds();
    let mut session = server.connect();
    session
        .batch_execute(
            "SELECT pgq_create_queue(q, '{\"dead_retention\": \"1 h\"}') FROM unnest(ARRAY['a', 'b', 'c']) q;
             SELECT pgq_bury(pgq_push(q, '1'), 'x') FROM unnest(ARRAY['a', 'b', 'c', 'd']) q, generate_series(1, 15);
             UPDATE pgqueue.dead SET died_at = died_at - interval '2 h'
              WHERE queue IN (SELECT id FROM pgqueue.queue WHERE name IN ('a', 'b', 'd'))",
        )
        .unwrap();
    let rounds: Vec<i64> = (0..4).map(|_| session.one("SELECT dead_dropped FROM pgq_vacuum()")).collect();
    assert_eq!(rounds, [10, 10, 10, 0]);
    assert_eq!(session.all::<i64>("SELECT dead FROM pgq_stats() ORDER BY queue"), [0, 0, 15, 15]);
}

#[test]
fn the_worker_trims_both() {
    let server = Server::start();
    let mut session = server.connect();
    session
        .batch_execute(
            "SELECT pgq_create_queue('q', '{\"archive\": \"1 ms\", \"dead_retention\": \"1 ms\"}');
             SELECT pgq_push('q', '1'), pgq_pop('q');
             SELECT pgq_bury(pgq_push('q', '2'), 'x')",
        )
        .unwrap();
    until("the archive is empty", || session.one::<i64>("SELECT count(*) FROM pgqueue.archive") == 0);
    until("the letter is gone", || session.one::<i64>("SELECT dead FROM pgq_stats('q')") == 0);
    assert_eq!(session.one::<i64>("SELECT deleted + 10 * died FROM pgq_stats('q')"), 11, "both were there");
}
