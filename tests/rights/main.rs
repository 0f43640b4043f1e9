//! Rights: what each function asks for, who has it, and what becomes of it when roles are
//! renamed, dropped or restored.

mod attacks;
mod calls;
mod grants;
mod role_names;
mod tenants;
mod waits;

use calls::{CALLS, Need};
use postgres::{Client, SimpleQueryMessage};
use support::{Ask, Server};

const ALL: &[Need] = &[
    Need::Own,
    Need::Push,
    Need::Consume,
    Need::Manage,
    Need::Monitor,
    Need::Publish,
    Need::Subscribe,
    Need::SeeTopic,
];

/// Everybody the table of calls is tried with, and the rights they have on `q` and `other`, and on `t`.
const ROLES: [(&str, &[Need]); 11] = [
    ("root", ALL),
    ("owner", ALL),
    ("partner", ALL),
    ("pusher", &[Need::Push, Need::Monitor]),
    ("consumer", &[Need::Consume, Need::Monitor]),
    ("manager", &[Need::Manage, Need::Monitor]),
    ("watcher", &[Need::Monitor]),
    ("onlooker", &[Need::Monitor, Need::SeeTopic]), // member of pg_monitor
    ("publisher", &[Need::Publish, Need::SeeTopic]),
    ("subscriber", &[Need::Subscribe, Need::SeeTopic]),
    ("stranger", &[]),
];

fn server_with_roles() -> Server {
    let server = Server::start();
    let mut root = server.connect();
    root.batch_execute(
        "CREATE ROLE root SUPERUSER; CREATE ROLE owner; CREATE ROLE partner IN ROLE owner;
         CREATE ROLE consumers; CREATE ROLE consumer IN ROLE consumers;
         CREATE ROLE pusher; CREATE ROLE manager; CREATE ROLE watcher; CREATE ROLE stranger;
         CREATE ROLE publisher; CREATE ROLE subscriber;
         CREATE ROLE onlooker IN ROLE pg_monitor;
         GRANT CREATE, USAGE ON SCHEMA public TO PUBLIC;
         SET ROLE owner;
         SELECT pgq_create_queue(q, '{\"archive\": \"1 day\"}') FROM unnest('{q,other}'::text[]) AS q;
         SELECT pgq_grant(q, 'pusher', 'push'), pgq_grant(q, 'consumers', 'consume'),
                pgq_grant(q, 'manager', 'manage'), pgq_grant(q, 'watcher', 'monitor')
           FROM unnest('{q,other}'::text[]) AS q;
         SELECT pgq_push('q', '\"dead\"');
         SELECT pgq_bury(id, 'x') FROM pgq_reserve('q', '1 h');
         SELECT pgq_push('q', '\"leased\"');
         SELECT FROM pgq_reserve('q', '1 h');
         SELECT pgq_push('q', '\"waiting\"');
         SELECT pgq_schedule('s', 'q', '1 day', '1');
         SELECT pgq_watch('w', 'q', 'SELECT 1, 1', '1 day');
         SELECT pgq_create_topic('t'), pgq_subscribe('t', 'q');
         SELECT pgq_grant_topic('t', 'publisher', 'publish'), pgq_grant_topic('t', 'subscriber', 'subscribe');
         RESET ROLE;",
    )
    .unwrap();
    server
}

/// What the calls of the table stand for: ids of what `server_with_roles` has pushed.
fn with_ids(session: &mut Client, sql: &str) -> String {
    let mut id = |name: &str| -> i64 {
        session.one(&format!(
            "SELECT id FROM (SELECT id, payload FROM pgqueue.message UNION ALL SELECT id, payload FROM pgqueue.dead) m
              WHERE payload = '\"{name}\"'"
        ))
    };
    let (waiting, leased, dead) = (id("waiting"), id("leased"), id("dead"));
    sql.replace(":waiting", &waiting.to_string())
        .replace(":leased", &leased.to_string())
        .replace(":dead", &dead.to_string())
}

/// Runs a call as a role, in a transaction that is undone; true if it did what it is for.
fn works(session: &mut Client, role: &str, sql: &str) -> bool {
    session.batch_execute(&format!("BEGIN; SET LOCAL ROLE {role}")).unwrap();
    let outcome = session.simple_query(sql);
    session.batch_execute("ROLLBACK").unwrap();
    match outcome {
        Ok(messages) => messages.iter().all(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0) == Some("t"),
            _ => true,
        }),
        Err(error) => {
            assert_eq!(error.code().map(|code| code.code()), Some("42501"), "{role}: {sql}: {error:?}");
            false
        }
    }
}

#[test]
fn every_function_asks_for_its_right_and_no_other() {
    let server = server_with_roles();
    let mut session = server.connect();
    for call in CALLS {
        let sql = with_ids(&mut session, call.sql);
        for (role, rights) in ROLES {
            let expected = call.needs.iter().all(|need| *need == Need::Nothing || rights.contains(need));
            assert_eq!(works(&mut session, role, &sql), expected, "{role}: {sql}");
        }
    }
}

#[test]
fn the_table_of_calls_names_every_function_that_everybody_may_execute() {
    let server = Server::start();
    let public: Vec<String> = server.connect().all(
        "SELECT p.oid::regprocedure::text FROM pg_proc p
           JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
           JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pgqueue'
          WHERE has_function_privilege('public', p.oid, 'EXECUTE') ORDER BY 1",
    );
    let mut named: Vec<&str> = CALLS.iter().map(|call| call.function).collect();
    named.sort();
    named.dedup();
    let mut public: Vec<&str> = public.iter().map(String::as_str).collect();
    public.sort();
    assert_eq!(named, public);
}

/// The others are called by triggers and statements of the extension, and by superusers.
#[test]
fn functions_without_public_execute_are_a_deliberate_list() {
    let server = Server::start();
    let closed: Vec<String> = server.connect().all(
        "SELECT p.proname::text FROM pg_proc p
           JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
           JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pgqueue'
          WHERE NOT has_function_privilege('public', p.oid, 'EXECUTE') ORDER BY 1",
    );
    assert_eq!(
        closed,
        [
            "announce_message",
            "announce_removal",
            "begin_anew",
            "close_to",
            "count_letter",
            "forget_queues",
            "pending_counts",
            "pgq_vacuum",
            "pin_role",
            "refuse_others",
            "refuse_truncate",
        ]
    );
}

#[test]
fn tables_sequences_and_views_are_closed_to_all() {
    let server = server_with_roles();
    let mut session = server.connect();
    let relations: Vec<String> = session.all(
        "SELECT c.oid::regclass::text FROM pg_class c WHERE relnamespace = 'pgqueue'::regnamespace AND relkind IN ('r', 'v', 'S')",
    );
    assert!(relations.len() > 10, "{relations:?}");
    for (role, _) in &ROLES[1..] {
        for relation in &relations {
            assert!(
                !works(&mut session, role, &format!("SELECT true FROM {relation} LIMIT 1")),
                "{role} {relation}"
            );
        }
        let may_watch = works(&mut session, role, "SELECT true FROM pgq_vacuum_stats");
        assert_eq!(may_watch, *role == "onlooker", "{role}");
        assert!(!works(&mut session, role, "SELECT true FROM pgq_vacuum()"), "{role}");
    }
}

#[test]
fn a_right_that_is_taken_back_is_gone_at_the_next_call_of_another_session() {
    let server = server_with_roles();
    let (mut root, mut pusher) = (server.connect(), server.connect());
    pusher.batch_execute("SET ROLE pusher; SELECT pgq_push('q', '1')").unwrap();
    assert!(root.one::<bool>("SELECT pgq_revoke('q', 'pusher', 'push')"));
    assert!(!root.one::<bool>("SELECT pgq_revoke('q', 'pusher', 'push')"), "it is gone");
    assert_eq!(pusher.sqlstate("SELECT pgq_push('q', '1')"), "42501");
    assert!(root.one::<bool>("SELECT pgq_grant('q', 'public', 'push')"), "to everybody");
    assert!(!root.one::<bool>("SELECT pgq_grant('q', 'public', 'push')"), "it is there");
    pusher.batch_execute("SELECT pgq_push('q', '1')").unwrap();
    assert_eq!(
        root.all::<String>("SELECT role || ' ' || privilege FROM pgq_list_grants('q')"),
        ["consumers consume", "manager manage", "public push", "watcher monitor"]
    );
}

#[test]
fn a_membership_without_its_rights_gives_nothing_away() {
    let server = server_with_roles();
    let mut root = server.connect();
    let powerless = if root.one("SELECT current_setting('server_version_num')::int >= 160000") {
        "GRANT owner TO stranger WITH INHERIT FALSE, SET FALSE"
    } else {
        "ALTER ROLE stranger NOINHERIT; GRANT owner TO stranger"
    };
    root.batch_execute(powerless).unwrap();
    root.batch_execute("SET ROLE stranger").unwrap();
    assert_eq!(root.sqlstate("SELECT pgq_reassign_owned('owner', 'stranger')"), "42501");
    assert_eq!(root.sqlstate("SELECT pgq_set_owner('q', 'stranger')"), "42501");
}

#[test]
fn rights_survive_the_renaming_of_roles_and_are_not_inherited_by_a_name() {
    let server = server_with_roles();
    let mut root = server.connect();
    root.batch_execute("ALTER ROLE owner RENAME TO patron; ALTER ROLE pusher RENAME TO feeder").unwrap();
    assert!(works(&mut root, "patron", "SELECT pgq_pause('q')"));
    assert!(works(&mut root, "feeder", "SELECT pgq_push('q', '1') IS NOT NULL"));
    // Others take the names before anybody has noticed.
    root.batch_execute("CREATE ROLE owner; CREATE ROLE pusher").unwrap();
    assert!(!works(&mut root, "owner", "SELECT pgq_pause('q')"));
    assert!(!works(&mut root, "pusher", "SELECT pgq_push('q', '1') IS NOT NULL"));
    assert!(root.one::<bool>("SELECT pgq_grant('q', 'pusher', 'push')"), "it is another role");
    assert_eq!(
        root.all::<String>(
            "SELECT DISTINCT owner FROM pgq_list_queues() UNION ALL SELECT owner FROM pgq_list_schedules()"
        ),
        ["patron", "patron"]
    );
    // What a dump carries follows, by the worker or by hand.
    root.batch_execute("SELECT FROM pgq_vacuum()").unwrap();
    assert_eq!(root.all::<String>("SELECT DISTINCT owner::text FROM pgqueue.queue"), ["patron"]);
    assert_eq!(
        root.all::<String>(
            "SELECT role::text FROM pgqueue.privilege WHERE queue = 1 AND privilege = 'push' ORDER BY 1"
        ),
        ["feeder", "pusher"]
    );
}

#[test]
fn queues_of_a_dropped_role_have_no_owner_and_can_be_given_away() {
    let server = server_with_roles();
    let mut root = server.connect();
    root.batch_execute(
        "REVOKE owner FROM partner;
         REASSIGN OWNED BY owner TO stranger; DROP OWNED BY owner, pusher; DROP ROLE owner, pusher;
         CREATE ROLE owner; CREATE ROLE pusher",
    )
    .unwrap();
    // Nor does a later change of the queue look the names up again.
    root.batch_execute("SELECT pgq_pause('q'), pgq_resume('q')").unwrap();
    for role in ["owner", "partner", "stranger"] {
        assert!(!works(&mut root, role, "SELECT pgq_pause('q')"), "{role}");
        assert!(!works(&mut root, role, "SELECT pgq_set_owner('q', current_user)"), "{role}");
    }
    assert!(!works(&mut root, "pusher", "SELECT pgq_push('q', '1') IS NOT NULL"));
    // Those who were granted something go on; the queue works.
    assert!(works(&mut root, "consumer", "SELECT count(*) = 1 FROM pgq_reserve('q')"));
    assert_eq!(root.one::<Option<String>>("SELECT owner FROM pgq_list_queues() WHERE queue = 'q'"), None);
    root.batch_execute("SELECT FROM pgq_vacuum()").unwrap();
    assert_eq!(root.one::<i64>("SELECT count(*) FROM pgqueue.privilege WHERE privilege = 'push'"), 0);
    assert_eq!(
        root.one::<i64>("SELECT count(*) FROM pgqueue.queue WHERE owner IS NULL AND owner_id IS NULL"),
        2
    );
    // A schedule of a role that is gone says so.
    root.batch_execute(
        "UPDATE pgqueue.schedule SET next_run = now() WHERE name = 's'; SELECT FROM pgq_vacuum()",
    )
    .unwrap();
    let problem: String = root.one("SELECT last_error FROM pgq_list_schedules() WHERE name = 's'");
    assert!(problem.starts_with("42704"), "{problem}");
    assert!(root.one::<bool>("SELECT pgq_set_owner('q', 'owner')"));
    assert!(works(&mut root, "owner", "SELECT pgq_pause('q')"));
}

#[test]
fn queues_of_a_role_are_reassigned_before_it_is_dropped() {
    let server = server_with_roles();
    let mut root = server.connect();
    root.batch_execute("CREATE ROLE heir; CREATE ROLE broker IN ROLE owner, heir").unwrap();
    for role in ["heir", "owner", "stranger"] {
        assert!(!works(&mut root, role, "SELECT pgq_reassign_owned('owner', 'heir') > 0"), "{role}");
    }
    assert!(!works(&mut root, "owner", "SELECT pgq_set_owner('q', 'heir')"), "he is no member of it");
    assert!(works(&mut root, "broker", "SELECT pgq_set_owner('q', 'heir')"));
    root.batch_execute("SET ROLE broker").unwrap();
    assert_eq!(
        root.one::<i64>("SELECT pgq_reassign_owned('owner', 'heir')"),
        5,
        "two queues, a topic, a schedule, a watch"
    );
    root.batch_execute("RESET ROLE; DROP OWNED BY owner; DROP ROLE owner").unwrap();
    assert!(works(&mut root, "heir", "SELECT pgq_pause('q')"));
    assert!(works(&mut root, "heir", "SELECT pgq_unschedule('s') AND pgq_unwatch('w')"));
    assert!(works(&mut root, "pusher", "SELECT pgq_push('q', '1') IS NOT NULL"), "what was granted stays");
}

#[test]
fn a_dump_carries_rights_by_name_and_loads_where_roles_are_missing() {
    let server = server_with_roles();
    let dump = server.client("pg_dump", &["postgres"]);
    let other = Server::bare("shared_preload_libraries = 'pgqueue'");
    // The numbers of roles are others here, and belong to others.
    other
        .connect()
        .batch_execute(
            "CREATE ROLE a; CREATE ROLE b; CREATE ROLE c; CREATE ROLE d; CREATE ROLE e; CREATE ROLE f; CREATE ROLE g;
             CREATE ROLE consumers; CREATE ROLE owner; CREATE ROLE partner IN ROLE owner",
        )
        .unwrap();
    other.restore(&dump);
    let mut restored = other.connect();
    assert!(works(&mut restored, "partner", "SELECT pgq_pause('q')"));
    assert!(works(&mut restored, "consumers", "SELECT count(*) = 1 FROM pgq_reserve('q')"));
    for role in ["a", "b", "c", "d", "e", "f", "g"] {
        assert!(!works(&mut restored, role, "SELECT pgq_pause('q')"), "{role}");
        assert!(!works(&mut restored, role, "SELECT count(*) = 1 FROM pgq_reserve('q')"), "{role}");
        assert!(!works(&mut restored, role, "SELECT pgq_push('q', '1') IS NOT NULL"), "{role}");
    }
    assert_eq!(
        restored.all::<String>("SELECT DISTINCT role || ' ' || privilege FROM pgq_list_grants()"),
        ["consumers consume"]
    );
}

#[test]
fn new_queues_have_the_rights_their_maker_has_set() {
    let server = server_with_roles();
    let mut root = server.connect();
    root.batch_execute(
        "ALTER ROLE stranger LOGIN;
         ALTER ROLE stranger SET pgqueue.default_grants = '{\"consumers\": [\"consume\"], \"public\": [\"push\", \"monitor\"]}'",
    )
    .unwrap();
    let mut stranger = server.connect_as("stranger");
    stranger.batch_execute("SELECT pgq_push('new', '1')").unwrap();
    assert!(works(&mut root, "pusher", "SELECT pgq_push('new', '1') IS NOT NULL"), "by public");
    assert!(works(&mut root, "consumer", "SELECT count(*) = 1 FROM pgq_reserve('new')"));
    assert!(!works(&mut root, "manager", "SELECT pgq_pause('new')"));
    for (setting, message) in
        [("{", "EOF"), ("{\"nobody\": []}", "nobody"), ("{\"public\": [\"own\"]}", "own")]
    {
        stranger.batch_execute(&format!("SET pgqueue.default_grants = '{setting}'")).unwrap();
        let error = stranger.batch_execute("SELECT pgq_push('newer', '1')").unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), "22023");
        assert!(error.message().contains(message), "{}", error.message());
        assert_eq!(root.one::<i64>("SELECT count(*) FROM pgqueue.queue WHERE name = 'newer'"), 0);
    }
}

#[test]
fn a_role_that_has_got_the_former_name_of_another_is_given_its_queues() {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.auto_vacuum = off");
    let mut root = server.connect();
    root.batch_execute(
        "CREATE EXTENSION pgqueue; CREATE ROLE x1; GRANT CREATE ON SCHEMA public TO x1; SET ROLE x1",
    )
    .unwrap();
    root.batch_execute("SELECT pgq_create_queue('q'); SELECT pgq_schedule('s', 'q', '1 h', '1'); RESET ROLE")
        .unwrap();
    root.batch_execute("ALTER ROLE x1 RENAME TO x2; CREATE ROLE x1").unwrap();
    assert_eq!(root.one::<i64>("SELECT pgq_reassign_owned('x2', 'x1')"), 2);
    let its = "SELECT count(*) FROM (SELECT owner_id FROM pgqueue.queue UNION ALL SELECT owner_id FROM pgqueue.schedule) o
                WHERE owner_id = 'x1'::regrole";
    assert_eq!(root.one::<i64>(its), 2);
    root.batch_execute("SET ROLE x2").unwrap();
    assert_eq!(root.sqlstate("SELECT pgq_push('q', '1')"), "42501");
}
