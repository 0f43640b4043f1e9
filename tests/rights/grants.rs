//! Grants: many on one queue, and changes of memberships between two calls.

use postgres::Client;
use support::{Ask, Server};

const PUSH: &str = "SELECT pgq_push('q', '1')";

/// A server without a worker, a queue `q` and roles.
fn server() -> Server {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.auto_vacuum = off");
    let roles = "CREATE EXTENSION pgqueue; SELECT pgq_create_queue('q');
                 CREATE ROLE ada; CREATE ROLE bob; CREATE ROLE team; CREATE ROLE league; GRANT league TO team";
    server.connect().batch_execute(roles).unwrap();
    server
}

/// Grants all rights on `q` to that many roles.
fn grant_to_many(session: &mut Client, roles: i32) {
    let grant = format!(
        "DO $$ BEGIN FOR n IN 1..{roles} LOOP EXECUTE 'CREATE ROLE r' || n; END LOOP; END $$;
         SELECT count(pgq_grant('q', 'r' || n, right_of_four))
           FROM generate_series(1, {roles}) n, unnest('{{push,consume,manage,monitor}}'::text[]) right_of_four;
         ANALYZE pgqueue.privilege"
    );
    session.batch_execute(&grant).unwrap();
}

/// How many grants a call reads.
fn grants_read(session: &mut Client, call: &str) -> i64 {
    const SO_FAR: &str = "SELECT sum(pg_stat_get_xact_tuples_returned(c.oid))::bigint
          FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid
         WHERE coalesce(i.indrelid, c.oid) = 'pgqueue.privilege'::regclass";
    session.batch_execute("BEGIN").unwrap();
    let before: i64 = session.one(SO_FAR);
    session.batch_execute(call).unwrap();
    let after: i64 = session.one(SO_FAR);
    session.batch_execute("COMMIT").unwrap();
    after - before
}

#[test]
fn a_check_reads_the_grants_of_the_caller_and_not_those_of_others() {
    const ROLES: i32 = 1_000;
    let server = server();
    let (mut root, mut session) = (server.connect(), server.connect());
    grant_to_many(&mut root, ROLES);
    root.batch_execute(
        "SELECT pgq_grant('q', 'ada', 'push'), pgq_grant('q', 'league', 'push'); GRANT team TO bob",
    )
    .unwrap();
    root.batch_execute("SELECT pgq_create_queue('ungranted')").unwrap();
    for role in ["ada", "bob"] {
        let call = format!("SET LOCAL ROLE {role}; {PUSH}; RESET ROLE");
        for _ in 0..8 {
            root.batch_execute("SELECT pgq_pause('q'), pgq_resume('q')").unwrap(); // it has to be read again
            let read = grants_read(&mut session, &call);
            assert!((1..=4).contains(&read), "{role}: {read}");
        }
        assert_eq!(grants_read(&mut session, &call), 0, "{role}");
    }
    let grant = grants_read(&mut root, "SELECT pgq_grant('q', 'bob', 'push')");
    assert!(grant <= 8, "{grant}");
    assert_eq!(grants_read(&mut root, "SELECT pgq_push('ungranted', '1')"), 0);
    let all = 4 * i64::from(ROLES);
    let list = grants_read(&mut root, "SELECT pgq_list_grants('q')");
    assert!((all..3 * all).contains(&list), "{list}");
    let list = "SET LOCAL ROLE ada; SELECT pgq_list_grants('q'); RESET ROLE";
    assert!((all..3 * all).contains(&grants_read(&mut root, list)));
}

#[test]
fn a_membership_counts_from_the_call_after_its_change() {
    let server = server();
    let (mut root, mut ada) = (server.connect(), server.connect());
    root.batch_execute("SELECT pgq_grant('q', 'league', 'push')").unwrap();
    ada.batch_execute("SET ROLE ada").unwrap();
    assert_eq!(ada.sqlstate(PUSH), "42501");
    let without = [
        "REVOKE team FROM ada",
        "REVOKE league FROM team",
        "ALTER ROLE ada NOINHERIT; REVOKE team FROM ada; GRANT team TO ada",
        "SELECT pgq_revoke('q', 'league', 'push')",
    ];
    let with = [
        "GRANT team TO ada",
        "GRANT league TO team",
        "ALTER ROLE ada INHERIT; REVOKE team FROM ada; GRANT team TO ada",
        "SELECT pgq_grant('q', 'league', 'push')",
    ];
    root.batch_execute("GRANT team TO ada").unwrap();
    for (take, give) in without.into_iter().zip(with) {
        ada.batch_execute(PUSH).unwrap();
        root.batch_execute(take).unwrap();
        assert_eq!(ada.sqlstate(PUSH), "42501", "{take}");
        root.batch_execute(give).unwrap();
        ada.batch_execute(PUSH).unwrap_or_else(|error| panic!("{give}: {error}"));
    }
}

#[test]
fn a_membership_that_is_rolled_back_gives_nothing() {
    let server = server();
    let mut session = server.connect();
    session.batch_execute("SELECT pgq_grant('q', 'league', 'push')").unwrap();
    session
        .batch_execute(&format!("BEGIN; SAVEPOINT s; GRANT team TO ada; SET LOCAL ROLE ada; {PUSH}"))
        .unwrap();
    session.batch_execute("ROLLBACK TO s; SET LOCAL ROLE ada").unwrap();
    assert_eq!(session.sqlstate(PUSH), "42501");
    session.batch_execute("ROLLBACK; BEGIN; SET LOCAL ROLE ada").unwrap();
    assert_eq!(session.sqlstate(PUSH), "42501");
}

#[test]
fn a_grant_to_the_owner_of_the_database_follows_the_database() {
    let server = server();
    let (mut root, mut ada) = (server.connect(), server.connect());
    root.batch_execute("SELECT pgq_grant('q', 'pg_database_owner', 'push')").unwrap();
    ada.batch_execute("SET ROLE ada").unwrap();
    assert_eq!(ada.sqlstate(PUSH), "42501");
    root.batch_execute("ALTER DATABASE postgres OWNER TO ada").unwrap();
    ada.batch_execute(PUSH).unwrap();
    root.batch_execute("ALTER DATABASE postgres OWNER TO bob").unwrap();
    assert_eq!(ada.sqlstate(PUSH), "42501");
}
