//! Messages changed, cancelled and moved while others reserve them.

use std::collections::HashMap;
use std::thread;

use postgres::Client;
use support::{Ask, Server, until, until_blocked};

/// The calls, for a message.
const CALLS: [&str; 3] = [
    "SELECT 1::bigint WHERE pgq_update({id}, headers => '{\"changed\": true}')",
    "SELECT pgq_cancel_batch(ARRAY[{id}]::bigint[])",
    "SELECT id FROM pgq_move_batch(ARRAY[{id}]::bigint[], 'other')",
];

/// Runs a call that has to wait for another session, which then ends its transaction.
fn waits_for(holder: &mut Client, end: &str, mut caller: Client, call: &str) -> Vec<i64> {
    thread::scope(|scope| {
        let waiting = scope.spawn(move || caller.all::<i64>(call));
        until_blocked(holder, 1);
        holder.batch_execute(end).unwrap();
        waiting.join().unwrap()
    })
}

#[test]
fn a_change_that_waited_for_a_reserve_is_judged_by_its_outcome() {
    let server = Server::start();
    let mut holder = server.connect();
    holder.execute("SELECT pgq_create_queue('other')", &[]).unwrap();
    for call in CALLS {
        for (end, is_done) in [("COMMIT", false), ("ROLLBACK", true)] {
            let id: i64 = holder.one("SELECT pgq_push('q', '1')");
            holder.batch_execute("BEGIN; SELECT pgq_reserve('q', '1 h')").unwrap();
            let call = call.replace("{id}", &id.to_string());
            let done = waits_for(&mut holder, end, server.connect(), &call);
            assert_eq!(!done.is_empty(), is_done, "{call} after {end}");
            holder.execute("SELECT pgq_purge('q'), pgq_purge('other')", &[]).unwrap();
        }
    }
}

#[test]
fn a_cancel_that_waited_for_a_release_gets_the_message() {
    let server = Server::start();
    let mut holder = server.connect();
    holder.execute("SELECT pgq_create_queue('other')", &[]).unwrap();
    for call in CALLS {
        let id: i64 = holder.one("SELECT pgq_push('q', '1')");
        holder.execute("SELECT pgq_reserve('q', '1 h')", &[]).unwrap();
        holder.batch_execute(&format!("BEGIN; SELECT pgq_release({id})")).unwrap();
        let call = call.replace("{id}", &id.to_string());
        assert_eq!(waits_for(&mut holder, "COMMIT", server.connect(), &call).len(), 1, "{call}");
        holder.execute("SELECT pgq_purge('q'), pgq_purge('other')", &[]).unwrap();
    }
}

#[test]
fn a_message_is_popped_or_cancelled_once_however_often_it_is_moved_and_updated() {
    take_all_amid_changes(2_000, "NULL", &[]);
}

#[test]
fn so_is_a_message_of_a_group() {
    // Who removes a message of a group looks at the next of it, whatever its id: of two
    // calls that remove many, one may have to try again.
    take_all_amid_changes(500, "(n % 20)::text", &["40P01"]);
}

/// Takes messages while others change them, and checks that each is taken once.
fn take_all_amid_changes(messages: usize, group_key: &str, refused: &[&str]) {
    // One call locks in the order of ids; several in a statement have to be brought into it.
    const CHANGES: [&str; 4] = [
        "SELECT id FROM (SELECT array_agg(id) AS ids FROM pgq_peek('a', 20)) m, pgq_move_batch(ids, 'b') WHERE ids IS NOT NULL",
        "SELECT id FROM (SELECT array_agg(id ORDER BY id DESC) AS ids FROM pgq_peek('b', 20)) m, pgq_move_batch(ids, 'a') WHERE ids IS NOT NULL",
        "SELECT count(pgq_update(id, priority => (random() * 3)::int)) FROM (SELECT id FROM pgq_peek('a', 20) ORDER BY 1) m",
        "SELECT count(pgq_update(id, deliver_at => clock_timestamp() + '1 ms')) FROM (SELECT id FROM pgq_peek('b', 20) ORDER BY 1) m",
    ];
    const TAKES: [&str; 4] = [
        "SELECT payload::int FROM pgq_pop('a', 3)",
        "SELECT payload::int FROM pgq_pop('b', 3)",
        "SELECT payload::int FROM pgq_reserve('b', max => 2) m WHERE pgq_delete(m.id, m.delivery)",
        // LIMIT, so that the call comes after the sort
        "SELECT payload::int FROM (SELECT * FROM pgq_peek('a', 3) ORDER BY id LIMIT 3) m WHERE pgq_cancel(m.id)",
    ];
    let server = Server::start();
    let mut session = server.connect();
    session
        .batch_execute(&format!(
            "SELECT pgq_create_queue('a'), pgq_create_queue('b');
             SELECT pgq_push('a', to_jsonb(n), group_key => {group_key}) FROM generate_series(1, {messages}) n"
        ))
        .unwrap();
    let is_over = |session: &mut Client| session.one::<i64>("SELECT count(*) FROM pgqueue.message") == 0;
    let ask = |session: &mut Client, query: &str| -> Vec<i32> {
        match session.query(query, &[]) {
            Ok(rows) => rows.iter().filter_map(|row| row.try_get(0).ok()).collect(),
            Err(error) => {
                let code = error.code().expect("an error of the server").code();
                assert!(refused.contains(&code), "{query}: {error:?}");
                Vec::new()
            }
        }
    };
    let taken: Vec<i32> = thread::scope(|scope| {
        let takers: Vec<_> = TAKES
            .into_iter()
            .map(|take| {
                let mut session = server.connect();
                scope.spawn(move || {
                    let mut taken = Vec::new();
                    until("nothing is left", || {
                        taken.extend(ask(&mut session, take));
                        is_over(&mut session)
                    });
                    taken
                })
            })
            .collect();
        for change in CHANGES {
            let mut session = server.connect();
            scope.spawn(move || {
                for _ in 0..300 {
                    ask(&mut session, change);
                }
            });
        }
        takers.into_iter().flat_map(|taker| taker.join().unwrap()).collect()
    });
    let mut times: HashMap<i32, usize> = HashMap::new();
    for n in taken {
        *times.entry(n).or_default() += 1;
    }
    assert_eq!(times.len(), messages, "nothing is lost");
    assert!(times.values().all(|&n| n == 1), "nothing is doubled");
}

#[test]
fn a_message_on_the_move_is_in_exactly_one_queue() {
    let server = Server::start();
    let mut session = server.connect();
    session.batch_execute("SELECT pgq_create_queue('a'), pgq_create_queue('b')").unwrap();
    session.execute("SELECT pgq_push('a', to_jsonb(n)) FROM generate_series(1, 100) n", &[]).unwrap();
    thread::scope(|scope| {
        for (from, to) in [("a", "b"), ("b", "a"), ("a", "b")] {
            let mut session = server.connect();
            scope.spawn(move || {
                for _ in 0..100 {
                    let ids: Vec<i64> = session.all(&format!("SELECT id FROM pgq_peek('{from}', 30)"));
                    if !ids.is_empty() {
                        session.execute(&format!("SELECT pgq_move_batch($1, '{to}')"), &[&ids]).unwrap();
                    }
                }
            });
        }
        for _ in 0..100 {
            let row = session
                .query_one("SELECT count(*), count(DISTINCT payload) FROM pgqueue.message", &[])
                .unwrap();
            assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (100, 100));
        }
    });
    assert_eq!(session.one::<i64>("SELECT sum(ready)::bigint FROM pgq_stats()"), 100);
    assert_eq!(session.one::<i64>("SELECT sum(pushed - deleted)::bigint FROM pgq_stats()"), 100);
}

#[test]
fn a_receipt_from_before_an_update_is_refused() {
    let server = Server::start();
    let mut session = server.connect();
    for key in ["NULL", "'k'"] {
        let push = format!("SELECT pgq_push('q', '\"old\"', dedup_key => {key})");
        let id: i64 = session.one(&push);
        let delete = format!("SELECT pgq_delete({id}, 1)");
        assert_eq!(session.all::<i64>("SELECT id FROM pgq_reserve('q', '1 ms')"), [id]);
        until("its lease has ended", || {
            session.one("SELECT lease_until < clock_timestamp() FROM pgqueue.message")
        });
        assert!(session.one::<bool>(&format!("SELECT pgq_update({id}, '\"new\"')")));
        assert!(!session.one::<bool>(&delete), "with key {key}");
        let delivered: Vec<String> = session.all("SELECT payload #>> '{}' FROM pgq_reserve('q')");
        assert_eq!(delivered, ["new"]);
        assert!(session.one::<bool>(&format!("SELECT pgq_delete({id}, 2)")));
    }
    // Priority and time are no content.
    let id: i64 = session.one("SELECT pgq_push('q', '1')");
    session.execute("SELECT * FROM pgq_reserve('q', '1 ms')", &[]).unwrap();
    until("it can be changed", || session.one(&format!("SELECT pgq_update({id}, priority => 3)")));
    assert!(session.one::<bool>(&format!("SELECT pgq_delete({id}, 1)")));
}
