//! Upgrades: from the install script of each released version, frozen in `tests/upgrade`,
//! to this one; and what a library says to SQL of another version.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;

use postgres::Client;
use support::{Ask, Ending, Server, Stop, until};

/// Released versions, each with its install script and what its pg_dump printed of an
/// extension with messages in every state (`tests/upgrade/messages.sql`).
const RELEASED: [(&str, &str, &str); 2] = [
    ("0.1.0", include_str!("upgrade/pgqueue--0.1.0.sql"), include_str!("upgrade/data-0.1.0.sql")),
    ("0.2.0", include_str!("upgrade/pgqueue--0.2.0.sql"), include_str!("upgrade/data-0.2.0.sql")),
];

/// The same of unique keys and limits in every state (`tests/upgrade/dedup_key.sql`).
const KEYS: [(&str, &str); 1] = [("0.2.0", include_str!("upgrade/keys-0.2.0.sql"))];

/// A version that this library cannot know, and the ways there and back.
const FUTURE: &str = "99.0.0";

const CATALOG: &str = include_str!("upgrade/catalog.sql");

/// What a script changes about the tables, every session hears of. No trigger of ours is called,
/// which would refuse.
const TOUCH: &str = "ALTER TABLE pgqueue.queue ALTER COLUMN name SET STATISTICS -1;";

fn server() -> Server {
    let ours = env!("CARGO_PKG_VERSION");
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.vacuum_interval = '100ms'");
    for (version, install, _) in RELEASED {
        server.add_extension_script(&format!("pgqueue--{version}.sql"), install);
    }
    server.add_extension_script(&format!("pgqueue--{ours}--{FUTURE}.sql"), TOUCH);
    server.add_extension_script(&format!("pgqueue--{FUTURE}--{ours}.sql"), TOUCH);
    server
}

/// A database with a released version of the extension and its messages in it.
///
/// Its own library put them there; this one's triggers would refuse to, but for the one that
/// notes the numbers of the roles here.
fn installed(server: &Server, database: &str, version: &str, data: &str) -> Client {
    server.connect().batch_execute(&format!("CREATE DATABASE {database}")).unwrap();
    let mut session = server.connect_to(database);
    session.batch_execute(&format!("CREATE EXTENSION pgqueue VERSION '{version}'")).unwrap();
    let switch = |session: &mut Client, how: &str| {
        for trigger in session.all::<String>(
            "SELECT format('ALTER TABLE %s %%s TRIGGER %I', tgrelid::regclass, tgname) FROM pg_trigger
              WHERE tgrelid::regclass::text LIKE 'pgqueue.%' AND NOT tgisinternal AND tgname <> 'pin_role'",
        ) {
            session.batch_execute(&trigger.replace("%s", how)).unwrap();
        }
    };
    switch(&mut session, "DISABLE");
    server.restore_into(database, data);
    switch(&mut session, "ENABLE ALWAYS");
    session
}

/// All there is, but for the columns that a later version has added, which are null, and slots,
/// which the first reserve lays out anew.
fn all_rows(session: &mut Client) -> Vec<String> {
    session.all(
        "SELECT jsonb_strip_nulls(row)::text || t.of FROM (SELECT 'message' AS of, to_jsonb(m) AS row FROM pgqueue.message m
                    UNION ALL SELECT 'dead', to_jsonb(d) FROM pgqueue.dead d
                    UNION ALL SELECT 'archive', to_jsonb(a) FROM pgqueue.archive a
                    UNION ALL SELECT 'key', to_jsonb(k) FROM pgqueue.recent_key k
                    UNION ALL SELECT 'queue', to_jsonb(q) - 'owner_id' FROM pgqueue.queue q
                    UNION ALL SELECT 'schedule', to_jsonb(s) - '{owner_id,seen_to,retry_at,pauses,started_at}'::text[] FROM pgqueue.schedule s) t ORDER BY 1",
    )
}

#[test]
fn an_upgrade_arrives_at_the_objects_of_a_fresh_install() {
    let server = server();
    server.connect().batch_execute("CREATE EXTENSION pgqueue").unwrap();
    let fresh: Vec<String> = server.connect().all(CATALOG);
    assert!(fresh.len() > 200, "{}", fresh.len());
    for (version, ..) in RELEASED {
        server.connect().batch_execute("DROP EXTENSION pgqueue").unwrap();
        server
            .connect()
            .batch_execute(&format!(
                "CREATE EXTENSION pgqueue VERSION '{version}'; ALTER EXTENSION pgqueue UPDATE"
            ))
            .unwrap();
        let upgraded: Vec<String> = server.connect().all(CATALOG);
        let differences: Vec<String> = fresh
            .iter()
            .filter(|line| !upgraded.contains(line))
            .map(|line| format!("lacks {line}"))
            .chain(upgraded.iter().filter(|line| !fresh.contains(line)).map(|line| format!("has {line}")))
            .collect();
        assert_eq!(differences, [""; 0], "{version}");
    }
}

#[test]
fn objects_of_an_upgrade_belong_to_the_owner_of_the_extension() {
    let server = server();
    for (n, (version, ..)) in RELEASED.iter().enumerate() {
        let database = format!("made{n}");
        server.connect().batch_execute(&format!("CREATE DATABASE {database}")).unwrap();
        server.connect().batch_execute(&format!("CREATE ROLE maker{n} SUPERUSER")).unwrap();
        let mut session = server.connect_to(&database);
        session
            .batch_execute(&format!(
                "SET ROLE maker{n}; CREATE EXTENSION pgqueue VERSION '{version}'; RESET ROLE;
                 ALTER EXTENSION pgqueue UPDATE; ALTER ROLE maker{n} NOSUPERUSER"
            ))
            .unwrap();
        assert_eq!(session.one::<i64>("SELECT pgq_push('q', '1')"), 1, "{version}");
        let others: Vec<String> = session.all(&format!(
            "SELECT oid::regclass::text FROM pg_class
              WHERE relowner <> 'maker{n}'::regrole AND relnamespace = 'pgqueue'::regnamespace
             UNION ALL
             SELECT oid::regprocedure::text FROM pg_proc
              WHERE proowner <> 'maker{n}'::regrole AND proname ~ '^(pgq_|pin_role)'
             UNION ALL
             SELECT oid::regtype::text FROM pg_type
              WHERE typowner <> 'maker{n}'::regrole AND typname ~ '^pgq_'"
        ));
        assert_eq!(others, [""; 0], "{version}");
    }
}

#[test]
fn privileges_on_functions_survive_an_upgrade_and_a_dump() {
    let server = server();
    let mut session = server.connect();
    session
        .batch_execute(
            "CREATE ROLE consumer; CREATE ROLE \"The Boss\"; CREATE EXTENSION pgqueue VERSION '0.2.0';
             REVOKE EXECUTE ON FUNCTION pgq_delete(bigint[], integer[]), pgq_delete(bigint, integer), pgq_move(bigint[], text) FROM PUBLIC;
             REVOKE EXECUTE ON FUNCTION pgq_push_batch FROM PUBLIC;
             REVOKE EXECUTE ON PROCEDURE pgq_wait FROM PUBLIC;
             REVOKE EXECUTE ON FUNCTION pgq_grant, pgq_list_queues FROM PUBLIC;
             GRANT EXECUTE ON FUNCTION pgq_grant TO consumer;
             GRANT EXECUTE ON FUNCTION pgq_delete(bigint[], integer[]) TO consumer;
             GRANT EXECUTE ON FUNCTION pgq_push_batch TO consumer;
             GRANT EXECUTE ON PROCEDURE pgq_wait TO \"The Boss\" WITH GRANT OPTION;
             ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
             ALTER EXTENSION pgqueue UPDATE",
        )
        .unwrap();
    check_privileges(&mut session);
    let dump = server.client("pg_dump", &["postgres"]);
    session.batch_execute("CREATE DATABASE restored").unwrap();
    server.restore_into("restored", &dump);
    check_privileges(&mut server.connect_to("restored"));
}

fn check_privileges(session: &mut Client) {
    session.batch_execute("CREATE ROLE anybody").ok();
    let may: Vec<String> = session.all(
        "SELECT format('%s may %s', role, p.proname)
           FROM unnest(ARRAY['anybody', 'consumer', 'The Boss']) role, pg_proc p
          WHERE p.proname IN ('pgq_delete', 'pgq_delete_batch', 'pgq_move', 'pgq_move_batch', 'pgq_push_batch', 'pgq_wait', 'pgq_push',
                             'pgq_grant', 'pgq_list_queues')
            AND has_function_privilege(role, p.oid, 'EXECUTE')
          ORDER BY 1",
    );
    let expected = [
        "The Boss may pgq_push",
        "The Boss may pgq_wait",
        "anybody may pgq_push",
        "consumer may pgq_delete_batch",
        "consumer may pgq_grant",
        "consumer may pgq_push",
        "consumer may pgq_push_batch",
    ];
    assert_eq!(may, expected);
}

#[test]
fn messages_in_every_state_survive_an_upgrade() {
    let server = server();
    server.connect().batch_execute("CREATE ROLE owner; CREATE ROLE stranger").unwrap();
    for (n, (version, _, data)) in RELEASED.iter().enumerate() {
        let mut session = installed(&server, &format!("upgraded{n}"), version, data);
        let before = all_rows(&mut session);
        assert!(before.len() > 20);
        assert_eq!(session.sqlstate("SELECT pgq_push('plain', '1')"), "55000");
        session.batch_execute("ALTER EXTENSION pgqueue UPDATE").unwrap();
        assert_eq!(all_rows(&mut session), before, "{version}");
        assert_eq!(check_messages(&mut session), 19, "ids go on");
    }
}

/// The questions of monitors on a standby.
const MONITORS: [&str; 4] = [
    "SELECT concat_ws(' ', queue, ready, delayed, leased, blocked, dead, total, pushed, delivered, deleted, retried, died)
       FROM pgq_stats() ORDER BY 1",
    "SELECT state || pgq_peek('plain', 10, state)::text FROM unnest('{ready,delayed,leased,archived}'::text[]) state ORDER BY 1",
    "SELECT pgq_peek_dead('plain', 10)::text ORDER BY 1",
    "SELECT pgq_list_queues()::text ORDER BY 1",
];

/// The monitors' calls are refused in an open session, with both versions and the way out.
fn assert_refused(session: &mut Client, installed: &str, hint: &str) {
    for call in MONITORS {
        let error = session.batch_execute(call).expect_err(call);
        let error = error.as_db_error().expect("the connection holds");
        assert_eq!((error.code().code(), error.hint()), ("55000", Some(hint)), "{call}: {error:?}");
        assert!(
            [installed, env!("CARGO_PKG_VERSION")].iter().all(|it| error.message().contains(it)),
            "{error}"
        );
    }
}

fn assert_same(here: &mut Client, there: &mut Client) {
    for call in MONITORS {
        let rows = here.all::<String>(call);
        assert!(!rows.is_empty(), "{call}");
        assert_eq!(rows, there.all::<String>(call), "{call}");
    }
}

/// Both servers have this library already, and only the primary is told to update.
#[test]
fn an_upgrade_reaches_a_standby_which_has_all_messages_when_it_is_promoted() {
    let [_, (version, _, data)] = RELEASED;
    let primary = server();
    primary.connect().batch_execute("CREATE ROLE owner; CREATE ROLE stranger").unwrap();
    let standby = primary.standby("standby");
    let mut there = installed(&primary, "upgraded", version, data);
    let before = all_rows(&mut there);
    primary.until_replayed_by(&standby);
    let mut open = standby.connect_to("upgraded");
    assert_refused(&mut open, version, "Run ALTER EXTENSION pgqueue UPDATE on the primary server.");

    there.batch_execute("ALTER EXTENSION pgqueue UPDATE").unwrap();
    // `installed` put the messages there uncounted: a round counts them.
    there.batch_execute("SELECT pgq_vacuum()").unwrap();
    primary.until_replayed_by(&standby);
    assert_eq!(all_rows(&mut open), before);
    assert_same(&mut open, &mut there);

    // As a standby whose library is older than the primary's.
    let ours = env!("CARGO_PKG_VERSION");
    there.batch_execute(&format!("ALTER EXTENSION pgqueue UPDATE TO '{FUTURE}'")).unwrap();
    primary.until_replayed_by(&standby);
    assert_refused(
        &mut open,
        FUTURE,
        "Connect anew, after a restart of the server if it preloads the library, so that the new library is loaded.",
    );
    there.batch_execute(&format!("ALTER EXTENSION pgqueue UPDATE TO '{ours}'")).unwrap();
    primary.until_replayed_by(&standby);
    assert_same(&mut open, &mut there);

    primary.stop(Stop::Kill);
    standby.promote();
    assert_eq!(all_rows(&mut open), before);
    assert!(check_messages(&mut open) > 19, "ids go on behind those that may be lost");
}

#[test]
fn keys_and_limits_in_every_state_survive_an_upgrade() {
    let server = server();
    for (n, (version, data)) in KEYS.iter().enumerate() {
        let mut session = installed(&server, &format!("keys{n}"), version, data);
        session.batch_execute("ALTER EXTENSION pgqueue UPDATE").unwrap();
        check_keys_and_limits(&mut session);
    }
}

#[test]
fn a_dump_of_older_keys_and_limits_loads_into_this_version() {
    let server = server();
    for (n, (_, data)) in KEYS.iter().enumerate() {
        let database = format!("restored{n}");
        server.connect().batch_execute(&format!("CREATE DATABASE {database}")).unwrap();
        server.restore_into(&database, data);
        check_keys_and_limits(&mut server.connect_to(&database));
    }
}

/// That what `dedup_key.sql` has made behaves as it should.
fn check_keys_and_limits(session: &mut Client) {
    session.batch_execute("SELECT pgq_vacuum()").unwrap();
    let states: Vec<String> =
        session.all("SELECT id || ' ' || state FROM pgqueue.message_state WHERE state <> 'gone' ORDER BY id");
    let expected = [
        "1 leased",
        "2 ready",
        "3 ready",
        "4 ready",
        "6 ready",
        "7 ready",
        "9 leased",
        "10 leased",
        "11 ready",
        "12 ready",
    ];
    assert_eq!(states, expected);
    let counted_on: Vec<i64> =
        session.all("SELECT pgq_push('k', '1', dedup_key => k) FROM unnest('{a,b,c,d,e}'::text[]) k");
    assert_eq!(counted_on, [2, 3, 4, 6, 7]);
    assert!(!session.one::<bool>("SELECT pgq_delete(7, 1)"), "a push has counted on it since it was leased");
    assert!(session.one::<bool>("SELECT pgq_delete(1, 1)"), "its receipt is still good");
    let taken: Vec<i64> = session.all("SELECT id FROM pgq_reserve('k', max => 10) ORDER BY id");
    assert_eq!(taken, [2, 3, 4, 6, 7]);
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('l', max => 10)"), [11], "two slots are taken");
    assert!(session.one::<bool>("SELECT pgq_delete(9, 1)"));
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('l', max => 10)"), [12]);
}

#[test]
fn a_dump_of_an_older_version_loads_into_this_one() {
    let server = server();
    server.connect().batch_execute("CREATE ROLE owner; CREATE ROLE stranger").unwrap();
    for (n, (_, _, data)) in RELEASED.iter().enumerate() {
        let database = format!("restored{n}");
        server.connect().batch_execute(&format!("CREATE DATABASE {database}")).unwrap();
        server.restore_into(&database, data);
        assert_eq!(check_messages(&mut server.connect_to(&database)), 19, "ids go on");
    }
}

/// That what `messages.sql` has made behaves as it should. Returns the id of the next message.
fn check_messages(session: &mut Client) -> i64 {
    session.batch_execute("SET ROLE stranger").unwrap();
    assert_eq!(session.sqlstate("SELECT pgq_reserve('plain')"), "42501", "the queues have their owner");
    session.batch_execute("SET ROLE owner").unwrap();
    let stats: Vec<String> = session.all(
        "SELECT concat_ws(' ', queue, ready, delayed, leased, blocked, dead, pushed, delivered, deleted, retried, died)
           FROM pgq_stats() ORDER BY 1",
    );
    let expected = [
        "groups 0 0 1 2 0 3 1 0 0 0",
        "keys 1 0 0 0 0 2 1 1 0 0",
        "paused 1 0 0 0 0 1 0 0 0 0",
        "plain 4 2 1 0 2 10 6 1 1 2",
        "slots 1 0 1 0 0 2 1 0 0 0",
    ];
    assert_eq!(stats, expected);
    let new: i64 = session.one("SELECT pgq_push('plain', '1', priority => 9)");
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('plain', max => 10)"), [8, 6, 9, 10, new]);
    assert_eq!(session.one::<i64>("SELECT delivery FROM pgq_get(6)"), 2);
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('slots')"), [0; 0], "the only slot is taken");
    // Receipts of before.
    assert!(session.one::<bool>("SELECT pgq_delete(5, 1) AND pgq_delete(16, 1) AND pgq_delete(11, 1)"));
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('slots')"), [17]);
    assert_eq!(
        session.all::<i64>("SELECT id FROM pgq_reserve('groups', max => 10)"),
        [12],
        "the next of its group"
    );
    assert_eq!(
        session.one::<i64>("SELECT pgq_push('keys', '2', dedup_key => 'k')"),
        14,
        "the one that waits"
    );
    assert_eq!(session.one::<i64>("SELECT pgq_push('keys', '2', dedup_key => 'gone')"), 15, "seen lately");
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('paused')"), [0; 0]);
    assert_eq!(
        session.all::<String>("SELECT id || ' ' || reason || ' ' || payload FROM pgq_peek_dead('plain', 10)"),
        ["2 failed \"failed\"", "3 buried \"buried\""]
    );
    assert_eq!(session.one::<String>("SELECT errors[0] ->> 'error' FROM pgq_get(4)"), "try again");
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_peek('plain', 10, 'archived')"), [5, 1]);
    assert_eq!(
        session.all::<String>(
            "SELECT name FROM pgq_list_schedules() UNION ALL SELECT name FROM pgq_list_watches()"
        ),
        ["yearly", "roles"]
    );
    new
}

#[test]
fn sessions_and_worker_cope_with_sql_of_another_version_and_nothing_is_lost() {
    let server = server();
    let mut session = server.connect();
    session
        .batch_execute("CREATE EXTENSION pgqueue; SELECT pgq_create_queue('q', '{\"max_deliveries\": 0}')")
        .unwrap();
    let ours = env!("CARGO_PKG_VERSION");
    let (stop, pushed, done) = (AtomicBool::new(false), AtomicI64::new(0), AtomicI64::new(0));
    let refused = AtomicI64::new(0);
    // Runs calls until told to stop; any error but that of the other version is a failure.
    let load = |call: &str, count: &AtomicI64| {
        let mut session = server.connect();
        while !stop.load(Ordering::Relaxed) {
            match session.query(call, &[]) {
                Ok(rows) => count.fetch_add(rows.len() as i64, Ordering::Relaxed),
                Err(error) => {
                    let error = error.as_db_error().expect("the connection holds");
                    assert_eq!(error.code().code(), "55000", "{error}");
                    assert!(error.message().contains(FUTURE), "{error}");
                    refused.fetch_add(1, Ordering::Relaxed)
                }
            };
        }
    };
    thread::scope(|scope| {
        let _ends = Ending(&stop);
        for _ in 0..2 {
            scope.spawn(|| load("SELECT pgq_push('q', '1')", &pushed));
            scope.spawn(|| load("SELECT pgq_delete(id, delivery) FROM pgq_reserve('q')", &done));
        }
        for _ in 0..3 {
            let works = |count: &AtomicI64| {
                let before = count.load(Ordering::Relaxed);
                until("the load goes on", || count.load(Ordering::Relaxed) > before + 20);
            };
            works(&pushed);
            works(&done);
            session.batch_execute(&format!("ALTER EXTENSION pgqueue UPDATE TO '{FUTURE}'")).unwrap();
            assert_eq!(session.sqlstate("SELECT pgq_push('q', '1')"), "55000");
            works(&refused);
            until("the worker has left", || {
                session
                    .one::<i64>("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pgqueue worker'")
                    == 0
            });
            session.batch_execute(&format!("ALTER EXTENSION pgqueue UPDATE TO '{ours}'")).unwrap();
        }
    });
    let left: i64 = session.one("SELECT count(*) FROM pgq_pop('q', 1000000)");
    assert_eq!(done.into_inner() + left, pushed.into_inner());
    until("the worker is back", || {
        session.one::<i64>("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pgqueue worker'") == 1
    });
}
