//! pgqueue beside other tools, and beside what a DBA puts on its tables: obeyed or refused,
//! never passed by (docs/beside-your-tools.md).

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use postgres::Client;
use support::{Ask, Ending, Server, until};

const REFUSED: &str = "55000";

/// What a DBA may put on a table that pgqueue writes directly, and how it goes again.
const OBSTACLES: [(&str, &str, &str); 17] = [
    (
        "row trigger",
        "CREATE TRIGGER t AFTER INSERT ON pgqueue.message FOR EACH ROW EXECUTE FUNCTION noted()",
        DROP,
    ),
    (
        "before",
        "CREATE TRIGGER t BEFORE INSERT ON pgqueue.message FOR EACH ROW EXECUTE FUNCTION noted()",
        DROP,
    ),
    ("statement", "CREATE TRIGGER t AFTER INSERT ON pgqueue.message EXECUTE FUNCTION noted()", DROP),
    (
        "update",
        "CREATE TRIGGER t AFTER UPDATE ON pgqueue.message FOR EACH ROW EXECUTE FUNCTION noted()",
        DROP,
    ),
    (
        "delete",
        "CREATE TRIGGER t AFTER DELETE ON pgqueue.message FOR EACH ROW EXECUTE FUNCTION noted()",
        DROP,
    ),
    (
        "constraint trigger",
        "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON pgqueue.message DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW EXECUTE FUNCTION noted()",
        DROP,
    ),
    (
        "always",
        "CREATE TRIGGER t AFTER DELETE ON pgqueue.message FOR EACH ROW EXECUTE FUNCTION noted();
         ALTER TABLE pgqueue.message ENABLE ALWAYS TRIGGER t",
        DROP,
    ),
    (
        "a foreign key to it",
        "CREATE TABLE note (message bigint REFERENCES pgqueue.message ON DELETE CASCADE)",
        "DROP TABLE note",
    ),
    (
        "a foreign key from it",
        "CREATE TABLE known (queue int PRIMARY KEY);
         ALTER TABLE pgqueue.message ADD CONSTRAINT f FOREIGN KEY (queue) REFERENCES known NOT VALID",
        "ALTER TABLE pgqueue.message DROP CONSTRAINT f; DROP TABLE known",
    ),
    (
        "unique, deferrable",
        "ALTER TABLE pgqueue.message ADD CONSTRAINT u UNIQUE (id, queue) DEFERRABLE",
        "ALTER TABLE pgqueue.message DROP CONSTRAINT u",
    ),
    (
        "rule",
        "CREATE RULE r AS ON DELETE TO pgqueue.message DO ALSO NOTIFY gone",
        "DROP RULE r ON pgqueue.message",
    ),
    (
        "check",
        "ALTER TABLE pgqueue.message ADD CONSTRAINT c CHECK (priority > 0) NOT VALID",
        "ALTER TABLE pgqueue.message DROP CONSTRAINT c",
    ),
    (
        "not null",
        "ALTER TABLE pgqueue.message ALTER payload SET NOT NULL",
        "ALTER TABLE pgqueue.message ALTER payload DROP NOT NULL",
    ),
    ("default", "ALTER TABLE pgqueue.message ADD note text DEFAULT 'x'", UNNOTED),
    (
        "generated",
        "ALTER TABLE pgqueue.message ADD note text GENERATED ALWAYS AS (group_key) STORED",
        UNNOTED,
    ),
    ("identity", "ALTER TABLE pgqueue.message ADD note bigint GENERATED ALWAYS AS IDENTITY", UNNOTED),
    (
        "domain",
        "CREATE DOMAIN d AS text CHECK (VALUE IS NOT NULL); ALTER TABLE pgqueue.message ADD note d DEFAULT ''",
        "ALTER TABLE pgqueue.message DROP COLUMN note; DROP DOMAIN d",
    ),
];

const DROP: &str = "DROP TRIGGER t ON pgqueue.message";
const UNNOTED: &str = "ALTER TABLE pgqueue.message DROP COLUMN note";

/// A server whose worker idles.
fn server_without_rounds() -> Server {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.auto_vacuum = off");
    server.connect().batch_execute("CREATE EXTENSION pgqueue").unwrap();
    server
}

/// A trigger function that does nothing.
fn make_trigger_function(session: &mut Client) {
    session
        .batch_execute(
            "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN coalesce(NEW, OLD); END $$",
        )
        .unwrap();
}

#[test]
fn what_others_have_put_on_the_table_of_messages_is_refused_until_it_is_gone() {
    let server = server_without_rounds();
    let (mut dba, mut app) = (server.connect(), server.connect());
    make_trigger_function(&mut dba);
    app.batch_execute(
        "SELECT pgq_create_queue('q', '{\"max_deliveries\": 0}'); SELECT pgq_push('q', '1'), pgq_push('q', '2')",
    )
    .unwrap();
    for (what, make, remove) in OBSTACLES {
        dba.batch_execute(make).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        for write in ["SELECT pgq_push('q', '3')", "SELECT * FROM pgq_reserve('q')", "SELECT pgq_delete(1)"] {
            let error = app.batch_execute(write).expect_err(what);
            let error = error.as_db_error().unwrap();
            assert_eq!(error.code().code(), REFUSED, "{what}: {write}: {error}");
            assert!(error.message().contains("pgqueue.message"), "{what}: {error}");
            assert!(error.hint().is_some(), "{what}");
        }
        assert_eq!(app.all::<i64>("SELECT id FROM pgq_peek('q', max => 9)").len(), 2, "{what}: reads go on");
        dba.batch_execute(remove).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        app.batch_execute("SELECT pgq_release(id, '0', delivery) FROM pgq_reserve('q')")
            .unwrap_or_else(|error| panic!("{what} is gone: {error:?}"));
    }
}

#[test]
fn a_trigger_that_is_refused_is_named() {
    let server = server_without_rounds();
    let mut session = server.connect();
    make_trigger_function(&mut session);
    session
        .batch_execute(
            "CREATE TABLE note (message bigint CONSTRAINT about REFERENCES pgqueue.message ON DELETE CASCADE)",
        )
        .unwrap();
    let said = |session: &mut Client| {
        let error = session.batch_execute("SELECT pgq_push('q', '1')").unwrap_err();
        let error = error.as_db_error().unwrap();
        format!("{} / {}", error.message(), error.hint().unwrap())
    };
    let about = said(&mut session);
    assert!(about.contains("\"about\"") && about.contains("\"note\""), "{about}");
    session
        .batch_execute(
            "DROP TABLE note;
             CREATE TRIGGER audit AFTER DELETE ON pgqueue.message FOR EACH ROW EXECUTE FUNCTION noted()",
        )
        .unwrap();
    let audit = said(&mut session);
    assert!(audit.contains("trigger") && audit.contains("\"audit\""), "{audit}");
}

#[test]
fn the_archive_and_the_counters_are_guarded_where_they_are_written_directly() {
    // Without shared memory each transaction writes its counts into the table.
    let server = Server::bare("pgqueue.auto_vacuum = off");
    let mut session = server.connect();
    session.batch_execute("CREATE EXTENSION pgqueue").unwrap();
    make_trigger_function(&mut session);
    session
        .batch_execute(
            "SELECT pgq_create_queue('kept', '{\"archive\": \"1 h\"}'); SELECT pgq_push('kept', '1')",
        )
        .unwrap();
    for (make, remove) in [
        (
            "CREATE TRIGGER t AFTER INSERT ON pgqueue.archive FOR EACH ROW EXECUTE FUNCTION noted()",
            "DROP TRIGGER t ON pgqueue.archive",
        ),
        (
            "CREATE TRIGGER t BEFORE INSERT ON pgqueue.counter FOR EACH ROW EXECUTE FUNCTION noted()",
            "DROP TRIGGER t ON pgqueue.counter",
        ),
        (
            // The owner of a table is bound by its policies where they are forced.
            "CREATE ROLE keeper; GRANT USAGE ON SCHEMA pgqueue TO keeper; ALTER TABLE pgqueue.archive OWNER TO keeper;
             ALTER TABLE pgqueue.archive ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
            "ALTER TABLE pgqueue.archive NO FORCE ROW LEVEL SECURITY",
        ),
    ] {
        session.batch_execute(make).unwrap();
        assert_eq!(session.sqlstate("SELECT * FROM pgq_pop('kept')"), REFUSED, "{make}");
        session.batch_execute(remove).unwrap();
    }
    // Statements delete from the archive, so that a trigger for it is fired.
    session
        .batch_execute(
            "CREATE TRIGGER t AFTER DELETE ON pgqueue.archive FOR EACH ROW EXECUTE FUNCTION noted()",
        )
        .unwrap();
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_pop('kept')").len(), 1);
}

#[test]
fn triggers_that_no_change_would_fire_are_in_nobody_s_way() {
    let server = server_without_rounds();
    let mut session = server.connect();
    make_trigger_function(&mut session);
    session
        .batch_execute(
            "CREATE TRIGGER cut BEFORE TRUNCATE ON pgqueue.message EXECUTE FUNCTION noted();
             CREATE TRIGGER off AFTER INSERT ON pgqueue.message EXECUTE FUNCTION noted();
             ALTER TABLE pgqueue.message DISABLE TRIGGER off;
             CREATE TRIGGER elsewhere AFTER INSERT ON pgqueue.message EXECUTE FUNCTION noted();
             ALTER TABLE pgqueue.message ENABLE REPLICA TRIGGER elsewhere;
             ALTER TABLE pgqueue.message ADD COLUMN note text, ADD COLUMN gone text DEFAULT 'x';
             ALTER TABLE pgqueue.message DROP COLUMN gone;
             ALTER TABLE pgqueue.message ADD EXCLUDE USING btree (id WITH =);
             SELECT pgq_push('q', '1')",
        )
        .unwrap_or_else(|error| panic!("{error:?}"));
    // What fires in sessions that apply changes of another server counts there, and only there.
    session.batch_execute("SET session_replication_role = replica").unwrap();
    assert_eq!(session.sqlstate("SELECT pgq_push('q', '2')"), REFUSED);
    session.batch_execute("RESET session_replication_role; SELECT pgq_push('q', '3')").unwrap();
}

#[test]
fn a_trigger_waits_for_what_has_written_and_stops_what_comes_after() {
    let server = server_without_rounds();
    let (mut dba, mut early, mut late) = (server.connect(), server.connect(), server.connect());
    make_trigger_function(&mut dba);
    late.batch_execute("SELECT pgq_push('q', '1')").unwrap();
    early.batch_execute("BEGIN; SELECT pgq_push('q', '2')").unwrap();
    thread::scope(|scope| {
        let making = scope.spawn(move || {
            dba.batch_execute(
                "CREATE TRIGGER t AFTER INSERT ON pgqueue.message FOR EACH ROW EXECUTE FUNCTION noted()",
            )
            .unwrap();
        });
        let mut observer = server.connect();
        support::until_blocked(&mut observer, 1);
        // This one knew the table before there was a trigger, and waits for it to be made.
        let pushing = scope.spawn(move || late.sqlstate("SELECT pgq_push('q', '3')"));
        support::until_blocked(&mut observer, 2);
        early.batch_execute("SELECT pgq_push('q', '4'); COMMIT").unwrap();
        making.join().unwrap();
        assert_eq!(pushing.join().unwrap(), REFUSED);
    });
    assert_eq!(early.one::<i64>("SELECT pgq_count('q', exact => true)"), 3);
}

#[test]
fn pg_repack_loses_nothing() {
    if !std::path::Path::new(&support::bindir("PGQUEUE_BINDIR").join("pg_repack")).exists() {
        // Debian 12 has it for 15 only.
        assert_ne!(std::env::var("PG_MAJOR").as_deref(), Ok("15"), "pg_repack is missing: run .ci/setup");
        eprintln!("SKIPPED: there is no pg_repack for this server");
        return;
    }
    let server = server_without_rounds();
    let mut session = server.connect();
    session
        .batch_execute(
            "CREATE EXTENSION pg_repack;
             SELECT pgq_create_queue('kept', '{\"archive\": \"1 h\"}');
             SELECT pgq_push('q', '1'), pgq_push('q', '2'), pgq_push('kept', '3');
             SELECT pgq_reserve('q', '10 min')",
        )
        .unwrap();
    for table in ["message", "archive"] {
        // An old transaction keeps pg_repack between its copy and its swap.
        let mut old = server.connect();
        old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; CREATE TEMP TABLE x(); SELECT 1").unwrap();
        thread::scope(|scope| {
            let server = &server;
            let repacking = scope.spawn(move || {
                server.shell(
                    &format!("pg_repack -d postgres -t pgqueue.{table} --no-order --no-kill-backend"),
                    &[],
                )
            });
            until("pg_repack has put its trigger", || {
                session.one("SELECT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'repack_trigger')")
            });
            let write = if table == "message" { "SELECT pgq_delete(1, 1)" } else { "SELECT pgq_pop('kept')" };
            let error = session.batch_execute(write).unwrap_err();
            let error = error.as_db_error().unwrap();
            assert_eq!(error.code().code(), REFUSED, "{error}");
            assert!(error.hint().unwrap().contains("pg_repack"), "{error:?}");
            old.batch_execute("COMMIT").unwrap();
            repacking.join().unwrap();
        });
    }
    assert!(session.one::<bool>("SELECT pgq_delete(1::bigint, 1)"));
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_pop('q', max => 9)"), [2]);
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_pop('kept', max => 9)"), [3]);
    assert_eq!(session.all::<i64>("SELECT id FROM pgqueue.archive"), [3]);
}

/// What an index must be, or else is refused: how it is broken, and what the error says.
const BROKEN: [(&str, &str); 8] = [
    ("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'pgqueue.message_ready'::regclass", "not valid"),
    ("UPDATE pg_index SET indisready = false WHERE indexrelid = 'pgqueue.message_due'::regclass", "not valid"),
    ("DROP INDEX pgqueue.message_group", "does not exist"),
    (
        "DROP INDEX pgqueue.message_ready; CREATE INDEX message_ready ON pgqueue.message (group_key)",
        "not the one",
    ),
    (
        "DROP INDEX pgqueue.message_ready;
         CREATE INDEX message_ready ON pgqueue.message USING hash (queue) WHERE lane = 'r'",
        "not the one",
    ),
    (
        "DROP INDEX pgqueue.message_ready;
         CREATE INDEX message_ready ON pgqueue.message (queue, priority, id) WHERE lane = 'd'",
        "not the one",
    ),
    (
        "DROP INDEX pgqueue.message_ready;
         CREATE INDEX message_ready ON pgqueue.message (queue, priority, id DESC) WHERE lane = 'r'",
        "not the one",
    ),
    (
        "DROP INDEX pgqueue.message_ready; CREATE TABLE other (queue int, priority smallint, id bigint, lane \"char\");
         CREATE INDEX message_ready ON other (queue, priority, id) WHERE lane = 'r'; DROP INDEX message_ready;
         CREATE TABLE pgqueue.message_ready ()",
        "does not exist",
    ),
];

#[test]
fn an_index_that_is_not_what_its_name_says_is_refused_and_can_be_mended() {
    let server = server_without_rounds();
    let (mut dba, mut app) = (server.connect(), server.connect());
    app.batch_execute("SELECT pgq_push('q', '1'), pgq_push('q', '2')").unwrap();
    for (broken, says) in BROKEN {
        dba.batch_execute("BEGIN").unwrap();
        dba.batch_execute(broken).unwrap_or_else(|error| panic!("{broken}: {error:?}"));
        let error = dba.batch_execute("SELECT * FROM pgq_reserve('q')").expect_err(broken);
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), REFUSED, "{broken}: {error}");
        assert!(error.message().contains(says) && error.hint().is_some(), "{broken}: {error}");
        dba.batch_execute("ROLLBACK").unwrap();
        assert_eq!(
            dba.all::<i64>("SELECT id FROM pgq_peek('q', max => 9)").len(),
            2,
            "{broken}, rolled back"
        );
    }
    // As a CREATE INDEX CONCURRENTLY that fails leaves one behind, seen by a session that knew the other.
    dba.batch_execute("UPDATE pg_index SET indisvalid = false, indisready = false WHERE indexrelid = 'pgqueue.message_ready'::regclass").unwrap();
    for call in ["SELECT pgq_push('q', '3')", "SELECT pgq_count('q')", "SELECT * FROM pgq_peek('q')"] {
        let error = app.batch_execute(call).unwrap_err();
        let hint = error.as_db_error().unwrap().hint().unwrap().to_owned();
        assert!(hint.contains("REINDEX INDEX pgqueue.message_ready"), "{hint}");
    }
    dba.batch_execute("REINDEX INDEX pgqueue.message_ready").unwrap();
    assert_eq!(app.all::<i64>("SELECT id FROM pgq_reserve('q', max => 9)").len(), 2);
}

#[test]
fn a_table_whose_columns_are_others_is_refused() {
    let server = server_without_rounds();
    let mut session = server.connect();
    session.batch_execute("SELECT pgq_push('q', '1', group_key => '7')").unwrap();
    session
        .batch_execute(
            "ALTER EXTENSION pgqueue DROP VIEW pgqueue.message_state; DROP VIEW pgqueue.message_state;
             ALTER TABLE pgqueue.message ALTER group_key TYPE integer USING 7",
        )
        .unwrap();
    assert_eq!(session.sqlstate("SELECT * FROM pgq_reserve('q')"), REFUSED);
    assert_eq!(session.sqlstate("SELECT pgq_push('q', '2', group_key => 'x')"), REFUSED);
}

#[test]
fn indexes_are_built_anew_beside_load_and_nothing_is_missed() {
    let server = Server::start();
    let done = AtomicBool::new(false);
    let mut session = server.connect();
    session.batch_execute("SELECT pgq_create_queue('q')").unwrap();
    let pushed: i64 = thread::scope(|scope| {
        let _end = Ending(&done);
        let clients: Vec<_> = (0..3)
            .map(|n| {
                let (mut client, server, done) = (server.connect(), &server, &done);
                scope.spawn(move || {
                    let mut pushed = 0;
                    while !done.load(Ordering::Relaxed) {
                        // Half of the calls are the first of their session.
                        if pushed % 2 == 0 {
                            client = server.connect();
                        }
                        let push = format!("SELECT pgq_push('q', '1', group_key => 'g{}')", pushed % 5 + n);
                        client.batch_execute(&push).unwrap();
                        pushed += 1;
                    }
                    pushed
                })
            })
            .collect();
        for _ in 0..8 {
            session.batch_execute("REINDEX TABLE CONCURRENTLY pgqueue.message").unwrap();
            thread::sleep(Duration::from_millis(20));
        }
        done.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert!(pushed > 50, "{pushed}");
    let mut taken = 0;
    loop {
        let some = session.all::<i64>("SELECT id FROM pgq_pop('q', max => 1000)").len();
        if some == 0 {
            break;
        }
        taken += some as i64;
    }
    assert_eq!(taken, pushed);
}

#[test]
fn triggers_of_ours_that_a_restore_has_left_plain_fire_always_again() {
    const PLAIN: &str = "SELECT count(*) FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid
                          WHERE relnamespace = 'pgqueue'::regnamespace AND NOT tgisinternal AND tgenabled = 'O'";
    const ALWAYS: &str = "SELECT count(*) FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid
                           WHERE relnamespace = 'pgqueue'::regnamespace AND tgenabled = 'A'";
    let (source, target) = (server_without_rounds(), server_without_rounds());
    source.connect().batch_execute("SELECT pgq_push('q', '1'), pgq_push('other', '2')").unwrap();
    let mut session = target.connect();
    let ours: i64 = session.one(ALWAYS);
    assert!(ours > 5, "{ours}");
    let dump = source.place().join("dump");
    source.shell("pg_dump -Fd -f $DUMP", &[("DUMP", &dump)]);
    target.shell("pg_restore -a --disable-triggers -d postgres $DUMP", &[("DUMP", &dump)]);
    source.shell("rm -r $DUMP", &[("DUMP", &dump)]);
    assert!(session.one::<i64>(PLAIN) > 5, "the restore has left them plain");
    // A table that is in use is left to the next round, which waits for nobody.
    let mut busy = target.connect();
    busy.batch_execute("BEGIN; LOCK TABLE pgqueue.message IN ROW EXCLUSIVE MODE").unwrap();
    session.batch_execute("SELECT FROM pgq_vacuum()").unwrap();
    assert_eq!(session.one::<i64>(PLAIN), 2, "those of the table that is in use");
    busy.batch_execute("COMMIT").unwrap();
    // One that somebody has disabled stays so.
    session
        .batch_execute("ALTER TABLE pgqueue.dead DISABLE TRIGGER count_letter; SELECT FROM pgq_vacuum()")
        .unwrap();
    assert_eq!((session.one::<i64>(PLAIN), session.one::<i64>(ALWAYS)), (0, ours - 1));
    // And by itself.
    session.batch_execute("ALTER TABLE pgqueue.message DISABLE TRIGGER ALL, ENABLE TRIGGER ALL").unwrap();
    assert_eq!(session.one::<i64>(PLAIN), 2);
    target.set("pgqueue.auto_vacuum = on\npgqueue.vacuum_interval = '100ms'");
    until("the worker has set them back", || session.one::<i64>(PLAIN) == 0);
}

/// The tables of another server's queues, loaded from parts of a dump.
#[test]
fn a_part_of_a_dump_has_the_messages_if_it_names_the_extension() {
    let source = server_without_rounds();
    source
        .connect()
        .batch_execute("CREATE TABLE mine (id int); SELECT pgq_push('q', '1'), pgq_push('q', '2')")
        .unwrap();
    let messages = |options: &[&str]| {
        let dump = source.client("pg_dump", options);
        let target = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.auto_vacuum = off");
        target.restore(&dump);
        let mut session = target.connect();
        let is_there =
            session.one::<bool>("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pgqueue')");
        if is_there { session.all::<i64>("SELECT id FROM pgq_pop('q', max => 9)").len() } else { 0 }
    };
    for whole in [&["-n", "public", "--extension=pgqueue"][..], &["-t", "mine", "-e", "pgqueue"], &[]] {
        assert_eq!(messages(whole), 2, "{whole:?}");
    }
    // What pg_dump leaves out without a word (docs/beside-your-tools.md).
    for without in [&["-n", "public"][..], &["-n", "pgqueue"]] {
        assert_eq!(messages(without), 0, "{without:?}");
    }
}
