//! Tenants: a role that may only connect, or owns one queue, neither stops others nor uses up
//! what is shared.

use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use postgres::Client;
use postgres::fallible_iterator::FallibleIterator;
use support::{Ask, Server, until};

/// A server with two tenants, `alice` and `mallory`, of whom neither has a right on what is the
/// other's.
fn shared() -> Server {
    shared_with("")
}

fn shared_with(settings: &str) -> Server {
    let server = Server::bare(&format!(
        "shared_preload_libraries = 'pgqueue'\npgqueue.vacuum_interval = '100ms'\n{settings}"
    ));
    server
        .connect()
        .batch_execute(
            "CREATE EXTENSION pgqueue; CREATE ROLE alice LOGIN; CREATE ROLE mallory LOGIN;
             GRANT CREATE ON SCHEMA public TO alice, mallory",
        )
        .unwrap();
    server
}

/// The longest time without a message in a queue, of the last so many seconds.
fn longest_gap(session: &mut Client, queue: &str, seconds: i32) -> f64 {
    session.one(&format!(
        "SELECT extract(epoch FROM max(gap))::float8 FROM (
             SELECT moment - lag(moment) OVER (ORDER BY moment) AS gap FROM (
                 SELECT enqueued_at FROM pgqueue.message m JOIN pgqueue.queue q ON q.id = m.queue
                  WHERE q.name = '{queue}' AND enqueued_at > clock_timestamp() - interval '{seconds} s'
                 UNION ALL SELECT clock_timestamp() - interval '{seconds} s'
                 UNION ALL SELECT clock_timestamp()) AS moments (moment)) gaps"
    ))
}

/// Lets a schedule of alice's tick each second for so long; it is never late by more than two
/// seconds.
fn assert_alice_ticks_for(root: &mut Client, seconds: i32) {
    sleep(Duration::from_secs(seconds as u64));
    let gap = longest_gap(root, "a ticks", seconds);
    assert!(gap < 3.0, "nothing for {gap} s");
}

const ALICE_TICKS: &str = "SELECT pgq_schedule('a tick', 'a ticks', '1 s', '1')";

/// A server on which a schedule of alice's ticks, and a superuser's session.
fn shared_while_alice_ticks(settings: &str) -> (Server, Client) {
    let server = shared_with(settings);
    let root = server.connect();
    server.connect_as("alice").batch_execute(ALICE_TICKS).unwrap();
    (server, root)
}

#[test]
fn schedules_that_a_lock_blocks_delay_none_of_another_role() {
    let (server, mut root) = shared_while_alice_ticks("");
    let mut holder = server.connect_as("mallory");
    holder.batch_execute("SELECT pgq_create_queue('m q', '{\"dedup_window\": \"1 h\"}')").unwrap();
    holder
        .batch_execute(
            "BEGIN; SELECT pgq_push('m q', '1', dedup_key => 'k' || g) FROM generate_series(0, 30) g",
        )
        .unwrap();
    server
        .connect_as("mallory")
        .batch_execute("SELECT pgq_schedule('m' || g, 'm q', '1 s', '1', dedup_key => 'k' || g) FROM generate_series(0, 30) g")
        .unwrap();
    let in_the_way = "SELECT count(*) = 31 FROM pgqueue.schedule WHERE last_error LIKE '55P03%'";
    until("all of mallory's have met the lock", || root.one(in_the_way));
    assert_alice_ticks_for(&mut root, 10);
    holder.batch_execute("ROLLBACK").unwrap();
    until("mallory's go on", || {
        root.one("SELECT count(*) = 0 FROM pgqueue.schedule WHERE last_error IS NOT NULL")
    });
}

#[test]
fn thousands_of_schedules_of_one_role_delay_none_of_another() {
    let (server, mut root) = shared_while_alice_ticks("");
    server
        .connect_as("mallory")
        .batch_execute("SELECT pgq_schedule('m' || g, 'm q', '1 s', '1') FROM generate_series(1, 20000) g")
        .unwrap();
    sleep(Duration::from_secs(3)); // all of them are due by now
    assert_alice_ticks_for(&mut root, 10);
}

/// No statistics tell of what mallory has made since the worker has planned its statements.
const WITHOUT_STATISTICS: &str = "autovacuum = off\nfsync = off\nmax_wal_size = '4GB'";

#[test]
fn very_many_queues_of_one_role_delay_no_schedule_of_another() {
    let (server, mut root) = shared_while_alice_ticks(WITHOUT_STATISTICS);
    sleep(Duration::from_secs(2)); // the worker has its plans
    let queues = "INSERT INTO pgqueue.queue (name, owner, settings)
                  SELECT 'm' || g, 'mallory', jsonb_build_object('events_to', repeat('t', 500))
                    FROM generate_series(1, 400000) g";
    root.batch_execute(queues).unwrap();
    assert_alice_ticks_for(&mut root, 10);
    drop(server);
}

#[test]
fn schedules_put_faster_than_statistics_are_gathered_delay_none_of_another_role() {
    let (server, mut root) = shared_while_alice_ticks(WITHOUT_STATISTICS);
    sleep(Duration::from_secs(2));
    let schedules =
        "INSERT INTO pgqueue.schedule (name, owner, queue, every, time_zone, payload, next_run, owner_id)
                     SELECT 'm' || g, 'mallory', 'm q', '1 h', 'UTC', '1', now(), 'mallory'::regrole
                       FROM generate_series(1, 400000) g";
    root.batch_execute(schedules).unwrap();
    assert_alice_ticks_for(&mut root, 15);
    drop(server);
}

/// A full queue of mallory's whose next push drops thousands of messages of one group: half a minute of work.
const FULL_QUEUE: &str = "SELECT pgq_push_batch('m q' || g, array_fill('1'::jsonb, ARRAY[12000]), group_key => 'g')
  FROM generate_series(1, 3) g;
SELECT pgq_alter_queue('m q' || g, '{\"max_length\": 1, \"on_full\": \"drop_oldest\"}') FROM generate_series(1, 3) g";

#[test]
fn schedules_whose_pushes_drop_very_many_messages_delay_neither_those_of_another_role_nor_a_notify() {
    let server = shared();
    let mut root = server.connect();
    let mut alice = server.connect_as("alice");
    alice.batch_execute(ALICE_TICKS).unwrap();
    alice.batch_execute("SELECT pgq_create_queue('a due', '{\"notify\": true}')").unwrap();
    alice.batch_execute("LISTEN \"pgq:a due\"").unwrap();
    let mut mallory = server.connect_as("mallory");
    mallory.batch_execute(FULL_QUEUE).unwrap();
    mallory
        .batch_execute("SELECT pgq_schedule('m' || g, 'm q' || g, '1 s', '1') FROM generate_series(1, 3) g")
        .unwrap();
    sleep(Duration::from_secs(1)); // all of them are due by now
    alice.batch_execute("SELECT pgq_push('a due', '1', delay => '1 s')").unwrap();
    let pushed = Instant::now();
    let told = alice.notifications().timeout_iter(Duration::from_secs(10)).next().unwrap();
    assert!(told.is_some(), "no NOTIFY for {:?}", pushed.elapsed());
    assert_alice_ticks_for(&mut root, 15);
    until("mallory hears why", || {
        root.one("SELECT count(*) = 3 FROM pgqueue.schedule WHERE last_error LIKE '57014%'")
    });
}

#[test]
fn a_round_by_hand_does_not_wait_for_a_locked_key() {
    let server = shared_with("pgqueue.auto_vacuum = off");
    let mut root = server.connect();
    let mut holder = server.connect_as("mallory");
    holder
        .batch_execute(
            "SELECT pgq_create_queue('m q', '{\"dedup_window\": \"1 h\"}');
             SELECT pgq_schedule('m', 'm q', '1 s', '1', dedup_key => 'k')",
        )
        .unwrap();
    holder.batch_execute("BEGIN; SELECT pgq_push('m q', '1', dedup_key => 'k')").unwrap();
    root.batch_execute("SELECT pgq_push('a due', '1', delay => '1 s')").unwrap();
    sleep(Duration::from_secs(2));
    root.batch_execute("SET statement_timeout = '10 s'; SELECT pgq_vacuum()").unwrap();
    assert_eq!(root.one::<i64>("SELECT count(*) FROM pgq_reserve('a due')"), 1);
    let problem: String = root.one("SELECT last_error FROM pgqueue.schedule WHERE name = 'm'");
    assert!(problem.starts_with("55P03"), "{problem}");
}

#[test]
fn the_session_of_a_watch_is_its_owners() {
    let server = shared();
    let mut root = server.connect();
    root.batch_execute("CREATE ROLE silent; GRANT silent TO mallory").unwrap();
    server
        .connect_as("alice")
        .batch_execute(
            "CREATE TABLE secret (owner name, v text);
             INSERT INTO secret VALUES ('postgres', 'for postgres only'), ('mallory', 'for mallory');
             ALTER TABLE secret ENABLE ROW LEVEL SECURITY; GRANT SELECT ON secret TO public;
             CREATE POLICY own ON secret USING (owner = session_user)",
        )
        .unwrap();
    let ask =
        "'SELECT 1, concat_ws('' '', session_user, current_user, current_setting(''is_superuser''))', '1 s'";
    server
        .connect_as("mallory")
        .batch_execute(&format!(
            "SELECT pgq_watch('secrets', 'm q', 'SELECT owner, v FROM secret', '1 s');
             SELECT pgq_watch('names', 'm names', {ask});
             SET ROLE silent; SELECT pgq_watch('silent names', 's names', {ask})"
        ))
        .unwrap();
    let found = |root: &mut Client, queue: &str| -> Vec<String> {
        until("the watch has run", || {
            root.one(&format!("SELECT count(*) > 0 FROM pgqueue.message JOIN pgqueue.queue q ON q.id = queue WHERE q.name = '{queue}'"))
        });
        root.all(&format!("SELECT payload ->> 'hash' FROM pgq_peek('{queue}', 100)"))
    };
    assert_eq!(found(&mut root, "m q"), ["for mallory"]);
    assert_eq!(found(&mut root, "m names"), ["mallory mallory off"]);
    // One that may not log in has a session all the same, and it is not a superuser's.
    assert_eq!(found(&mut root, "s names"), ["silent silent off"]);
}

#[test]
fn a_watch_that_gives_too_much_fails_and_takes_no_memory_of_the_worker() {
    let server = shared();
    let mut root = server.connect();
    server
        .connect_as("mallory")
        .batch_execute(
            "SELECT pgq_watch('rows', 'm q', 'SELECT g, g FROM generate_series(1, 3000000) g', '1 s');
             SELECT pgq_watch('bytes', 'm q', 'SELECT g, repeat(g::text, 1000000) FROM generate_series(1, 1000) g', '1 s')",
        )
        .unwrap();
    for watch in ["rows", "bytes"] {
        until("the watch has failed", || {
            root.one(&format!(
                "SELECT coalesce(last_error LIKE '54000%', false) FROM pgqueue.schedule WHERE name = '{watch}'"
            ))
        });
    }
    // The worker is still the one from before: a second one that finds its place taken leaves soon.
    let workers = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pgqueue worker'
                      AND backend_start < (SELECT min(last_run) FROM pgqueue.schedule)";
    until("one worker is there", || root.all::<i32>(workers).len() == 1);
    let worker: i32 = root.one(workers);
    let peak = std::fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
    let peak = peak.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().to_owned();
    let peak: u64 = peak.split(' ').next().unwrap().parse().unwrap();
    assert!(peak < 150_000, "{peak} kB");
    assert_eq!(
        server
            .connect_as("mallory")
            .sqlstate("SELECT pgq_watch('w', 'm q', 'SELECT 1, 1', '1 s', page_size => 2147483647)"),
        "22023"
    );
}

#[test]
fn the_time_limit_of_a_watch_is_one_for_all_that_it_does() {
    let server = shared_with("pgqueue.watch_timeout = '500ms'");
    let mut root = server.connect();
    // Its query takes no time, but what is remembered does.
    root.batch_execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.1); RETURN NEW; END';
         CREATE TRIGGER slow BEFORE INSERT ON pgqueue.watch_seen FOR EACH ROW EXECUTE FUNCTION slow()",
    )
    .unwrap();
    server
        .connect_as("mallory")
        .batch_execute("SELECT pgq_watch('w', 'm q', 'SELECT g, g FROM generate_series(1, 60) g', '1 s')")
        .unwrap();
    until("the watch has run", || root.one("SELECT last_run IS NOT NULL FROM pgqueue.schedule"));
    let problem: Option<String> = root.one("SELECT last_error FROM pgqueue.schedule");
    assert!(problem.as_ref().is_some_and(|problem| problem.starts_with("57014")), "{problem:?}");
}

#[test]
fn a_slow_watch_delays_neither_schedules_nor_watches_of_others_and_rests_afterwards() {
    let server = shared();
    let mut root = server.connect();
    server
        .connect_as("mallory")
        .batch_execute("SELECT pgq_watch('slow', 'm q', 'SELECT 1, pg_sleep(6)::text', '1 s')")
        .unwrap();
    let asleep = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    until("the slow watch runs", || root.one(asleep));
    server
        .connect_as("alice")
        .batch_execute(&format!(
            "{ALICE_TICKS}; SELECT pgq_watch('a watch', 'a changes', 'SELECT 1, clock_timestamp()', '1 s')"
        ))
        .unwrap();
    assert_alice_ticks_for(&mut root, 8);
    let gap = longest_gap(&mut root, "a changes", 6);
    assert!(gap < 4.0, "no change for {gap} s");
    until("the slow watch is over", || !root.one::<bool>(asleep));
    sleep(Duration::from_secs(10));
    assert!(!root.one::<bool>(asleep), "it rests for ten times as long as it took");
}

#[test]
fn a_watch_whose_process_is_killed_says_so_and_others_go_on() {
    let server = shared();
    let mut root = server.connect();
    server
        .connect_as("mallory")
        .batch_execute("SELECT pgq_watch('slow', 'm q', 'SELECT 1, pg_sleep(600)::text', '1 s')")
        .unwrap();
    server.connect_as("alice").batch_execute(ALICE_TICKS).unwrap();
    let end = "SELECT count(pg_terminate_backend(pid)) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND usename = 'mallory'";
    until("the watch runs, and its process is ended", || root.one(end));
    until("the watch says so", || {
        root.one("SELECT coalesce(last_error LIKE '57P01%', false) FROM pgqueue.schedule WHERE name = 'slow'")
    });
    assert_alice_ticks_for(&mut root, 5);
}

#[test]
fn a_watch_for_which_no_process_is_left_says_so_and_schedules_go_on() {
    // One for the launcher, one for Postgres's own, one for the worker.
    let server = shared_with("max_worker_processes = 3");
    let mut root = server.connect();
    server
        .connect_as("alice")
        .batch_execute(&format!("{ALICE_TICKS}; SELECT pgq_watch('w', 'a changes', 'SELECT 1, 1', '1 s')"))
        .unwrap();
    until("the watch says so", || {
        root.one("SELECT coalesce(last_error LIKE '53000%', false) FROM pgqueue.schedule WHERE name = 'w'")
    });
    assert_alice_ticks_for(&mut root, 5);
}

#[test]
fn looking_for_a_queue_by_making_it_again_uses_up_no_number() {
    let server = shared();
    let mut mallory = server.connect_as("mallory");
    mallory.batch_execute("SELECT pgq_create_queue('m q')").unwrap();
    mallory.batch_execute("SELECT pgq_create_queue('m q') FROM generate_series(1, 1000)").unwrap();
    let mut root = server.connect();
    assert_eq!(root.one::<i64>("SELECT last_value FROM pgqueue.queue_id"), 1);
    // Nor is one needed, should all be used up.
    root.batch_execute("SELECT setval('pgqueue.queue_id', 2147483647)").unwrap();
    assert!(!mallory.one::<bool>("SELECT pgq_create_queue('m q')"));
    assert_eq!(mallory.sqlstate("SELECT pgq_create_queue('another')"), "2200H");
}

#[test]
fn unwatching_a_watch_that_is_being_put_again_forgets_nothing() {
    let server = shared();
    let mut root = server.connect();
    let put = "SELECT pgq_watch('a watch', 'a q', 'SELECT g, g FROM generate_series(1, 5) g', '1 s')";
    let mut alice = server.connect_as("alice");
    alice.batch_execute(put).unwrap();
    let seen = "SELECT count(*) FROM pgqueue.watch_seen";
    until("the watch has run", || root.one::<i64>(seen) == 5);
    alice.batch_execute(&format!("BEGIN; {put}")).unwrap();
    assert_eq!(server.connect_as("mallory").sqlstate("SELECT pgq_unwatch('a watch')"), "42501");
    alice.batch_execute("COMMIT").unwrap();
    assert_eq!(root.one::<i64>(seen), 5);
    assert!(alice.one::<bool>("SELECT pgq_unwatch('a watch')"));
    assert_eq!(root.one::<i64>(seen), 0);
}

#[test]
fn every_text_has_a_longest_length() {
    let server = shared();
    let mut mallory = server.connect_as("mallory");
    for call in [
        "pgq_schedule('s', 'm q', repeat('1,', 600) || '1 * * * *', '1')",
        "pgq_schedule('s', 'm q', '1 h', '1', time_zone => repeat('x', 1025))",
        "pgq_watch('w', 'm q', 'SELECT 1, 1', repeat('1,', 600) || '1 * * * *')",
        "pgq_watch('w', 'm q', 'SELECT 1, 1', '1 h', time_zone => repeat('x', 1025))",
        "pgq_watch('w', 'm q', 'SELECT 1, ''' || repeat('x', 65536) || '''', '1 h')",
        "pgq_create_queue('m big', jsonb_build_object('lease', repeat('x', 66000)))",
        "pgq_alter_queue('m q', jsonb_build_object('lease', repeat('x', 66000)))",
    ] {
        assert_eq!(mallory.sqlstate(&format!("SELECT {call}")), "54000", "{call}");
    }
    let mut root = server.connect();
    assert_eq!(root.one::<i64>("SELECT count(*) FROM pgqueue.schedule"), 0);
    mallory.batch_execute("SELECT pgq_create_queue('m q')").unwrap();
    let error = mallory
        .batch_execute("SELECT pgq_schedule('s', 'm q', '1 h', '1', time_zone => repeat('x', 10000000))")
        .unwrap_err();
    assert!(error.as_db_error().unwrap().message().len() < 2000, "the text does not come back");
}

#[test]
fn queues_rights_and_schedules_are_not_deleted_by_hand() {
    let server = shared();
    let mut root = server.connect();
    root.batch_execute(
        "CREATE ROLE writer LOGIN IN ROLE pg_write_all_data; GRANT TRUNCATE ON ALL TABLES IN SCHEMA pgqueue TO writer;
         SELECT pgq_create_queue('q'); SELECT pgq_grant('q', 'alice', 'push'); SELECT pgq_schedule('s', 'q', '1 h', '1');
         SELECT pgq_create_topic('t'); SELECT pgq_subscribe('t', 'q')",
    )
    .unwrap();
    let mut writer = server.connect_as("writer");
    for table in ["queue", "privilege", "schedule", "topic", "subscription"] {
        for statement in [format!("DELETE FROM pgqueue.{table}"), format!("TRUNCATE pgqueue.{table} CASCADE")]
        {
            assert_eq!(writer.sqlstate(&statement), "42501", "{statement}");
        }
        assert_eq!(root.one::<i64>(&format!("SELECT count(*) FROM pgqueue.{table}")), 1);
    }
    // A role with the rights of the tables' owner may.
    root.batch_execute(
        "DELETE FROM pgqueue.schedule; TRUNCATE pgqueue.privilege, pgqueue.subscription; SELECT pgq_drop_queue('q')",
    )
    .unwrap();
}

#[test]
fn default_privileges_that_were_set_before_open_no_table_of_the_extension() {
    let server = Server::bare("");
    let mut root = server.connect();
    root.batch_execute(
        "CREATE ROLE mallory LOGIN;
         ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO public, mallory;
         ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO public, mallory;
         ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO public, mallory;
         ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO public, mallory;
         CREATE EXTENSION pgqueue; SELECT pgq_push('q', '1')",
    )
    .unwrap();
    let mut mallory = server.connect_as("mallory");
    assert_eq!(mallory.sqlstate("SELECT * FROM pgqueue.message"), "42501");
    let open: Vec<String> = root.all(
        "SELECT DISTINCT name FROM (
             SELECT oid::regclass::text, relacl, relowner FROM pg_class WHERE relnamespace = 'pgqueue'::regnamespace
             UNION ALL SELECT oid::regprocedure::text, proacl, proowner FROM pg_proc WHERE pronamespace = 'pgqueue'::regnamespace
             UNION ALL SELECT nspname, nspacl, nspowner FROM pg_namespace WHERE nspname = 'pgqueue'
         ) AS objects (name, acl, owner), aclexplode(acl) WHERE grantee <> owner",
    );
    assert!(open.is_empty(), "{open:?}");
    mallory.batch_execute("SELECT pgq_push('m q', '1')").unwrap(); // the functions are for all
}

#[test]
fn events_make_no_queue_for_a_role_that_may_make_none() {
    let server = shared_with("pgqueue.auto_create = off");
    let mut root = server.connect();
    root.batch_execute(
        "REVOKE EXECUTE ON FUNCTION pgq_create_queue FROM PUBLIC;
         SELECT pgq_create_queue('given'); SELECT pgq_set_owner('given', 'mallory')",
    )
    .unwrap();
    let mut mallory = server.connect_as("mallory");
    assert_eq!(mallory.sqlstate("SELECT pgq_alter_queue('given', '{\"events_to\": \"m events\"}')"), "42704");
    assert_eq!(mallory.sqlstate("SELECT pgq_push('m events', '1')"), "42704", "a push says the same");
    assert_eq!(root.all::<String>("SELECT name FROM pgqueue.queue"), ["given"]);
}

/// Leaves a session so much address space beyond what it has.
fn limit_memory(session: &mut Client, megabytes: u64) {
    let pid: i32 = session.one("SELECT pg_backend_pid()");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    let size: u64 = size.trim().trim_end_matches(" kB").parse().unwrap();
    let limit = (size << 10) + (megabytes << 20);
    let mut prlimit = support::as_user("prlimit");
    prlimit.args([format!("--pid={pid}"), format!("--as={limit}:")]);
    assert!(prlimit.status().unwrap().success());
}

/// Calls with 900,000 elements, of which 60,000 are there.
fn large_calls() -> [String; 9] {
    let ids = "(SELECT array_agg(g) FROM generate_series(1, 900000) g)";
    let texts = "(SELECT array_agg('key ' || g) FROM generate_series(1, 900000) g)";
    let values = "(SELECT array_agg('1'::jsonb) FROM generate_series(1, 900000))";
    [
        format!("pgq_delete_batch({ids})"),
        format!("pgq_extend_batch({ids}, '1 h')"),
        format!("pgq_release_batch({ids})"),
        format!("pgq_fail_batch({ids}, 'no')"),
        format!("pgq_bury_batch({ids}, 'no')"),
        format!("pgq_cancel_batch({ids})"),
        format!("pgq_move_batch({ids}, 'other')"),
        format!("pgq_push_batch('m q', {values})"),
        format!("pgq_push_batch('m q', {values}, dedup_keys => {texts})"),
    ]
}

#[test]
fn a_call_with_more_than_there_is_memory_for_fails_and_ends_no_other_session() {
    let server = shared_with("pgqueue.auto_vacuum = off\nfsync = off");
    let mut root = server.connect();
    server
        .connect_as("mallory")
        .batch_execute(
            "SELECT pgq_create_queue('other');
             SELECT count(pgq_push('m q', '1', group_key => 'group ' || g)) FROM generate_series(1, 60000) g;
             SELECT count(*) FROM pgq_reserve('m q', max => 50000, lease => '1 h')",
        )
        .unwrap();
    let mut refused = 0;
    for call in &large_calls() {
        for megabytes in [16, 40, 64, 90, 130, 180, 260] {
            let mut session = server.connect_as("mallory");
            session.batch_execute("BEGIN; SET LOCAL statement_timeout = '3 s'").unwrap();
            limit_memory(&mut session, megabytes);
            if let Err(error) = session.batch_execute(&format!("SELECT count(*) FROM {call}")) {
                let code =
                    error.code().unwrap_or_else(|| panic!("{call} with {megabytes} MB: {error}")).code();
                assert!(["53200", "57014"].contains(&code), "{call} with {megabytes} MB: {error:?}");
                refused += u32::from(code == "53200");
            }
        }
    }
    assert!(refused > 0, "memory was short");
    assert_eq!(root.one::<i64>("SELECT count(*) FROM pgqueue.message"), 60_000);
}

/// Postgres stores a jsonb of a few kilobytes whose text is longer than a gigabyte, which it cannot make.
#[test]
fn a_message_that_no_session_could_read_is_refused() {
    let server = shared();
    let mut mallory = server.connect_as("mallory");
    mallory
        .batch_execute(
            "CREATE TEMP TABLE content AS
             SELECT ('[' || repeat('1e131071,', 8199) || '1]')::jsonb AS long, '1'::jsonb AS short,
                    ('{\"a\": [' || repeat('1e131071,', 2100) || '1]}')::jsonb AS long_headers;
             CREATE TEMP TABLE captured (n int PRIMARY KEY, value jsonb)",
        )
        .unwrap();
    let calls = [
        "pgq_push('m q', long)",
        "pgq_push_result('m q', long)",
        "pgq_push('m q', short, headers => long_headers)",
        "pgq_push_batch('m q', ARRAY[short, long])",
        "pgq_push_each('m q', jsonb_build_array(jsonb_build_object('payload', short), jsonb_build_object('payload', long)))",
        "pgq_push_bytes('m q', convert_to(repeat('x', 450000001), 'UTF8'))",
        "pgq_update(pgq_push('m q', '1', delay => '1 h'), long)",
        "pgq_schedule('late', 'm q', '1 h', long)",
    ];
    for call in calls {
        let refused = mallory.batch_execute(&format!("SELECT {call} FROM content")).unwrap_err();
        let refused = refused.as_db_error().unwrap();
        assert_eq!(refused.code().code(), "54000", "{call}: {refused:?}");
        let argument = refused.column().and_then(|argument| argument.rsplit('.').next()).unwrap();
        assert!(["payload", "headers", "body"].contains(&argument), "{call}: {refused:?}");
    }
    // A change of a table is pushed without the value.
    mallory
        .batch_execute(
            "CREATE TRIGGER capture AFTER INSERT ON captured FOR EACH ROW EXECUTE FUNCTION pgq_capture('m q', 'n');
             INSERT INTO captured SELECT 1, long FROM content",
        )
        .unwrap();
    assert!(
        mallory
            .one::<bool>("SELECT payload ? 'truncated' AND payload #>> '{new,n}' = '1' FROM pgq_pop('m q')")
    );
    // A long one that can be read is taken.
    mallory
        .batch_execute("SELECT pgq_push('m q', ('[' || repeat('1e131071,', 2100) || '1]')::jsonb)")
        .unwrap();
    mallory.batch_execute("SET client_min_messages = warning").unwrap();
    assert_eq!(mallory.one::<i64>("SELECT length(payload::text)::bigint FROM pgq_pop('m q')"), 275_255_403);
}

#[test]
fn an_array_has_a_longest_length() {
    let server = shared();
    let mut mallory = server.connect_as("mallory");
    for call in [
        "pgq_delete_batch((SELECT array_agg(g::bigint) FROM generate_series(1, 1000001) g))",
        "pgq_cancel_batch((SELECT array_agg(g::bigint) FROM generate_series(1, 1000001) g))",
        "pgq_push_batch('m q', (SELECT array_agg('1'::jsonb) FROM generate_series(1, 1000001) g))",
    ] {
        assert_eq!(mallory.sqlstate(&format!("SELECT count(*) FROM {call}")), "54000", "{call}");
    }
}

#[test]
fn an_open_transaction_that_makes_a_queue_for_events_does_not_hold_up_the_worker() {
    let server = shared();
    let (mut mallory, mut alice) = (server.connect_as("mallory"), server.connect_as("alice"));
    alice.batch_execute(r#"SELECT pgq_create_queue('alices', '{"on_expire": "dead"}')"#).unwrap();
    mallory
        .batch_execute(
            r#"SELECT pgq_create_queue('gone'); SELECT pgq_create_queue('q', '{"events_to": "gone", "on_expire": "dead"}');
               SELECT pgq_push('q', '1', ttl => '1 s') FROM generate_series(1, 500)"#,
        )
        .unwrap();
    mallory.batch_execute("SELECT pgq_drop_queue('gone')").unwrap();
    mallory.batch_execute("BEGIN; SELECT pgq_create_queue('gone')").unwrap();
    sleep(Duration::from_secs(2)); // its messages are to die
    alice.batch_execute("SELECT pgq_push('alices', '1', ttl => '1 ms')").unwrap();
    let begun = Instant::now();
    until("alice's message is a dead letter", || {
        alice.one("SELECT EXISTS (SELECT FROM pgq_peek_dead('alices'))")
    });
    assert!(begun.elapsed().as_secs() < 20, "it took {:?}", begun.elapsed());
    mallory.batch_execute("ROLLBACK").unwrap();
}

#[test]
fn a_locked_message_of_a_dropped_queue_stops_no_round() {
    let server = shared();
    let (mut alice, mut pusher) = (server.connect_as("alice"), server.connect_as("mallory"));
    let (mut dropper, mut holder) = (server.connect_as("mallory"), server.connect_as("mallory"));
    let bury = "SELECT pgq_bury(pgq_push('left', '1'), 'no')";
    pusher.batch_execute("SELECT pgq_create_queue('left')").unwrap();
    pusher.batch_execute(&format!("BEGIN; {bury}")).unwrap();
    pusher.batch_execute("SELECT pgq_push('left', '2')").unwrap();
    dropper.batch_execute("BEGIN; SELECT pgq_drop_queue('left')").unwrap();
    pusher.batch_execute("COMMIT").unwrap();
    holder.batch_execute("BEGIN; SELECT pgq_reserve('left'); SELECT pgq_dump_dead('left')").unwrap();
    dropper.batch_execute("COMMIT").unwrap();
    alice.batch_execute(r#"SELECT pgq_create_queue('a q', '{"max_deliveries": 1}')"#).unwrap();
    alice.batch_execute("SELECT pgq_push('a q', '1')").unwrap();
    alice.batch_execute("SELECT pgq_reserve('a q', '1 ms')").unwrap();
    until("alice's message is a dead letter", || {
        alice.one("SELECT EXISTS (SELECT FROM pgq_peek_dead('a q'))")
    });
    let errors: String = server.connect().one("SELECT errors::text FROM pgq_vacuum_stats");
    assert_eq!(errors, "{}");
    holder.batch_execute("ROLLBACK").unwrap();
    let mut root = server.connect();
    until("what was left is gone", || {
        root.one(
            "SELECT NOT EXISTS (SELECT FROM pgqueue.message) AND (SELECT count(*) = 1 FROM pgqueue.dead)",
        )
    });
}

#[test]
fn a_command_on_the_database_that_is_refused_sends_no_worker_away() {
    let (server, mut root) = shared_while_alice_ticks("");
    let database: String = root.one("SELECT current_database()::text");
    let worker = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pgqueue worker'";
    until("the worker is there", || root.one::<i64>(worker) == 1);
    let end = Instant::now() + Duration::from_secs(8);
    let attackers: Vec<_> = (0..8)
        .map(|_| {
            let (mut mallory, drop) = (server.connect_as("mallory"), format!("DROP DATABASE {database}"));
            std::thread::spawn(move || {
                while Instant::now() < end {
                    assert_eq!(mallory.sqlstate(&drop), "42501");
                }
            })
        })
        .collect();
    sleep(Duration::from_secs(8));
    let gap = longest_gap(&mut root, "a ticks", 7);
    attackers.into_iter().for_each(|attacker| attacker.join().unwrap());
    assert!(gap < 4.0, "nothing for {gap} s");
}

#[test]
fn many_messages_of_one_key_hold_up_no_round() {
    let server = shared();
    let mut root = server.connect();
    let mut mallory = server.connect_as("mallory");
    server.connect_as("alice").batch_execute(ALICE_TICKS).unwrap();
    mallory.batch_execute(r#"SELECT pgq_create_queue('m q', '{"max_deliveries": 0}')"#).unwrap();
    mallory
        .batch_execute(
            r#"DO $$ BEGIN FOR n IN 1..6000 LOOP
                   PERFORM pgq_push('m q', '1', dedup_key => 'k'), pgq_reserve('m q', '12 s');
                   COMMIT;
               END LOOP; END $$"#,
        )
        .unwrap();
    mallory.batch_execute("BEGIN; SELECT count(pgq_delete(g)) FROM generate_series(1, 12000) g").unwrap();
    sleep(Duration::from_secs(13)); // their leases end
    assert_alice_ticks_for(&mut root, 10);
}

#[test]
fn many_blocked_messages_behind_many_others_hold_up_no_round_while_a_snapshot_is_held() {
    let server = shared();
    let mut root = server.connect();
    let mut mallory = server.connect_as("mallory");
    let mut holder = server.connect_as("mallory");
    server.connect_as("alice").batch_execute(ALICE_TICKS).unwrap();
    mallory.batch_execute("SELECT pgq_push_batch('m q', array_fill('1'::jsonb, ARRAY[100000]))").unwrap();
    holder.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").unwrap();
    let group = "SELECT pgq_push_batch('m group', array_fill('1'::jsonb, ARRAY[60000]), group_key => 'g')";
    mallory.batch_execute(group).unwrap();
    mallory.batch_execute("SELECT pgq_purge('m group')").unwrap(); // the holder keeps their row versions
    mallory.batch_execute(group).unwrap();
    assert_alice_ticks_for(&mut root, 15);
}

#[test]
fn thousands_of_queues_of_one_role_hold_up_no_round() {
    let (server, mut root) = shared_while_alice_ticks("pgqueue.auto_vacuum = off");
    server
        .connect_as("mallory")
        .batch_execute(
            r#"DO $$ BEGIN FOR n IN 1..20000 LOOP
                   PERFORM pgq_create_queue('m ' || n, '{"archive": "1 h", "dedup_window": "1 h", "dead_retention": "1 h"}');
                   PERFORM pgq_push('m ' || n, '1', dedup_key => 'k'), pgq_pop('m ' || n);
                   IF n % 500 = 0 THEN COMMIT; END IF;
               END LOOP; END $$"#,
        )
        .unwrap();
    server.set("pgqueue.auto_vacuum = on");
    until("alice's schedule runs", || root.one("SELECT EXISTS (SELECT FROM pgqueue.message)"));
    assert_alice_ticks_for(&mut root, 15);
}

#[test]
fn a_death_whose_event_drops_very_many_messages_holds_up_no_round() {
    let (server, mut root) = shared_while_alice_ticks("");
    let mut mallory = server.connect_as("mallory");
    mallory.batch_execute(FULL_QUEUE).unwrap();
    mallory
        .batch_execute(
            r#"SELECT pgq_create_queue('m dies', '{"lease": "1 s", "max_deliveries": 1, "events_to": "m q1"}');
               SELECT pgq_push('m dies', '1') FROM generate_series(1, 20);
               SELECT count(*) FROM pgq_reserve('m dies', max => 20)"#,
        )
        .unwrap();
    assert_alice_ticks_for(&mut root, 15);
}

#[test]
fn a_hundred_thousand_schedules_of_one_role_delay_none_of_another() {
    let (server, mut root) = shared_while_alice_ticks("pgqueue.auto_vacuum = off");
    server
        .connect_as("mallory")
        .batch_execute("SELECT pgq_schedule('m' || g, 'm q', '1 s', '1') FROM generate_series(1, 100000) g")
        .unwrap();
    server.set("pgqueue.auto_vacuum = on");
    sleep(Duration::from_secs(3)); // all of them are due by now
    assert_alice_ticks_for(&mut root, 10);
}

#[test]
fn due_messages_that_one_role_has_locked_hold_up_no_errand() {
    let (server, mut root) = shared_while_alice_ticks("");
    let mut holder = server.connect_as("mallory");
    holder
        .batch_execute(
            "CREATE TEMP TABLE due AS
                 SELECT pgq_push_batch('m q', array_fill('1'::jsonb, ARRAY[600000]), delay => '20 s') AS id;
             BEGIN; SELECT count(*) FROM pgq_cancel_batch(ARRAY(SELECT id FROM due))",
        )
        .unwrap();
    sleep(Duration::from_secs(20));
    assert_alice_ticks_for(&mut root, 10);
}

/// Replaces a queue of mallory's by a new one, again and again, for so long.
fn replace_for(server: &Server, queue: &str, seconds: u64) {
    let mut mallory = server.connect_as("mallory");
    let again =
        format!("BEGIN; SELECT pgq_drop_queue('{queue}'); SELECT pgq_create_queue('{queue}'); COMMIT");
    let begun = Instant::now();
    while begun.elapsed().as_secs() < seconds {
        // Two sessions may be in each other's way.
        if mallory.batch_execute(&again).is_err() {
            mallory.batch_execute("ROLLBACK").unwrap();
        }
    }
}

#[test]
fn a_queue_that_is_replaced_again_and_again_stops_no_schedule_of_another_role() {
    let (server, mut root) = shared_while_alice_ticks("");
    server
        .connect_as("mallory")
        .batch_execute(
            "SELECT pgq_create_queue('m q');
             SELECT count(pgq_schedule('m' || g, 'm q', '1 s', to_jsonb(
                 (SELECT string_agg(md5(i::text || g), '') FROM generate_series(1, 30000) i))))
               FROM generate_series(1, 60) g",
        )
        .unwrap();
    thread::scope(|scope| {
        scope.spawn(|| replace_for(&server, "m q", 16));
        assert_alice_ticks_for(&mut root, 15);
    });
}

#[test]
fn a_queue_of_events_that_is_replaced_again_and_again_stops_no_death_of_another_role() {
    let server = shared();
    let (mut mallory, mut alice) = (server.connect_as("mallory"), server.connect_as("alice"));
    mallory
        .batch_execute(
            r#"SELECT pgq_create_queue('m ev');
               SELECT pgq_create_queue('m dies', '{"max_deliveries": 1, "events_to": "m ev"}');
               SELECT count(*) FROM pgq_push_batch('m dies', array_fill('1'::jsonb, ARRAY[3000]));
               SELECT count(*) FROM pgq_reserve('m dies', '1 s', 3000)"#,
        )
        .unwrap();
    let dies = r#"SELECT pgq_create_queue('a dies', '{"max_deliveries": 1}'); SELECT pgq_push('a dies', '1');
                  SELECT count(*) FROM pgq_reserve('a dies', '1 s')"#;
    alice.batch_execute(dies).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| replace_for(&server, "m ev", 25));
        scope.spawn(|| replace_for(&server, "m ev", 25));
        sleep(Duration::from_secs(20));
        assert!(alice.one::<bool>("SELECT EXISTS (SELECT FROM pgq_peek_dead('a dies'))"));
    });
}

#[test]
fn the_deaths_of_large_messages_hold_up_no_round() {
    let (server, mut root) = shared_while_alice_ticks("");
    server
        .connect_as("mallory")
        .batch_execute(
            r#"SELECT pgq_create_queue('m big', '{"max_deliveries": 1}');
               CREATE TEMP TABLE body AS
                   SELECT string_agg(sha512((i || 'x')::bytea), '') AS large FROM generate_series(1, 48000) i;
               SELECT count(pgq_push_bytes('m big', large)) FROM body, generate_series(1, 200);
               SELECT count(*) FROM pgq_reserve('m big', '1 s', 200)"#,
        )
        .unwrap();
    assert_alice_ticks_for(&mut root, 15);
    until("some of them are dead letters", || root.one("SELECT EXISTS (SELECT FROM pgqueue.dead)"));
}

#[test]
fn roles_with_very_many_slow_watches_leave_a_process_to_others() {
    let server = shared();
    let mut root = server.connect();
    root.batch_execute("CREATE ROLE staff; GRANT staff TO mallory; GRANT CREATE ON SCHEMA public TO staff")
        .unwrap();
    let mut mallory = server.connect_as("mallory");
    for role in ["mallory", "staff"] {
        mallory
            .batch_execute(&format!(
                "SET ROLE {role}; SELECT pgq_create_queue('{role} q');
                 SELECT count(pgq_watch('{role}' || g, '{role} q', 'SELECT 1, pg_sleep(15)::text', '1 s'))
                   FROM generate_series(1, 100) g"
            ))
            .unwrap();
    }
    sleep(Duration::from_secs(20)); // both have a process, and most of their watches are long due
    let mut alice = server.connect_as("alice");
    alice
        .batch_execute("SELECT pgq_create_queue('a q'); SELECT pgq_watch('a', 'a q', 'SELECT 1, 2', '1 s')")
        .unwrap();
    let runs = "SELECT last_run IS NOT NULL FROM pgqueue.schedule WHERE name = 'a'";
    let begun = Instant::now();
    while !root.one::<bool>(runs) && begun.elapsed().as_secs() < 40 {
        sleep(Duration::from_secs(1));
    }
    assert!(root.one::<bool>(runs), "the watch did not run for {:?}", begun.elapsed());
    root.batch_execute("UPDATE pgqueue.schedule SET last_run = NULL WHERE name = 'a'").unwrap();
    sleep(Duration::from_secs(10));
    assert!(root.one::<bool>(runs), "a process is left to those whose watches are quick");
}

#[test]
fn a_dropped_queue_is_forgotten_when_nothing_of_it_is_left() {
    let server = shared();
    let (mut root, mut older) = (server.connect(), server.connect());
    root.batch_execute("SELECT pgq_push('q', '1'), pgq_push('q', '1', dedup_key => 'k')").unwrap();
    older.batch_execute("BEGIN; SELECT pg_current_xact_id()").unwrap();
    root.batch_execute("SELECT pgq_drop_queue('q')").unwrap();
    let left = "SELECT count(*) FROM pgqueue.dropped_queue";
    sleep(Duration::from_secs(2));
    assert_eq!(root.one::<i64>(left), 1, "an older transaction may yet write rows of it");
    older.batch_execute("COMMIT").unwrap();
    until("it is forgotten", || root.one::<i64>(left) == 0);
    assert_eq!(root.one::<i64>("SELECT count(*) FROM pgqueue.counter"), 0);
}

#[test]
fn a_role_that_is_refused_a_schedule_locks_nothing_of_it() {
    let server = shared_with("pgqueue.auto_vacuum = off");
    let mut root = server.connect();
    let mut alice = server.connect_as("alice");
    alice.batch_execute(ALICE_TICKS).unwrap();
    alice.batch_execute("SELECT pgq_watch('a watch', 'a q', 'SELECT 1, 2', '1 s')").unwrap();
    let refused = |call: &str| {
        let mut mallory = server.connect_as("mallory");
        let tries = format!(
            "DO $$ BEGIN FOR n IN 1..1000 LOOP BEGIN PERFORM {call}; ASSERT false;
             EXCEPTION WHEN insufficient_privilege THEN NULL; END; END LOOP; END $$"
        );
        mallory.batch_execute(&tries).unwrap();
    };
    thread::scope(|scope| {
        let loops: Vec<_> = [
            "pgq_unschedule('a tick')",
            "pgq_unwatch('a watch')",
            "pgq_schedule('a tick', 'm q', '1 s', '1')",
            "pgq_watch('a watch', 'm q', 'SELECT 1, 2', '1 s')",
        ]
        .map(|call| scope.spawn(move || refused(call)))
        .into();
        while loops.iter().any(|looping| !looping.is_finished()) {
            let free = "SELECT count(*) FROM (SELECT FROM pgqueue.schedule FOR UPDATE SKIP LOCKED) free";
            assert_eq!(root.one::<i64>(free), 2);
        }
    });
}
