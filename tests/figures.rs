//! What figures, drops and changes of a queue cost beside the messages of other queues: blocks and rows are
//! counted, not time.

use postgres::Client;
use support::{Ask, Server, Stop, until};

/// A server that neither analyzes nor vacuums by itself.
fn server() -> Server {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off\nautovacuum = off\ntrack_functions = all");
    server
}

/// Blocks that a query reads.
fn blocks(session: &mut Client, query: &str) -> i64 {
    let plan: Vec<String> = session.all(&format!("EXPLAIN (ANALYZE, BUFFERS) {query}"));
    let line = plan.iter().find(|line| line.contains("Buffers: shared")).expect("the call reads blocks");
    let number = |word: &str| {
        let kind = word.strip_prefix("hit=").or_else(|| word.strip_prefix("read="));
        kind.map(|number| number.parse::<i64>().expect("a number of blocks"))
    };
    line.split(' ').filter_map(number).sum()
}

/// The same, once the session has its plans.
fn settled_blocks(session: &mut Client, query: impl Fn(i32) -> String, first: i32) -> i64 {
    (first..first + 3).map(|n| blocks(session, &query(n))).last().unwrap()
}

/// Calls on a queue that has no messages; `{n}` is another number in each.
const CALLS: [&str; 12] = [
    "SELECT pgq_count('empty')",
    "SELECT pgq_count('empty', exact => true)",
    "SELECT pgq_count('empty', group_key => 'g')",
    "SELECT * FROM pgq_stats('empty')",
    "SELECT * FROM pgq_stats('empty', exact => true)",
    "SELECT pgq_purge('empty')",
    "SELECT pgq_purge('empty', 'ready')",
    "SELECT pgq_purge('empty', group_key => 'g')",
    "SELECT pgq_create_queue('q{n}', '{\"max_leased\": 2}')",
    "SELECT pgq_alter_queue('empty', jsonb_build_object('max_leased', 2 + {n} % 2))",
    "SELECT pgq_alter_queue('empty', ('{\"groups\": \"' || (ARRAY['ordered', 'parallel'])[1 + {n} % 2] || '\"}')::jsonb)",
    "SELECT pgq_drop_queue('d{n}')",
];

fn costs(session: &mut Client, first: i32) -> Vec<i64> {
    session.batch_execute("DELETE FROM pgqueue.slot WHERE false").unwrap();
    (first..first + 3).for_each(|n| {
        session.batch_execute(&format!("SELECT pgq_create_queue('d{n}')")).unwrap();
    });
    CALLS.iter().map(|call| settled_blocks(session, |n| call.replace("{n}", &n.to_string()), first)).collect()
}

/// Pushes to another queue, in all three lanes.
fn fill(session: &mut Client) {
    session
        .batch_execute(
            "SELECT count(*) FROM pgq_push_batch('full', array_fill('1'::jsonb, ARRAY[20000]));
             SELECT count(*) FROM pgq_push_batch('full', array_fill('1'::jsonb, ARRAY[5000]), delay => '1 h');
             SELECT count(*) FROM pgq_push_batch('full', array_fill('1'::jsonb, ARRAY[5000]), group_key => 'g')",
        )
        .unwrap();
}

#[test]
fn an_empty_queue_costs_the_same_beside_many_messages_of_another() {
    let server = server();
    let mut session = server.connect();
    session.batch_execute("SELECT pgq_create_queue('empty'), pgq_push('full', '1')").unwrap();
    let alone = costs(&mut session, 10);
    fill(&mut session);
    let never_analyzed = costs(&mut session, 20);
    session.batch_execute("ANALYZE pgqueue.message").unwrap();
    let analyzed = costs(&mut session, 30);
    let mut other = server.connect();
    other.batch_execute("SET plan_cache_mode = force_generic_plan").unwrap();
    let generic = costs(&mut other, 40);
    for (n, call) in CALLS.iter().enumerate() {
        let beside = [never_analyzed[n], analyzed[n], generic[n]];
        let most = alone[n] * 3 / 2 + 20;
        assert!(beside.iter().all(|&blocks| blocks <= most), "{call}: {} blocks alone, {beside:?}", alone[n]);
    }
}

#[test]
fn small_queues_are_counted_by_their_own_messages() {
    let server = server();
    let mut session = server.connect();
    session
        .batch_execute(
            "SELECT pgq_push('small', '1', dedup_key => 'k');
             SELECT pgq_release(id) FROM pgq_reserve('small');
             SELECT pgq_push('small', '2', dedup_key => 'other')",
        )
        .unwrap();
    let stats = |_| "SELECT * FROM pgq_stats('small')".to_owned();
    let alone = settled_blocks(&mut session, stats, 0);
    session
        .batch_execute(
            "SELECT count(pgq_push('full', '1', dedup_key => n::text)) FROM generate_series(1, 20000) n;
             SELECT count(*) FROM pgq_release_batch((SELECT array_agg(id) FROM pgq_reserve('full', max => 20000)))",
        )
        .unwrap();
    for analyze in ["", "ANALYZE pgqueue.message"] {
        session.batch_execute(analyze).unwrap();
        let beside = settled_blocks(&mut session, stats, 0);
        assert!(beside <= alone * 3 / 2 + 20, "{alone} blocks alone, {beside} beside others ({analyze})");
    }
}

#[test]
fn stats_of_many_small_queues_cost_as_much_for_each() {
    let server = server();
    let mut session = server.connect();
    fill(&mut session);
    let all = |_| "SELECT count(*) FROM pgq_stats()".to_owned();
    let mut costs = Vec::new();
    for queues in [100, 1000] {
        session
            .batch_execute(&format!(
                "SELECT count(pgq_push('q' || n, '1')) FROM generate_series(1, {queues}) n"
            ))
            .unwrap();
        costs.push(settled_blocks(&mut session, all, 0));
    }
    let each = (costs[1] - costs[0]) as f64 / 900.0;
    assert!(each < 40.0, "{costs:?} blocks for 100 and 1,000 queues");
}

#[test]
fn figures_of_one_queue_do_not_read_those_of_others() {
    let server = server();
    let mut session = server.connect();
    session
        .batch_execute("SELECT pgq_push('one', '1'), pgq_create_queue('short', '{\"max_length\": 1000}')")
        .unwrap();
    let calls = [
        "SELECT * FROM pgq_stats('one')",
        "SELECT pgq_count('one')",
        "SELECT pgq_push('short', '1')",
        "SELECT * FROM pgq_peek('one', state => 'leased')",
    ];
    let mut cost = || calls.map(|call| settled_blocks(&mut session, |_| call.to_owned(), 0));
    let alone = cost();
    let mut other = server.connect();
    other.batch_execute("SELECT count(pgq_push('q' || n, '1')) FROM generate_series(1, 3000) n").unwrap();
    other.batch_execute("SELECT * FROM pgq_vacuum()").unwrap();
    let beside = cost();
    for (n, call) in calls.iter().enumerate() {
        assert!(
            beside[n] <= alone[n] * 3 / 2 + 20,
            "{call}: {} blocks alone, {} beside",
            alone[n],
            beside[n]
        );
    }
    // What is in shared memory for all queues is collected by this function.
    drop(session);
    let mut session = server.connect();
    until("the calls are counted", || {
        session.one("SELECT count(*) > 0 FROM pg_stat_user_functions WHERE funcname = 'pgq_count'")
    });
    let collected: i64 =
        session.one("SELECT count(*) FROM pg_stat_user_functions WHERE funcname = 'pending_counts'");
    assert_eq!(collected, 0, "no call has collected the counts of all queues");
}

#[test]
fn a_recount_reads_each_message_once_however_many_queues_there_are() {
    let server = server();
    let mut session = server.connect();
    session
        .batch_execute(
            "SELECT count(*) FROM generate_series(1, 3000) n, pgq_push_batch('q' || n % 300, ARRAY['1', '2', '3', '4']::jsonb[])",
        )
        .unwrap();
    drop(session);
    server.stop(Stop::Immediate); // the counts of shared memory are lost
    server.launch();
    let mut session = server.connect();
    until("all queues are counted", || {
        session.one("SELECT coalesce(sum(ready), 0) = 12000 FROM pgqueue.counter")
    });
    drop(session);
    server.stop(Stop::Fast); // the worker reports its statistics
    server.launch();
    let row = server.connect().query_one(
        "SELECT seq_tup_read, idx_tup_fetch FROM pg_stat_all_tables WHERE relid = 'pgqueue.message'::regclass",
        &[],
    );
    let [in_turn, by_index] = row.map(|row| [0, 1].map(|n| row.get::<_, i64>(n))).unwrap();
    assert!(in_turn <= 24_000, "{in_turn} rows of sequential scans, for 12,000 messages");
    assert!((12_000..=60_000).contains(&by_index), "{by_index} rows of index scans");
}

#[test]
fn stats_of_a_queue_with_many_dead_letters_do_not_read_all_of_them() {
    let server = server();
    let mut session = server.connect();
    session.batch_execute("SELECT pgq_push('q', '1')").unwrap();
    let stats = |_| "SELECT * FROM pgq_stats('q')".to_owned();
    let none_dead = settled_blocks(&mut session, stats, 0);
    session
        .batch_execute(
            "SELECT count(*) FROM pgq_push_batch('q', array_fill('1'::jsonb, ARRAY[20000]));
             SELECT count(*) FROM pgq_bury_batch((SELECT array_agg(id) FROM pgq_reserve('q', max => 20000)), 'no')",
        )
        .unwrap();
    session.batch_execute("VACUUM pgqueue.message").unwrap();
    let many_dead = settled_blocks(&mut session, stats, 0);
    assert!(many_dead <= none_dead + 300, "{none_dead} blocks without dead letters, {many_dead} with 20,000");
    let dead: i64 = session.one("SELECT dead FROM pgq_stats('q')");
    assert_eq!(dead, session.one::<i64>("SELECT dead FROM pgq_stats('q', exact => true)"));
}
