//! `CALL pgq_wait`.

mod support;

use std::thread;
use std::time::{Duration, Instant};

use support::{Ask, Server, until};

#[test]
fn a_push_wakes_it_and_meanwhile_it_holds_no_snapshot() {
    let server = Server::start();
    let (mut waiter, mut producer) = (server.connect(), server.connect());
    waiter.execute("SELECT pgq_create_queue('q')", &[]).unwrap();
    let pid: i32 = waiter.one("SELECT pg_backend_pid()");
    let waiting = thread::spawn(move || {
        let begun = Instant::now();
        waiter.batch_execute("CALL pgq_wait('q', '20 s')").unwrap();
        begun.elapsed()
    });
    until("it sleeps without a snapshot", || {
        producer.one(&format!(
            "SELECT coalesce((SELECT wait_event_type = 'Extension' AND backend_xmin IS NULL AND backend_xid IS NULL
                                FROM pg_stat_activity WHERE pid = {pid} AND query LIKE 'CALL%'), false)"
        ))
    });
    producer.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
    assert!(waiting.join().unwrap() < Duration::from_secs(15));
}

#[test]
fn it_returns_at_once_when_there_is_enough_and_at_its_timeout_when_there_is_not() {
    let server = Server::start();
    let mut session = server.connect();
    session.execute("SELECT pgq_push_batch('q', ARRAY['1', '2']::jsonb[])", &[]).unwrap();
    let mut timed = |call: &str| {
        let begun = Instant::now();
        session.batch_execute(call).unwrap();
        begun.elapsed()
    };
    assert!(timed("CALL pgq_wait('q', '20 s', min => 2)") < Duration::from_secs(15));
    assert!(timed("CALL pgq_wait('q', '300 ms', min => 3)") >= Duration::from_millis(300));
    assert!(timed("CALL pgq_wait('unknown', '300 ms')") >= Duration::from_millis(300));
    assert!(timed("CALL pgq_wait('unknown', '0')") < Duration::from_secs(15));
    // In a transaction block and in a DO block it lets go of the snapshot too.
    assert!(timed("BEGIN; CALL pgq_wait('q', '20 s'); COMMIT") < Duration::from_secs(15));
    assert!(
        timed("DO $$ BEGIN CALL pgq_wait('q', '20 s'); PERFORM pgq_pop('q'); END $$")
            < Duration::from_secs(15)
    );
    assert_eq!(session.one::<i64>("SELECT pgq_count('q')"), 1);
}

#[test]
fn a_message_that_somebody_is_just_taking_does_not_end_it() {
    let server = Server::start();
    let (mut holder, mut waiter) = (server.connect(), server.connect());
    holder.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
    holder.batch_execute("BEGIN; SELECT pgq_reserve('q')").unwrap();
    let begun = Instant::now();
    waiter.batch_execute("CALL pgq_wait('q', '300 ms')").unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(300), "else its consumer would poll without a pause");
    // Nor does a try to take it cost a transaction id.
    waiter.batch_execute("BEGIN; SELECT pgq_reserve('q')").unwrap();
    assert_eq!(waiter.one::<Option<String>>("SELECT pg_current_xact_id_if_assigned()::text"), None);
    waiter.batch_execute("COMMIT").unwrap();
    // Given back, it does.
    holder.batch_execute("ROLLBACK").unwrap();
    let begun = Instant::now();
    waiter.batch_execute("CALL pgq_wait('q', '20 s')").unwrap();
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[test]
fn what_becomes_due_and_what_expires_ends_it() {
    let server = Server::start();
    let mut session = server.connect();
    session.execute("SELECT pgq_push('due', '1', delay => '300 ms'), pgq_push('lease', '1')", &[]).unwrap();
    session.execute("SELECT pgq_reserve('lease', lease => '300 ms')", &[]).unwrap();
    for queue in ["due", "lease"] {
        session.batch_execute(&format!("CALL pgq_wait('{queue}', '20 s')")).unwrap();
        assert_eq!(session.all::<i64>(&format!("SELECT id FROM pgq_reserve('{queue}')")).len(), 1, "{queue}");
    }
}

#[test]
fn cancel_timeout_and_terminate_end_it() {
    let server = Server::start();
    let mut observer = server.connect();
    let mut session = server.connect();
    session.batch_execute("SET statement_timeout = '200 ms'").unwrap();
    assert_eq!(session.sqlstate("CALL pgq_wait('q', '1 h')"), "57014");
    session.batch_execute("RESET statement_timeout").unwrap();
    for signal in ["pg_cancel_backend", "pg_terminate_backend"] {
        let mut session = server.connect();
        let pid: i32 = session.one("SELECT pg_backend_pid()");
        let waiting = thread::spawn(move || session.batch_execute("CALL pgq_wait('q', '1 h')").unwrap_err());
        until("it waits", || {
            observer.one(&format!("SELECT coalesce((SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = {pid}), false)"))
        });
        observer.execute(&format!("SELECT {signal}({pid})"), &[]).unwrap();
        let error = waiting.join().unwrap();
        // The driver may see the connection close before it reads the server's last words.
        match error.code() {
            Some(code) => assert!(["57014", "57P01"].contains(&code.code()), "{error:?}"),
            None => assert!(error.is_closed(), "{error:?}"),
        }
    }
}
