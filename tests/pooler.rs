//! Calls through PgBouncer, which gives each transaction any of a few connections.

use std::thread;

use postgres::{Client, SimpleQueryMessage};
use support::pooler::Pooler;
use support::{Ask, Server, until};

/// The first row of a query that is not prepared: prepared statements belong to a connection.
fn row(session: &mut Client, query: &str) -> Option<Vec<String>> {
    let answer = session.simple_query(query).unwrap_or_else(|error| panic!("{query}: {error:?}"));
    answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|n| row.get(n).unwrap_or_default().to_owned()).collect())
        }
        _ => None,
    })
}

#[test]
fn a_receipt_is_good_on_any_connection() {
    let server = Server::start();
    let pooler = Pooler::start(&server, "default_pool_size = 3");
    let mut sessions: Vec<Client> = (0..12).map(|_| pooler.connect()).collect();
    thread::scope(|scope| {
        for session in &mut sessions {
            scope.spawn(move || {
                for _ in 0..50 {
                    row(session, "SELECT pgq_push('q', '1')");
                    let message = row(session, "SELECT id, delivery FROM pgq_reserve('q', lease => '1 h')");
                    let [id, delivery] = &message.expect("one for each push")[..] else {
                        panic!("two columns")
                    };
                    let answer = row(session, &format!("SELECT pgq_delete({id}::bigint, {delivery}::int)"));
                    assert_eq!(answer.unwrap(), ["t"]);
                }
            });
        }
    });
    let mut observer = server.connect();
    let stats: String = observer.one("SELECT (total, pushed, delivered, deleted)::text FROM pgq_stats('q')");
    assert_eq!(stats, "(0,600,600,600)");
    let connections: i64 = observer.one(
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
    );
    assert!(connections <= 3, "the clients shared {connections} connections");
}

#[test]
fn a_sleeper_is_woken_and_leaves_its_connection_as_it_was() {
    let server = Server::start();
    server.connect().execute("SELECT pgq_create_queue('q')", &[]).unwrap();
    let pooler = Pooler::start(&server, "default_pool_size = 1");
    let mut sleeper = pooler.connect();
    let sleeping = thread::spawn(move || {
        sleeper.batch_execute("CALL pgq_wait('q', '60 s')").unwrap();
        sleeper
    });
    let mut producer = server.connect();
    until("it sleeps", || {
        producer.one(
            "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'CALL%' AND wait_event_type = 'Extension'",
        )
    });
    producer.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
    let mut sleeper = sleeping.join().unwrap();
    assert!(row(&mut pooler.connect(), "SELECT id FROM pgq_reserve('q')").is_some());
    assert!(row(&mut sleeper, "SELECT id FROM pgq_reserve('q')").is_none());
}
