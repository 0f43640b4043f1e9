//! A sharded pgqueue behind PL/Proxy: sql/proxy and docs/sharding.md.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use postgres::{Client, NoTls, SimpleQueryMessage};
use support::{Ask, Server, Stop, until};

const PARTITIONS: usize = 4;

/// Ids of partition n begin at n times this.
const IDS_EACH: i64 = 10_000_000_000_000;

const SETTINGS: &str =
    "shared_preload_libraries = 'pgqueue'\npgqueue.vacuum_interval = '100ms'\ntrack_functions = all";

/// Partitions in databases `queues_0`, `queues_1`, … and a proxy in `queues`.
struct Sharded {
    /// Partition n is on server n modulo their number.
    servers: Vec<Server>,
    /// A server of its own, or none if all is on one.
    proxy: Option<Server>,
}

impl Sharded {
    /// All on one server, for what concerns the functions only.
    fn on_one_server() -> Self {
        Self { servers: vec![Server::bare(SETTINGS)], proxy: None }.set_up()
    }

    fn on_three_servers() -> Self {
        let servers = (0..3).map(|_| Server::bare(SETTINGS)).collect();
        Self { servers, proxy: Some(Server::bare("")) }.set_up()
    }

    fn set_up(self) -> Self {
        for n in 0..PARTITIONS {
            self.server(n).connect().batch_execute(&format!("CREATE DATABASE queues_{n}")).unwrap();
            self.partition(n).batch_execute("CREATE EXTENSION pgqueue").unwrap();
            self.make_partition(n, n).unwrap();
        }
        self.proxy_server().connect().batch_execute("CREATE DATABASE queues").unwrap();
        let places: Vec<String> =
            (0..PARTITIONS).map(|n| format!("p{n} '{}'", self.address(n))).collect();
        self.proxy()
            .batch_execute(&format!(
                "CREATE EXTENSION plproxy;
                 CREATE SERVER pgqueue FOREIGN DATA WRAPPER plproxy OPTIONS ({});
                 CREATE USER MAPPING FOR postgres SERVER pgqueue",
                places.join(", ")
            ))
            .unwrap();
        self.make_proxy().unwrap();
        self
    }

    fn server(&self, partition: usize) -> &Server {
        &self.servers[partition % self.servers.len()]
    }

    fn proxy_server(&self) -> &Server {
        self.proxy.as_ref().unwrap_or(&self.servers[0])
    }

    fn address(&self, partition: usize) -> String {
        format!("host={} dbname=queues_{partition}", host(self.server(partition)))
    }

    /// A session on a partition itself.
    fn partition(&self, n: usize) -> Client {
        self.server(n).connect_to(&format!("queues_{n}"))
    }

    /// A session on the proxy.
    fn proxy(&self) -> Client {
        self.proxy_server().connect_to("queues")
    }

    fn proxy_as(&self, role: &str) -> Client {
        self.proxy_server().config("queues").user(role).connect(NoTls).unwrap()
    }

    fn make_partition(&self, n: usize, number: usize) -> Result<(), String> {
        let database = format!("queues_{n}");
        psql(self.server(n), &["-d", &database, "-v", &format!("partition={number}"), "-f", &script("partition")])
    }

    fn make_proxy(&self) -> Result<(), String> {
        psql(self.proxy_server(), &["-d", "queues", "-f", &script("proxy")])
    }

    /// Runs a statement on all servers, the proxy's included.
    fn everywhere(&self, statement: &str) {
        for server in self.servers.iter().chain(&self.proxy) {
            server.connect().batch_execute(statement).unwrap();
        }
    }
}

fn host(server: &Server) -> String {
    server.environment()[0].1.display().to_string()
}

fn script(name: &str) -> String {
    format!("{}/sql/proxy/{name}.sql", env!("CARGO_MANIFEST_DIR"))
}

fn psql(server: &Server, args: &[&str]) -> Result<(), String> {
    let bindir = std::env::var("PGQUEUE_BINDIR").expect("PGQUEUE_BINDIR, which make test sets");
    let output = Command::new(format!("{bindir}/psql"))
        .args(["-X", "-q"])
        .args(args)
        .envs(server.environment())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() && errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// A queue of each partition, by its number.
fn queue_of_each(proxy: &mut Client) -> Vec<String> {
    let query = "SELECT DISTINCT ON (place) 'queue ' || n
                   FROM generate_series(1, 100) n, LATERAL (SELECT pgqueue_proxy.of_queue('queue ' || n) & 3 AS place) at
                  ORDER BY place, n";
    let queues = proxy.all(query);
    assert_eq!(queues.len(), PARTITIONS);
    queues
}

fn partition_of(id: i64) -> usize {
    (id / IDS_EACH) as usize
}

/// What a statement gives: its rows as text, or the SQLSTATE of its error.
fn answer(session: &mut Client, statement: &str) -> Result<Vec<Vec<Option<String>>>, String> {
    let messages = session
        .simple_query(statement)
        .map_err(|error| error.code().expect("an error of the server").code().to_owned())?;
    Ok(messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|n| row.get(n).map(str::to_owned)).collect())
            }
            _ => None,
        })
        .collect())
}

/// Name, parameters and result of the functions in the schema of the extension.
const FUNCTIONS: &str = "SELECT p.proname || '(' || pg_get_function_arguments(p.oid) || ') '
                             || coalesce(pg_get_function_result(p.oid), 'procedure')
                           FROM pg_proc p
                          WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'pgq\\_%'
                          ORDER BY 1";

const ROWS: &str = "SELECT format('%s.%s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod))
                      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
                     WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0
                     ORDER BY c.relname, a.attnum";

#[test]
fn every_function_of_the_extension_is_there_or_named_as_not_to_be_had() {
    let sharded = Sharded::on_one_server();
    let (mut proxy, mut partition) = (sharded.proxy(), sharded.partition(1));

    let mut expected: Vec<String> = partition.all(FUNCTIONS);
    assert!(expected.len() > 40, "{expected:?}");
    // Only a trigger function cannot be there and say no: it would say so much later.
    expected.retain(|function| function != "pgq_capture() trigger");
    let found: Vec<String> = proxy.all(FUNCTIONS);
    let own = "pgq_shard(queue text) text";
    assert!(found.iter().any(|function| function == own));
    let found: Vec<String> = found.into_iter().filter(|function| function != own).collect();
    assert_eq!(found, expected);
    assert_eq!(proxy.all::<String>(ROWS), partition.all::<String>(ROWS));

    // A route for each function, no route for what is not there, and a reason for each that is none.
    let calls = "SELECT DISTINCT format('%s(%s)', p.proname, (p.proargnames[1:p.pronargs])[1]) COLLATE \"C\"
                   FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid JOIN pg_extension e ON e.oid = d.refobjid
                  WHERE p.pronamespace = e.extnamespace AND e.extname = 'pgqueue' AND d.deptype = 'e' ORDER BY 1";
    let expected: Vec<String> = partition.all(calls);
    let routes: Vec<String> = proxy.all("SELECT call FROM pgqueue_proxy.route ORDER BY call COLLATE \"C\"");
    assert_eq!(routes, expected);
    assert_eq!(
        proxy.one::<i64>("SELECT count(*) FROM pgqueue_proxy.route WHERE (run_on IS NULL) <> (note IS NOT NULL)"),
        0
    );
}

/// A day in the life of a queue, with each call in it. Each statement gives the same on any
/// pgqueue, but for ids and times.
const DAY: &[&str] = &[
    "SELECT pgq_create_queue('{day} jobs', '{\"lease\": \"5 min\", \"events_to\": \"{day} events\"}')",
    "SELECT pgq_create_queue('{day} jobs')",
    "SELECT pgq_alter_queue('{day} jobs', '{\"max_deliveries\": 3, \"archive\": \"1 day\"}')",
    "SELECT name, owner, settings, created_at <= clock_timestamp(), paused FROM pgq_list_queues() ORDER BY name",
    // Each way to push.
    "SELECT pgq_push('{day} jobs', '{\"n\": 1.10}', '{\"h\": 1}', priority => 5, group_key => 'g', max_deliveries => 1) > 0",
    "SELECT outcome FROM pgq_push_result('{day} jobs', '2', dedup_key => 'k', lease => '2 h 2 ms')",
    "SELECT outcome FROM pgq_push_result('{day} jobs', '2', dedup_key => 'k')",
    "SELECT id - min(id) OVER () FROM pgq_push_batch('{day} jobs', ARRAY['3', '4', '5', '6', '7', '8']::jsonb[]) id",
    "SELECT pgq_push_bytes('{day} jobs', '\\x00ff', deliver_at => '2100-02-01 10:00:00+00') > 0",
    "SELECT count(*) FROM pgq_push_bytes_batch('{day} jobs', ARRAY['\\x01', '']::bytea[], priority => 9, ttl => '1 day')",
    // Looking, taking.
    "SELECT pgq_count('{day} jobs'), pgq_count('{day} jobs', true), pgq_count('{day} jobs', group_key => 'g')",
    "SELECT queue, payload, body, headers, priority, group_key, delivery FROM pgq_peek('{day} jobs', 20)",
    "SELECT body FROM pgq_peek('{day} jobs', state => 'delayed')",
    "CREATE TEMP TABLE m AS SELECT * FROM pgq_reserve('{day} jobs', max => 6)",
    "SELECT payload, delivery, leased_until > now() + '4 min', leased_until > now() + '1 h' FROM m ORDER BY id",
    "SELECT m.payload, g.state, g.dedup_key, g.max_deliveries, g.leased_until = m.leased_until
       FROM m, pgq_get(m.id) g ORDER BY m.id",
    "SELECT payload, body FROM pgq_pop('{day} jobs', filter => '{\"h\": 1}')",
    "CREATE TEMP TABLE n AS SELECT * FROM pgq_next('{day} jobs', ARRAY(SELECT id FROM m WHERE payload = '2'),
                                                   ARRAY(SELECT delivery FROM m WHERE payload = '2'))",
    "SELECT payload, delivery FROM n",
    // Settling one.
    "SELECT pgq_delete(id, delivery + 1), pgq_delete(id, delivery), pgq_delete(id) FROM m WHERE payload = '3'",
    "SELECT e.leased_until > now() + '3 h' FROM m, pgq_extend(m.id, '4 h', m.delivery) e WHERE payload = '4'",
    "SELECT pgq_release(id, '1 h', delivery) FROM m WHERE payload = '4'",
    "SELECT outcome, retry_at > now() + '50 min' FROM m, pgq_fail(m.id, 'no', delay => '1 h') WHERE payload = '5'",
    "SELECT pgq_bury(id, 'never', delivery) FROM m WHERE payload = '6'",
    // Settling many.
    "SELECT count(*) FROM pgq_extend(ARRAY(SELECT id FROM m), '4 h')",
    "SELECT count(*) FROM pgq_release(ARRAY(SELECT id FROM m WHERE payload = '7'), strict => true)",
    "SELECT payload FROM pgq_reserve('{day} jobs', max => 10) ORDER BY id",
    "SELECT outcome FROM pgq_fail(ARRAY(SELECT id FROM m), 'no') ORDER BY id",
    "SELECT count(*) FROM pgq_bury(ARRAY(SELECT id FROM n), 'never', ARRAY(SELECT delivery FROM n))",
    "SELECT count(*) FROM pgq_delete(ARRAY(SELECT id FROM m))",
    "SELECT payload ->> 'event', payload ->> 'reason' FROM pgq_pop('{day} events', 20) ORDER BY id",
    // Changing what nobody holds.
    "CREATE TEMP TABLE waiting AS SELECT pgq_push('{day} jobs', n::text::jsonb, delay => '1 h') AS id FROM generate_series(21, 26) n",
    "SELECT pgq_update(min(id), '{\"new\": 1}', deliver_at => now()) FROM waiting",
    "SELECT payload FROM pgq_peek('{day} jobs', 10)",
    "SELECT pgq_cancel(max(id)), pgq_cancel(max(id)) FROM waiting",
    "SELECT count(*) FROM pgq_cancel(ARRAY(SELECT id FROM waiting ORDER BY id DESC LIMIT 2))",
    "SELECT new_id > id FROM pgq_move(ARRAY(SELECT id FROM waiting), '{day} events')",
    // The dead.
    "SELECT payload, deliveries, reason, errors -> 0 ->> 'error' FROM pgq_peek_dead('{day} jobs', 10)",
    "SELECT pgq_redrive('{day} jobs', max => 1, to_queue => '{day} events')",
    "SELECT payload, deliveries, reason FROM pgq_dump_dead('{day} jobs', 10)",
    "SELECT pgq_redrive('{day} jobs')",
    "SELECT a.payload, g.state FROM pgq_peek('{day} jobs', 20, 'archived') a, pgq_get(a.id) g ORDER BY a.id",
    // Managing.
    "SELECT queue, ready, delayed, leased, blocked, dead, total, pushed, delivered, deleted, retried, died
       FROM pgq_stats('{day} jobs', true)",
    "SELECT queue, total FROM pgq_stats() ORDER BY queue",
    "SELECT count(*) FROM pgq_stats('nobody')",
    "SELECT pgq_pause('{day} jobs'), pgq_pause('{day} jobs'), pgq_count('{day} jobs'), pgq_resume('{day} jobs')",
    "CALL pgq_wait('{day} events', '1 h', 2)",
    "CALL pgq_wait('{day} nobody', '0')",
    "SELECT pgq_schedule('day', '{day} jobs', '0 0 1 1 *', '{\"y\": 1}', time_zone => 'Europe/Berlin') > now()",
    "SELECT name, queue, every, time_zone, payload, priority, last_run, owner FROM pgq_list_schedules()",
    "SELECT pgq_unschedule('day'), pgq_unschedule('day')",
    "SELECT count(*) > 0, bool_and(last_run IS NOT NULL), bool_and(errors = '{}') FROM pgq_vacuum()",
    "SELECT count(*) > 0, bool_and(page_size = 1000) FROM pgq_vacuum_stats",
    "SELECT pgq_purge('{day} events', 'ready') > 0",
    "SELECT pgq_drop_queue('{day} jobs') > 0, pgq_drop_queue('{day} events') >= 0",
];

/// Mistakes, which the proxy leaves to the partition.
const MISTAKES: &[&str] = &[
    "SELECT pgq_push(NULL, '1')",
    "SELECT pgq_push('', '1')",
    "SELECT pgq_push(repeat('x', 513), '1')",
    "SELECT pgq_push('q', NULL)",
    "SELECT pgq_push('q', '1', delay => '-1 s')",
    "SELECT pgq_push('q', '1', on_duplicate => 'maybe')",
    "SELECT pgq_reserve('q', max => 0)",
    "SELECT pgq_delete(NULL::bigint)",
    "SELECT pgq_delete(NULL::bigint[])",
    "SELECT pgq_delete('{}'::bigint[])",
    "SELECT pgq_delete('{1, NULL}'::bigint[])",
    "SELECT pgq_delete('{1, 10000000000001, NULL}'::bigint[])",
    "SELECT pgq_delete('{1, 10000000000001}'::bigint[], '{1}')",
    "SELECT pgq_delete('{1, 10000000000001}'::bigint[], '{1, NULL}')",
    "SELECT pgq_delete('{{1, 10000000000001}, {2, 3}}'::bigint[])",
    "SELECT pgq_extend('{1, 10000000000001}'::bigint[], '0')",
    "SELECT pgq_delete(-1), pgq_delete(9223372036854775807), pgq_delete(0)",
    "SELECT pgq_get(NULL)",
    "SELECT pgq_drop_queue('nobody')",
    "SELECT pgq_create_queue('q', '{\"no\": 1}')",
    "SELECT pgq_create_queue('q', '[]')",
    "SELECT pgq_create_queue('q', NULL)",
    "SELECT pgq_move('{}', 'q')",
    "SELECT pgq_schedule(NULL, 'q', '1 h', '1')",
    "SELECT pgq_schedule('s', 'q', 'whenever', '1')",
    "SELECT pgq_unschedule(NULL)",
    "CALL pgq_wait(NULL)",
    "CALL pgq_wait('q', NULL)",
    "CALL pgq_wait('q', '-1 s')",
    "CALL pgq_wait('q', min => 0)",
    "CALL pgq_wait('q', min => NULL)",
];

#[test]
fn each_call_gives_what_it_gives_on_a_single_server() {
    let sharded = Sharded::on_one_server();
    sharded.servers[0].connect().batch_execute("CREATE DATABASE single").unwrap();
    let mut single = sharded.servers[0].connect_to("single");
    single.batch_execute("CREATE EXTENSION pgqueue").unwrap();
    let mut proxy = sharded.proxy();
    for statement in DAY {
        let expected = answer(&mut single, statement);
        assert!(expected.is_ok(), "{statement}: {expected:?}");
        assert_eq!(answer(&mut proxy, statement), expected, "{statement}");
    }
    for statement in MISTAKES {
        assert_eq!(answer(&mut proxy, statement), answer(&mut single, statement), "{statement}");
    }
    // None was forgotten.
    drop(proxy);
    let mut proxy = sharded.proxy();
    let mut idle = Vec::new();
    until("all functions are known to have been called", || {
        idle = proxy.all::<String>(
            "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pgqueue_proxy.route r
                 ON r.call = format('%s(%s)', p.proname, (p.proargnames[1:p.pronargs])[1])
              WHERE p.pronamespace = 'public'::regnamespace AND r.run_on IS NOT NULL
                AND pg_stat_get_function_calls(p.oid) IS NULL",
        );
        idle.is_empty()
    });
}

#[test]
fn a_settle_call_finds_each_message_by_its_id() {
    let sharded = Sharded::on_one_server();
    let mut proxy = sharded.proxy();
    let queues = queue_of_each(&mut proxy);
    let mut ids: Vec<i64> = Vec::new();
    for (n, queue) in queues.iter().enumerate() {
        ids.extend(proxy.all_with::<i64>("SELECT pgq_push($1, '1') FROM generate_series(1, 5)", &[queue]));
        assert_eq!(sharded.partition(n).one::<i64>("SELECT sum(total)::bigint FROM pgq_stats()"), 5);
    }
    assert_eq!(ids.iter().map(|&id| partition_of(id)).collect::<Vec<_>>(), [[0; 5], [1; 5], [2; 5], [3; 5]].concat());
    assert_eq!(ids[0], 1);
    assert!(ids.iter().all(|&id| id < 1 << 53));

    // Of all partitions at once, some with a wrong receipt, and some that are nowhere.
    let (mut receipts, mut wrong) = (Vec::new(), Vec::new());
    for queue in &queues {
        let rows = proxy.query("SELECT id, delivery FROM pgq_reserve($1, max => 4) ORDER BY id DESC", &[queue]).unwrap();
        receipts.extend(rows.iter().map(|row| (row.get::<_, i64>(0), row.get::<_, i32>(1))));
        wrong.push(receipts.last().unwrap().0);
    }
    receipts.push((9 * IDS_EACH + 1, 1));
    receipts.reverse();
    for (id, delivery) in &mut receipts {
        *delivery += i32::from(wrong.contains(id));
    }
    let (given, deliveries): (Vec<i64>, Vec<i32>) = receipts.into_iter().unzip();
    let settled: Vec<i64> = proxy.all_with("SELECT pgq_delete($1::bigint[], $2::int[])", &[&given, &deliveries]);
    let mut expected: Vec<i64> = given.clone();
    expected.retain(|id| *id < 4 * IDS_EACH && !wrong.contains(id));
    let mut found = settled.clone();
    (expected.sort(), found.sort());
    assert_eq!(found, expected);
    assert_eq!(found.len(), 12);
    // The order of an array is kept within its partition, and what is left is left.
    let of = |ids: &[i64], n| ids.iter().copied().filter(|&id| partition_of(id) == n).collect::<Vec<_>>();
    for n in 0..PARTITIONS {
        let asked: Vec<i64> = of(&given, n).into_iter().filter(|id| !wrong.contains(id)).collect();
        assert_eq!(of(&settled, n), asked);
    }
    assert_eq!(proxy.one::<i64>("SELECT sum(total)::bigint FROM pgq_stats()"), 8);
    assert_eq!(proxy.all_with::<i64>("SELECT pgq_cancel($1::bigint[])", &[&ids]).len(), 4);
}

#[test]
fn what_would_concern_two_partitions_is_refused() {
    let sharded = Sharded::on_one_server();
    let mut proxy = sharded.proxy();
    let [a, b, ..] = &queue_of_each(&mut proxy)[..] else { unreachable!() };
    proxy
        .batch_execute(&format!(
            "SELECT pgq_push('{a}', '1'), pgq_push('{b}', '2'), pgq_push('{a}', '3');
             CREATE TEMP TABLE waiting AS SELECT id FROM pgq_peek('{a}', 1);
             CREATE TEMP TABLE held AS SELECT id FROM pgq_reserve('{a}') UNION ALL SELECT id FROM pgq_reserve('{b}');
             SELECT pgq_bury(pgq_push('{a}', '5'), 'no');
             SELECT pgq_schedule('s', '{a}', '1 h', '1')"
        ))
        .unwrap();
    let state = |proxy: &mut Client| {
        let messages = "SELECT queue, ready, leased, dead, delivered FROM pgq_stats() ORDER BY queue";
        let schedules = "SELECT name, queue, payload FROM pgq_list_schedules()";
        [messages, "SELECT name, settings FROM pgq_list_queues() ORDER BY name", schedules].map(|query| answer(proxy, query))
    };
    let before = state(&mut proxy);
    for statement in [
        "SELECT pgq_release(ARRAY(SELECT id FROM held), strict => true)".to_owned(),
        format!("SELECT pgq_next('{a}', ARRAY(SELECT id FROM held))"),
        format!("SELECT pgq_next('{b}', ARRAY(SELECT min(id) FROM held))"),
        format!("SELECT pgq_move(ARRAY(SELECT id FROM waiting), '{b}')"),
        format!("SELECT pgq_redrive('{a}', to_queue => '{b}')"),
        format!("SELECT pgq_create_queue('{{{a}}} new', '{{\"events_to\": \"{b}\"}}')"),
        format!("SELECT pgq_alter_queue('{a}', '{{\"events_to\": \"{b}\"}}')"),
        format!("SELECT pgq_schedule('s', '{b}', '1 h', '2')"),
        format!("SELECT pgq_watch('w', '{a}', 'SELECT 1, 1', '1 h')"),
        "SELECT pgq_unwatch('w')".to_owned(),
        "SELECT pgq_list_watches()".to_owned(),
    ] {
        assert_eq!(proxy.sqlstate(&statement), "0A000", "{statement}");
        assert_eq!(state(&mut proxy), before, "{statement}");
    }
}

#[test]
fn queues_with_the_same_part_in_braces_are_on_one_partition() {
    let sharded = Sharded::on_one_server();
    let mut proxy = sharded.proxy();
    proxy
        .batch_execute(
            "SELECT pgq_create_queue('{shop} orders', '{\"events_to\": \"{shop} events\"}');
             SELECT pgq_create_queue('orders to {shop}s');
             SELECT pgq_push('{shop} orders', '1');
             SELECT pgq_bury(id, 'no') FROM pgq_reserve('{shop} orders');
             SELECT pgq_redrive('{shop} orders', to_queue => 'orders to {shop}s');
             SELECT pgq_move(ARRAY(SELECT id FROM pgq_peek('orders to {shop}s')), '{shop} orders');
             SELECT pgq_schedule('s', '{shop} orders', '1 h', '1');
             SELECT pgq_schedule('s', 'shop', '1 h', '2')",
        )
        .unwrap();
    let queues: Vec<String> = proxy.all("SELECT queue || ' ' || total FROM pgq_stats() ORDER BY queue");
    assert_eq!(queues, ["orders to {shop}s 0", "shop 0", "{shop} events 1", "{shop} orders 1"]);
    assert_eq!(proxy.one::<i64>("SELECT count(DISTINCT pgq_shard(name)) FROM pgq_list_queues()"), 1);
    assert_eq!(proxy.all::<String>("SELECT payload::text FROM pgq_list_schedules()"), ["2"]);
    // Not what stands in empty or open braces.
    let places = "SELECT count(DISTINCT pgqueue_proxy.of_queue(name)) > 1 FROM unnest(ARRAY['{}a', '{}b', '{}c', '{a', '{b']) name";
    assert!(proxy.one::<bool>(places));
}

#[test]
fn what_was_called_stays_done_when_the_transaction_is_rolled_back() {
    let sharded = Sharded::on_one_server();
    let mut proxy = sharded.proxy();
    proxy.batch_execute("BEGIN; SELECT pgq_push('q', '1'); ROLLBACK").unwrap();
    assert_eq!(proxy.one::<i64>("SELECT pgq_count('q')"), 1);
    proxy.batch_execute("BEGIN READ ONLY; SELECT pgq_push('q', '2'); COMMIT").unwrap();
    proxy.batch_execute("BEGIN; SELECT pgq_delete(id) FROM pgq_reserve('q'); ROLLBACK").unwrap();
    assert_eq!(proxy.all::<String>("SELECT payload::text FROM pgq_reserve('q', max => 9)"), ["2"]);
}

#[test]
fn values_arrive_as_they_were_whatever_the_session_s_formats() {
    let sharded = Sharded::on_one_server();
    let mut proxy = sharded.proxy();
    let push = "SELECT pgq_push('q', '{\"n\": 1.10000000000000000000001}', deliver_at => '2100-02-01 10:00+00', ttl => '100000 h 30 min')";
    let seen = "SELECT due_at = '2100-02-01T10:00Z', expires_at BETWEEN now() + interval '99999 h' AND now() + interval '100001 h', payload::text FROM pgq_get($1)";
    for formats in [
        "SET DateStyle = 'SQL, DMY'; SET IntervalStyle = sql_standard; SET TimeZone = 'America/St_Johns'",
        "SET DateStyle = 'German'; SET IntervalStyle = iso_8601; SET TimeZone = 'Asia/Kolkata'",
        "SET DateStyle = 'Postgres, MDY'; SET IntervalStyle = postgres_verbose; SET bytea_output = escape",
    ] {
        proxy.batch_execute(formats).unwrap();
        let id: i64 = proxy.one(push);
        let row = proxy.query_one(seen, &[&id]).unwrap();
        assert!(row.get::<_, bool>(0) && row.get::<_, bool>(1), "{formats}");
        assert_eq!(row.get::<_, String>(2), "{\"n\": 1.10000000000000000000001}");
        let held: bool = proxy.one("SELECT pgq_push('held', '1') > 0");
        assert!(held);
        let row = proxy.query_one("SELECT leased_until - now() BETWEEN '89 s' AND '91 s', age FROM pgq_reserve('held', '90 s'), LATERAL (SELECT now() - enqueued_at < '10 s' AS age) a", &[]).unwrap();
        assert!(row.get::<_, bool>(0) && row.get::<_, bool>(1), "{formats}");
    }
    let body: Vec<u8> = (0..20_000_000_u32).map(|n| (n * 7) as u8).collect();
    proxy.execute("SELECT pgq_push_bytes('bytes', $1)", &[&body]).unwrap();
    assert!(proxy.one::<Vec<u8>>("SELECT body FROM pgq_pop('bytes')") == body);
}

#[test]
fn a_set_is_whole_although_the_same_select_list_calls_again() {
    let sharded = Sharded::on_one_server();
    let mut proxy = sharded.proxy();
    let pushed = "SELECT pgq_push_batch('q', ARRAY['1', '2', '3']::jsonb[]), pgq_count('q'), pgq_push('q', '4')";
    assert_eq!(proxy.query(pushed, &[]).unwrap().len(), 3);
    let nested = "SELECT pgq_delete(id), pgq_push('done', payload) FROM pgq_reserve('q', max => 6)";
    assert_eq!(proxy.all::<bool>(nested), [true; 6]);
    assert_eq!(proxy.one::<i64>("SELECT pgq_count('done')"), 6);
}

#[test]
fn whoever_waits_goes_on_soon_after_a_push_and_holds_nothing_on_the_partition() {
    let sharded = Sharded::on_one_server();
    let (mut proxy, mut pusher) = (sharded.proxy(), sharded.proxy());
    let waiter = std::thread::spawn(move || {
        let begun = Instant::now();
        proxy.batch_execute("CALL pgq_wait('q', '1 h')").unwrap();
        begun.elapsed()
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CALL pgq_wait%' AND state = 'active'";
    until("it waits", || pusher.one::<i64>(waits) == 1);
    let looks = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pgq_count%' AND datname LIKE 'queues\\_%'";
    until("it has looked", || pusher.one::<i64>(looks) > 0);
    let holds = "SELECT count(*) FROM pg_stat_activity
                  WHERE datname LIKE 'queues\\_%' AND backend_type = 'client backend' AND state <> 'active' AND backend_xmin IS NOT NULL";
    assert_eq!(pusher.one::<i64>(holds), 0);
    assert!(!waiter.is_finished());
    pusher.batch_execute("SELECT pgq_push('q', '1')").unwrap();
    assert!(waiter.join().unwrap() < Duration::from_secs(60));
    let begun = Instant::now();
    pusher.batch_execute("CALL pgq_wait('empty', '300 ms')").unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(300));
}
