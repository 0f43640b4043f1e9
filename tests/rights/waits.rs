//! Calls that wait: what has become of a right meanwhile counts.

use std::thread;

use postgres::Client;
use support::{Ask, Server, blocked, until, until_blocked};

/// Roles, a queue `q` with a message, which `alice` owns, a topic `t` of hers to which `q` is subscribed, and a
/// queue, a schedule and a watch of `team`, of which she is a member.
const BEGIN: &str = "
    CREATE ROLE alice; CREATE ROLE bob; CREATE ROLE carol; CREATE ROLE team; GRANT team, carol TO alice;
    SET ROLE team;
    SELECT pgq_create_queue('q_of_team'), pgq_grant('q_of_team', 'bob', 'push'), pgq_schedule('s', 'q_of_team', '1 day', '1'),
           pgq_watch('w', 'q_of_team', 'SELECT 1, 1', '1 day');
    SET ROLE alice;
    SELECT pgq_create_queue('q'), pgq_grant('q', 'bob', 'push'), pgq_create_topic('t'), pgq_grant_topic('t', 'bob', 'publish');
    SELECT pgq_subscribe('t', 'q'), pgq_push('q', '1');
    RESET ROLE;
    SELECT pgq_create_queue('target'), pgq_grant('target', 'alice', 'push')";

const GIVES_QUEUE_AWAY: &str = "SELECT pgq_set_owner('q', 'bob')";
const GIVES_TOPIC_AWAY: &str = "SELECT pgq_set_topic_owner('t', 'bob')";
const HOLDS_MESSAGES: &str = "SELECT FROM pgqueue.message FOR UPDATE";
const REVOKES_TEAM: &str =
    "SELECT FROM pgqueue.queue FOR UPDATE; SELECT FROM pgqueue.schedule FOR UPDATE; REVOKE team FROM alice";

/// Statements of a transaction that commits while alice waits for it, and her call.
const WAITS: &[(&str, &str)] = &[
    (GIVES_QUEUE_AWAY, "SELECT pgq_drop_queue('q')"),
    (GIVES_QUEUE_AWAY, r#"SELECT pgq_alter_queue('q', '{"lease": "1 min"}')"#),
    (GIVES_QUEUE_AWAY, "SELECT pgq_pause('q')"),
    (GIVES_QUEUE_AWAY, "SELECT pgq_resume('q')"),
    (GIVES_QUEUE_AWAY, "SELECT pgq_set_owner('q', 'carol')"),
    (GIVES_QUEUE_AWAY, "SELECT pgq_grant('q', 'carol', 'push')"),
    (GIVES_QUEUE_AWAY, "SELECT pgq_revoke('q', 'bob', 'push')"),
    (REVOKES_TEAM, "SELECT pgq_drop_queue('q_of_team')"),
    (REVOKES_TEAM, r#"SELECT pgq_alter_queue('q_of_team', '{"lease": "1 min"}')"#),
    (REVOKES_TEAM, "SELECT pgq_pause('q_of_team')"),
    (REVOKES_TEAM, "SELECT pgq_set_owner('q_of_team', 'alice')"),
    (REVOKES_TEAM, "SELECT pgq_grant('q_of_team', 'carol', 'push')"),
    (REVOKES_TEAM, "SELECT pgq_revoke('q_of_team', 'bob', 'push')"),
    (REVOKES_TEAM, "SELECT pgq_reassign_owned('team', 'alice')"),
    (REVOKES_TEAM, "SELECT pgq_unschedule('s')"),
    (REVOKES_TEAM, "SELECT pgq_unwatch('w')"),
    (REVOKES_TEAM, "SELECT pgq_schedule('s', 'q', '1 day', '1')"),
    (GIVES_TOPIC_AWAY, "SELECT pgq_drop_topic('t')"),
    (GIVES_TOPIC_AWAY, "SELECT pgq_grant_topic('t', 'carol', 'publish')"),
    (GIVES_TOPIC_AWAY, "SELECT pgq_revoke_topic('t', 'bob', 'publish')"),
    (GIVES_TOPIC_AWAY, "SELECT pgq_set_topic_owner('t', 'carol')"),
];

/// The same, where the call waits for rows of which the queue's is none.
const WAITS_FOR_OTHERS: &[(&str, &str, &str)] = &[
    (HOLDS_MESSAGES, GIVES_QUEUE_AWAY, "SELECT pgq_purge('q')"),
    (HOLDS_MESSAGES, "SELECT pgq_revoke('target', 'alice', 'push')", "SELECT pgq_move(:id, 'target')"),
    (
        "SELECT FROM pgqueue.subscription FOR UPDATE",
        "SELECT pgq_set_owner('q', 'bob'), pgq_set_topic_owner('t', 'bob')",
        "SELECT pgq_unsubscribe('t', 'q')",
    ),
];

/// All that the calls change, as text.
fn state(session: &mut Client) -> String {
    let tables = ["queue", "message", "privilege", "topic", "subscription", "schedule", "dropped_queue"];
    let rows = tables.map(|table| {
        session.all::<String>(&format!("SELECT r::text FROM pgqueue.{table} r ORDER BY 1")).join("\n")
    });
    rows.join("\n\n")
}

/// Does `change` in a transaction that alice's call waits for, and commits it. She must be refused, and change
/// nothing.
fn refused_after(server: &Server, change: &str, call: &str) -> Result<(), String> {
    let (mut root, mut alice, mut observer) = (server.connect(), server.connect(), server.connect());
    root.batch_execute(&format!("CREATE EXTENSION pgqueue; {BEGIN}")).unwrap();
    alice.batch_execute("SET ROLE alice").unwrap();
    root.batch_execute(&format!("BEGIN; {change}")).unwrap();
    let id: i64 = observer.one("SELECT id FROM pgqueue.message");
    let waiting = call.replace(":id", &id.to_string());
    let waiting = thread::spawn(move || alice.batch_execute(&waiting).map_err(|error| error.code().cloned()));
    until("the call waits", || waiting.is_finished() || blocked(&mut observer) == 1);
    root.batch_execute("COMMIT").unwrap();
    let after = state(&mut root);
    let outcome = waiting.join().unwrap();
    let is_same = state(&mut root) == after;
    root.batch_execute("DROP EXTENSION pgqueue; DROP ROLE alice, bob, carol, team").unwrap();
    match outcome {
        Err(Some(code)) if code.code() == "42501" && is_same => Ok(()),
        other => Err(format!("{change}; {call}: {other:?}, unchanged: {is_same}")),
    }
}

fn all_are_refused(waits: impl IntoIterator<Item = (String, &'static str)>) {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.auto_vacuum = off");
    let failed = waits.into_iter().filter_map(|(change, call)| refused_after(&server, &change, call).err());
    let failed: Vec<String> = failed.collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_call_that_waits_for_its_queue_or_topic_needs_the_right_when_it_goes_on() {
    all_are_refused(WAITS.iter().map(|&(change, call)| (change.to_owned(), call)));
}

#[test]
fn a_call_that_waits_for_messages_or_subscriptions_needs_the_right_when_it_goes_on() {
    let waits = WAITS_FOR_OTHERS.iter();
    all_are_refused(waits.map(|&(hold, change, call)| (format!("{hold}; {change}"), call)));
}

#[test]
fn an_owner_who_waits_for_the_drop_of_a_queue_is_told_that_it_is_gone() {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.auto_vacuum = off");
    let (mut root, mut other, mut observer) = (server.connect(), server.connect(), server.connect());
    root.batch_execute("CREATE EXTENSION pgqueue; CREATE ROLE bob").unwrap();
    for call in [
        "pgq_set_owner('q', 'bob')",
        "pgq_pause('q')",
        "pgq_grant('q', 'bob', 'push')",
        "pgq_drop_queue('q')",
    ] {
        root.batch_execute("SELECT pgq_create_queue('q')").unwrap();
        root.batch_execute("BEGIN; SELECT pgq_drop_queue('q')").unwrap();
        let waiting = thread::spawn(move || (other.sqlstate(&format!("SELECT {call}")), other));
        until_blocked(&mut observer, 1);
        root.batch_execute("COMMIT").unwrap();
        let told;
        (told, other) = waiting.join().unwrap();
        assert_eq!(told, "42704", "{call}");
    }
}
