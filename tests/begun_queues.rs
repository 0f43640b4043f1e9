//! Queues to which sessions push while another transaction is making them.

use postgres::Client;
use support::{Ask, Server, Stop, until};

/// How a transaction ends that has made a queue.
const ENDS: [&str; 4] = [
    "COMMIT",
    "ROLLBACK",
    "PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p'",
    "PREPARE TRANSACTION 'p'; ROLLBACK PREPARED 'p'",
];

fn impatient(server: &Server) -> Client {
    let mut session = server.connect();
    session.batch_execute("SET lock_timeout = '3s'").unwrap();
    session
}

fn run(session: &mut Client, statements: &str) {
    statements.split("; ").for_each(|statement| session.batch_execute(statement).unwrap());
}

fn payloads(session: &mut Client, queue: &str) -> Vec<String> {
    session
        .all(&format!("SELECT payload::text FROM pgq_reserve('{queue}', max => 10) ORDER BY payload::text"))
}

fn notes(session: &mut Client) -> i64 {
    session.one("SELECT count(*) FROM pgqueue.begun_queue")
}

#[test]
fn a_push_waits_for_no_transaction_that_is_making_its_queue() {
    let server = Server::start();
    let (mut maker, mut producer, mut consumer) = (server.connect(), impatient(&server), impatient(&server));
    for (n, end) in ENDS.iter().enumerate() {
        let queue = format!("q{n}");
        maker.batch_execute(&format!("BEGIN; SELECT pgq_push('{queue}', '1')")).unwrap();
        producer.execute(&format!("SELECT pgq_push('{queue}', '2')"), &[]).unwrap();
        producer.execute(&format!("SELECT pgq_push('{queue}', '3')"), &[]).unwrap();
        // A consumer works on it meanwhile.
        let id: i64 = consumer.one(&format!("SELECT id FROM pgq_reserve('{queue}')"));
        assert!(consumer.one::<bool>(&format!("SELECT pgq_delete({id})")), "{end}");
        run(&mut maker, end);
        let is_there = !end.contains("ROLLBACK");
        let mut left = payloads(&mut consumer, &queue);
        // Messages of a prepared transaction are looked for every second.
        until("the message of the maker is found", || {
            left.extend(payloads(&mut consumer, &queue));
            left.contains(&"1".to_owned()) == is_there
        });
        left.sort();
        assert_eq!(left, if is_there { vec!["1", "3"] } else { vec!["3"] }, "{end}");
        until("the queue has its row, and no note any more", || {
            let made = format!("SELECT count(*) = 1 FROM pgq_list_queues() WHERE queue = '{queue}'");
            consumer.one::<bool>(&made) && notes(&mut producer) == 0
        });
        // Changes of it find it.
        assert!(consumer.one::<bool>(&format!("SELECT pgq_pause('{queue}')")), "{end}");
        assert_eq!(
            consumer.one::<i64>(&format!("SELECT pgq_drop_queue('{queue}')")),
            1 + i64::from(is_there)
        );
    }
}

#[test]
fn two_transactions_that_begin_two_queues_in_opposite_order_do_not_wait() {
    let server = Server::start();
    let (mut first, mut second) = (impatient(&server), impatient(&server));
    first.batch_execute("BEGIN; SELECT pgq_push('a', '1')").unwrap();
    second.batch_execute("BEGIN; SELECT pgq_push('b', '1')").unwrap();
    first.batch_execute("SELECT pgq_push('b', '2')").unwrap();
    second.batch_execute("SELECT pgq_push('a', '2')").unwrap();
    first.batch_execute("ROLLBACK").unwrap();
    second.batch_execute("COMMIT").unwrap();
    assert_eq!(payloads(&mut first, "a"), ["2"]);
    assert_eq!(payloads(&mut first, "b"), ["1"]);
}

/// Of many sessions that begin a queue, of which some are rolled back, each that commits keeps its message.
#[test]
fn of_all_that_begin_a_queue_those_that_commit_keep_their_messages() {
    let server = Server::start();
    let mut observer = server.connect();
    for round in 0..30 {
        let queue = format!("q{round}");
        let mut kept = std::thread::scope(|scope| {
            let sessions: Vec<_> = (0..6)
                .map(|n| {
                    let (mut session, queue) = (impatient(&server), &queue);
                    scope.spawn(move || {
                        let push = format!("BEGIN; SELECT pgq_push('{queue}', '{n}')");
                        session.batch_execute(&push).unwrap();
                        std::thread::sleep(std::time::Duration::from_millis((n * 7 + round) % 5));
                        let keeps = (n + round) % 3 == 0;
                        session.batch_execute(if keeps { "COMMIT" } else { "ROLLBACK" }).unwrap();
                        keeps.then(|| n.to_string())
                    })
                })
                .collect();
            sessions.into_iter().filter_map(|session| session.join().unwrap()).collect::<Vec<_>>()
        });
        kept.sort();
        assert_eq!(payloads(&mut observer, &queue), kept, "round {round}");
    }
    until("no note is left", || notes(&mut observer) == 0);
    let numbers =
        "SELECT count(DISTINCT queue) = 30 AND count(DISTINCT queue) = (SELECT count(*) FROM pgqueue.queue)
                     FROM pgqueue.message";
    assert!(observer.one::<bool>(numbers), "each queue has one number");
}

#[test]
fn a_note_goes_with_the_savepoint_of_its_push() {
    let server = Server::start();
    let (mut maker, mut producer) = (server.connect(), impatient(&server));
    maker.batch_execute("BEGIN; SELECT pgq_push('q', '1')").unwrap();
    producer
        .batch_execute("BEGIN; SAVEPOINT s; SELECT pgq_push('q', '2'); ROLLBACK TO s; SELECT pgq_push('other', '3'); COMMIT")
        .unwrap();
    maker.batch_execute("ROLLBACK").unwrap();
    assert_eq!(producer.all::<String>("SELECT queue FROM pgq_list_queues()"), ["other"]);
    assert_eq!(notes(&mut producer), 0);
    // The maker's own savepoint likewise.
    maker.batch_execute("BEGIN; SAVEPOINT s; SELECT pgq_push('q', '1')").unwrap();
    producer.batch_execute("BEGIN; SELECT pgq_push('q', '2')").unwrap();
    maker.batch_execute("ROLLBACK TO s; SELECT pgq_push('q', '3'); COMMIT").unwrap();
    producer.batch_execute("COMMIT").unwrap();
    assert_eq!(payloads(&mut producer, "q"), ["2", "3"]);
}

#[test]
fn a_queue_begun_with_settings_or_by_another_role_is_waited_for() {
    let server = Server::start();
    let mut maker = server.connect();
    maker.batch_execute("CREATE ROLE ann LOGIN; CREATE ROLE bob LOGIN").unwrap();
    let mut ann = server.connect_as("ann");
    let mut bob = server.connect_as("bob");
    bob.batch_execute("SET lock_timeout = '500ms'").unwrap();
    ann.batch_execute("BEGIN; SELECT pgq_push('of ann', '1')").unwrap();
    assert_eq!(bob.sqlstate("SELECT pgq_push('of ann', '2')"), "55P03");
    ann.batch_execute("COMMIT").unwrap();
    assert_eq!(bob.sqlstate("SELECT pgq_push('of ann', '2')"), "42501");
    maker.batch_execute(r#"BEGIN; SELECT pgq_create_queue('set', '{"max_length": 1}')"#).unwrap();
    let mut producer = server.connect();
    producer.batch_execute("SET lock_timeout = '500ms'").unwrap();
    assert_eq!(producer.sqlstate("SELECT pgq_push('set', '2')"), "55P03");
    maker.batch_execute("ROLLBACK").unwrap();
    producer.execute("SELECT pgq_push('set', '2')", &[]).unwrap();
    // Neither the owner of a note nor the number of a queue is another role's to write.
    let mut writer = server.connect();
    writer.batch_execute("CREATE ROLE writer LOGIN IN ROLE pg_write_all_data, pg_read_all_data").unwrap();
    let mut writer_s = server.connect_as("writer");
    let forged = "INSERT INTO pgqueue.begun_queue (queue, name, owner) SELECT id, 'x', 'writer' FROM pgqueue.queue LIMIT 1";
    assert_eq!(writer_s.sqlstate(forged), "42501");
    assert_eq!(writer_s.sqlstate("TRUNCATE pgqueue.begun_queue"), "42501");
}

#[test]
fn the_owner_and_the_grants_of_a_queue_whose_maker_was_rolled_back_are_as_its_other_maker_wants() {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.auto_vacuum = off");
    let mut root = server.connect();
    root.batch_execute("CREATE EXTENSION pgqueue; CREATE ROLE ann LOGIN; CREATE ROLE bob LOGIN").unwrap();
    let (mut ann, mut again, mut bob) =
        (server.connect_as("ann"), server.connect_as("ann"), server.connect_as("bob"));
    ann.batch_execute("BEGIN; SELECT pgq_push('q', '1')").unwrap();
    again
        .batch_execute(r#"SET pgqueue.default_grants = '{"bob": ["consume"]}'; SELECT pgq_push('q', '2')"#)
        .unwrap();
    ann.batch_execute("ROLLBACK").unwrap();
    assert_eq!(bob.sqlstate("SELECT pgq_reserve('q')"), "42501");
    root.execute("SELECT pgq_vacuum()", &[]).unwrap();
    assert_eq!(payloads(&mut bob, "q"), ["2"]);
    assert_eq!(root.one::<String>("SELECT owner::text FROM pgq_list_queues()"), "ann");
    assert_eq!(notes(&mut root), 1, "the note goes in the next round");
    root.execute("SELECT pgq_vacuum()", &[]).unwrap();
    assert_eq!(notes(&mut root), 0);
}

#[test]
fn a_queue_begun_by_two_survives_a_crash_and_a_dump_without_worker_and_shared_memory() {
    let server = Server::bare("");
    let mut session = server.connect();
    session.batch_execute("CREATE EXTENSION pgqueue").unwrap();
    let mut maker = server.connect();
    maker.batch_execute("BEGIN; SELECT pgq_push('q', '1')").unwrap();
    let mut producer = impatient(&server);
    producer.execute("SELECT pgq_push('q', '2')", &[]).unwrap();
    let dump = server.client("pg_dump", &[]);
    server.stop(Stop::Kill);
    server.launch();
    let mut session = server.connect();
    assert_eq!(payloads(&mut session, "q"), ["2"]);
    session.execute("SELECT pgq_push('q', '3')", &[]).unwrap();
    assert_eq!(session.one::<i64>("SELECT count(*) FROM pgq_list_queues()"), 1, "the push made the row");
    session.batch_execute("CREATE DATABASE copy").unwrap();
    server.restore_into("copy", &dump);
    assert_eq!(payloads(&mut server.connect_to("copy"), "q"), ["2"]);
}
