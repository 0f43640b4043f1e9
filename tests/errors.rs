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

/// The errors of `src/error.rs` by the names of their functions, each with a statement that raises it, its SQLSTATE,
/// and the argument that it names in the field for columns.
#[rustfmt::skip]
const MISTAKES: &[(&str, &str, &str, Option<&str>)] = &[
    ("null", "SELECT pgq_push('q', NULL)", "22004", Some("payload")),
    ("null", "SELECT pgq_push_batch('q', ARRAY[NULL]::jsonb[])", "22004", Some("payloads")),
    ("null", "SELECT pgq_extend(1, NULL)", "22004", Some("lease")),
    ("null", "SELECT pgq_push_each('q', '[{\"payload\": 1}, {}]')", "22004", Some("messages[2].payload")),
    ("invalid", "SELECT pgq_push('', '1')", "22023", Some("queue")),
    ("invalid", "SELECT pgq_reserve('q', lease => '0 s')", "22023", Some("lease")),
    ("invalid", "SELECT pgq_reserve('q', max => 0)", "22023", Some("max")),
    ("invalid", "SELECT pgq_push('q', '1', priority => 99999)", "22023", Some("priority")),
    ("invalid", "SELECT pgq_delete_batch('{1}', '{1,2}')", "22023", Some("deliveries")),
    ("invalid", "SELECT pgq_schedule('s', 'q', 'soon', '1')", "22023", Some("every")),
    ("wrong_length", "SELECT pgq_push_batch('q', '{1}', dedup_keys => '{}')", "22023", Some("dedup_keys")),
    ("unknown_word", "SELECT pgq_peek('q', state => 'asleep')", "22023", Some("state")),
    ("unknown_word", "SELECT pgq_grant('there', 'public', 'all')", "22023", Some("privilege")),
    ("setting", "SELECT pgq_create_queue('q', '[]')", "22023", Some("settings")),
    ("setting", "SELECT pgq_create_queue('q', '{\"backoff\": {\"base\": 1}}')", "22023", Some("settings.backoff.base")),
    ("not_a_receipt", "SELECT pgq_delete_by_receipt('1')", "22P02", Some("receipt")),
    ("unknown_field", "SELECT pgq_push_each('q', '[{\"payload\": 1, \"delya\": 1}]')", "22023", Some("messages[1].delya")),
    ("of_message", "SELECT pgq_push_each('q', '[{\"payload\": 1, \"ttl\": \"0 s\"}]')", "22023", Some("messages[1].ttl")),
    ("of_message", "SELECT pgq_push_each('q', '[{\"payload\": 1}, {\"payload\": 1, \"delay\": \"soon\"}]')", "22007", Some("messages[2].delay")),
    ("of_message", "SELECT pgq_push_each('q', '[{\"payload\": 1, \"deliver_at\": \"2100-13-01\"}]')", "22008", Some("messages[1].deliver_at")),
    ("of_message", "SELECT pgq_push_each('q', '[{\"payload\": 1, \"lease\": \"999999999999 years\"}]')", "22015", Some("messages[1].lease")),
    ("too_long", "SELECT pgq_push('q', '1', group_key => repeat('g', 513))", "54000", Some("group_key")),
    ("text_too_long", "SELECT pgq_schedule('s', 'q', repeat('1', 1025), '1')", "54000", Some("every")),
    ("array_too_long", "SELECT pgq_delete_batch(array_fill(1::bigint, ARRAY[1000001]))", "54000", Some("ids")),
    ("no_such_queue", "SELECT pgq_drop_queue('q')", "42704", None),
    ("no_such_topic", "SELECT pgq_drop_topic('t')", "42704", None),
    ("no_such_topic", "SELECT pgq_publish('t', '1')", "42704", None),
    ("not_allowed_on_topic", "SET ROLE nobody; SELECT pgq_publish('news', '1')", "42501", None),
    ("not_allowed_on_topic", "SET ROLE nobody; SELECT pgq_subscribe('news', 'mine')", "42501", None),
    ("not_allowed", "SET ROLE nobody; SELECT pgq_push('there', '1')", "42501", None),
    ("not_a_member", "SET ROLE nobody; SELECT pgq_reassign_owned('postgres', 'nobody')", "42501", None),
    (
        "too_long_as_text",
        "SELECT pgq_push('q', ('[' || repeat('1e131071,', 8199) || '1]')::jsonb)",
        "54000",
        Some("payload"),
    ),
    ("no_truncate", "TRUNCATE pgqueue.message", "0A000", None),
    ("not_for_hands", "SET ROLE writer; DELETE FROM pgqueue.queue", "42501", None),
    ("bad_default_grants", "SET pgqueue.default_grants = '{'; SELECT pgq_push('q', '1')", "22023", None),
    ("not_your_schedule", "SET ROLE nobody; SELECT pgq_unschedule('tick')", "42501", None),
    ("other_kind_of_schedule", "SELECT pgq_unwatch('tick')", "42809", None),
    ("no_such_role", "SELECT pgq_grant('there', 'gone', 'push')", "42704", Some("role")),
    ("no_such_role", "SELECT pgq_reassign_owned('postgres', 'public')", "42704", Some("new_owner")),
    ("bad_capture", "SELECT pgq_capture()", "39P01", None),
    ("bad_capture", "CREATE TRIGGER c BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION pgq_capture('q'); INSERT INTO t VALUES (1)", "39P01", None),
    ("no_such_column", "CREATE TRIGGER c AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION pgq_capture('q', 'x'); INSERT INTO t VALUES (1)", "42703", None),
    ("capture_needs_key", "CREATE TRIGGER c AFTER UPDATE ON t REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('q'); UPDATE t SET a = 2", "39P01", None),
    ("read_only", "SET transaction_read_only = on; SELECT pgq_push('q', '1')", "25006", None),
    ("dead_letters_off", "SELECT pgq_peek_dead('keeps none')", "42809", None),
    ("refused", "SELECT pgq_delete(1, 77, strict => true)", "P0002", None),
    ("snapshot_must_stay", "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; CALL pgq_wait('q', '0')", "25001", None),
    ("full", "SELECT pgq_push('short', '1')", "53400", None),
    ("duplicate", "SELECT pgq_push('there', '1', dedup_key => 'k', on_duplicate => 'reject')", "23505", Some("dedup_key")),
    ("cannot_obey", "CREATE RULE r AS ON INSERT TO pgqueue.message DO ALSO NOTHING; SELECT pgq_push('there', '1')", "55000", None),
    ("table_is_changed", "DROP INDEX pgqueue.message_group; SELECT pgq_push('there', '1', group_key => 'g')", "55000", None),
];

/// Errors that take more than a statement, or that no caller sees; other tests raise them.
const ELSEWHERE: [&str; 12] = [
    "behind_topic",
    "busy",
    "could_not_serialize",
    "extension_is_gone",
    "ids_are_used_up",
    "no_memory",
    "no_set_here",
    "not_a_trigger",
    "owner_is_gone",
    "queue_was_dropped",
    "subscription_was_dropped",
    "watch_gives_too_much",
];

#[test]
fn each_error_has_its_sqlstate_and_names_its_argument_where_a_program_can_read_it() {
    let server = Server::start();
    let mut session = server.connect();
    session
        .batch_execute(
            "CREATE ROLE nobody; CREATE ROLE writer IN ROLE pg_write_all_data, pg_read_all_data;
             GRANT USAGE ON SCHEMA pgqueue TO writer; CREATE TABLE t (a int); INSERT INTO t VALUES (1);
             SELECT pgq_create_queue('keeps none', '{\"dead_letter\": false}');
             SELECT pgq_create_queue('short', '{\"max_length\": 1}'), pgq_push('short', '1');
             SELECT pgq_push('there', '1', dedup_key => 'k'), pgq_schedule('tick', 'there', '1 day', '1');
             SELECT pgq_create_topic('news')",
        )
        .unwrap();
    let before: Vec<String> = session.all("SELECT queue || total FROM pgq_stats() ORDER BY 1");
    let mut differences = Vec::new();
    for &(name, statement, sqlstate, argument) in MISTAKES {
        session.batch_execute("BEGIN").unwrap();
        let error = error_of(&mut session, statement);
        // The last word of `messages[2].delay`; a path into the settings is in the message as a whole.
        let is_named = argument.is_none_or(|argument| {
            let path = argument.strip_prefix("settings.");
            let word = path.unwrap_or_else(|| argument.rsplit('.').next().unwrap());
            error.message().contains(&format!("\"{word}\""))
        });
        if (error.code().code(), error.column()) != (sqlstate, argument) || !is_named {
            differences.push(format!("{name}: {statement}: {error:?}"));
        }
        session.batch_execute("ROLLBACK").unwrap();
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(session.all::<String>("SELECT queue || total FROM pgq_stats() ORDER BY 1"), before);

    let source = include_str!("../src/error.rs").split("    /// 22004").nth(1).unwrap();
    let mut defined: Vec<&str> =
        source.lines().filter_map(|line| line.trim().strip_prefix("pub fn ")?.split('(').next()).collect();
    defined.push("null");
    defined.retain(|name| *name != "wrong_version"); // upgrade.rs
    let known: Vec<&str> = MISTAKES.iter().map(|mistake| mistake.0).chain(ELSEWHERE).collect();
    let lost: Vec<_> = defined.iter().filter(|name| !known.contains(name)).collect();
    assert!(defined.len() > 40 && lost.is_empty(), "{lost:?}");
}

#[test]
fn a_program_in_the_database_reads_the_argument_too_and_a_later_error_has_none_of_it() {
    let server = Server::start();
    let mut session = server.connect();
    session
        .batch_execute(
            "CREATE FUNCTION argument_of(call text) RETURNS text LANGUAGE plpgsql AS $$
             DECLARE told text;
             BEGIN
                 EXECUTE call;
             EXCEPTION WHEN OTHERS THEN
                 GET STACKED DIAGNOSTICS told = COLUMN_NAME;
                 RETURN told;
             END $$",
        )
        .unwrap();
    for (call, argument) in [
        ("SELECT pgq_reserve(''q'', max => 0)", "max"),
        ("SELECT pgq_drop_queue(''q'')", ""),
        ("SELECT pgq_reserve(''q'', lease => ''-1 s'')", "lease"),
        ("SELECT 1 / 0", ""),
    ] {
        assert_eq!(session.one::<String>(&format!("SELECT argument_of('{call}')")), argument, "{call}");
    }
}
