//! Large things: bodies of hundreds of megabytes, a million ids.

use support::{Ask, Server};

use crate::{server, setting, verdict};

/// Bytes of a body in CI; `PGQUEUE_FUZZ_BODY_MB` says otherwise.
const BODY_MB: u64 = 30;

fn started() -> Server {
    let server = server();
    server.connect().batch_execute("CREATE EXTENSION pgqueue").unwrap();
    server
}

#[test]
fn a_body_of_all_bytes_is_unchanged_on_every_path() {
    let server = started();
    let mut session = server.connect();
    let megabytes = setting("PGQUEUE_FUZZ_BODY_MB").unwrap_or(BODY_MB);
    // Every byte, in an order that does not compress.
    session
        .batch_execute(&format!(
            "CREATE TABLE body AS
             SELECT decode(repeat(string_agg(md5(n::text), '') || string_agg(lpad(to_hex(n), 2, '0'), ''),
                                  {megabytes} * 1024 * 1024 / (256 * 17)), 'hex') AS b
               FROM generate_series(0, 255) n;
             CREATE TABLE fingerprint AS SELECT md5(b) AS f FROM body"
        ))
        .unwrap();
    let fingerprint: String = session.one("SELECT f FROM fingerprint");
    assert!(session.one::<i32>("SELECT length(b) FROM body") as u64 > (megabytes - 1) << 20);
    for way in [
        "SELECT pgq_create_queue('large', '{\"archive\": \"1 day\"}')",
        "SELECT pgq_push_bytes('large', b) FROM body",
        "SELECT pgq_push_bytes_batch('large', ARRAY[b]) FROM body",
        "SELECT pgq_push_bytes('large', b, dedup_key => 'k', on_duplicate => 'replace') FROM body",
        "SELECT pgq_push_bytes('large', b, dedup_key => 'k', on_duplicate => 'replace') FROM body",
    ] {
        session.batch_execute(way).unwrap_or_else(|error| panic!("{way}: {error:?}"));
    }
    let pushed: Vec<String> = session.all("SELECT md5(body) FROM pgq_peek('large', max => 10)");
    assert_eq!(pushed, vec![fingerprint.clone(); 3]);
    for (way, shown) in [
        ("SELECT pgq_release(id) FROM pgq_reserve('large', '1 h', max => 3)", "pgq_peek('large', max => 10)"),
        ("SELECT count(*) FROM pgq_pop('large')", "pgq_peek('large', max => 10, state => 'archived')"),
        (
            "SELECT pgq_move_batch(ARRAY[id], 'large too') FROM pgq_create_queue('large too'), pgq_peek('large')",
            "pgq_peek('large too')",
        ),
        ("SELECT pgq_bury(id, 'no') FROM pgq_reserve('large')", "pgq_peek_dead('large')"),
        ("SELECT pgq_redrive('large')", "pgq_reserve('large')"),
    ] {
        session.batch_execute(way).unwrap_or_else(|error| panic!("{way}: {error:?}"));
        let shown: Vec<String> = session.all(&format!("SELECT md5(body) FROM {shown}"));
        assert!(!shown.is_empty() && shown.iter().all(|one| *one == fingerprint), "{way}: {shown:?}");
    }
    assert_eq!(verdict::bad_lines(&server.log()), [""; 0]);
}

#[test]
fn a_million_ids_are_settled_by_one_call() {
    let server = started();
    let mut session = server.connect();
    let count = |session: &mut postgres::Client, query: &str| {
        session.one::<i64>(&format!("SELECT count(*) FROM {query}"))
    };
    const MILLION: &str = "ARRAY(SELECT generate_series(1, 1000000)::bigint)";
    const OTHERS: &str = "ARRAY(SELECT generate_series(2000001, 2980000)::bigint)";
    let some = "SELECT pgq_push_batch('q', array_fill('1'::jsonb, ARRAY[20000]))";
    session.batch_execute(some).unwrap();
    let deliveries = "array_fill(1, ARRAY[1000000])";
    assert_eq!(count(&mut session, "pgq_reserve('q', '1 h', max => 2147483647)"), 20_000);
    assert_eq!(count(&mut session, &format!("pgq_extend_batch({MILLION}, '2 h', {deliveries})")), 20_000);
    assert_eq!(count(&mut session, &format!("pgq_release_batch({MILLION}, '0', {deliveries})")), 20_000);
    assert_eq!(count(&mut session, "pgq_reserve('q', '1 h', max => 20000)"), 20_000);
    assert_eq!(
        count(&mut session, &format!("pgq_fail_batch({MILLION}, 'no', array_fill(2, ARRAY[1000000]), '0')")),
        20_000
    );
    assert_eq!(count(&mut session, "pgq_reserve('q', '1 h', max => 20000)"), 20_000);
    let of_those = "ARRAY(SELECT id FROM pgqueue.message ORDER BY id)";
    assert_eq!(count(&mut session, &format!("pgq_release_batch({of_those}, strict => true)")), 20_000);
    assert_eq!(session.sqlstate(&format!("SELECT pgq_release_batch({MILLION}, strict => true)")), "P0002");
    session.batch_execute("SELECT pgq_create_queue('to')").unwrap();
    assert_eq!(
        count(
            &mut session,
            "pgq_move_batch(ARRAY(SELECT generate_series(1, 1000)::bigint) || ARRAY(SELECT generate_series(1, 999000)::bigint), 'to')"
        ),
        20_000
    );
    assert_eq!(
        count(
            &mut session,
            &format!("pgq_bury_batch(ARRAY(SELECT id FROM pgqueue.message LIMIT 10000) || {OTHERS}, 'no')")
        ),
        10_000
    );
    assert_eq!(
        count(
            &mut session,
            &format!("pgq_cancel_batch({OTHERS} || ARRAY(SELECT id FROM pgqueue.message LIMIT 5000))")
        ),
        5_000
    );
    assert_eq!(
        count(&mut session, &format!("pgq_delete_batch({OTHERS} || ARRAY(SELECT id FROM pgqueue.message))")),
        5_000
    );
    assert_eq!(count(&mut session, "pgqueue.message"), 0);
    assert_eq!(count(&mut session, "pgq_push_batch('q', array_fill('1'::jsonb, ARRAY[200000]))"), 200_000);
    assert_eq!(verdict::bad_lines(&server.log()), [""; 0]);
}
