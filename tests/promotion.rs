//! What there is after a standby was promoted.

use std::collections::HashSet;

use support::{Ask, Server, Stop};

#[test]
fn a_receipt_fits_no_message_pushed_after_the_promotion() {
    let primary = Server::start();
    let mut session = primary.connect();
    session
        .batch_execute(
            "SELECT pgq_create_queue('q', '{\"events_to\": \"events\", \"lease\": \"1 h\"}'), pgq_create_queue('other');
             SELECT pgq_push('q', to_jsonb(n)) FROM generate_series(1, 4) n;
             SELECT pgq_bury(id, 'dead') FROM pgq_reserve('q')",
        )
        .unwrap();
    let standby = primary.standby("standby");
    primary.until_replayed_by(&standby);
    standby.cut_off();
    // The sequence is 32 steps ahead of itself on the standby.
    session.execute("SELECT pgq_push('q', to_jsonb(n)) FROM generate_series(1, 500) n", &[]).unwrap();
    let receipts = session.query("SELECT id, delivery FROM pgq_reserve('q', max => 1000)", &[]).unwrap();
    let lost: HashSet<i64> = receipts.iter().map(|row| row.get(0)).collect();
    primary.stop(Stop::Kill);
    standby.promote();

    let mut session = standby.connect();
    let known: HashSet<i64> = session.all("SELECT id FROM pgqueue.message").into_iter().collect();
    let all = "SELECT id FROM pgqueue.message";
    session
        .batch_execute(
            "SELECT pgq_redrive('q');
             SELECT pgq_move(ARRAY[2], 'other');
             SELECT pgq_fail(id, 'again', delay => '0') FROM pgq_reserve('q');
             SELECT pgq_push('q', to_jsonb(n)) FROM generate_series(1, 500) n;
             SELECT pgq_push('q', '1', dedup_key => 'k');
             SELECT pgq_push_batch('q', array_fill('1'::jsonb, ARRAY[500]))",
        )
        .unwrap();
    let new: Vec<i64> = session.all::<i64>(all).into_iter().filter(|id| !known.contains(id)).collect();
    assert_eq!(new.len(), 1004);
    assert_eq!(new.iter().filter(|id| lost.contains(id)).collect::<Vec<_>>(), [&0; 0]);
    // What a consumer of the old primary says of its messages changes nothing here.
    session.execute("SELECT pgq_reserve('q', max => 2000)", &[]).unwrap();
    let before: i64 = session.one("SELECT count(*) FROM pgqueue.message");
    for row in receipts.iter().filter(|row| !known.contains(&row.get(0))) {
        let (id, delivery): (i64, i32) = (row.get(0), row.get(1));
        let settled = session.query_one("SELECT pgq_delete($1::bigint, $2::int)", &[&id, &delivery]).unwrap();
        assert!(!settled.get::<_, bool>(0), "{id}");
    }
    assert_eq!(session.one::<i64>("SELECT count(*) FROM pgqueue.message"), before);
}
