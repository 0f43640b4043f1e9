//! Messages that die while several sessions look at them.

use std::thread;

use support::{Ask, Server, until};

#[test]
fn an_expired_message_is_never_delivered_with_or_without_worker() {
    for settings in [r#"{"on_expire": "dead"}"#, r#"{"on_expire": "drop"}"#] {
        let server = Server::start();
        server.set("pgqueue.auto_vacuum = off");
        let mut session = server.connect();
        session.execute(&format!("SELECT pgq_create_queue('q', '{settings}')"), &[]).unwrap();
        session
            .batch_execute(
                "SELECT pgq_push('q', to_jsonb(n), ttl => '1 ms') FROM generate_series(1, 200) n;
                 SELECT pgq_push('q', '0')",
            )
            .unwrap();
        until("their time is over", || {
            session.one("SELECT max(expires_at) < clock_timestamp() FROM pgqueue.message")
        });
        let delivered: Vec<i32> = thread::scope(|scope| {
            let consumers: Vec<_> = (0..4)
                .map(|_| {
                    let mut session = server.connect();
                    scope.spawn(move || {
                        let reserve = "SELECT payload::int FROM pgq_reserve('q', max => 5)";
                        (0..20).flat_map(|_| session.all::<i32>(reserve)).collect::<Vec<_>>()
                    })
                })
                .collect();
            session.batch_execute("SELECT pgq_vacuum()").unwrap();
            consumers.into_iter().flat_map(|consumer| consumer.join().unwrap()).collect()
        });
        assert_eq!(delivered, [0]);
        let kept = if settings.contains("dead") { 200 } else { 0 };
        assert_eq!(session.one::<i64>("SELECT dead FROM pgq_stats('q')"), kept);
        assert_eq!(session.one::<i64>("SELECT expired FROM pgq_stats('q')"), 200);
    }
}

#[test]
fn a_death_is_told_once_however_many_find_it() {
    let server = Server::start();
    server.set("pgqueue.vacuum_interval = '20ms'");
    let mut session = server.connect();
    session.execute("SELECT pgq_create_queue('q', '{\"events_to\": \"ops\"}')", &[]).unwrap();
    for round in 1..=5 {
        session
            .batch_execute(
                "SELECT pgq_push('q', to_jsonb(n), max_deliveries => 1) FROM generate_series(1, 150) n;
                 SELECT pgq_reserve('q', lease => '50 ms', max => 150)",
            )
            .unwrap();
        thread::scope(|scope| {
            for n in 0..4 {
                let mut session = server.connect();
                let call = if n == 0 { "SELECT pgq_vacuum()" } else { "SELECT pgq_reserve('q', max => 10)" };
                scope.spawn(move || {
                    until("all are dead", || {
                        session.batch_execute(call).unwrap();
                        session.one::<i64>("SELECT dead FROM pgq_stats('q')") == 150 * round
                    });
                });
            }
        });
    }
    let told = "SELECT count(*), count(DISTINCT payload -> 'id') FROM pgq_peek('ops', 10000)
                 WHERE payload ->> 'event' = 'dead' AND payload ->> 'reason' = 'timeout'";
    let row = session.query_one(told, &[]).unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (750, 750));
    assert_eq!(session.one::<i64>("SELECT pushed FROM pgq_stats('ops')"), 750);
}
