//! `CALL pgq_wait`.

use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;
use postgres::fallible_iterator::FallibleIterator;
use support::signal::{self, Signal};
use support::{Ask, Server, Stop, until, until_asleep};

#[test]
fn a_push_wakes_it_and_meanwhile_it_holds_no_snapshot() {
    let server = Server::start();
    let (mut waiter, mut producer) = (server.connect(), server.connect());
    waiter.execute("SELECT pgq_create_queue('q')", &[]).unwrap();
    let pid: i32 = waiter.one("SELECT pg_backend_pid()");
    let waiting = thread::spawn(move || {
        let begun = Instant::now();
        waiter.batch_execute("CALL pgq_wait('q', '20 s')").unwrap();
        begun.elapsed()
    });
    until("it sleeps without a snapshot", || {
        producer.one(&format!(
            "SELECT coalesce((SELECT wait_event_type = 'Extension' AND backend_xmin IS NULL AND backend_xid IS NULL
                                FROM pg_stat_activity WHERE pid = {pid} AND query LIKE 'CALL%'), false)"
        ))
    });
    let locks =
        format!("SELECT relation::regclass::text FROM pg_locks WHERE pid = {pid} AND relation IS NOT NULL");
    assert_eq!(producer.all::<String>(&locks), [""; 0], "nor locks of tables");
    producer.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
    assert!(waiting.join().unwrap() < Duration::from_secs(15));
}

#[test]
fn it_returns_at_once_when_there_is_enough_and_at_its_timeout_when_there_is_not() {
    let server = Server::start();
    let mut session = server.connect();
    session.execute("SELECT pgq_push_batch('q', ARRAY['1', '2']::jsonb[])", &[]).unwrap();
    let mut timed = |call: &str| {
        let begun = Instant::now();
        session.batch_execute(call).unwrap();
        begun.elapsed()
    };
    assert!(timed("CALL pgq_wait('q', '20 s', min => 2)") < Duration::from_secs(15));
    assert!(timed("CALL pgq_wait('q', '300 ms', min => 3)") >= Duration::from_millis(300));
    assert!(timed("CALL pgq_wait('unknown', '300 ms')") >= Duration::from_millis(300));
    assert!(timed("CALL pgq_wait('unknown', '0')") < Duration::from_secs(15));
    // In a transaction block and in a DO block it lets go of the snapshot too.
    assert!(timed("BEGIN; CALL pgq_wait('q', '20 s'); COMMIT") < Duration::from_secs(15));
    assert!(
        timed(
            "DO $$ DECLARE ready boolean; BEGIN CALL pgq_wait('q', '20 s', ready => ready); ASSERT ready; PERFORM pgq_pop('q'); END $$"
        ) < Duration::from_secs(15)
    );
    assert_eq!(session.one::<i64>("SELECT pgq_count('q')"), 1);
}

#[test]
fn a_message_that_is_being_reserved_does_not_end_a_wait() {
    let server = Server::start();
    let (mut holder, mut waiter) = (server.connect(), server.connect());
    holder.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
    holder.batch_execute("BEGIN; SELECT pgq_reserve('q')").unwrap();
    let begun = Instant::now();
    waiter.batch_execute("CALL pgq_wait('q', '300 ms')").unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(300), "else its consumer would poll without a pause");
    // Nor does a try to take it cost a transaction id.
    waiter.batch_execute("BEGIN; SELECT pgq_reserve('q')").unwrap();
    assert_eq!(waiter.one::<Option<String>>("SELECT pg_current_xact_id_if_assigned()::text"), None);
    waiter.batch_execute("COMMIT").unwrap();
    // Given back, it does.
    holder.batch_execute("ROLLBACK").unwrap();
    let begun = Instant::now();
    waiter.batch_execute("CALL pgq_wait('q', '20 s')").unwrap();
    assert!(begun.elapsed() < Duration::from_secs(15));
}

/// Sleepers look by themselves every five seconds; a signal must be sooner.
const SOONER: Duration = Duration::from_secs(4);

/// Lets a session sleep on a queue, does something and gives how long the sleep went
/// on after it.
fn sleep_after(server: &Server, queue: &str, something: impl FnOnce()) -> Duration {
    let mut sleeper = server.connect();
    let mut observer = server.connect();
    let pid: i32 = sleeper.one("SELECT pg_backend_pid()");
    let call = format!("CALL pgq_wait('{queue}', '60 s')");
    let sleeping = thread::spawn(move || sleeper.batch_execute(&call).unwrap());
    until_asleep(&mut observer, pid);
    something();
    let begun = Instant::now();
    sleeping.join().unwrap();
    begun.elapsed()
}

#[test]
fn all_that_makes_a_message_ready_wakes_a_sleeper() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off");
    let mut session = server.connect();
    session
        .execute("SELECT pgq_create_queue(q) FROM unnest(ARRAY['q', 'due', 'paused', 'old']) q", &[])
        .unwrap();
    session
        .batch_execute(
            "SELECT pgq_create_queue('narrow', '{\"max_leased\": 1}'), pgq_push('narrow', '0');
             SELECT pgq_reserve('narrow', lease => '1 h')",
        )
        .unwrap();
    let mut woken_by = |what: &str, queue: &str, statements: &str| {
        let slept = sleep_after(&server, queue, || session.batch_execute(statements).unwrap());
        assert!(slept < SOONER, "{what}: {slept:?}");
        session.batch_execute("SELECT pgq_reserve('q', lease => '1 h')").unwrap();
    };
    woken_by("a push", "q", "SELECT pgq_push('q', '1')");
    woken_by("a release", "q", "SELECT pgq_release(id) FROM pgqueue.message");
    woken_by(
        "a failure to be retried at once",
        "q",
        "SELECT pgq_fail(id, 'x', delay => '0') FROM pgqueue.message",
    );
    woken_by("a redrive", "q", "SELECT pgq_bury(id, 'x') FROM pgqueue.message; SELECT pgq_redrive('q')");
    woken_by(
        "a lease that ends",
        "q",
        "SELECT pgq_extend(id, '200 ms') FROM pgqueue.message; SELECT pgq_push('q', '1', delay => '1 h')",
    );
    woken_by("a time that comes", "due", "SELECT pgq_push('due', '1', delay => '300 ms')");
    woken_by(
        "a resume",
        "paused",
        "SELECT pgq_pause('paused'), pgq_push('paused', '1'), pgq_resume('paused')",
    );
    woken_by("the first push of a queue", "new", "SELECT pgq_push('new', '1')");
    woken_by("a queue that is made anew", "old", "SELECT pgq_drop_queue('old'); SELECT pgq_push('old', '1')");
    woken_by(
        "a higher limit",
        "narrow",
        "SELECT pgq_push('narrow', '1'); SELECT pgq_alter_queue('narrow', '{\"max_leased\": 2}')",
    );
}

#[test]
fn the_end_of_a_prepared_transaction_wakes_a_sleeper() {
    let server = Server::start();
    server.set("pgqueue.vacuum_interval = '1 h'");
    let mut session = server.connect();
    session
        .execute("SELECT pgq_create_queue('q'), pgq_create_queue('other'), pgq_push('taken', '1')", &[])
        .unwrap();
    for (queue, prepared, end) in
        [("q", "pgq_push('q', '1')", "COMMIT"), ("taken", "pgq_reserve('taken', lease => '1 h')", "ROLLBACK")]
    {
        session.batch_execute(&format!("BEGIN; SELECT {prepared}; PREPARE TRANSACTION 'work'")).unwrap();
        // Another one that stays hides nothing.
        session
            .batch_execute(&format!("BEGIN; SELECT pgq_push('other', '1'); PREPARE TRANSACTION '{queue}'"))
            .unwrap();
        let decide = format!("{end} PREPARED 'work'");
        let slept = sleep_after(&server, queue, || session.batch_execute(&decide).unwrap());
        assert!(slept < SOONER, "{prepared}: {slept:?}");
    }
}

#[test]
fn a_sleeper_that_is_cancelled_passes_its_signal_on() {
    let server = Server::start();
    let mut session = server.connect();
    session.execute("SELECT pgq_create_queue('q')", &[]).unwrap();
    let mut first = server.connect();
    let pid: i32 = first.one("SELECT pg_backend_pid()");
    let sleeping = thread::spawn(move || first.batch_execute("CALL pgq_wait('q', '60 s')").unwrap_err());
    until_asleep(&mut session, pid);
    let slept = sleep_after(&server, "q", || {
        assert!(signal::send(Signal::STOP, pid)); // with the push signalled to it, it can do nothing about it
        session.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
        session.execute("SELECT pg_cancel_backend($1)", &[&pid]).unwrap();
        assert!(signal::send(Signal::CONT, pid));
    });
    assert!(slept < SOONER, "{slept:?}");
    assert_eq!(sleeping.join().unwrap().code().unwrap().code(), "57014");
}

/// A sleeper that has been woken by a message it takes must not be looked after by anybody; one
/// that takes nothing is, within a few of these.
const HANDED_ON: Duration = Duration::from_secs(2);

/// Runs psql, which sleeps on a queue, until it is killed.
fn psql_asleep(server: &Server, observer: &mut Client, queue: &str) -> Child {
    let asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CALL pgq_wait%' AND wait_event_type = 'Extension'";
    let before: i64 = observer.one(asleep);
    let psql = Command::new("psql")
        .args(["-X", "-c", &format!("CALL pgq_wait('{queue}', '1 h')")])
        .envs(server.environment())
        .spawn()
        .unwrap();
    until("psql sleeps", || observer.one::<i64>(asleep) == before + 1);
    psql
}

#[test]
fn a_sleeper_whose_client_was_killed_hands_its_wake_up_on() {
    let server = Server::start();
    let mut session = server.connect();
    session.execute("SELECT pgq_create_queue('q')", &[]).unwrap();
    let mut ghost = psql_asleep(&server, &mut session, "q");
    let slept = sleep_after(&server, "q", || {
        ghost.kill().unwrap();
        ghost.wait().unwrap();
        session.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
    });
    assert!(slept < HANDED_ON, "{slept:?}");
}

#[test]
fn the_server_notices_that_the_client_of_a_sleeper_was_killed() {
    let server = Server::start();
    let mut session = server.connect();
    session.execute("SELECT pgq_create_queue('q')", &[]).unwrap();
    let mut ghost = psql_asleep(&server, &mut session, "q");
    ghost.kill().unwrap();
    ghost.wait().unwrap();
    until("its session has ended", || {
        session.one::<i64>("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CALL pgq_wait%'") == 0
    });
}

#[test]
fn a_wake_up_that_leads_to_no_reserve_is_handed_on() {
    let server = Server::start();
    let mut session = server.connect();
    session.execute("SELECT pgq_create_queue('q')", &[]).unwrap();
    let sleeper = |stays: bool| {
        let mut client = server.connect();
        let pid: i32 = client.one("SELECT pg_backend_pid()");
        let sleeping = thread::spawn(move || {
            client.batch_execute("CALL pgq_wait('q', '60 s')").unwrap();
            stays.then_some(client)
        });
        (pid, sleeping)
    };
    for (stays, what) in [(true, "its client has given it up and stays"), (false, "its client leaves")] {
        let (pid, sleeping) = sleeper(stays);
        until_asleep(&mut session, pid);
        let slept = sleep_after(&server, "q", || {
            session.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
        });
        assert!(slept < HANDED_ON, "{what}: {slept:?}");
        let client = sleeping.join().unwrap();
        assert_eq!(session.one::<i64>("SELECT count(*) FROM pgq_pop('q')"), 1);
        drop(client);
    }
}

#[test]
fn as_many_sleepers_wake_as_there_are_messages_although_some_are_ghosts() {
    let server = Server::start();
    let mut session = server.connect();
    session.execute("SELECT pgq_create_queue('q')", &[]).unwrap();
    let mut ghosts: Vec<Child> = (0..3).map(|_| psql_asleep(&server, &mut session, "q")).collect();
    let abandoned: Vec<_> = (0..2)
        .map(|_| {
            let mut client = server.connect();
            let pid: i32 = client.one("SELECT pg_backend_pid()");
            let sleeping = thread::spawn(move || {
                client.batch_execute("CALL pgq_wait('q', '60 s')").unwrap();
                client
            });
            until_asleep(&mut session, pid);
            sleeping
        })
        .collect();
    let workers: Vec<_> = (0..5)
        .map(|_| {
            let mut worker = server.connect();
            let pid: i32 = worker.one("SELECT pg_backend_pid()");
            let working = thread::spawn(move || {
                while worker.all::<i64>("SELECT id FROM pgq_pop('q')").is_empty() {
                    worker.batch_execute("CALL pgq_wait('q', '60 s')").unwrap();
                }
                Instant::now()
            });
            until_asleep(&mut session, pid);
            working
        })
        .collect();
    ghosts.iter_mut().for_each(|ghost| {
        ghost.kill().unwrap();
        ghost.wait().unwrap();
    });
    let begun = Instant::now();
    session.execute("SELECT pgq_push_batch('q', array_fill('1'::jsonb, ARRAY[5]))", &[]).unwrap();
    for worker in workers {
        let took = worker.join().unwrap() - begun;
        assert!(took < HANDED_ON, "{took:?}");
    }
    abandoned.into_iter().for_each(|sleeping| drop(sleeping.join().unwrap()));
}

#[test]
fn a_reserve_that_is_rolled_back_wakes_a_sleeper() {
    let server = Server::start();
    let mut holder = server.connect();
    holder.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
    for (take, back) in [
        ("BEGIN; SELECT pgq_reserve('q', lease => '1 h')", "ROLLBACK"),
        ("BEGIN; SELECT pgq_pop('q')", "ROLLBACK"),
        ("BEGIN; SAVEPOINT s; SELECT pgq_reserve('q', lease => '1 h')", "ROLLBACK TO s"),
    ] {
        holder.batch_execute(take).unwrap();
        let slept = sleep_after(&server, "q", || holder.batch_execute(back).unwrap());
        assert!(slept < SOONER, "{take}: {slept:?}");
        holder.batch_execute("ROLLBACK").unwrap();
    }
}

#[test]
fn one_message_wakes_one_sleeper() {
    let server = Server::start();
    let mut session = server.connect();
    session.execute("SELECT pgq_create_queue('q')", &[]).unwrap();
    let sleepers: Vec<_> = (0..10)
        .map(|_| {
            let mut sleeper = server.connect();
            thread::spawn(move || {
                // Whoever looks by itself just then may find that another was quicker.
                while sleeper.all::<i64>("SELECT id FROM pgq_pop('q')").is_empty() {
                    sleeper.batch_execute("CALL pgq_wait('q', '60 s')").unwrap();
                }
            })
        })
        .collect();
    until("all sleep", || {
        session.one::<i64>("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND query LIKE 'CALL%'") == 10
    });
    session.execute("SELECT pgq_push_batch('q', ARRAY['1', '2', '3']::jsonb[])", &[]).unwrap();
    until("three are served", || session.one::<i64>("SELECT deleted FROM pgq_stats('q')") == 3);
    let asleep: i64 =
        session.one("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CALL%' AND state = 'active'");
    assert_eq!(asleep, 7);
    session.execute("SELECT pgq_push('q', to_jsonb(n)) FROM generate_series(1, 7) n", &[]).unwrap();
    sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
    assert_eq!(session.one::<i64>("SELECT deleted FROM pgq_stats('q')"), 10);
}

/// How often each of these processes has been woken, if it is still there.
fn times_woken(sleepers: &[(i32, thread::JoinHandle<()>)]) -> Vec<Option<u64>> {
    let of = |pid: i32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|line| line.trim().parse().ok())
    };
    sleepers.iter().map(|(pid, _)| of(*pid)).collect()
}

/// How often those that are still there have been woken since.
fn woken_since(before: &[Option<u64>], sleepers: &[(i32, thread::JoinHandle<()>)]) -> u64 {
    let pairs = before.iter().zip(times_woken(sleepers));
    pairs.filter_map(|(before, after)| Some(after? - (*before)?)).sum()
}

/// Lets a session run statements until it is asleep in one of them.
fn asleep(server: &Server, observer: &mut Client, statements: &str) -> (i32, thread::JoinHandle<()>) {
    let mut sleeper = server.connect();
    let pid: i32 = sleeper.one("SELECT pg_backend_pid()");
    let statements = statements.to_owned();
    let sleeping = thread::spawn(move || sleeper.batch_execute(&statements).unwrap());
    until_asleep(observer, pid);
    (pid, sleeping)
}

#[test]
fn a_push_wakes_those_alone_whose_wish_it_meets() {
    const ROUNDS: usize = 10;
    let server = Server::start();
    let mut session = server.connect();
    session.execute("SELECT pgq_create_queue('q'), pgq_create_queue('other')", &[]).unwrap();
    let many = asleep(&server, &mut session, "CALL pgq_wait('q', '1 h', min => 1000)");
    let calls = [["CALL pgq_wait('q', '1 h', min => 500)"; 15], ["CALL pgq_wait('other', '1 h')"; 15]];
    let others: Vec<_> =
        calls.as_flattened().iter().map(|call| asleep(&server, &mut session, call)).collect();
    // Each looks by itself every five seconds, and a deputy now and then.
    let (before, begun) = (times_woken(&others), Instant::now());
    for _ in 0..ROUNDS {
        let one = asleep(&server, &mut session, "CALL pgq_wait('q', '1 h'); SELECT id FROM pgq_pop('q')");
        session.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
        one.1.join().unwrap();
    }
    let by_themselves = (begun.elapsed().as_secs() / 5 + 1) as usize * others.len();
    let woken = woken_since(&before, &others) as usize;
    assert!(
        woken < by_themselves + ROUNDS * others.len() / 4,
        "{woken} times, {by_themselves} by themselves"
    );
    // What is there counts, and one push more is enough.
    session.execute("SELECT pgq_push_batch('q', array_fill('1'::jsonb, ARRAY[499]))", &[]).unwrap();
    until_asleep(&mut session, many.0);
    let slept = sleep_after(&server, "other", || {
        session.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
        until("those that wait for 500 are awake", || {
            session.one(
                "SELECT count(*) = 0 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%500)'",
            )
        });
        session.execute("SELECT pgq_push('other', '1') FROM generate_series(1, 16)", &[]).unwrap();
    });
    assert!(slept < SOONER, "{slept:?}");
    let begun = Instant::now();
    session.execute("SELECT pgq_push_batch('q', array_fill('1'::jsonb, ARRAY[500]))", &[]).unwrap();
    others.into_iter().chain([many]).for_each(|(_, sleeping)| sleeping.join().unwrap());
    assert!(begun.elapsed() < SOONER);
}

#[test]
fn one_of_many_sleepers_wakes_when_a_message_is_due() {
    const SLEEPERS: usize = 20;
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off");
    let mut session = server.connect();
    let begun = Instant::now();
    session.execute("SELECT pgq_push('q', '1', delay => '4 s')", &[]).unwrap();
    let serve = "CALL pgq_wait('q', '1 h'); SELECT id FROM pgq_pop('q')";
    let sleepers: Vec<_> = (0..SLEEPERS).map(|_| asleep(&server, &mut session, serve)).collect();
    let before = times_woken(&sleepers);
    until("it is served", || session.one::<i64>("SELECT deleted FROM pgq_stats('q')") == 1);
    // All know the time, and each looks by itself every five seconds.
    let by_themselves = (begun.elapsed().as_secs() / 5) as usize * SLEEPERS;
    let woken = woken_since(&before, &sleepers) as usize;
    assert!(woken < by_themselves + SLEEPERS / 2, "{woken} times, {by_themselves} by themselves");
    // Messages that are due at once are served at once.
    session
        .execute("SELECT pgq_push_batch('q', array_fill('1'::jsonb, ARRAY[19]), delay => '300 ms')", &[])
        .unwrap();
    let begun = Instant::now();
    sleepers.into_iter().for_each(|(_, sleeping)| sleeping.join().unwrap());
    assert!(begun.elapsed() < SOONER);
}

#[test]
fn a_sleeper_for_several_messages_wakes_when_they_are_due_beside_one_for_one() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off");
    let mut session = server.connect();
    session.execute("SELECT pgq_create_queue('q')", &[]).unwrap();
    let one = asleep(&server, &mut session, "CALL pgq_wait('q', '1 h')");
    let ten = asleep(&server, &mut session, "CALL pgq_wait('q', '1 h', 10)");
    session
        .execute("SELECT pgq_push_batch('q', array_fill('1'::jsonb, ARRAY[10]), delay => '1 s')", &[])
        .unwrap();
    let begun = Instant::now();
    [one, ten].into_iter().for_each(|(_, sleeping)| sleeping.join().unwrap());
    assert!(begun.elapsed() < SOONER);
}

#[test]
fn a_time_is_known_when_the_sleeper_that_has_kept_it_leaves() {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off");
    let mut session = server.connect();
    for end in ["pg_cancel_backend", "pg_terminate_backend"] {
        session.execute("SELECT pgq_push('q', '1', delay => '2 s')", &[]).unwrap();
        let mut keeper = server.connect();
        let pid: i32 = keeper.one("SELECT pg_backend_pid()");
        let sleeping = thread::spawn(move || keeper.batch_execute("CALL pgq_wait('q', '1 h')").unwrap_err());
        until_asleep(&mut session, pid);
        let begun = Instant::now();
        let (_, other) =
            asleep(&server, &mut session, "CALL pgq_wait('q', '1 h'); SELECT id FROM pgq_pop('q')");
        session.execute(&format!("SELECT {end}({pid})"), &[]).unwrap();
        sleeping.join().unwrap();
        other.join().unwrap();
        assert!(begun.elapsed() < SOONER, "{end}: {:?}", begun.elapsed());
    }
}

#[test]
fn without_preload_it_wakes_as_well() {
    let server = Server::bare("max_worker_processes = 0");
    let mut session = server.connect();
    session.batch_execute("CREATE EXTENSION pgqueue; SELECT pgq_create_queue('q')").unwrap();
    let slept = sleep_after(&server, "q", || session.batch_execute("SELECT pgq_push('q', '1')").unwrap());
    assert!(slept < SOONER, "{slept:?}");
}

#[test]
fn a_prepared_push_is_found_without_a_signal() {
    let server = Server::start();
    let mut session = server.connect();
    session.batch_execute("SELECT pgq_create_queue('q')").unwrap();
    session.batch_execute("BEGIN; SELECT pgq_push('q', '1'); PREPARE TRANSACTION 'p'").unwrap();
    sleep_after(&server, "q", || session.batch_execute("COMMIT PREPARED 'p'").unwrap());
}

#[test]
fn cancel_timeout_and_terminate_end_it() {
    let server = Server::start();
    let mut observer = server.connect();
    let mut session = server.connect();
    session.batch_execute("SET statement_timeout = '200 ms'").unwrap();
    assert_eq!(session.sqlstate("CALL pgq_wait('q', '1 h')"), "57014");
    session.batch_execute("RESET statement_timeout").unwrap();
    for signal in ["pg_cancel_backend", "pg_terminate_backend"] {
        let mut session = server.connect();
        let pid: i32 = session.one("SELECT pg_backend_pid()");
        let waiting = thread::spawn(move || session.batch_execute("CALL pgq_wait('q', '1 h')").unwrap_err());
        until_asleep(&mut observer, pid);
        observer.execute(&format!("SELECT {signal}({pid})"), &[]).unwrap();
        let error = waiting.join().unwrap();
        // The driver may see the connection close before it reads the server's last words.
        match error.code() {
            Some(code) => assert!(["57014", "57P01"].contains(&code.code()), "{error:?}"),
            None => assert!(error.is_closed(), "{error:?}"),
        }
    }
}

/// What a listener is told, once it is told anything.
fn hear(listener: &mut Client, what: &str) -> Vec<String> {
    let mut channels = Vec::new();
    until(what, || {
        channels = told(listener, Duration::from_millis(50));
        !channels.is_empty()
    });
    channels
}

/// What a listener is told until it is told nothing for so long.
fn told(listener: &mut Client, silence: Duration) -> Vec<String> {
    let mut notifications = listener.notifications();
    notifications.timeout_iter(silence).map(|told| Ok(told.channel().to_owned())).collect().unwrap()
}

#[test]
fn listeners_hear_of_a_queue_that_notifies() {
    let server = Server::start();
    let (mut listener, mut producer) = (server.connect(), server.connect());
    producer
        .batch_execute(
            "SELECT pgq_create_queue('loud', '{\"notify\": true}'), pgq_create_queue('quiet');
             SELECT pgq_push('loud', '0')",
        )
        .unwrap();
    listener.batch_execute("LISTEN \"pgq:loud\"; LISTEN \"pgq:quiet\"").unwrap();
    let mut heard = |what: &str| {
        let channels = hear(&mut listener, what);
        assert!(channels.iter().all(|channel| channel == "pgq:loud"), "{what}: {channels:?}");
        channels.len()
    };
    producer.batch_execute("SELECT pgq_push('quiet', '1'); SELECT pgq_push('loud', '1')").unwrap();
    heard("a push");
    let many = "SELECT pgq_push('loud', to_jsonb(n)) FROM generate_series(1, 500) n";
    producer.execute(many, &[]).unwrap();
    assert!(heard("many pushes") < 10, "they are told of together");
    producer.batch_execute("SELECT pgq_reserve('loud'); SELECT pgq_purge('loud', 'ready')").unwrap();
    producer.batch_execute("SELECT pgq_push('loud', '2', delay => '300 ms')").unwrap();
    heard("a message that became due");
    producer.batch_execute("BEGIN; SELECT pgq_reserve('loud'); ROLLBACK").unwrap();
    producer.batch_execute("SELECT pgq_pause('loud'); SELECT pgq_resume('loud')").unwrap();
    heard("a queue that goes on");
}

#[test]
fn listeners_hear_of_a_queue_beside_a_crowd_of_others() {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.max_queues_hint = 8");
    let (mut listener, mut producer) = (server.connect(), server.connect());
    producer
        .batch_execute("CREATE EXTENSION pgqueue; SELECT pgq_create_queue('q', '{\"notify\": true}')")
        .unwrap();
    listener.batch_execute("LISTEN \"pgq:q\"").unwrap();
    for n in 0..10 {
        producer.batch_execute("SELECT pgq_vacuum()").unwrap(); // counts are written down
        producer
            .batch_execute("SELECT pgq_push('crowd' || n, '1'), pgq_reserve('crowd' || n) FROM generate_series(1, 100) n")
            .unwrap();
        told(&mut listener, Duration::from_millis(300));
        producer.batch_execute("SELECT pgq_push('q', '1')").unwrap();
        hear(&mut listener, &format!("push {n}"));
    }
}

/// The next number whose queue shares a counter of news with that of another queue (`engine::shared::listen_counter`).
fn number_beside(session: &mut Client, queue: &str) -> i32 {
    let number: i32 = session.one(&format!("SELECT id FROM pgqueue.queue WHERE name = '{queue}'"));
    let database: i64 = session.one("SELECT oid::bigint FROM pg_database WHERE datname = current_database()");
    let counter = |number: i32| {
        let key = (database as u64) << 32 | number as u64;
        (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % 4096
    };
    let last: i64 = session.one("SELECT last_value FROM pgqueue.queue_id");
    (last as i32 + 1..).find(|&other| counter(other) == counter(number)).unwrap()
}

/// After a reading of the queues the worker rests, for longer than the reading took.
#[test]
fn listeners_hear_of_a_new_queue_whose_news_was_told_to_another_queue_first() {
    let server = Server::start();
    let (mut listener, mut producer) = (server.connect(), server.connect());
    let crowd = r#"SELECT pgq_create_queue('q' || n, '{"notify": true}') FROM generate_series(1, 5000) n"#;
    producer.execute(crowd, &[]).unwrap();
    let mut hears_of = |queue: &str, after: &str| {
        let channel = format!("pgq:{queue}");
        listener.batch_execute(&format!("LISTEN \"{channel}\"")).unwrap();
        let begin =
            format!("SELECT pgq_create_queue('{queue}', '{{\"notify\": true}}'), pgq_push('{queue}', '1')");
        producer.batch_execute(&format!("{after}; {begin}")).unwrap();
        until(queue, || told(&mut listener, Duration::from_millis(5)).contains(&channel));
    };
    let mut session = server.connect();
    for n in 0..5 {
        hears_of(&format!("read{n}"), "SELECT"); // the queues have just been read
        let beside = number_beside(&mut session, "q1");
        hears_of(&format!("new{n}"), &format!("SELECT setval('pgqueue.queue_id', {beside}, false)"));
    }
}

#[test]
fn listeners_are_notified_of_transactions_prepared_before_a_restart() {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\nmax_prepared_transactions = 2");
    let mut session = server.connect();
    session
        .batch_execute("CREATE EXTENSION pgqueue; SELECT pgq_create_queue('q', '{\"notify\": true}')")
        .unwrap();
    session.batch_execute("BEGIN; SELECT pgq_push('q', '1'); PREPARE TRANSACTION 'p'").unwrap();
    server.stop(Stop::Fast);
    server.launch();
    let (mut listener, mut session) = (server.connect(), server.connect());
    listener.batch_execute("LISTEN \"pgq:q\"").unwrap();
    told(&mut listener, Duration::from_secs(3)); // of what the worker may have missed
    session.batch_execute("COMMIT PREPARED 'p'").unwrap();
    hear(&mut listener, "what was prepared");
}

#[test]
fn listeners_hear_of_a_queue_on_the_channel_that_it_names() {
    let server = Server::start();
    let (mut listener, mut producer) = (server.connect(), server.connect());
    let long = "q".repeat(500);
    producer
        .batch_execute(&format!(
            "SELECT pgq_create_queue('{long}', '{{\"notify\": \"orders_ready\"}}'),
                    pgq_create_queue('too', '{{\"notify\": \"orders_ready\"}}'),
                    pgq_create_queue('other', '{{\"notify\": true}}')",
        ))
        .unwrap();
    listener.batch_execute("LISTEN orders_ready; LISTEN \"pgq:too\"; LISTEN \"pgq:other\"").unwrap();
    for queue in [&long, "too"] {
        producer.execute(&format!("SELECT pgq_push('{queue}', '1')"), &[]).unwrap();
        assert_eq!(hear(&mut listener, "a push").first().map(String::as_str), Some("orders_ready"));
        told(&mut listener, Duration::from_secs(1));
    }
    producer.execute("SELECT pgq_alter_queue('other', '{\"notify\": \"orders_ready\"}')", &[]).unwrap();
    producer.execute("SELECT pgq_push('other', '1')", &[]).unwrap();
    let channels = hear(&mut listener, "a push after the channel was changed");
    assert!(channels.iter().all(|channel| channel == "orders_ready"), "{channels:?}");
}

#[test]
fn listeners_are_notified_of_releases_and_decided_transactions() {
    let server = Server::start();
    let (mut listener, mut session) = (server.connect(), server.connect());
    session
        .execute(
            "SELECT pgq_create_queue('q', '{\"notify\": true, \"max_leased\": 1, \"lease\": \"1 h\"}')",
            &[],
        )
        .unwrap();
    listener.batch_execute("LISTEN \"pgq:q\"").unwrap();
    session.execute("SELECT pgq_push_batch('q', ARRAY['1', '2', '3']::jsonb[])", &[]).unwrap();
    hear(&mut listener, "pushes");
    session.execute("SELECT pgq_reserve('q')", &[]).unwrap();
    told(&mut listener, Duration::from_secs(1));
    session.execute("SELECT pgq_delete(id) FROM pgqueue.message WHERE lease_until > now()", &[]).unwrap();
    hear(&mut listener, "a slot that is free again");
    session.execute("SELECT pgq_reserve('q')", &[]).unwrap();
    told(&mut listener, Duration::from_secs(1));
    session.execute("SELECT pgq_alter_queue('q', '{\"max_leased\": 2}')", &[]).unwrap();
    hear(&mut listener, "a higher limit");
    session.batch_execute("BEGIN; SELECT pgq_push('q', '4'); PREPARE TRANSACTION 'push'").unwrap();
    told(&mut listener, Duration::from_secs(1));
    session.batch_execute("COMMIT PREPARED 'push'").unwrap();
    hear(&mut listener, "a prepared push that is decided");
}

#[test]
fn sleepers_and_workers_can_be_told_from_other_sessions() {
    let server = Server::start();
    let mut session = server.connect();
    session.execute("SELECT pgq_create_queue('q')", &[]).unwrap();
    // From 17 on wait events of extensions have names.
    let has_names: bool = session.one("SELECT current_setting('server_version_num')::int >= 170000");
    let name = |named: &str| if has_names { named.to_owned() } else { "Extension".to_owned() };
    let mut sleeper = server.connect();
    let pid: i32 = sleeper.one("SELECT pg_backend_pid()");
    let sleeping = thread::spawn(move || sleeper.batch_execute("CALL pgq_wait('q', '60 s')").unwrap());
    until_asleep(&mut session, pid);
    let shown = |of: String, named: &str| {
        let named = name(named);
        format!("SELECT count(*) = 1 FROM pg_stat_activity WHERE {of} AND wait_event = '{named}'")
    };
    assert!(session.one::<bool>(&shown(format!("pid = {pid}"), "PgqueueWait")));
    let worker = shown("backend_type = 'pgqueue worker'".into(), "PgqueueWorker");
    until("the worker sleeps under its name", || session.one(&worker));
    session.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
    sleeping.join().unwrap();
}

#[test]
fn it_says_whether_there_is_something() {
    let server = Server::start();
    let mut session = server.connect();
    let ready = |session: &mut postgres::Client, call: &str| session.one::<bool>(call);
    assert!(!ready(&mut session, "CALL pgq_wait('q', '0')"), "no such queue");
    session.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
    assert!(ready(&mut session, "CALL pgq_wait('q', '20 s')"));
    assert!(!ready(&mut session, "CALL pgq_wait('q', '50 ms', 2)"), "one is less than two");
    let mut sleeper = server.connect();
    let pid: i32 = sleeper.one("SELECT pg_backend_pid()");
    let sleeping = thread::spawn(move || ready(&mut sleeper, "CALL pgq_wait('q', '60 s', 2)"));
    until_asleep(&mut session, pid);
    session.execute("SELECT pgq_push('q', '2')", &[]).unwrap();
    assert!(sleeping.join().unwrap());
    // As drivers call it, with parameters without types, again and again.
    let statement = session.prepare("CALL pgq_wait($1, $2::text::interval)").unwrap();
    for _ in 0..10 {
        assert!(session.query_one(&statement, &[&"q", &"1 s"]).unwrap().get::<_, bool>("ready"));
    }
    session.execute("SELECT pgq_pop('q', 2)", &[]).unwrap();
    assert!(!session.query_one(&statement, &[&"q", &"1 ms"]).unwrap().get::<_, bool>("ready"));
}
