//! Attacks: what a role that may connect, and nothing else, tries against the queues of
//! others and against superusers and the worker that run its code.

use postgres::Client;
use support::{Ask, Server, Stop, until};

use crate::calls::CALLS;

/// A server whose `public` schema an attacker has filled before the extension came: with
/// operators and functions that fit better than Postgres's own and note who runs them.
fn ambushed() -> Server {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.vacuum_interval = '100ms'");
    server
        .connect()
        .batch_execute(
            "CREATE ROLE attacker LOGIN; GRANT CREATE ON SCHEMA public TO PUBLIC;
             ALTER DATABASE postgres SET search_path = public, pg_catalog;
             CREATE ROLE stranger; CREATE ROLE owner; CREATE ROLE pusher",
        )
        .unwrap();
    let mut attacker = server.connect_as("attacker");
    attacker
        .batch_execute(
            // A log outlives what is rolled back.
            "CREATE FUNCTION noted(what text) RETURNS boolean LANGUAGE plpgsql AS $$
               BEGIN RAISE LOG 'ambushed % by %', current_user, what; RETURN false; END $$;",
        )
        .unwrap();
    // As exact as can be: (jsonb, jsonb) is tried before (jsonb, text) where the right is a literal.
    let same = [
        "text",
        "integer",
        "bigint",
        "smallint",
        "jsonb",
        "timestamptz",
        "oid",
        "name",
        "boolean",
        "interval",
    ];
    let operators = ["=", "<>", "<", ">", "<=", ">=", "->>", "->", "@>", "||", "+", "-"];
    for (n, kind) in same.iter().enumerate() {
        for (m, operator) in operators.iter().enumerate() {
            attacker
                .batch_execute(&format!(
                    "CREATE FUNCTION op_{n}_{m}({kind}, {kind}) RETURNS boolean LANGUAGE sql AS $$ SELECT noted('{kind} {operator}') $$;
                     CREATE OPERATOR {operator} (LEFTARG = {kind}, RIGHTARG = {kind}, FUNCTION = op_{n}_{m})"
                ))
                .unwrap();
        }
    }
    for function in [
        "num_nonnulls(jsonb, bytea)",
        "num_nonnulls(jsonb, text)",
        "clock_timestamp()",
        "now()",
        "nextval(text)",
        "jsonb_build_object(text, text)",
        "jsonb_object_agg(oid, jsonb)",
        "jsonb_agg(text)",
        "array_agg(bigint)",
        "unnest(bigint[])",
        "md5(text)",
        "sum(bigint)",
        "to_jsonb(record)",
        "current_setting(text)",
    ] {
        attacker
            .batch_execute(&format!("CREATE FUNCTION {function} RETURNS text LANGUAGE sql AS $$ SELECT noted('{function}')::text $$"))
            .unwrap_or_else(|error| assert!(function.contains("record"), "{function}: {error}"));
    }
    server
}

/// Who ran what lay in wait.
fn ambushes(server: &Server) -> Vec<String> {
    let log = server.log();
    let mut found: Vec<String> = log
        .lines()
        .filter_map(|line| line.split_once("ambushed "))
        .map(|(_, what)| what.to_owned())
        .collect();
    found.sort();
    found.dedup();
    found
}

#[test]
fn functions_that_lie_in_the_schema_before_the_extension_are_never_run() {
    let server = ambushed();
    let mut root = server.connect();
    root.batch_execute("CREATE EXTENSION pgqueue").unwrap();
    // An attacker who is given nothing: every call of a superuser, who finds his things first.
    let arrange = "SELECT pgq_create_queue('q', '{\"archive\": \"1 day\", \"max_leased\": 100}');
         SELECT pgq_create_queue('other', '{\"dedup_window\": \"1 h\"}');
         SELECT pgq_push('q', '\"dead\"'); SELECT pgq_bury(id, 'x') FROM pgq_reserve('q', '1 h');
         SELECT pgq_push('q', '\"leased\"', group_key => 'g'); SELECT FROM pgq_reserve('q', '1 h');
         SELECT pgq_push('q', '\"waiting\"', dedup_key => 'k'); SELECT pgq_push('q', '\"waiting\"', dedup_key => 'k', on_duplicate => 'replace');
         SELECT pgq_schedule('s', 'q', '1 day', '1'); SELECT pgq_watch('w', 'q', 'SELECT 1, 1', '1 s');
         SELECT pgq_create_topic('t'); SELECT pgq_subscribe('t', 'q');
         CREATE ROLE publisher; SELECT pgq_grant_topic('t', 'publisher', 'publish'), pgq_grant_topic('t', 'publisher', 'subscribe')";
    root.batch_execute(arrange).unwrap();
    for call in CALLS {
        // Ids in the order in which they were pushed.
        let sql = call.sql.replace(":dead", "1").replace(":leased", "2").replace(":waiting", "3");
        root.batch_execute("BEGIN").unwrap();
        root.batch_execute(&sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        root.batch_execute("ROLLBACK").unwrap();
    }
    root.batch_execute("SELECT FROM pgq_vacuum()").unwrap();
    until("the worker has run the watch", || root.one("SELECT EXISTS (SELECT FROM pgqueue.watch_seen)"));
    until("the worker has done a round", || root.one("SELECT last_run IS NOT NULL FROM pgqueue.vacuum_run"));
    let errors: String = root.one("SELECT errors::text FROM pgqueue.vacuum_run");
    assert_eq!(errors, "{}");
    assert_eq!(ambushes(&server), [""; 0]);
    // It does lie in wait: a careless statement of the same session runs it.
    root.batch_execute("SELECT 'a'::text = 'b'").unwrap();
    assert_eq!(ambushes(&server), ["postgres by text ="]);
}

/// Tries what it can to become more than its owner, and tells how far it came.
const HOSTILE_FUNCTION: &str = "
CREATE FUNCTION climb() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    attempt text;
    outcome text := current_user;
BEGIN
    FOREACH attempt IN ARRAY ARRAY[
        'SET ROLE postgres', 'RESET ROLE', 'SET SESSION AUTHORIZATION DEFAULT', 'RESET SESSION AUTHORIZATION',
        'ALTER ROLE attacker SUPERUSER', 'CREATE TEMP TABLE queue ()', 'INSERT INTO loot VALUES (current_user, ''written'')',
        'DECLARE c CURSOR WITH HOLD FOR SELECT 1', 'SET TRANSACTION READ WRITE', 'SET transaction_read_only = off',
        'SELECT FROM pgqueue.message', 'LISTEN x', 'LOCK TABLE pgqueue.message', 'SELECT pgq_push(''victim'', ''1'')',
        'SELECT FROM pgq_vacuum()', 'SELECT pg_read_file(''PG_VERSION'')', 'DROP EXTENSION pgqueue']
    LOOP
        BEGIN
            EXECUTE attempt;
            outcome := outcome || '; ' || attempt || ' as ' || current_user;
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    -- What it sets must not outlive it.
    PERFORM set_config('default_transaction_read_only', 'on', false), set_config('statement_timeout', '1', false),
            set_config('search_path', 'attacker', false), set_config('application_name', 'attacker', false);
    RETURN outcome;
END $$";

#[test]
fn a_watch_runs_as_its_owner_and_leaves_nothing_behind_in_the_worker() {
    let server = Server::start();
    let mut root = server.connect();
    root.batch_execute(
        "CREATE ROLE attacker LOGIN; GRANT CREATE ON SCHEMA public TO attacker;
         CREATE TABLE loot (who text, what text); GRANT ALL ON loot TO PUBLIC;
         SELECT pgq_create_queue('victim'); SELECT pgq_push('victim', '1')",
    )
    .unwrap();
    let mut attacker = server.connect_as("attacker");
    attacker.batch_execute(HOSTILE_FUNCTION).unwrap();
    attacker
        .batch_execute("SELECT pgq_watch('climb', 'own', 'SELECT public.climb(), random()', '1 s')")
        .unwrap();
    // Nor do locks of the session outlive it, its own that are released or others that are taken.
    attacker
        .batch_execute(
            "SELECT pgq_watch('unlock', 'own', 'SELECT ''unlocked'', pg_advisory_unlock_all()::text', '1 s'),
                    pgq_watch('lock', 'own', 'SELECT ''locked'', pg_advisory_lock(42)::text', '1 s')",
        )
        .unwrap();
    // A schedule whose body is hostile is a message like any other.
    attacker
        .batch_execute(
            "SELECT pgq_schedule('inject', 'own', '1 s', '\"''); ALTER ROLE attacker SUPERUSER; --\"')",
        )
        .unwrap();
    until("the watch has run often", || {
        root.one::<i64>("SELECT count(*) FROM pgqueue.message m JOIN pgqueue.queue q ON q.id = m.queue WHERE q.name = 'own' AND payload ? 'op'") > 4
    });
    until("those that lock have run", || {
        root.one::<i64>("SELECT count(last_run) FROM pgq_list_watches() WHERE name LIKE '%lock'") == 2
    });
    let outcomes: Vec<String> =
        attacker.all("SELECT DISTINCT payload ->> 'object_id' FROM pgq_peek('own', 1000) WHERE payload ->> 'watch' = 'climb'");
    // Taking back a role is no gain while one acts as oneself.
    assert_eq!(outcomes, ["attacker"]);
    assert_eq!(root.one::<i64>("SELECT count(*) FROM loot"), 0);
    assert!(!root.one::<bool>("SELECT rolsuper FROM pg_roles WHERE rolname = 'attacker'"));
    let worker: String =
        root.one("SELECT application_name FROM pg_stat_activity WHERE backend_type = 'pgqueue worker'");
    assert_eq!(worker, "pgqueue worker", "its settings are its own, and it is alone");
    until("the lock is free again", || root.one("SELECT pg_try_advisory_lock(42)"));
    assert_eq!(root.one::<String>("SELECT errors::text FROM pgqueue.vacuum_run"), "{}");
}

#[test]
fn a_watch_that_cannot_be_cancelled_stops_neither_the_rounds_nor_other_watches_nor_the_server() {
    let server = Server::bare(
        "shared_preload_libraries = 'pgqueue'\npgqueue.vacuum_interval = '100ms'\npgqueue.watch_timeout = '500ms'",
    );
    let mut root = server.connect();
    root.batch_execute(
        "CREATE EXTENSION pgqueue; CREATE ROLE attacker LOGIN; GRANT CREATE ON SCHEMA public TO attacker",
    )
    .unwrap();
    server
        .connect_as("attacker")
        .batch_execute(
            "CREATE FUNCTION stay() RETURNS text LANGUAGE plpgsql AS $$ BEGIN
                 LOOP BEGIN PERFORM pg_sleep(1000); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$;
             SELECT pgq_create_queue('own'), pgq_watch('stay', 'own', 'SELECT 1, stay()', '1 s');",
        )
        .unwrap();
    let asleep = "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'pgqueue watch' AND wait_event = 'PgSleep'";
    until("the watch runs", || root.one(asleep));
    root.batch_execute(
        "SELECT pgq_watch('honest', 'changes', 'SELECT 1, 1', '1 s'), pgq_schedule('tick', 'ticks', '1 s', '1')",
    )
    .unwrap();
    let last_round = "SELECT coalesce(last_run, '-infinity') FROM pgqueue.vacuum_run";
    root.batch_execute(&format!("CREATE TABLE before AS {last_round}")).unwrap();
    until("a round is done", || root.one(&format!("SELECT ({last_round}) > (TABLE before)")));
    until("the schedule and the other watch run", || {
        root.one("SELECT pgq_count('ticks') > 0 AND pgq_count('changes') > 0")
    });
    until("it runs again", || root.one(asleep));
    drop(root);
    server.stop(Stop::Fast); // fails if that takes long
}

#[test]
fn a_slow_watch_does_not_keep_its_process_or_the_worker_from_ending() {
    let server = Server::start();
    let mut root = server.connect();
    root.batch_execute("SELECT pgq_watch('slow', 'own', 'SELECT 1, pg_sleep(25)', '1 s')").unwrap();
    let asleep =
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pgqueue watch' AND wait_event = 'PgSleep'";
    until("the watch runs", || !root.all::<i32>(asleep).is_empty());
    let watch: i32 = root.one(asleep);
    let end = |process: i32| format!("SELECT pg_terminate_backend({process}, 10000)");
    let worker = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pgqueue worker'";
    let worker: i32 = root.one(worker);
    assert!(root.one::<bool>(&end(worker)));
    // It takes the watch along.
    until("the watch has ended", || !root.all::<i32>(asleep).contains(&watch));
    root.batch_execute("UPDATE pgqueue.schedule SET retry_at = NULL, started_at = NULL").unwrap();
    until("the watch runs again", || !root.all::<i32>(asleep).is_empty());
    let watch: i32 = root.one(asleep);
    assert!(root.one::<bool>(&end(watch)));
}

#[test]
fn a_role_that_may_write_all_tables_cannot_become_another() {
    let server = Server::start();
    server
        .connect()
        .batch_execute(
            "CREATE ROLE writer LOGIN IN ROLE pg_write_all_data; SELECT pgq_create_queue('victim');
             SELECT pgq_watch('w', 'victim', 'SELECT 1, 1', '1 h')",
        )
        .unwrap();
    let mut writer = server.connect_as("writer");
    writer.batch_execute("SELECT pgq_create_queue('own')").unwrap();
    for statement in [
        "INSERT INTO pgqueue.schedule (name, owner, queue, every, time_zone, query, search_path, max_changes, next_run)
         VALUES ('x', 'postgres', 'own', '1 s', 'UTC', 'SELECT 1, 1', 'public', 10, now())",
        "UPDATE pgqueue.schedule SET query = 'SELECT 1, writer.f()'",
        "UPDATE pgqueue.queue SET owner = 'writer'",
        "INSERT INTO pgqueue.privilege (queue, role, privilege) VALUES (1, 'writer', 'consume')",
    ] {
        assert_eq!(writer.sqlstate(statement), "42501", "{statement}");
    }
}

#[test]
fn a_cast_to_json_runs_as_the_role_that_writes_the_captured_table() {
    let server = Server::start();
    let mut root = server.connect();
    root.batch_execute(
        "CREATE ROLE attacker LOGIN; GRANT CREATE ON SCHEMA public TO PUBLIC; CREATE ROLE clerk;
         CREATE TABLE loot (who text); GRANT ALL ON loot TO PUBLIC;
         SET ROLE attacker;
         CREATE TYPE trap AS ENUM ('shut');
         CREATE FUNCTION spring(trap) RETURNS json LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO public.loot VALUES (current_user); RETURN '1'; END $$;
         CREATE CAST (trap AS json) WITH FUNCTION spring(trap);
         CREATE TABLE captured (id int PRIMARY KEY, t trap); GRANT ALL ON captured TO clerk;
         CREATE TRIGGER capture AFTER INSERT ON captured FOR EACH ROW EXECUTE FUNCTION pgq_capture('captured');
         SET ROLE clerk;
         INSERT INTO captured VALUES (1, 'shut');
         RESET ROLE",
    )
    .unwrap();
    assert_eq!(
        root.all::<String>("SELECT DISTINCT who FROM loot"),
        ["clerk"],
        "neither the table's owner nor ours"
    );
}

#[test]
fn errors_and_empty_answers_tell_nothing_about_the_queues_of_others() {
    let server = Server::start();
    let mut root = server.connect();
    root.batch_execute(
        "CREATE ROLE attacker LOGIN;
         SELECT pgq_create_queue('victim', '{\"max_length\": 5}');
         SELECT pgq_push('victim', '\"secret payload\"', '{\"h\": \"secret header\"}', dedup_key => 'secret key', group_key => 'secret group');
         SELECT pgq_fail(id, 'secret error', delay => '0') FROM pgq_reserve('victim');
         SELECT pgq_schedule('timer', 'victim', '1 day', '\"secret schedule\"')",
    )
    .unwrap();
    let mut attacker = server.connect_as("attacker");
    for call in CALLS {
        let sql = call.sql.replace("'q'", "'victim'").replace("'s'", "'timer'").replace(":dead", "1");
        let sql = sql.replace(":leased", "1").replace(":waiting", "1");
        let told = match attacker.simple_query(&sql) {
            Ok(rows) => format!("{rows:?}"),
            Err(error) => format!("{error:?}"),
        };
        assert!(!told.contains("secret"), "{sql}: {told}");
    }
    // Whether an id is there is not to be told from one that is not.
    for call in
        ["pgq_delete({})", "pgq_release({})", "pgq_cancel({})", "pgq_bury({}, 'x')", "pgq_update({}, '1')"]
    {
        let ask = |id: i64, attacker: &mut Client| -> bool {
            attacker.one(&format!("SELECT {}", call.replace("{}", &id.to_string())))
        };
        assert!(!ask(1, &mut attacker) && !ask(1000, &mut attacker), "{call}");
    }
    assert_eq!(root.one::<i64>("SELECT pgq_count('victim')"), 1, "and nothing has changed");
}

#[test]
fn a_caller_of_a_function_that_creates_a_queue_gets_no_right_on_it() {
    let server = Server::start();
    let mut shop = server.connect();
    shop.batch_execute(
        "CREATE ROLE shop; CREATE ROLE attacker LOGIN; GRANT CREATE ON SCHEMA public TO shop; SET ROLE shop;
         CREATE TABLE orders (id int PRIMARY KEY); GRANT INSERT ON orders TO attacker;
         CREATE TRIGGER changes AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION pgq_capture('changes');
         CREATE FUNCTION place() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = public AS $$ SELECT pgq_push('placed', '1') $$",
    )
    .unwrap();
    let mut attacker = server.connect_as("attacker");
    attacker
        .batch_execute(
            "SET pgqueue.default_grants = '{\"attacker\": [\"consume\", \"manage\"]}';
             INSERT INTO orders VALUES (1); SELECT place()",
        )
        .unwrap();
    assert_eq!(shop.one::<i64>("SELECT pgq_count('changes') + pgq_count('placed')"), 2);
    assert_eq!(
        shop.all::<String>("SELECT g::text FROM pgq_list_grants() g WHERE role = 'attacker'"),
        [""; 0]
    );
    // Who has become shop with all that he has set is shop.
    shop.batch_execute(
        "SET pgqueue.default_grants = '{\"attacker\": [\"push\"]}'; SELECT pgq_create_queue('open')",
    )
    .unwrap();
    assert_eq!(
        shop.all::<String>("SELECT role FROM pgq_list_grants('open') WHERE privilege = 'push'"),
        ["attacker"]
    );
}

#[test]
fn a_role_that_fails_a_message_gets_no_right_on_the_queue_of_its_event() {
    let server = Server::start();
    let mut root = server.connect();
    root.batch_execute(
        "CREATE ROLE owner LOGIN; CREATE ROLE attacker LOGIN; GRANT CREATE ON SCHEMA public TO owner; SET ROLE owner;
         SELECT pgq_create_queue('q', '{\"events_to\": \"errors\"}'); SELECT pgq_grant('q', 'attacker', 'consume');
         SELECT pgq_drop_queue('errors'); SELECT pgq_push('q', '1')",
    )
    .unwrap();
    let mut attacker = server.connect_as("attacker");
    for defaults in ["{\"attacker\": [\"consume\", \"manage\"]}", "{\"nobody there\": [\"push\"]}"] {
        attacker.batch_execute(&format!("SET pgqueue.default_grants = '{defaults}'")).unwrap();
        attacker.execute("SELECT pgq_fail(id, 'my event', delay => '0') FROM pgq_reserve('q')", &[]).unwrap();
        let granted: Vec<String> =
            root.all("SELECT g::text FROM pgq_list_grants('errors') g WHERE role = 'attacker'");
        assert_eq!(granted, [""; 0]);
        let told: i64 = root.one("SELECT count(*) FROM pgq_reserve('errors')");
        assert_eq!(told, 1, "the event is there with {defaults}");
        root.execute("SELECT pgq_drop_queue('errors')", &[]).unwrap();
    }
}
