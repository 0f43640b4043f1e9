//! The names of roles in the tables, which a dump carries, follow the roles.

use postgres::Client;
use support::{Ask, Server, until};

/// Rows whose role has another name, or is gone.
const WRONG: &str = "SELECT count(*) = 0 FROM (
    SELECT owner_id, owner FROM pgqueue.queue UNION ALL
    SELECT owner_id, owner FROM pgqueue.topic UNION ALL
    SELECT owner_id, owner FROM pgqueue.schedule UNION ALL
    SELECT role_id, role FROM pgqueue.privilege) rows (id, name)
      LEFT JOIN pg_roles r ON r.oid = rows.id
     WHERE rows.id <> 0 AND r.rolname IS DISTINCT FROM rows.name";

fn start() -> (Server, Client) {
    let server = Server::bare(
        "shared_preload_libraries = 'pgqueue'\npgqueue.vacuum_interval = '100ms'\nmax_prepared_transactions = 5",
    );
    let mut root = server.connect();
    root.batch_execute(
        "CREATE EXTENSION pgqueue; CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE mallory LOGIN;
         GRANT bob TO alice",
    )
    .unwrap();
    (server, root)
}

#[test]
fn a_role_with_very_many_queues_grants_and_schedules_keeps_no_other_from_being_followed() {
    let (server, mut root) = start();
    server
        .connect_as("mallory")
        .batch_execute(
            "SET pgqueue.default_grants = '{\"bob\": [\"push\"]}';
             SELECT pgq_create_queue('m' || g) FROM generate_series(1, 15000) g;
             SELECT pgq_schedule('m' || g, 'm1', '1 day', '1') FROM generate_series(1, 15000) g",
        )
        .unwrap();
    server.connect_as("alice").batch_execute("SELECT pgq_create_queue('private')").unwrap();
    let all = root.one::<i64>("SELECT count(*) FROM pgqueue.privilege");
    assert_eq!(all, 15000, "bob may push to each of mallory's queues");
    root.batch_execute(
        "DROP ROLE mallory; ALTER ROLE bob RENAME TO robert; DROP ROLE alice; CREATE ROLE alice",
    )
    .unwrap();
    until("all are followed", || root.one(WRONG));
    assert_eq!(
        root.one::<i64>("SELECT count(*) FROM pgqueue.queue WHERE owner IS NULL AND owner_id IS NULL"),
        15001
    );
    assert_eq!(root.one::<i64>("SELECT count(*) FROM pgqueue.privilege WHERE role = 'robert'"), 15000);
    assert_eq!(root.one::<String>("SELECT errors::text FROM pgq_vacuum_stats"), "{}");
}

#[test]
fn all_grants_on_one_queue_are_followed() {
    let (server, mut root) = start();
    root.batch_execute("DO $$ BEGIN FOR i IN 1 .. 3000 LOOP EXECUTE 'CREATE ROLE r' || i; END LOOP; END $$")
        .unwrap();
    let grant = "SELECT pgq_create_queue('q');
                 SELECT count(pgq_grant('q', 'r' || g, 'push')) FROM generate_series(1, 3000) g";
    server.connect_as("alice").batch_execute(grant).unwrap();
    root.batch_execute(
        "DO $$ BEGIN FOR i IN 1 .. 3000 LOOP EXECUTE CASE WHEN i % 2 = 0 THEN 'DROP ROLE r' || i
            ELSE format('ALTER ROLE r%s RENAME TO s%s', i, i) END; END LOOP; END $$",
    )
    .unwrap();
    until("the grants are followed", || root.one(WRONG));
    assert_eq!(root.one::<i64>("SELECT count(*) FROM pgqueue.privilege WHERE role LIKE 's%'"), 1500);
    assert_eq!(root.one::<i64>("SELECT count(*) FROM pgqueue.privilege"), 1500);
}

/// Writes bob's name while he gets another one; `end` ends the transaction later.
fn assert_is_followed_after(prepare: &str, end: impl FnOnce(&mut Client)) {
    let (server, mut root) = start();
    let mut alice = server.connect_as("alice");
    alice.batch_execute("SELECT pgq_create_queue('q'), pgq_create_queue('given')").unwrap();
    server.connect_as("bob").batch_execute("SELECT pgq_create_queue('his')").unwrap();
    let write = "BEGIN; SELECT pgq_grant('q', 'bob', 'consume'), pgq_set_owner('given', 'bob'),
                        pgq_schedule('s', 'q', '1 day', '1')";
    alice.batch_execute(&format!("{write}; {prepare}")).unwrap();
    root.batch_execute("ALTER ROLE bob RENAME TO robert; CREATE ROLE bob").unwrap();
    until("the worker has followed", || {
        root.one("SELECT owner = 'robert' FROM pgqueue.queue WHERE name = 'his'")
    });
    end(&mut alice);
    until("what was committed later follows too", || {
        root.one::<bool>("SELECT count(*) = 1 FROM pgqueue.privilege WHERE queue = 1") && root.one(WRONG)
    });
    assert_eq!(root.one::<String>("SELECT role::text FROM pgqueue.privilege WHERE queue = 1"), "robert");
    assert_eq!(root.one::<String>("SELECT owner::text FROM pgqueue.queue WHERE name = 'given'"), "robert");
}

#[test]
fn names_that_an_open_transaction_has_written_are_followed_when_it_ends() {
    assert_is_followed_after("", |alice| alice.batch_execute("COMMIT").unwrap());
}

#[test]
fn names_that_a_prepared_transaction_has_written_are_followed_when_it_ends() {
    let end = |alice: &mut Client| alice.batch_execute("COMMIT PREPARED 'x'").unwrap();
    assert_is_followed_after("PREPARE TRANSACTION 'x'", end);
}

#[test]
fn a_round_by_hand_that_is_rolled_back_or_sees_former_roles_is_done_again() {
    let server = Server::bare("pgqueue.auto_vacuum = off");
    let mut root = server.connect();
    root.batch_execute("CREATE EXTENSION pgqueue; CREATE ROLE bob LOGIN").unwrap();
    server.connect_as("bob").batch_execute("SELECT pgq_create_queue('q')").unwrap();
    root.batch_execute("SELECT FROM pgq_vacuum(); ALTER ROLE bob RENAME TO robert").unwrap();
    root.batch_execute("BEGIN; SELECT FROM pgq_vacuum(); ROLLBACK").unwrap();
    root.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pgq_vacuum(); COMMIT").unwrap();
    assert_eq!(root.one::<String>("SELECT owner::text FROM pgqueue.queue"), "bob");
    root.batch_execute("SELECT FROM pgq_vacuum()").unwrap();
    assert_eq!(root.one::<String>("SELECT owner::text FROM pgqueue.queue"), "robert");
}
