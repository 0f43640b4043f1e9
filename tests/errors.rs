//! What an error says, and what it keeps to itself.

use postgres::error::DbError;
use support::{Ask, Server, Stop};

fn error_of(session: &mut postgres::Client, statement: &str) -> DbError {
    session
        .batch_execute(statement)
        .expect_err(statement)
        .as_db_error()
        .expect("an error of the server")
        .clone()
}

#[test]
fn no_error_shows_the_insides_of_the_library_whatever_the_server_s_environment() {
    let server = Server::start();
    let data: String = server.connect().one("SHOW data_directory");
    server.stop(Stop::Fast);
    let variables = "RUST_BACKTRACE=full RUST_LIB_BACKTRACE=full";
    server.shell(&format!("{variables} pg_ctl start -w -s -l {data}/log -D {data}"), &[]);
    let mut session = server.connect();
    // A mistake of the caller, an error of Postgres that passes through us, one that is caught in
    // between, and a cancelled sleep.
    for (statement, sqlstate, detail) in [
        ("SELECT pgq_push('', '1')", "22023", None),
        ("SELECT pgq_push('q', '1', headers => '{}'), pgq_schedule('s', 'q', 'SELECT', '1')", "22023", None),
        ("SELECT pgq_watch('w', 'q', 'SELECT 1/x FROM nothing', '1 h')", "42P01", None),
        ("SET statement_timeout = '100 ms'; CALL pgq_wait('q', '1 h')", "57014", None),
    ] {
        let error = error_of(&mut session, statement);
        assert_eq!((error.code().code(), error.detail()), (sqlstate, detail), "{statement}: {error:?}");
    }
}

#[test]
fn a_null_is_named_and_the_hint_is_about_that_argument() {
    let server = Server::start();
    let mut session = server.connect();
    for (statement, argument, of_payloads) in [
        ("SELECT pgq_push('q', NULL)", "payload", true),
        ("SELECT pgq_push_batch('q', ARRAY[NULL]::jsonb[])", "payloads", true),
        ("SELECT pgq_push(NULL, '1')", "queue", false),
        ("SELECT pgq_delete(NULL::bigint)", "id", false),
        ("SELECT pgq_delete(ARRAY[NULL]::bigint[])", "ids", false),
        ("SELECT pgq_extend(1, NULL)", "lease", false),
    ] {
        let error = error_of(&mut session, statement);
        assert_eq!(error.code().code(), "22004", "{statement}");
        assert_eq!(error.message(), format!("argument \"{argument}\" must not be null"));
        let hint = error.hint().expect("a hint");
        assert_eq!(hint.contains("payload"), of_payloads, "{statement}: {hint}");
    }
}

#[test]
fn the_call_in_a_function_is_told_as_context() {
    let server = Server::start();
    let mut session = server.connect();
    session
        .batch_execute(
            "CREATE FUNCTION caller() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pgq_push('', '1'); END $$",
        )
        .unwrap();
    let error = error_of(&mut session, "SELECT caller()");
    let context = error.where_().expect("a context");
    assert_eq!(context.matches("PL/pgSQL function caller() line 1 at PERFORM").count(), 1, "{context}");
}

#[test]
fn a_delay_of_zero_is_none() {
    let server = Server::start();
    let mut session = server.connect();
    session
        .batch_execute(
            "SELECT pgq_push('q', '1', delay => '0');
             SELECT pgq_push_batch('q', ARRAY['2']::jsonb[], delay => '0 s');
             SELECT pgq_push_bytes('q', '3', delay => make_interval(secs => 0))",
        )
        .unwrap();
    assert_eq!(session.one::<i64>("SELECT count(*) FROM pgqueue.message WHERE lane = 'r'"), 3);
    assert_eq!(session.one::<i64>("SELECT count(*) FROM pgq_pop('q', 9)"), 3);
}
