//! What there is after a standby was promoted.

use std::thread;
use std::time::{Duration, SystemTime};

use pgqueue_history::{Crash, End, History, Span};
use postgres::config::{Host, TargetSessionAttrs};
use postgres::{Client, Config};
use support::load::{Load, assert_kept};
use support::{Ask, Server, Stop, until};

/// What makes messages, each in a database of its own: it must be the first to do so there
/// after the promotion. Message 1 is dead, 2 ready.
#[rustfmt::skip]
const MAKERS: [(&str, &str); 6] = [
    ("push", "SELECT pgq_push('q', '1')"),
    ("batch", "SELECT pgq_push_batch('q', ARRAY['1', '2']::jsonb[])"),
    ("keyed", "SELECT pgq_push('q', '1', dedup_key => 'k')"),
    ("redrive", "SELECT pgq_redrive('q')"),
    ("move", "SELECT pgq_move_batch(ARRAY[2], 'other')"),
    ("event", "SELECT pgq_bury(2, 'dead')"),
];

#[test]
fn a_receipt_fits_no_message_made_after_the_promotion() {
    let primary = Server::start();
    for (database, _) in MAKERS {
        primary.connect().batch_execute(&format!("CREATE DATABASE {database}")).unwrap();
        primary
            .connect_to(database)
            .batch_execute(
                "CREATE EXTENSION pgqueue;
                 SELECT pgq_create_queue('q'), pgq_create_queue('other');
                 SELECT pgq_push('q', to_jsonb(n)) FROM generate_series(1, 2) n;
                 SELECT pgq_bury(1, 'dead');
                 SELECT pgq_alter_queue('q', '{\"events_to\": \"other\"}')",
            )
            .unwrap();
    }
    let standby = primary.standby("standby");
    primary.until_replayed_by(&standby);
    standby.cut_off();
    // More than the 32 steps by which a sequence is ahead on the standby.
    let lost = MAKERS.map(|(database, _)| {
        primary
            .connect_to(database)
            .one::<i64>("SELECT max(pgq_push('q', to_jsonb(n))) FROM generate_series(1, 100) n")
    });
    primary.stop(Stop::Kill);
    standby.promote();
    for ((database, make), lost) in MAKERS.into_iter().zip(lost) {
        let mut session = standby.connect_to(database);
        session.batch_execute(make).unwrap();
        let new: i64 = session.one("SELECT min(id) FROM pgqueue.message WHERE id > 2");
        assert!(new > lost, "{make}: {new} may be an id of the old primary, which gave {lost}");
    }
}

#[test]
fn ids_go_on_where_many_push_at_once_right_after_the_promotion() {
    let primary = Server::start();
    primary.connect().execute("SELECT pgq_push('q', '1')", &[]).unwrap();
    let standby = primary.standby("standby");
    primary.until_replayed_by(&standby);
    let mut sessions: Vec<Client> = (0..20).map(|_| standby.connect()).collect();
    standby.promote();
    thread::scope(|scope| {
        for session in &mut sessions {
            scope.spawn(|| {
                session
                    .execute("SELECT pgq_push('q', to_jsonb(n)) FROM generate_series(1, 50) n", &[])
                    .unwrap()
            });
        }
    });
    let mut session = standby.connect();
    assert_eq!(session.one::<i64>("SELECT count(*) FROM pgqueue.message"), 1001);
    let spread: i64 = session.one("SELECT max(id) - min(id) FROM pgqueue.message WHERE id > 1");
    assert!(spread < 5000, "the jump was made once: {spread}");
}

#[test]
fn the_first_reserve_after_the_promotion_finds_everything() {
    let primary = Server::start();
    primary.set("pgqueue.auto_vacuum = off");
    let mut producer = primary.connect();
    producer
        .batch_execute(
            "SELECT pgq_push('q', to_jsonb(n), priority => n % 5) FROM generate_series(1, 3000) n;
             SELECT pgq_push('q', to_jsonb(n), group_key => 'g' || n) FROM generate_series(1, 50) n;
             SELECT pgq_reserve('q', max => 1000, lease => '1 h');
             SELECT pgq_delete(id) FROM pgq_reserve('q', max => 1000, lease => '1 h');
             SELECT pgq_create_queue('empty')",
        )
        .unwrap();
    let standby = primary.standby("standby");
    primary.until_replayed_by(&standby);
    let mut session = standby.connect();
    // What it has seen here, it must not remember: nobody tells it what is replayed later.
    session.batch_execute("SELECT pgq_peek('q', 10); CALL pgq_wait('q')").unwrap();
    session.batch_execute("CALL pgq_wait('empty', '1 ms')").unwrap();
    producer
        .batch_execute(
            "SELECT pgq_push('empty', '1'), pgq_push('empty', '2', delay => '1 ms'), pgq_push('q', '3')",
        )
        .unwrap();
    primary.until_replayed_by(&standby);
    standby.promote();
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('empty', max => 10)").len(), 2);
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('q', max => 2000)").len(), 1051);
    let id: i64 = session.one("SELECT pgq_push('q', '1')");
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('q')"), [id]);
}

#[test]
fn a_schedule_runs_once_for_a_time_that_came_before_the_promotion() {
    let primary = Server::start();
    let mut session = primary.connect();
    session
        .batch_execute(
            "SELECT pgq_schedule(name, name, '1 day', '1') FROM unnest(ARRAY['done', 'missed']) name;
             UPDATE pgqueue.schedule SET next_run = now() WHERE name = 'done'",
        )
        .unwrap();
    let ready = |session: &mut Client, queue: &str| {
        session.one::<i64>(&format!("SELECT ready FROM pgq_stats('{queue}')"))
    };
    until("the primary has run it", || ready(&mut session, "done") == 1);
    primary.set("pgqueue.auto_vacuum = off");
    until("its worker idles", || {
        let last = "SELECT last_run::text FROM pgq_vacuum_stats";
        let before: String = session.one(last);
        thread::sleep(Duration::from_millis(300));
        session.one::<String>(last) == before
    });
    let standby = primary.standby("standby");
    session
        .execute("UPDATE pgqueue.schedule SET next_run = now() - interval '1 min' WHERE name = 'missed'", &[])
        .unwrap();
    primary.until_replayed_by(&standby);
    primary.stop(Stop::Kill);
    standby.promote();
    let mut session = standby.connect();
    standby.set("pgqueue.auto_vacuum = on");
    until("it has run here", || ready(&mut session, "missed") == 1);
    for _ in 0..3 {
        let rounds = "SELECT last_run > $1 FROM pgq_vacuum_stats";
        let begun: SystemTime = session.one("SELECT clock_timestamp()");
        until("another round", || session.query_one(rounds, &[&begun]).unwrap().get(0));
    }
    assert_eq!([ready(&mut session, "done"), ready(&mut session, "missed")], [1, 1]);
}

#[test]
fn a_lease_waits_for_the_synchronous_standby_only_if_its_queue_says_so() {
    let primary = Server::start();
    primary.set("pgqueue.auto_vacuum = off");
    let mut session = primary.connect();
    session
        .batch_execute(
            "SELECT pgq_create_queue('durable', '{\"durable_lease\": true}');
             SELECT pgq_push(q, '1') FROM unnest(ARRAY['durable', 'quick']) q",
        )
        .unwrap();
    let standby = primary.standby("standby");
    primary.wait_for_standbys("standby");
    primary.until_replayed_by(&standby);
    standby.cut_off();
    let receipt = |session: &mut Client, queue: &str| {
        let row =
            session.query_one("SELECT id, delivery FROM pgq_reserve($1, lease => '1 h')", &[&queue]).unwrap();
        (row.get::<_, i64>(0), row.get::<_, i64>(1))
    };
    let mut quick = primary.connect();
    let asking = thread::spawn(move || receipt(&mut quick, "quick"));
    until("a lease that does not wait is given", || asking.is_finished());
    let known = asking.join().unwrap();
    let mut waiter = primary.connect();
    let pid: i32 = waiter.one("SELECT pg_backend_pid()");
    let waiting = thread::spawn(move || waiter.query("SELECT * FROM pgq_reserve('durable')", &[]).is_err());
    until("it waits for the standby", || {
        session.one(&format!(
            "SELECT coalesce((SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = {pid}), false)"
        ))
    });
    primary.stop(Stop::Kill);
    assert!(waiting.join().unwrap(), "nobody was told of the lease");
    standby.promote();
    // The other lease is forgotten, so its receipt is given again, and fits.
    let mut session = standby.connect();
    assert_eq!(receipt(&mut session, "quick"), known);
    assert_eq!(receipt(&mut session, "durable").1, 1);
}

/// Clients of whichever of two servers takes writes.
fn load(primary: &Server, standby: &Server) -> Load {
    primary.connect().execute("SELECT pgq_create_queue('load', '{\"max_deliveries\": 0}')", &[]).unwrap();
    let load = Load::start(&either(primary, standby), 3, 3);
    load.go_on(1000);
    load
}

fn either(one: &Server, other: &Server) -> Config {
    let mut config = one.config("postgres");
    for host in other.config("postgres").get_hosts() {
        if let Host::Unix(path) = host {
            config.host_path(path);
        }
    }
    config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    config
}

/// Kills the primary while its clients work, lets them go on at the standby, and returns what
/// has happened.
fn fail_over(primary: &Server, standby: &Server, load: Load) -> History {
    let before = load.now();
    primary.stop(Stop::Kill);
    let span = Span { invoked: before, returned: load.now() };
    standby.promote();
    load.go_on(1000);
    let mut history = load.finish(&mut standby.connect());
    history.crashes.push(Crash { span, forgets: before });
    history
}

#[test]
fn with_a_synchronous_standby_a_failover_loses_nothing_that_was_acknowledged() {
    let primary = Server::start();
    let standby = primary.standby("standby");
    primary.wait_for_standbys("standby");
    let load = load(&primary, &standby);
    assert_kept(&fail_over(&primary, &standby, load));
}

#[test]
fn a_commit_that_a_synchronous_standby_did_not_get_was_never_acknowledged() {
    let primary = Server::start();
    let standby = primary.standby("standby");
    primary.wait_for_standbys("standby");
    let load = load(&primary, &standby);
    standby.cut_off();
    let mut session = primary.connect();
    until("all producers wait for the standby", || {
        session.one("SELECT count(*) >= 3 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE '%pgq_push%'")
    });
    assert_kept(&fail_over(&primary, &standby, load));
}

#[test]
fn with_an_asynchronous_standby_a_failover_loses_the_last_commits_and_nothing_else() {
    let primary = Server::start();
    let standby = primary.standby("standby");
    let load = load(&primary, &standby);
    let safe = load.now();
    primary.until_replayed_by(&standby);
    standby.cut_off();
    load.go_on(1000);
    let mut history = fail_over(&primary, &standby, load);
    let killed = history.crashes[0].span.returned;
    for transaction in &mut history.transactions {
        // Nobody can tell whether the standby has it.
        if let Some(commit) = transaction.commit()
            && commit.returned > safe
            && commit.invoked < killed
        {
            transaction.end = End::Unknown(commit);
        }
    }
    assert_kept(&history);
}
