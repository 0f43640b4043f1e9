//! What an error says, and what it keeps to itself.

use postgres::error::{DbError, ErrorPosition};
use support::{Ask, Server, Stop, until};

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
        ("SELECT pgq_delete_batch(ARRAY[NULL]::bigint[])", "ids", false),
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

/// A trigger on the table of messages that raises what a payload says.
const TRIGGER_THAT_FAILS: &str = "
    CREATE TABLE one (id int CONSTRAINT only_one PRIMARY KEY);
    INSERT INTO one VALUES (1);
    CREATE FUNCTION own() RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        RAISE 'bang' USING ERRCODE = 'SHOP1', DETAIL = 'its detail', HINT = 'its hint', TABLE = 'shop';
    END $$;
    CREATE FUNCTION check_message() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        CASE NEW.payload ->> 'raises'
            WHEN 'own' THEN PERFORM public.own();
            WHEN 'twice' THEN INSERT INTO public.one VALUES (1);
            ELSE PERFORM 1 FROM public.lost; END CASE;
        RETURN NULL;
    END $$;
    SELECT pgq_create_queue('q');
    CREATE TRIGGER check_message AFTER INSERT ON pgqueue.message FOR EACH ROW EXECUTE FUNCTION check_message();
    CREATE FUNCTION caller(raises text) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pgq_push('q', jsonb_build_object('raises', raises));
    END $$";

/// What the error tells of where it was raised, each line once and in the order of the calls.
fn calls_told(error: &DbError) -> Vec<&str> {
    let context = error.where_().expect("a context");
    context.lines().filter_map(|line| line.strip_prefix("PL/pgSQL function ")?.split('(').next()).collect()
}

#[test]
fn an_error_that_passes_through_a_call_keeps_all_that_postgres_tells_of_it() {
    let server = Server::start();
    let mut session = server.connect();
    session.batch_execute(TRIGGER_THAT_FAILS).unwrap();

    let own = error_of(&mut session, "SELECT caller('own')");
    assert_eq!((own.code().code(), own.message()), ("SHOP1", "bang"));
    assert_eq!((own.detail(), own.hint()), (Some("its detail"), Some("its hint")));
    assert_eq!(own.table(), Some("shop"));
    assert_eq!(calls_told(&own), ["own", "public.check_message", "caller"]);

    let twice = error_of(&mut session, "SELECT caller('twice')");
    assert_eq!(twice.code().code(), "23505");
    assert_eq!((twice.table(), twice.constraint()), (Some("one"), Some("only_one")));
    assert_eq!(calls_told(&twice), ["public.check_message", "caller"]);

    let lost = error_of(&mut session, "SELECT caller('lost')");
    assert_eq!(lost.code().code(), "42P01");
    let query = ErrorPosition::Internal { position: 15, query: "SELECT 1 FROM public.lost".into() };
    assert_eq!(lost.position(), Some(&query));
    assert_eq!(calls_told(&lost), ["public.check_message", "caller"]);
}

#[test]
fn a_watch_that_fails_says_so_with_the_sqlstate_of_the_error() {
    let server = Server::start();
    let mut session = server.connect();
    session
        .batch_execute(
            "CREATE FUNCTION own(code text) RETURNS text LANGUAGE plpgsql AS $$
             BEGIN
                 BEGIN
                     RAISE 'caught' USING ERRCODE = 'SHOP2';
                 EXCEPTION WHEN sqlstate 'SHOP2' THEN
                 END;
                 RAISE 'bang' USING ERRCODE = code;
             END $$;
             SELECT pgq_watch('own', 'q', 'SELECT public.own(''SHOP1''), ''{}''::jsonb', '1 s');
             SELECT pgq_watch('known', 'q', 'SELECT public.own(''22012''), ''{}''::jsonb', '1 s')",
        )
        .unwrap();
    until("both have run", || session.one("SELECT count(last_run) = 2 FROM pgq_list_watches()"));
    let told: Vec<String> = session.all("SELECT last_error FROM pgq_list_watches() ORDER BY name");
    assert_eq!(told, ["22012: bang", "SHOP1: bang"]);
}

#[test]
fn an_error_tells_nothing_of_another_that_was_caught_before() {
    let server = Server::start();
    let mut session = server.connect();
    session.batch_execute(TRIGGER_THAT_FAILS).unwrap();
    session
        .batch_execute(
            "CREATE FUNCTION caught(raises text) RETURNS text LANGUAGE plpgsql AS $$
             DECLARE told text;
             BEGIN
                 PERFORM caller(raises);
             EXCEPTION WHEN sqlstate 'SHOP1' OR unique_violation THEN
                 GET STACKED DIAGNOSTICS told = PG_EXCEPTION_CONTEXT;
                 RETURN told;
             END $$;
             CREATE TABLE plain (id int PRIMARY KEY);
             CREATE TRIGGER plain AFTER INSERT ON plain FOR EACH ROW EXECUTE FUNCTION pgq_capture('q', 'nothing')",
        )
        .unwrap();
    for _ in 0..2 {
        assert!(session.one::<String>("SELECT caught('own')").contains("function own()"));
        assert!(!session.one::<String>("SELECT caught('twice')").contains("function own()"));
        let error = error_of(&mut session, "INSERT INTO plain VALUES (1)");
        assert_eq!((error.code().code(), error.where_(), error.table()), ("42703", None, None));
        let error = error_of(&mut session, "SELECT caught('own'), pgq_push('', '1')");
        assert_eq!((error.code().code(), error.where_()), ("22023", None));
    }
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

#[test]
fn a_trigger_function_of_the_extension_refuses_other_tables() {
    let server = Server::start();
    let mut session = server.connect();
    session.batch_execute("CREATE TABLE other (n int, t text)").unwrap();
    for function in ["announce_message", "announce_removal", "count_letter", "pin_role"] {
        let each = if function == "announce_removal" { "STATEMENT" } else { "ROW" };
        let create = format!(
            "CREATE OR REPLACE TRIGGER of_ours AFTER INSERT ON other FOR EACH {each}
                 EXECUTE FUNCTION pgqueue.{function}()"
        );
        session.batch_execute(&create).unwrap();
        let sqlstate = session.sqlstate("INSERT INTO other VALUES (1, 'x')");
        assert_eq!(sqlstate, "39P01", "{function}");
        session.batch_execute("DROP TRIGGER of_ours ON other").unwrap();
    }
}
