//! The real thing: two servers run by pg_auto_failover, whose primary dies under load.

use pgqueue_history::{Crash, Span};
use support::cluster::Cluster;
use support::load::{Load, assert_kept};

/// How often the primary dies; `make failover ROUNDS=10`.
fn rounds() -> usize {
    std::env::var("ROUNDS").map_or(1, |rounds| rounds.parse().expect("ROUNDS is a number"))
}

#[test]
fn when_the_primary_dies_clients_go_on_at_the_other_server_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::start(
        "shared_preload_libraries = 'pgqueue, pg_stat_statements'\npgqueue.vacuum_interval = '100ms'",
    );
    cluster
        .connect()
        .batch_execute("CREATE EXTENSION pgqueue; SELECT pgq_create_queue('load', '{\"max_deliveries\": 0}')")
        .unwrap();
    let load = Load::start(&cluster.config(), 3, 3);
    let mut crashes = Vec::new();
    for round in 1..=rounds() {
        load.go_on(1000);
        let before = load.now();
        let dead = cluster.kill_primary();
        crashes.push(Crash { span: Span { invoked: before, returned: load.now() }, forgets: before });
        load.go_on(1000);
        if round < rounds() {
            cluster.revive(dead);
            cluster.until_whole();
        }
    }
    let mut history = load.finish(&mut cluster.connect());
    history.crashes = crashes;
    assert_kept(&history);
}
