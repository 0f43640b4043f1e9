//! Windows of microseconds, held open: a session waits at a point of the engine (src/stop.rs) while
//! others do what must not harm. Runs on a build with stops: `.ci/stops`.

use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use postgres::Client;
use support::{Ask, Server, counted_ready, end_worker, until, until_asleep};

/// A point at which sessions of a server wait.
struct Point {
    file: PathBuf,
}

impl Point {
    fn of(server: &Server, name: &str) -> Self {
        Self { file: server.data().join(format!("stop.{name}")) }
    }

    fn is_reached(&self) -> bool {
        self.file.exists()
    }

    /// Waits until a session has come there.
    fn reach(&self) {
        until("a session comes to its point", || self.is_reached());
    }

    fn go_on(&self) {
        std::fs::remove_file(&self.file).unwrap();
    }
}

/// A session that waits at a point.
struct Stopped<R> {
    point: Point,
    session: JoinHandle<R>,
}

impl<R: Send + 'static> Stopped<R> {
    /// Does `work` in a session until it comes to the point.
    fn at(name: &str, server: &Server, work: impl FnOnce(&mut Client) -> R + Send + 'static) -> Self {
        let (point, mut session) = (Point::of(server, name), server.connect());
        session.batch_execute(&format!("SET pgqueue.stop = '{name}'")).unwrap();
        let session = thread::spawn(move || work(&mut session));
        point.reach();
        Self { point, session }
    }

    /// Lets it go on, past its point again if it comes back there.
    fn go_on(self) -> R {
        while !self.session.is_finished() {
            if self.point.is_reached() {
                self.point.go_on();
            }
            thread::sleep(Duration::from_millis(1));
        }
        self.session.join().unwrap()
    }
}

/// A server whose worker does no rounds.
fn without_rounds() -> Server {
    let server = Server::start();
    server.set("pgqueue.auto_vacuum = off");
    server
}

fn reserve(session: &mut Client, arguments: &str) -> Vec<i64> {
    session.all(&format!("SELECT id FROM pgq_reserve('q', lease => '1 h'{arguments})"))
}

#[test]
fn a_commit_wakes_sleepers_when_others_can_hear_which_queues_it_has_changed() {
    /// Sleepers look by themselves every five seconds.
    const SOONER: Duration = Duration::from_secs(4);
    let server = without_rounds();
    let (mut session, mut sleeper) = (server.connect(), server.connect());
    session.execute("SELECT pgq_create_queue('q')", &[]).unwrap();
    let pid: i32 = sleeper.one("SELECT pg_backend_pid()");
    let sleeping = thread::spawn(move || sleeper.batch_execute("CALL pgq_wait('q', '60 s')").unwrap());
    until_asleep(&mut session, pid);
    let anew = Stopped::at("CommitHasPublished", &server, |session| {
        session.batch_execute("SELECT pgq_drop_queue('q'); SELECT pgq_push('q', '1')").unwrap();
    });
    thread::sleep(Duration::from_millis(300)); // a sleeper that is woken now knows the old queue only
    let begun = Instant::now();
    anew.go_on();
    sleeping.join().unwrap();
    assert!(begun.elapsed() < SOONER, "{:?}", begun.elapsed());
}

#[test]
fn a_recount_beside_a_commit_counts_it_once() {
    let server = Server::start();
    let mut session = server.connect();
    session.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
    let recount = recount_anew(&server, &mut session);
    session.execute("SELECT pgq_push('q', '2')", &[]).unwrap();
    server.set("pgqueue.stop = ''");
    recount.go_on();
    thread::sleep(Duration::from_secs(1)); // ten rounds of the worker
    assert_eq!(counted_ready(&mut session), 2);
}

#[test]
fn a_recount_does_not_count_a_commit_whose_counts_are_on_their_way() {
    let server = Server::start();
    let mut session = server.connect();
    session.execute("SELECT pgq_push('q', '1')", &[]).unwrap();
    let push = Stopped::at("CommitIsToCount", &server, |session| {
        session.execute("SELECT pgq_push('q', '2')", &[]).unwrap();
    });
    let recount = recount_anew(&server, &mut session);
    recount.go_on();
    recount.reach(); // in vain: it begins again
    server.set("pgqueue.stop = ''");
    push.go_on();
    recount.go_on();
    thread::sleep(Duration::from_secs(1));
    assert_eq!(counted_ready(&mut session), 2);
}

/// A worker that has begun to count queues anew, and knows what the board has.
fn recount_anew(server: &Server, session: &mut Client) -> Point {
    let recount = Point::of(server, "RecountKnowsBoard");
    server.set("pgqueue.stop = 'RecountKnowsBoard'");
    end_worker(session);
    recount.reach();
    recount
}

#[test]
fn an_extension_whose_lease_ends_meanwhile_keeps_its_slot() {
    let server = without_rounds();
    let mut session = server.connect();
    session
        .batch_execute(
            r#"SELECT pgq_create_queue('q', '{"max_leased": 1}');
               SELECT pgq_push('q', '1'), pgq_push('q', '2', headers => '{"kind": "b"}')"#,
        )
        .unwrap();
    let leased: i64 = session.one("SELECT id FROM pgq_reserve('q', lease => '1 s')");
    let extension = Stopped::at("LeaseIsJudged", &server, move |session| {
        session
            .query_one("SELECT pgq_extend($1::bigint, '1 h') IS NOT NULL", &[&leased])
            .unwrap()
            .get::<_, bool>(0)
    });
    thread::sleep(Duration::from_millis(1_200));
    assert!(reserve(&mut session, r#", filter => '{"kind": "b"}'"#).is_empty());
    assert!(extension.go_on(), "it holds its message");
    assert!(reserve(&mut session, ", max => 9").is_empty());
}

/// The first of a group has its last delivery, which a call of its consumer judges in time and goes on with after
/// the lease. Its next must not be leased meanwhile, unless the call is refused.
fn assert_first_is_kept_by(settle: &'static str) {
    let server = without_rounds();
    let mut session = server.connect();
    for statement in [
        r#"SELECT pgq_create_queue('q', '{"max_deliveries": 1}')"#,
        "SELECT pgq_push('q', '1', group_key => 'g')",
        "SELECT pgq_push('q', '2', group_key => 'g', dedup_key => 'k')", // no reserve has put it aside
    ] {
        session.batch_execute(statement).unwrap();
    }
    let first: i64 = session.one("SELECT id FROM pgq_reserve('q', lease => '1 s')");
    let settling = Stopped::at("LeaseIsJudged", &server, move |session| {
        session.query_one(settle, &[&first]).unwrap().get::<_, bool>(0)
    });
    thread::sleep(Duration::from_millis(1_200));
    let mut other = server.connect();
    other.batch_execute("SET pgqueue.stop = 'EchoesAreSeen'").unwrap();
    let reserving = thread::spawn(move || reserve(&mut other, ""));
    let point = Point::of(&server, "EchoesAreSeen");
    until("the next is leased, or is not", || point.is_reached() || reserving.is_finished());
    assert!(settling.go_on(), "it was judged in time");
    if point.is_reached() {
        point.go_on();
    }
    assert_eq!(reserving.join().unwrap(), [0; 0], "the first is still there");
    let now = reserve(&mut session, ", max => 9");
    assert!(now.is_empty() || now == [first], "{now:?}");
}

#[test]
fn an_extension_whose_last_lease_ends_meanwhile_keeps_its_place_in_the_group() {
    assert_first_is_kept_by("SELECT pgq_extend($1::bigint, '1 h') IS NOT NULL");
}

#[test]
fn a_release_whose_last_lease_ends_meanwhile_keeps_its_place_in_the_group() {
    assert_first_is_kept_by("SELECT pgq_release($1::bigint)");
}

#[test]
fn a_slot_that_another_reserve_has_taken_meanwhile_is_not_taken_again() {
    let server = without_rounds();
    let mut session = server.connect();
    session
        .batch_execute(
            r#"SELECT pgq_create_queue('q', '{"max_leased": 1}');
               SELECT pgq_push('q', '1'), pgq_push('q', '2'), pgq_push('q', '3')"#,
        )
        .unwrap();
    let late = Stopped::at("SlotIsJudged", &server, |session| reserve(session, ", max => 2"));
    assert_eq!(reserve(&mut session, ", max => 2").len(), 1);
    assert!(late.go_on().is_empty());
}

/// Pushes messages of a group in one transaction; all but the first are put aside.
fn push_together(session: &mut Client, messages: i32) -> Vec<i64> {
    session.all_with(
        "SELECT pgq_push('q', to_jsonb(n), group_key => 'g') FROM generate_series(1, $1) n ORDER BY 1",
        &[&messages],
    )
}

#[test]
fn a_message_whose_first_leaves_while_it_is_moved_aside_comes_back() {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.vacuum_interval = '1 h'");
    let mut session = server.connect();
    session.execute("CREATE EXTENSION pgqueue", &[]).unwrap();
    let aside = Point::of(&server, "MovedAside");
    server.set("pgqueue.stop = 'MovedAside'");
    for n in 0..3 {
        session.execute("SELECT pgq_push('q', to_jsonb($1::int), group_key => 'g')", &[&n]).unwrap();
    }
    let first = reserve(&mut session, "");
    assert!(reserve(&mut session, "").is_empty());
    aside.reach();
    session.execute("SELECT pgq_delete($1::bigint)", &[&first[0]]).unwrap();
    server.set("pgqueue.stop = ''");
    aside.go_on();
    let begun = Instant::now();
    while reserve(&mut session, "").is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the second stays aside");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_look_for_the_next_that_is_out_of_date_is_repeated() {
    let server = without_rounds();
    let (mut session, mut other) = (server.connect(), server.connect());
    let first = push_together(&mut session, 1)[0];
    let others = push_together(&mut session, 2);
    // The canceller sees the first before those, and leaves the last aside.
    other.batch_execute(&format!("BEGIN; SELECT pgq_cancel({})", others[0])).unwrap();
    let delete = Stopped::at("NextIsLookedFor", &server, move |session| {
        session.execute("SELECT pgq_delete($1::bigint)", &[&first]).unwrap();
    });
    other.batch_execute("COMMIT").unwrap();
    delete.go_on();
    assert_eq!(reserve(&mut session, ""), others[1..]);
}

#[test]
fn a_message_that_gets_a_new_place_during_a_look_at_its_group_is_not_passed() {
    let server = without_rounds();
    let (mut session, mut producer) = (server.connect(), server.connect());
    let kind =
        |kind| format!(r#"SELECT pgq_push('q', '1', group_key => 'g', headers => '{{"kind": "{kind}"}}')"#);
    let first: i64 = session.one(&kind("a"));
    session.batch_execute(&kind("b")).unwrap();
    // What is being pushed is passed by a look; here the look waits.
    producer
        .batch_execute("BEGIN; SELECT pgq_push('q', '0', group_key => 'g', priority => -5::smallint)")
        .unwrap();
    let look =
        Stopped::at("TurnPassedOne", &server, |session| reserve(session, r#", filter => '{"kind": "b"}'"#));
    // Each look, the one under the lock too, has copied the page before the new version is on it.
    for priority in [-1_i64, -2] {
        look.point.reach();
        session.execute("SELECT pgq_update($1, priority => $2)", &[&first, &priority]).unwrap();
        look.point.go_on();
    }
    assert!(look.go_on().is_empty(), "the first has yet to be delivered");
    producer.batch_execute("ROLLBACK").unwrap();
    assert_eq!(reserve(&mut session, ""), [first]);
}

/// Messages 'old' and 'new' are pushed with one key; `meanwhile` is done with the first when the second push
/// has seen it wait. The new message can be reserved then.
fn assert_pushed_beside(settings: &str, meanwhile: &[&str]) {
    let server = without_rounds();
    let mut session = server.connect();
    for on_duplicate in ["ignore", "replace"] {
        session
            .batch_execute(&format!(
                "SELECT pgq_create_queue('q', '{settings}'); SELECT pgq_push('q', '\"old\"', dedup_key => 'k')"
            ))
            .unwrap();
        let push = Stopped::at("KeyIsLookedAt", &server, move |session| {
            session
                .execute(
                    "SELECT pgq_push('q', '\"new\"', dedup_key => 'k', on_duplicate => $1)",
                    &[&on_duplicate],
                )
                .unwrap();
        });
        meanwhile.iter().for_each(|statement| session.batch_execute(statement).unwrap());
        push.go_on();
        let waiting: Vec<String> = session.all("SELECT payload::text FROM pgq_reserve('q', max => 9)");
        assert_eq!(waiting, ["\"new\""], "{on_duplicate}");
        session.batch_execute("SELECT pgq_drop_queue('q')").unwrap();
    }
}

#[test]
fn a_push_counts_on_no_message_that_a_consumer_has_leased_since_it_looked() {
    assert_pushed_beside("{}", &["SELECT pgq_reserve('q', lease => '1 h')"]);
}

#[test]
fn a_push_counts_on_no_message_that_a_consumer_has_deleted_since_it_looked() {
    assert_pushed_beside("{}", &["SELECT pgq_pop('q')"]);
}

#[test]
fn a_push_counts_on_no_message_that_has_lost_its_last_delivery_since_it_looked() {
    let lease_ends = ["SELECT pgq_reserve('q', lease => '1 ms')", "SELECT pg_sleep(0.01)"];
    assert_pushed_beside(r#"{"max_deliveries": 1}"#, &lease_ends);
}

#[test]
fn a_push_writes_onto_no_message_that_a_redrive_has_taken_to_another_queue() {
    let server = without_rounds();
    let mut session = server.connect();
    session.batch_execute("SELECT pgq_create_queue('q'), pgq_create_queue('other')").unwrap();
    for on_duplicate in ["ignore", "replace"] {
        let id: i64 = session.one("SELECT pgq_push('q', '\"old\"', dedup_key => 'k')");
        let push = Stopped::at("KeyIsLookedAt", &server, move |session| {
            let call = "SELECT pgq_push('q', '\"new\"', dedup_key => 'k', on_duplicate => $1)";
            session.execute(call, &[&on_duplicate]).unwrap();
        });
        session
            .batch_execute(&format!(
                "SELECT pgq_bury({id}, 'x'); SELECT pgq_redrive_dead({id}, 'other', reset => false)"
            ))
            .unwrap();
        push.go_on();
        let got: Vec<String> =
            session.all("SELECT payload::text FROM pgq_pop('q', 9) UNION ALL SELECT payload::text FROM pgq_pop('other', 9)");
        assert_eq!(got, ["\"new\"", "\"old\""], "{on_duplicate}");
    }
}

/// A message that has lost its last delivery gets another by `settle`, while a reserve that has seen it dead is
/// about to bury it. It stays.
fn assert_not_buried(settings: &str, settle: &str) {
    let server = without_rounds();
    let mut session = server.connect();
    session.execute("SELECT pgq_create_queue('q', $1::text::jsonb)", &[&settings]).unwrap();
    let id: i64 = session.one("SELECT pgq_push('q', '1')");
    assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('q', lease => '300 ms')"), [id]);
    let mut consumer = server.connect();
    consumer.batch_execute(&format!("BEGIN; {}", settle.replace("$id", &id.to_string()))).unwrap();
    thread::sleep(Duration::from_millis(400));
    // With a filter it scans: a hint leaves out a message that is just being changed.
    let burying = Stopped::at("DeadAreFound", &server, |session| reserve(session, ", filter => '{}'"));
    consumer.batch_execute("COMMIT").unwrap();
    burying.go_on();
    assert_eq!(session.all::<i64>("SELECT id FROM pgqueue.message"), [id], "{settle}");
    assert_eq!(session.one::<i64>("SELECT count(*) FROM pgqueue.dead"), 0, "{settle}");
}

#[test]
fn a_message_that_was_given_back_meanwhile_is_not_buried() {
    assert_not_buried(r#"{"max_deliveries": 1}"#, "SELECT pgq_release($id, delivery => 1)");
    let fails = "SELECT pgq_fail($id, 'x', 1, delay => '0')";
    assert_not_buried(r#"{"on_timeout": "dead"}"#, fails);
}

#[test]
fn an_echo_that_becomes_a_replacement_before_it_is_removed_stays() {
    let server = without_rounds();
    let (mut session, mut holder) = (server.connect(), server.connect());
    session.execute("SELECT pgq_push('q', '\"old\"', dedup_key => 'k')", &[]).unwrap();
    holder.batch_execute("BEGIN; SELECT pgq_reserve('q')").unwrap();
    session.execute("SELECT pgq_push('q', '\"echo\"', dedup_key => 'k')", &[]).unwrap();
    holder.batch_execute("ROLLBACK").unwrap();
    assert_eq!(session.one::<i64>("SELECT count(*) FROM pgqueue.message"), 2, "one stands behind the other");
    let lease = Stopped::at("EchoesAreSeen", &server, |session| reserve(session, ""));
    session
        .execute("SELECT pgq_push('q', '\"new\"', dedup_key => 'k', on_duplicate => 'replace')", &[])
        .unwrap();
    let leased = lease.go_on();
    assert_eq!(leased.len(), 1);
    session.execute("SELECT pgq_delete($1::bigint)", &[&leased[0]]).unwrap();
    assert_eq!(session.all::<String>("SELECT payload::text FROM pgq_reserve('q')"), ["\"new\""]);
}

#[test]
fn a_look_for_dead_messages_that_others_made_slow_is_repeated_at_once() {
    let server = without_rounds();
    let mut session = server.connect();
    session
        .batch_execute(
            r#"SELECT pgq_create_queue('q', '{"max_length": 2, "on_full": "drop_oldest"}');
               SELECT pgq_push_batch('q', '{1,2}')"#,
        )
        .unwrap();
    let slow = Stopped::at("DeadAreLookedFor", &server, |session| {
        session.batch_execute("SELECT pgq_push('q', '3')").unwrap();
    });
    thread::sleep(Duration::from_millis(100));
    slow.go_on();
    let ends = "UPDATE pgqueue.message SET expires_at = '-infinity' WHERE payload = '3'";
    session.batch_execute(ends).unwrap();
    session.batch_execute("SELECT pgq_push('q', '4')").unwrap();
    assert_eq!(session.all::<String>("SELECT payload::text FROM pgq_pop('q', max => 9)"), ["2", "4"]);
}
