//! Captured changes and watched values: each write is captured, and written the same everywhere.

use std::path::Path;

use postgres::Client;
use support::{Ask, Server, Stop};

/// A server that knows the locale de_DE.UTF-8, whatever its machine has, and without rounds.
fn server_in_germany() -> Server {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.auto_vacuum = off");
    let data: String = server.connect().one("SHOW data_directory");
    server.stop(Stop::Fast);
    server.shell(
        "localedef -i de_DE -f UTF-8 $LOCPATH/de_DE.UTF-8 && pg_ctl start -w -s -l $DATA/log -D $DATA",
        &[("LOCPATH", server.place()), ("DATA", Path::new(&data))],
    );
    server
        .connect()
        .batch_execute(
            "CREATE EXTENSION pgqueue;
             CREATE TABLE cash (id int PRIMARY KEY, price money, day timestamptz, row_of bytea);
             INSERT INTO cash VALUES (1, 1234.5::numeric::money, '2026-02-01 12:00 UTC', '\\x00ff')",
        )
        .unwrap();
    server
}

/// The settings of a session that show in the text of values.
const OTHER_SETTINGS: &str = "SET lc_monetary = 'de_DE.UTF-8'; SET lc_time = 'de_DE.UTF-8';
    SET datestyle = 'German'; SET timezone = 'Asia/Tokyo'; SET bytea_output = 'escape'";

#[test]
fn captured_values_are_written_the_same_whatever_the_locale_of_the_database() {
    let server = server_in_germany();
    let mut session = server.connect();
    session
        .batch_execute(
            "CREATE TRIGGER r AFTER UPDATE ON cash FOR EACH ROW EXECUTE FUNCTION pgq_capture('cash');
             CREATE TRIGGER u AFTER UPDATE ON cash REFERENCING OLD TABLE AS o NEW TABLE AS n
                 FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('cash');
             UPDATE cash SET id = 2",
        )
        .unwrap();
    session.batch_execute(&format!("{OTHER_SETTINGS}; UPDATE cash SET id = 3")).unwrap();
    let written: String = session.one("SELECT price::text FROM cash");
    assert_eq!(written, "1.234,50 €", "the session writes it so");
    let values: Vec<String> = session.all("SELECT DISTINCT payload -> 'new' ->> 'price' FROM pgq_pop('cash', max => 99) WHERE payload ->> 'op' = 'create'");
    assert_eq!(values, ["$1,234.50"]);
}

fn found(session: &mut Client) -> Vec<String> {
    session.batch_execute("SELECT FROM pgq_vacuum(); SELECT pg_sleep(1.1)").unwrap();
    session.all("SELECT payload ->> 'hash' FROM pgq_pop('found', max => 99)")
}

#[test]
fn a_watch_finds_no_change_where_only_the_settings_of_a_session_are_others() {
    let server = server_in_germany();
    let mut session = server.connect();
    session
        .batch_execute(
            "SELECT pgq_watch('money', 'found', 'SELECT id, price FROM cash', '1 s'),
                    pgq_watch('row', 'found', 'SELECT id, md5(cash::text) FROM cash', '1 s');
             SELECT pg_sleep(1.1)",
        )
        .unwrap();
    let first = found(&mut session);
    assert_eq!(first.len(), 2, "{first:?}");
    assert!(first.contains(&"$1,234.50".into()), "{first:?}");
    // A round by hand in such a session, and a session that has begun with such settings.
    session.batch_execute(OTHER_SETTINGS).unwrap();
    assert_eq!(found(&mut session), [""; 0]);
    let mut session = server.connect();
    assert_eq!(found(&mut session), [""; 0]);
    session.batch_execute("ALTER DATABASE postgres SET lc_monetary = 'de_DE.UTF-8'").unwrap();
    assert_eq!(found(&mut server.connect()).len(), 1, "the query of the one is written as the database says");
    session.batch_execute("UPDATE cash SET price = 2::money").unwrap();
    let changed = found(&mut session);
    assert_eq!(changed.len(), 2, "{changed:?}");
}

/// A table takes a value that no JSON has room for, and so does its trigger.
#[test]
fn a_value_that_is_too_long_for_json_is_left_out_and_the_message_says_so() {
    let server = server_without_rounds();
    let mut session = server.connect();
    session
        .batch_execute(
            "CREATE TABLE long (id int PRIMARY KEY, note text, content bytea);
             CREATE TRIGGER r AFTER INSERT OR UPDATE OR DELETE ON long FOR EACH ROW EXECUTE FUNCTION pgq_capture('long');
             INSERT INTO long VALUES (1, 'a', convert_to(repeat('x', 135000000), 'UTF8'))",
        )
        .unwrap();
    const CHANGES: &str = "SELECT (payload - 'table' - 'old')::text FROM pgq_pop('long', max => 9)";
    let inserted: Vec<String> = session.all(CHANGES);
    assert_eq!(
        inserted,
        [
            r#"{"op": "create", "key": {"id": 1}, "new": {"id": 1, "note": "a", "content": null}, "truncated": true}"#
        ]
    );
    // Of one that fits by itself, but not beside the row as it was, too. What cannot be seen has
    // changed or not: it is told.
    session.batch_execute("UPDATE long SET content = convert_to(repeat('x', 70000000), 'UTF8')").unwrap();
    session.batch_execute("SELECT pgq_purge('long'); UPDATE long SET content = content || 'y'").unwrap();
    let updated: Vec<String> = session.all(CHANGES);
    assert_eq!(
        updated,
        [
            r#"{"op": "update", "key": {"id": 1}, "new": {"id": 1, "note": "a", "content": null}, "truncated": true}"#
        ]
    );
}

fn server_without_rounds() -> Server {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.auto_vacuum = off");
    server.connect().batch_execute("CREATE EXTENSION pgqueue").unwrap();
    server
}

#[test]
fn captured_xml_is_written_the_same_whatever_the_session_takes_for_xml() {
    let server = Server::start();
    let mut session = server.connect();
    session
        .batch_execute(
            "CREATE TABLE page (id int PRIMARY KEY, x xml);
             CREATE TRIGGER r AFTER INSERT ON page FOR EACH ROW EXECUTE FUNCTION pgq_capture('pages');
             CREATE TRIGGER i AFTER INSERT ON page REFERENCING NEW TABLE AS n
                 FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('pages')",
        )
        .unwrap();
    let has_xml = "SELECT setting LIKE '%libxml%' FROM pg_config WHERE name = 'CONFIGURE'";
    if !session.one::<bool>(has_xml) {
        assert_eq!(session.sqlstate("INSERT INTO page VALUES (1, '<a/>')"), "0A000");
        return;
    }
    session
        .batch_execute(
            "INSERT INTO page VALUES (1, 'a<b/>');
             SET xmloption = document; INSERT INTO page SELECT 2, x FROM page",
        )
        .unwrap();
    let written: Vec<String> = session.all("SELECT payload -> 'new' ->> 'x' FROM pgq_pop('pages', max => 9)");
    assert_eq!(written, ["a<b/>"; 4]);
}
