//! pgqueue beside the tools of others: what they put on its tables, and do to them, is obeyed or
//! refused (docs/tools.md).

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use postgres::Client;
use support::load::{Load, assert_kept};
use support::{Ask, Ending, Server, Stop, assert_indexes_are_whole, until};

/// The tables of pgqueue that pg_repack can rewrite: those with a key.
const REPACKED: [&str; 4] = ["message", "archive", "slot", "dead"];

/// A server with pg_repack; other majors than 15 lack it.
fn server_with_repack() -> Option<Server> {
    let server = Server::start();
    let is_there: bool =
        server.connect().one("SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_repack')");
    assert_eq!(is_there, std::env::var("PG_MAJOR").is_ok_and(|major| major == "15"), "Debian has it for 15");
    is_there.then(|| {
        server.connect().batch_execute("CREATE EXTENSION pg_repack").unwrap();
        server
    })
}

fn repack(server: &Server, table: &str) {
    server.client("pg_repack", &["--no-order", "-d", "postgres", "-t", &format!("pgqueue.{table}")]);
}

/// Runs `work` between the copy that pg_repack makes of a table and the moment it puts the copy in
/// its place: an old transaction keeps it there.
fn while_repacked(server: &Server, table: &str, work: impl FnOnce(&mut Client)) {
    let (mut old, mut session) = (server.connect(), server.connect());
    old.batch_execute(
        "BEGIN ISOLATION LEVEL REPEATABLE READ; CREATE TEMP TABLE held (); SELECT txid_current()",
    )
    .unwrap();
    thread::scope(|scope| {
        let tool = scope.spawn(|| repack(server, table));
        until("the table is copied", || {
            session.one(
                "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'repack_trigger')
                    AND EXISTS (SELECT FROM pg_class WHERE relnamespace = 'repack'::regnamespace AND relname ~ '^log_')",
            )
        });
        work(&mut session);
        old.batch_execute("COMMIT").unwrap();
        tool.join().unwrap();
    });
}

#[test]
fn pushes_and_deletes_during_pg_repack_are_kept() {
    let Some(server) = server_with_repack() else { return };
    let mut session = server.connect();
    session
        .batch_execute(
            "CREATE ROLE app; GRANT USAGE ON SCHEMA public TO app;
             SELECT pgq_push('q', to_jsonb(n)) FROM generate_series(1, 4) n;
             SELECT pgq_grant('q', 'app', 'push');
             SELECT pgq_reserve('q', '10 min', max => 3)",
        )
        .unwrap();
    while_repacked(&server, "message", |session| {
        for statements in [
            "SELECT pgq_delete(1::bigint, 1)",
            "SELECT pgq_fail(2::bigint, 'again', 1, '0')",
            "SELECT pgq_push_batch('q', '{5,6}')",
            "BEGIN; SELECT pgq_push('q', '\"undone\"'); ROLLBACK",
            "SET SESSION AUTHORIZATION app; SELECT pgq_push('q', '8')",
            "RESET SESSION AUTHORIZATION",
        ] {
            session.batch_execute(statements).unwrap();
        }
    });
    let left: Vec<String> = session
        .all("SELECT concat_ws(' ', payload, deliveries, state) FROM pgqueue.message_state ORDER BY id");
    assert_eq!(left, ["2 1 ready", "3 1 leased", "4 0 ready", "5 0 ready", "6 0 ready", "8 0 ready"]);
    let counted: i64 = session.one("SELECT total FROM pgq_stats('q')");
    assert_eq!(counted, 6, "and is counted once");
}

#[test]
fn leases_stay_within_the_limit_while_pg_repack_rewrites_the_slots() {
    let Some(server) = server_with_repack() else { return };
    let mut session = server.connect();
    session
        .batch_execute(
            "SELECT pgq_create_queue('q', '{\"max_leased\": 3}');
             SELECT pgq_push('q', to_jsonb(n)) FROM generate_series(1, 9) n;
             SELECT pgq_reserve('q', '10 min')",
        )
        .unwrap();
    while_repacked(&server, "slot", |session| {
        session.batch_execute("BEGIN; SELECT pgq_reserve('q', '10 min', max => 5); ROLLBACK").unwrap();
        let leased = session.all::<i64>("SELECT id FROM pgq_reserve('q', '10 min', max => 5)").len();
        assert_eq!(leased, 2, "two slots are left");
    });
    assert!(session.all::<i64>("SELECT id FROM pgq_reserve('q', '10 min', max => 5)").is_empty());
    session.batch_execute("SELECT pgq_delete(1::bigint, 1)").unwrap();
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('q', '10 min', max => 5)").len(), 1);
}

/// Nothing is lost or delivered twice of a load, while something is done over and over.
fn assert_kept_beside(server: &Server, session: &mut Client, mut something: impl FnMut() + Send) {
    let load = Load::start(&server.config("postgres"), 2, 2);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _ending = Ending(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                something();
            }
        });
        load.go_on(4_000);
    });
    assert_kept(&load.finish(session));
}

#[test]
fn nothing_is_lost_or_delivered_twice_beside_pg_repack() {
    let Some(server) = server_with_repack() else { return };
    let mut session = server.connect();
    session
        .batch_execute("SELECT pgq_create_queue('load', '{\"archive\": \"1 day\", \"max_leased\": 15}')")
        .unwrap();
    assert_kept_beside(&server, &mut session, || REPACKED.iter().for_each(|table| repack(&server, table)));
    let is_whole: bool = session.one(
        "SELECT bool_and(pushed = deleted AND pushed = (SELECT count(*) FROM pgqueue.archive)) FROM pgq_stats('load')",
    );
    assert!(is_whole, "each message is in the archive");
}

/// What a session is told with an error: SQLSTATE and message.
fn refusal(session: &mut Client, statement: &str) -> (String, String) {
    let error = session.batch_execute(statement).expect_err(statement);
    let told = error.as_db_error().expect("an error of the server");
    assert!(told.hint().is_some(), "{told}");
    (told.code().code().to_owned(), told.message().to_owned())
}

const LIFE: [&str; 6] = [
    "SELECT pgq_push('q', '1')",
    "SELECT pgq_push_batch('q', '{2,3}')",
    "SELECT pgq_reserve('q', '1 h', max => 2)",
    "SELECT pgq_delete(1::bigint, 1)",
    "SELECT pgq_release(2::bigint, '0', 1)",
    "SELECT pgq_pop('q')",
];

const AUDIT: &str = "CREATE ROLE app; GRANT CREATE, USAGE ON SCHEMA public TO app;
    CREATE TABLE audit (n int GENERATED ALWAYS AS IDENTITY, what text);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
        INSERT INTO public.audit (what) VALUES (concat_ws(' ', TG_ARGV[0], TG_OP, OLD.id, NEW.id, current_user));
        RETURN NULL;
    END$$;
    CREATE FUNCTION note_all() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
        INSERT INTO public.audit (what) SELECT 'all ' || id FROM gone; RETURN NULL;
    END$$";

const TRIGGERS: &str = "CREATE TRIGGER row AFTER INSERT OR UPDATE OR DELETE ON pgqueue.message FOR EACH ROW EXECUTE FUNCTION note('row');
    CREATE TRIGGER payload AFTER UPDATE OF payload ON pgqueue.message FOR EACH ROW EXECUTE FUNCTION note('payload');
    CREATE TRIGGER lease AFTER UPDATE OF id, lease_until ON pgqueue.message FOR EACH ROW
        WHEN (NEW.lease_until > 'now' AND NEW.payload = '2') EXECUTE FUNCTION note('lease');
    CREATE CONSTRAINT TRIGGER late AFTER INSERT ON pgqueue.message DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
        WHEN (NEW.payload = '2') EXECUTE FUNCTION note('late');
    CREATE TRIGGER all_of_them AFTER DELETE ON pgqueue.message REFERENCING OLD TABLE AS gone
        FOR EACH STATEMENT EXECUTE FUNCTION note_all();
    ALTER TABLE pgqueue.message ENABLE ALWAYS TRIGGER lease;
    CREATE TRIGGER off AFTER INSERT ON pgqueue.message FOR EACH ROW EXECUTE FUNCTION note('off');
    ALTER TABLE pgqueue.message DISABLE TRIGGER off";

#[test]
fn triggers_of_others_see_each_row_that_the_engine_writes() {
    let server = Server::start();
    let (mut dba, mut session) = (server.connect(), server.connect());
    dba.batch_execute(AUDIT).unwrap();
    session.batch_execute("SET SESSION AUTHORIZATION app; SELECT pgq_create_queue('q')").unwrap();
    session.batch_execute("SELECT pgq_pop('q')").unwrap(); // the table is known by now
    dba.batch_execute(TRIGGERS).unwrap();
    dba.batch_execute("GRANT INSERT ON audit TO app").unwrap(); // a deferred trigger runs as it would by itself
    for statement in LIFE {
        session.batch_execute(statement).unwrap();
    }
    let seen: Vec<String> = dba.all("SELECT what FROM audit ORDER BY n");
    let expected = [
        "row INSERT 1 postgres",
        "row INSERT 2 postgres",
        "row INSERT 3 postgres",
        "late INSERT 2 app",
        "row UPDATE 1 1 postgres",
        "lease UPDATE 2 2 postgres",
        "row UPDATE 2 2 postgres",
        "row DELETE 1 postgres",
        "all 1",
        "row UPDATE 2 2 postgres",
        "row DELETE 2 postgres",
        "all 2",
    ];
    assert_eq!(seen, expected);
    let counted: Vec<i64> = session.all("SELECT unnest(ARRAY[pushed, deleted, ready]) FROM pgq_stats('q')");
    assert_eq!(counted, [3, 2, 1]);
}

#[test]
fn a_trigger_of_others_may_call_us_and_may_refuse() {
    let server = Server::start();
    let mut session = server.connect();
    session
        .batch_execute(
            "SELECT pgq_create_queue('q', '{\"archive\": \"1 day\"}'), pgq_create_queue('copies');
             CREATE FUNCTION copy() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
                 IF NEW.payload = '13' THEN RAISE EXCEPTION 'not that'; END IF;
                 IF NEW.queue = (SELECT id FROM pgqueue.queue WHERE name = 'q') THEN
                     PERFORM public.pgq_push('copies', NEW.payload, dedup_key => TG_TABLE_NAME || NEW.id);
                 END IF;
                 RETURN NULL;
             END$$;
             CREATE TRIGGER copy AFTER INSERT ON pgqueue.message FOR EACH ROW EXECUTE FUNCTION copy();
             CREATE TRIGGER copy AFTER INSERT ON pgqueue.archive FOR EACH ROW EXECUTE FUNCTION copy()",
        )
        .unwrap();
    assert_eq!(session.sqlstate("SELECT pgq_push_batch('q', '{12,13}')"), "P0001");
    session
        .batch_execute("SELECT pgq_push_batch('q', '{1,2}'); SELECT pgq_push('q', '3', dedup_key => 'k')")
        .unwrap();
    session.batch_execute("SELECT pgq_pop('q', max => 5)").unwrap();
    let copies: Vec<String> =
        session.all("SELECT payload::text FROM pgq_pop('copies', max => 9) ORDER BY id");
    assert_eq!(copies, ["1", "2", "3", "1", "2", "3"], "of messages, and of what is archived");
    assert_eq!(session.one::<i64>("SELECT total FROM pgq_stats('q', exact => true)"), 0);
}

#[test]
fn foreign_keys_to_messages_hold() {
    let server = Server::start();
    let mut session = server.connect();
    session
        .batch_execute(
            "SELECT pgq_push_batch('q', '{1,2,3,4}');
             CREATE TABLE note (message bigint REFERENCES pgqueue.message ON DELETE CASCADE);
             CREATE TABLE lock (message bigint REFERENCES pgqueue.message);
             CREATE TABLE late (message bigint REFERENCES pgqueue.message DEFERRABLE INITIALLY DEFERRED);
             INSERT INTO note VALUES (1), (4); INSERT INTO lock VALUES (2); INSERT INTO late VALUES (3)",
        )
        .unwrap();
    session
        .batch_execute("SELECT pgq_reserve('q', '1 h', max => 4); SELECT pgq_delete(1::bigint, 1)")
        .unwrap();
    assert_eq!(session.all::<i64>("SELECT message FROM note"), [4], "the note went with its message");
    assert_eq!(session.sqlstate("SELECT pgq_delete(2::bigint, 1)"), "23503");
    assert_eq!(session.sqlstate("SELECT pgq_delete(3::bigint, 1)"), "23503", "at the commit");
    session.batch_execute("BEGIN; SELECT pgq_delete(3::bigint, 1)").unwrap();
    session.batch_execute("DELETE FROM late; COMMIT").unwrap();
    session.batch_execute("SELECT pgq_release_batch('{2,4}', '0')").unwrap();
    assert_eq!(session.sqlstate("SELECT pgq_pop('q', max => 2)"), "23503");
    assert_eq!(session.all::<i64>("SELECT id FROM pgqueue.message ORDER BY id"), [2, 4]);
    // The other way round.
    session
        .batch_execute(
            "CREATE TABLE allowed (queue int PRIMARY KEY); INSERT INTO allowed SELECT id FROM pgqueue.queue;
             ALTER TABLE pgqueue.message ADD FOREIGN KEY (queue) REFERENCES allowed;
             SELECT pgq_push('q', '5')",
        )
        .unwrap();
    assert_eq!(session.sqlstate("SELECT pgq_push('new', '1')"), "23503");
}

#[test]
fn constraints_of_others_hold() {
    let server = Server::start();
    let (mut dba, mut session) = (server.connect(), server.connect());
    session.batch_execute("SELECT pgq_push('q', '1')").unwrap();
    for (statement, refused, goes, code) in [
        (
            "ADD CONSTRAINT small CHECK (pg_column_size(payload) < 100)",
            "SELECT pgq_push_batch('q', ARRAY['1', to_jsonb(repeat('x', 200))])",
            "SELECT pgq_push('q', '1')",
            "23514",
        ),
        (
            "ADD CONSTRAINT few CHECK (deliveries < 2)",
            "SELECT pgq_release(id) FROM pgq_reserve('q', '1 h'); SELECT id FROM pgq_reserve('q', '1 h', max => 9)",
            "SELECT id FROM pgq_reserve('q', '1 h')",
            "23514",
        ),
        (
            "ALTER COLUMN group_key SET NOT NULL",
            "SELECT pgq_push('q', '1')",
            "SELECT pgq_push('q', '1', group_key => 'g')",
            "23502",
        ),
        (
            "ADD CONSTRAINT one UNIQUE (payload) DEFERRABLE",
            "SELECT pgq_push_batch('q', '{1,1}', group_key => 'g')",
            "SELECT pgq_push('q', '1', group_key => 'g')",
            "23505",
        ),
    ] {
        if statement.contains("NOT NULL") || statement.contains("UNIQUE") {
            dba.batch_execute("SELECT pgq_purge('q')").unwrap();
        }
        dba.batch_execute(&format!("ALTER TABLE pgqueue.message {statement}")).unwrap();
        assert_eq!(session.sqlstate(refused), code, "{statement}");
        session.batch_execute(goes).unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
}

const PUSH: &str = "SELECT pgq_push('q', '1')";
const POP: &str = "SELECT pgq_pop('q')";

/// What is put on a table, how it is taken away, a call that it is in the way of, and the error.
const REFUSED: [(&str, &str, &str, &str); 11] = [
    (
        "CREATE TRIGGER first BEFORE INSERT ON pgqueue.message FOR EACH ROW EXECUTE FUNCTION nothing()",
        "DROP TRIGGER first ON pgqueue.message",
        PUSH,
        "pgqueue cannot obey trigger first on table pgqueue.message",
    ),
    (
        "CREATE RULE twice AS ON INSERT TO pgqueue.message DO ALSO NOTHING",
        "DROP RULE twice ON pgqueue.message",
        PUSH,
        "pgqueue cannot obey rule twice on table pgqueue.message",
    ),
    (
        "ALTER TABLE pgqueue.message ADD note text DEFAULT 'x'",
        "ALTER TABLE pgqueue.message ALTER note DROP DEFAULT",
        PUSH,
        "pgqueue cannot obey column note of table pgqueue.message",
    ),
    (
        "ALTER TABLE pgqueue.archive ADD note int GENERATED ALWAYS AS (priority + 1) STORED",
        "ALTER TABLE pgqueue.archive DROP note",
        POP,
        "pgqueue cannot obey column note of table pgqueue.archive",
    ),
    (
        "CREATE TABLE child () INHERITS (pgqueue.message)",
        "DROP TABLE child; ANALYZE pgqueue.message",
        PUSH,
        "pgqueue cannot use pgqueue.message: it is a partition, or other tables inherit from it",
    ),
    (
        "ALTER TABLE pgqueue.message DISABLE TRIGGER ALL",
        "ALTER TABLE pgqueue.message ENABLE ALWAYS TRIGGER announce_message;
             ALTER TABLE pgqueue.message ENABLE ALWAYS TRIGGER announce_removal",
        PUSH,
        "pgqueue cannot use pgqueue.message: its trigger announce_message is disabled",
    ),
    (
        "CALL give('plain'); ALTER TABLE pgqueue.message ENABLE ROW LEVEL SECURITY;
             ALTER TABLE pgqueue.message FORCE ROW LEVEL SECURITY",
        "CALL give('postgres')",
        PUSH,
        "pgqueue cannot use pgqueue.message: its row security is forced upon its owner",
    ),
    (
        "ALTER SEQUENCE pgqueue.message_id CACHE 10",
        "ALTER SEQUENCE pgqueue.message_id CACHE 1",
        PUSH,
        "pgqueue cannot use pgqueue.message_id: sessions draw numbers before they need them",
    ),
    (
        "ALTER SEQUENCE pgqueue.message_id SET UNLOGGED",
        "ALTER SEQUENCE pgqueue.message_id SET LOGGED",
        "SELECT pgq_push('q', '1', dedup_key => 'k' || random())",
        "pgqueue cannot use pgqueue.message_id: a crash sets it back",
    ),
    (
        "ALTER SEQUENCE pgqueue.message_id INCREMENT BY -1",
        "ALTER SEQUENCE pgqueue.message_id INCREMENT BY 1",
        "SELECT pgq_redrive('q')",
        "pgqueue cannot use pgqueue.message_id: its numbers do not rise by one",
    ),
    (
        "ALTER SEQUENCE pgqueue.queue_id CYCLE",
        "ALTER SEQUENCE pgqueue.queue_id NO CYCLE",
        "SELECT pgq_create_queue('of another number')",
        "pgqueue cannot use pgqueue.queue_id: its numbers do not rise by one",
    ),
];

#[test]
fn a_trigger_or_constraint_that_cannot_be_obeyed_is_named_and_refused() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off"); // a worker would be in the way of the changes
    let (mut dba, mut session) = (server.connect(), server.connect());
    dba.batch_execute(
        "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
         CREATE ROLE plain; GRANT USAGE ON SCHEMA pgqueue TO plain;
         CREATE PROCEDURE give(owner name) LANGUAGE plpgsql AS $$DECLARE it regclass; BEGIN
             FOR it IN SELECT oid FROM pg_class WHERE relnamespace = 'pgqueue'::regnamespace AND relkind IN ('r', 'v') LOOP
                 EXECUTE format('ALTER TABLE %s OWNER TO %I', it, owner);
             END LOOP;
         END$$;
         SELECT pgq_create_queue('q', '{\"archive\": \"1 day\"}')",
    )
    .unwrap();
    for (does, undoes, call, told) in REFUSED {
        session.batch_execute("SELECT pgq_push('q', '1')").unwrap();
        dba.batch_execute(does).unwrap();
        assert_eq!(refusal(&mut session, call), ("55000".to_owned(), told.to_owned()));
        dba.batch_execute(undoes).unwrap();
        session.batch_execute(call).unwrap_or_else(|error| panic!("after {undoes}: {error:?}"));
    }
    // Counts are written where the board has no place for them: a prepared transaction's.
    dba.batch_execute(
        "CREATE TRIGGER t AFTER INSERT ON pgqueue.counter FOR EACH ROW EXECUTE FUNCTION nothing()",
    )
    .unwrap();
    session.batch_execute("BEGIN; SELECT pgq_push('q', '1')").unwrap();
    let told = refusal(&mut session, "PREPARE TRANSACTION 'p'").1;
    assert_eq!(told, "pgqueue cannot obey trigger t on table pgqueue.counter");
}

/// An index of pgqueue, statements that need it, and one that makes it again.
const INDEXES: [(&str, &str, &str); 7] = [
    (
        "message_id_is_unique",
        "SELECT pgq_extend(1::bigint, '1 h')",
        "ALTER TABLE pgqueue.message ADD CONSTRAINT message_id_is_unique PRIMARY KEY (id)",
    ),
    (
        "message_ready",
        "SELECT pgq_peek('q')",
        "CREATE INDEX message_ready ON pgqueue.message (queue, priority, id) WHERE lane = 'r'",
    ),
    (
        "message_due",
        "SELECT pgq_push('late', '1', delay => '1 ms'), pg_sleep(0.01); SELECT pgq_reserve('late')",
        "CREATE INDEX message_due ON pgqueue.message (queue, due_at, id) WHERE lane = 'd'",
    ),
    (
        "message_expires",
        "SELECT pg_sleep(0.3); SELECT pgq_push('short', '1')",
        "CREATE INDEX message_expires ON pgqueue.message (expires_at) WHERE expires_at IS NOT NULL",
    ),
    (
        "message_group",
        "SELECT pgq_pop('groups')",
        "CREATE INDEX message_group ON pgqueue.message (queue, group_key, in_turn DESC, priority, id) WHERE group_key IS NOT NULL",
    ),
    (
        "message_key",
        "SELECT pgq_push('q', '1', dedup_key => 'k')",
        "CREATE INDEX message_key ON pgqueue.message (queue, dedup_key, id) WHERE dedup_key IS NOT NULL",
    ),
    (
        "slot_is_unique",
        "SELECT pgq_reserve('few')",
        "ALTER TABLE pgqueue.slot ADD CONSTRAINT slot_is_unique PRIMARY KEY (queue, number)",
    ),
];

fn server_with_queues() -> Server {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off");
    server
        .connect()
        .batch_execute(
            "SELECT pgq_create_queue('short', '{\"max_length\": 1, \"on_full\": \"drop_oldest\"}'),
                    pgq_create_queue('few', '{\"max_leased\": 2}');
             SELECT pgq_push('q', '1'), pgq_push('few', '1'), pgq_push('short', '1');
             SELECT pgq_push_batch('groups', '{1,2}', group_key => 'g')",
        )
        .unwrap();
    server
}

#[test]
fn an_index_is_used_only_if_it_is_valid() {
    let server = server_with_queues();
    let (mut dba, mut session) = (server.connect(), server.connect());
    for (name, statements, _) in INDEXES {
        let try_it = format!("BEGIN; {statements}; ROLLBACK");
        session.batch_execute(&try_it).unwrap_or_else(|error| panic!("{statements}: {error:?}"));
        // As CREATE INDEX CONCURRENTLY leaves it behind when it fails.
        dba.batch_execute(&format!(
            "UPDATE pg_index SET indisvalid = false, indisready = false WHERE indexrelid = 'pgqueue.{name}'::regclass"
        ))
        .unwrap();
        let (code, told) = refusal(&mut session, &try_it);
        assert_eq!(code, "55000", "{told}");
        assert!(
            told.starts_with(&format!("pgqueue cannot use index pgqueue.{name}: it is not valid")),
            "{told}"
        );
        session.batch_execute("ROLLBACK").unwrap();
        session.batch_execute("SELECT pgq_push('other', '1')").unwrap(); // this needs none to be valid
        dba.batch_execute(&format!("REINDEX INDEX pgqueue.{name}")).unwrap();
        session.batch_execute(&try_it).unwrap_or_else(|error| panic!("{statements}: {error:?}"));
    }
    // What was pushed meanwhile is in the index.
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_pop('other', max => 99)").len(), INDEXES.len());
}

#[test]
fn an_index_of_queues_is_used_only_if_it_is_valid() {
    let server = server_with_queues();
    let (mut dba, mut session) = (server.connect(), server.connect());
    for name in ["queue_name_is_unique", "begun_queue_by_name"] {
        dba.batch_execute(&format!(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'pgqueue.{name}'::regclass"
        ))
        .unwrap();
        let (code, told) = refusal(&mut session, "SELECT pgq_push('new', '1')");
        assert_eq!(code, "55000", "{told}");
        assert!(told.starts_with(&format!("pgqueue cannot use index pgqueue.{name}")), "{told}");
        session.batch_execute("SELECT pgq_push('q', '1')").unwrap(); // a queue that is there needs none
        dba.batch_execute(&format!("REINDEX INDEX pgqueue.{name}")).unwrap();
        session.batch_execute("BEGIN; SELECT pgq_push('new', '1'); ROLLBACK").unwrap();
    }
}

#[test]
fn a_truncate_of_messages_is_refused() {
    let server = Server::start();
    let mut dba = server.connect();
    dba.batch_execute("SELECT pgq_push('q', '1')").unwrap();
    for table in ["message", "dead"] {
        assert_eq!(dba.sqlstate(&format!("TRUNCATE pgqueue.{table}")), "0A000");
    }
    dba.batch_execute("SELECT pgq_pop('q')").unwrap();
}

/// A subscriber would keep a message whose delete is not published.
#[test]
fn a_publication_that_leaves_messages_out_by_other_columns_than_their_id_is_obeyed() {
    let server = Server::start();
    let (mut dba, mut session) = (server.connect(), server.connect());
    session.batch_execute("SELECT pgq_push('q', '1')").unwrap();
    for publication in
        ["FOR TABLE pgqueue.message WHERE (priority = 0)", "FOR TABLE pgqueue.message (payload, queue)"]
    {
        dba.batch_execute(&format!("SET client_min_messages = error; CREATE PUBLICATION p {publication}"))
            .unwrap();
        for call in
            ["pgq_pop('q')", "pgq_reserve('q')", "pgq_cancel_batch(ARRAY(SELECT id FROM pgqueue.message))"]
        {
            assert_eq!(session.sqlstate(&format!("SELECT {call}")), "42P10", "{publication}: {call}");
        }
        session.batch_execute("SELECT pgq_push('q', '2')").unwrap();
        dba.batch_execute("DROP PUBLICATION p").unwrap();
    }
    for publication in ["FOR TABLE pgqueue.message WHERE (id > 0)", "FOR ALL TABLES"] {
        dba.batch_execute(&format!("CREATE PUBLICATION p {publication}")).unwrap();
        session.batch_execute("SELECT pgq_pop('q')").unwrap();
        dba.batch_execute("DROP PUBLICATION p").unwrap();
    }
}

/// Indexes that are not what their name says: they differ in one thing.
fn others_named(name: &str, table: &str, made_by: &str) -> Vec<String> {
    let created = |rest: &str| format!("CREATE INDEX {name} ON {rest}");
    let mut others = vec![
        created(&format!("pgqueue.{table} (queue)")),
        created(&format!("pgqueue.{table} USING hash (queue)")),
        created("pgqueue.queue (id)"),
    ];
    if made_by.starts_with("CREATE") {
        others.push(made_by.replace("id) WHERE", "id, payload) WHERE"));
        others.push(made_by.replace("id) WHERE", "id) INCLUDE (payload) WHERE"));
        others.push(made_by.replace("queue,", "queue DESC,"));
        others.push(made_by.split(" WHERE").next().unwrap().to_owned());
        others.push(made_by.replace("lane = ", "lane <> ").replace("IS NOT NULL", "IS NULL"));
        others.push(
            made_by
                .replace("group_key,", "group_key COLLATE \"C.utf8\",")
                .replace("dedup_key,", "dedup_key text_pattern_ops,"),
        );
    }
    others.retain(|other| other != made_by);
    others
}

#[test]
fn an_index_is_used_only_if_it_has_the_shape_of_its_name() {
    let server = server_with_queues();
    let (mut dba, mut session) = (server.connect(), server.connect());
    for (name, statements, made_by) in INDEXES {
        let table = if name == "slot_is_unique" { "slot" } else { "message" };
        let drop = if name.ends_with("is_unique") {
            format!("ALTER TABLE pgqueue.{table} DROP CONSTRAINT {name}")
        } else {
            format!("DROP INDEX pgqueue.{name}")
        };
        let try_it = format!("BEGIN; {statements}; ROLLBACK");
        dba.batch_execute(&drop).unwrap();
        let (code, told) = refusal(&mut session, &try_it);
        assert_eq!(
            (code.as_str(), told),
            ("55000", format!("pgqueue cannot use index pgqueue.{name}: it is gone"))
        );
        session.batch_execute("ROLLBACK").unwrap();
        for other in others_named(name, table, made_by) {
            dba.batch_execute(&other).unwrap_or_else(|error| panic!("{other}: {error:?}"));
            session.batch_execute("SELECT pgq_push('other', '1')").unwrap();
            let told = refusal(&mut session, &try_it).1;
            assert!(
                told.contains(&format!("index pgqueue.{name}: it is not as the extension has made it")),
                "{other}: {told}"
            );
            session.batch_execute("ROLLBACK").unwrap();
            dba.batch_execute(&format!("DROP INDEX pgqueue.{name}")).unwrap();
        }
        dba.batch_execute(made_by).unwrap();
        session.batch_execute(&try_it).unwrap_or_else(|error| panic!("{statements}: {error:?}"));
    }
}

#[test]
fn an_index_of_another_shape_gets_entries_of_all_its_rows() {
    let server = server_with_queues();
    let mut session = server.connect();
    session
        .batch_execute(
            "ALTER INDEX pgqueue.message_key RENAME TO old_key;
             CREATE INDEX message_key ON pgqueue.message (queue, id)",
        )
        .unwrap();
    session.batch_execute("SELECT pgq_push_batch('q', '{1,2,3}'); SELECT pgq_push('q', '4')").unwrap();
    assert_indexes_are_whole(&mut session);
}

#[test]
fn indexes_are_rebuilt_beside_the_clients() {
    let server = Server::start();
    let mut session = server.connect();
    session.batch_execute("SELECT pgq_create_queue('load', '{\"max_leased\": 15}')").unwrap();
    let mut dba = server.connect();
    assert_kept_beside(&server, &mut session, || {
        dba.batch_execute("REINDEX TABLE CONCURRENTLY pgqueue.message").unwrap();
        dba.batch_execute("REINDEX TABLE CONCURRENTLY pgqueue.slot").unwrap();
    });
    assert_indexes_are_whole(&mut session);
}

/// A server whose roles have been made in this order, so that they have numbers in this order.
fn server_with_roles(roles: [&str; 2]) -> Server {
    let server = Server::start();
    for role in roles {
        server.connect().batch_execute(&format!("CREATE ROLE {role} LOGIN")).unwrap();
    }
    server
}

/// Triggers of pgqueue that would not fire for a subscription.
const WEAKENED: &str = "SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace = 'pgqueue'::regnamespace AND NOT t.tgisinternal AND t.tgenabled <> 'A'";

const COUNTS: &str =
    "SELECT concat_ws(' ', queue, ready, leased, delayed, dead) FROM pgq_stats(exact => false) ORDER BY 1";

#[test]
fn a_restore_that_disables_triggers_is_mended() {
    let source = server_with_roles(["alice", "mallory"]);
    source
        .connect()
        .batch_execute(
            "CREATE TABLE noted (id int); INSERT INTO noted VALUES (1);
             SET ROLE alice;
             SELECT pgq_create_queue('hers');
             SELECT pgq_push('hers', to_jsonb(n)) FROM generate_series(1, 300) n;
             SELECT pgq_push('hers', '1', delay => '1 h');
             SELECT pgq_bury(id, 'x') FROM pgq_reserve('hers');
             SELECT pgq_schedule('tick', 'hers', '1 day', '1');
             SELECT pgq_create_queue('shared'), pgq_grant('shared', 'alice', 'consume')",
        )
        .unwrap();
    let expected: Vec<String> = source.connect().all(COUNTS);
    let dump = source.place().join("dump");
    source.client("pg_dump", &["-Fc", "-f", dump.to_str().unwrap()]);
    // Here the number of alice there is that of mallory.
    let server = server_with_roles(["mallory", "alice"]);
    let mut session = server.connect();
    assert_eq!(session.one::<i64>(WEAKENED), 0);
    session.batch_execute("CREATE TABLE noted (id int)").unwrap();
    server.client("pg_restore", &["-a", "--disable-triggers", "-d", "postgres", dump.to_str().unwrap()]);
    until("the triggers fire always", || session.one::<i64>(WEAKENED) == 0);
    until("what was loaded is counted", || session.all::<String>(COUNTS) == expected);
    let owners: Vec<String> = session.all(
        "SELECT DISTINCT owner || ' ' || owner_id::regrole FROM (SELECT owner, owner_id FROM pgqueue.queue
            UNION ALL SELECT owner, owner_id FROM pgqueue.schedule
            UNION ALL SELECT role, role_id FROM pgqueue.privilege) owned",
    );
    assert_eq!(owners, ["alice alice"]);
    assert_eq!(server.connect_as("mallory").sqlstate("SELECT pgq_pop('hers')"), "42501");
    assert_eq!(
        server.connect_as("alice").one::<i64>("SELECT count(*) FROM pgq_pop('hers', max => 999)"),
        299
    );
}

#[test]
fn without_our_triggers_nothing_is_written() {
    let server = Server::start();
    let (mut dba, mut session) = (server.connect(), server.connect());
    session.batch_execute("SELECT pgq_push('q', '1')").unwrap();
    for (state, told) in [
        ("DISABLE TRIGGER announce_removal", "its trigger announce_removal is disabled"),
        ("ENABLE REPLICA TRIGGER announce_message", "its trigger announce_message is disabled"),
    ] {
        dba.batch_execute(&format!("ALTER TABLE pgqueue.message {state}")).unwrap();
        let name = state.rsplit(' ').next().unwrap();
        assert_eq!(
            refusal(&mut session, "SELECT pgq_pop('q')").1,
            format!("pgqueue cannot use pgqueue.message: {told}")
        );
        dba.batch_execute(&format!("ALTER TABLE pgqueue.message ENABLE ALWAYS TRIGGER {name}")).unwrap();
    }
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_pop('q')"), [1]);
}

/// How a part of a dump is taken and loaded, and how many messages and queues are there afterwards.
/// `+`: the extension was made before.
type Part = (&'static [&'static str], &'static [&'static str], &'static str, [i64; 2]);

const PARTS: [Part; 12] = [
    (&[], &[], "", [3, 2]),
    (&["-j", "2"], &["-j", "2"], "", [3, 2]),
    (&[], &[], "+", [3, 2]),
    (&["-n", "public", "-e", "pgqueue"], &[], "", [3, 2]),
    (&["-t", "mine", "-e", "pgqueue"], &[], "", [3, 2]),
    (&["-N", "pgqueue"], &[], "", [0, 0]),
    (&["-T", "pgqueue.message"], &[], "", [0, 2]),
    (&["-s"], &[], "", [0, 0]),
    (&[], &["-n", "public"], "+", [0, 0]),
    (&["-t", "pgqueue.*"], &["-a"], "+", [3, 2]),
    (&["-t", "pgqueue.message"], &["-a"], "+", [3, 0]),
    (&["--data-only"], &[], "+", [3, 2]),
];

#[test]
fn dumps_in_parts_hold_the_tables_that_docs_tools_names() {
    let server = Server::start();
    let mut session = server.connect();
    session
        .batch_execute(
            "SELECT pgq_push_batch('a', '{1,2}'); SELECT pgq_push('b', '3');
             CREATE TABLE mine (id int); INSERT INTO mine VALUES (1)",
        )
        .unwrap();
    let dump = server.place().join("dump");
    let dump = dump.to_str().unwrap();
    for (n, (dumped, restored, before, expected)) in PARTS.iter().enumerate() {
        let database = format!("part{n}");
        session.batch_execute(&format!("CREATE DATABASE {database}")).unwrap();
        if *before == "+" {
            server
                .connect_to(&database)
                .batch_execute("CREATE EXTENSION pgqueue; CREATE TABLE mine (id int)")
                .unwrap();
        }
        let _ = std::fs::remove_dir_all(dump);
        server.client("pg_dump", &[&["-Fd", "-f", dump], *dumped].concat());
        let place = [*restored, &["-d", &database, dump]].concat();
        let told = server.try_client("pg_restore", &place).stderr;
        let told = String::from_utf8_lossy(&told);
        let mut errors = told.lines().filter(|line| line.contains("error:"));
        assert!(errors.all(|error| error.contains("already exists")), "{restored:?}: {told}");
        let found: Vec<i64> = server
            .connect_to(&database)
            .all("SELECT count(*) FROM pgqueue.message UNION ALL SELECT count(*) FROM pgqueue.queue");
        assert_eq!(found, expected, "pg_dump {dumped:?}, pg_restore {restored:?}");
    }
    let empty = server.client("pg_dump", &["-n", "pgqueue"]);
    assert!(
        !empty.contains("COPY") && !empty.contains("CREATE EXTENSION"),
        "its schema holds nothing to dump"
    );
}

#[test]
fn a_trigger_of_others_on_some_columns_sees_rows_that_come_and_go_after_an_update_of_others() {
    let server = Server::start();
    let mut session = server.connect();
    session
        .batch_execute(
            "SELECT pgq_create_queue('q');
             CREATE TABLE audit (n bigserial, what text);
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
                 INSERT INTO public.audit (what) VALUES (TG_OP); RETURN NULL;
             END$$;
             CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE OF payload ON pgqueue.message
                 FOR EACH ROW EXECUTE FUNCTION note()",
        )
        .unwrap();
    session.execute("SELECT pgq_push('q', '1', dedup_key => 'k')", &[]).unwrap();
    // The first is ignored: it updates the message that waits, but not its payload.
    session
        .execute(
            "SELECT pgq_push_batch('q', ARRAY['2', '3', '4']::jsonb[], dedup_keys => ARRAY['k', 'l', 'm'])",
            &[],
        )
        .unwrap();
    assert_eq!(session.all::<String>("SELECT what FROM audit ORDER BY n"), ["INSERT"; 3]);
    session.execute("SELECT pgq_pop('q', max => 9)", &[]).unwrap();
    assert_eq!(session.one::<i64>("SELECT count(*) FROM audit WHERE what = 'DELETE'"), 3);
}

#[test]
fn a_crash_loses_nothing_that_a_trigger_has_written_beside_a_lease() {
    // The log reaches the disk with commits that wait for it, or not at all.
    let server = Server::bare(
        "shared_preload_libraries = 'pgqueue'\npgqueue.auto_vacuum = off\nwal_writer_delay = '10 s'\nautovacuum = off",
    );
    let mut session = server.connect();
    session
        .batch_execute(
            "CREATE EXTENSION pgqueue;
             SELECT pgq_create_queue('q', '{\"durable_delete\": false}');
             CREATE TABLE audit (what text);
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
                 INSERT INTO public.audit VALUES (TG_OP); RETURN NULL;
             END$$;
             CREATE TRIGGER audit AFTER DELETE OR UPDATE ON pgqueue.message FOR EACH ROW EXECUTE FUNCTION note();
             SELECT pgq_push('q', '1')",
        )
        .unwrap();
    for (statement, what) in [
        ("SELECT pgq_reserve('q', lease => '1 ms')", "UPDATE"),
        ("SELECT pgq_delete(id) FROM pgqueue.message", "DELETE"),
    ] {
        session.execute(statement, &[]).unwrap();
        server.stop(Stop::Immediate);
        server.launch();
        session = server.connect();
        assert_eq!(
            session.one::<i64>(&format!("SELECT count(*) FROM audit WHERE what = '{what}'")),
            1,
            "{statement}"
        );
    }
}

#[test]
fn a_message_that_a_foreign_key_keeps_from_dying_is_in_the_way_of_no_other() {
    let server = Server::start();
    let mut session = server.connect();
    session
        .batch_execute(
            r#"CREATE TABLE job (message bigint REFERENCES pgqueue.message);
               SELECT pgq_create_queue(q, '{"max_deliveries": 1}') FROM unnest(ARRAY['q', 'other']) q;
               SELECT pgq_push('q', '"kept"'), pgq_push('other', '1');
               INSERT INTO job SELECT id FROM pgq_reserve('q', lease => '10 ms');
               SELECT pgq_reserve('other', lease => '10 ms');
               SELECT pgq_push('q', '"good"'), pg_sleep(0.02)"#,
        )
        .unwrap();
    let given: Vec<String> = session.all("SELECT payload::text FROM pgq_reserve('q', max => 9)");
    assert_eq!(given, ["\"good\""]);
    until("the other queue's message is dead", || {
        session.one("SELECT count(*) = 1 FROM pgq_peek_dead('other', 9)")
    });
    assert!(session.all::<i64>("SELECT id FROM pgq_peek_dead('q', 9)").is_empty());
    session.execute("DELETE FROM job", &[]).unwrap();
    until("the message is dead, too", || session.one("SELECT count(*) = 1 FROM pgq_peek_dead('q', 9)"));
}
