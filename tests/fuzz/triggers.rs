//! `pgq_capture`, whose arguments are those of a trigger, on tables of every kind.

use std::collections::HashSet;

use postgres::Client;

use crate::{Encoding, open, server, verdict};

const TABLES: [&str; 6] = [
    "CREATE TABLE t (id int PRIMARY KEY, name text, at timestamptz, span interval, list int[], doc jsonb, raw bytea)",
    "CREATE TABLE t (a int, \"Odd \"\"Name\" text, name text)",
    "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, name text, twice text GENERATED ALWAYS AS (name || name) STORED, PRIMARY KEY (id, name))",
    "CREATE TABLE t (id int PRIMARY KEY, gone int, name text); ALTER TABLE t DROP COLUMN gone",
    "CREATE TABLE t (id int PRIMARY KEY, name text) PARTITION BY RANGE (id);
     CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10); CREATE TABLE t2 PARTITION OF t DEFAULT",
    "CREATE TABLE t (name text); ALTER TABLE t ADD COLUMN later numeric DEFAULT 'NaN'",
];

const TIMES: [&str; 10] = [
    "AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW",
    "AFTER UPDATE OF name ON t FOR EACH ROW",
    "AFTER INSERT ON t REFERENCING NEW TABLE AS n FOR EACH STATEMENT",
    "AFTER UPDATE ON t REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT",
    "AFTER INSERT ON t REFERENCING NEW TABLE AS \"é \"\"odd\" FOR EACH STATEMENT",
    "AFTER UPDATE ON t REFERENCING NEW TABLE AS n FOR EACH STATEMENT",
    "AFTER DELETE ON t REFERENCING OLD TABLE AS o FOR EACH STATEMENT",
    "AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH STATEMENT",
    "BEFORE INSERT OR UPDATE OR DELETE ON t FOR EACH ROW",
    "AFTER TRUNCATE ON t FOR EACH STATEMENT",
];

const ARGUMENTS: [&str; 12] = [
    "'changes'",
    "",
    "''",
    "'changes', 'id'",
    "'changes', 'name', 'name'",
    "'changes', 'Odd \"Name'",
    "'changes', ''",
    "'changes', 'nothing'",
    "'changes', 'gone'",
    "'changes', 'ctid'",
    "'a queue of someone else'",
    "5, 1.5, word",
];

const STATEMENTS: [&str; 6] = [
    "INSERT INTO t (name) SELECT 'x' FROM generate_series(1, 3) n",
    "UPDATE t SET name = name || 'y'",
    "UPDATE t SET name = name",
    "UPDATE t SET name = NULL",
    "DELETE FROM t",
    "TRUNCATE t",
];

/// What Postgres itself says of a row: a null in a primary key.
const NOT_NULL: &str = "23502";

/// A table with one row, a trigger on it, and a statement that fires it.
struct Case {
    table: &'static str,
    trigger: String,
}

impl Case {
    /// Makes table and trigger in a transaction of their own; false if Postgres refuses to.
    fn make(&self, session: &mut Client) -> bool {
        let row = if self.has_id() { "(id, name) VALUES (1, 'there')" } else { "(name) VALUES ('there')" };
        session.batch_execute(&format!("BEGIN; {}; INSERT INTO t {row}", self.table)).unwrap();
        session.batch_execute(&format!("{}; SAVEPOINT made", self.trigger)).is_ok()
    }

    fn has_id(&self) -> bool {
        self.table.contains("id int PRIMARY KEY")
    }

    /// Runs a statement and undoes it; true if its changes were captured.
    fn fires(&self, session: &mut Client, statement: &str, documented: &HashSet<String>) -> bool {
        let columns = if self.has_id() { "(id, name) SELECT n + 5, 'x'" } else { "(name) SELECT 'x'" };
        let statement = statement.replace("(name) SELECT 'x'", columns);
        let outcome = session.batch_execute(&statement);
        if let Err(error) = &outcome {
            let state = verdict::sqlstate(error);
            let is_expected = state == NOT_NULL || documented.contains(&state);
            assert!(
                is_expected,
                "{}\n{};\n{};\n{statement};",
                verdict::described(error),
                self.table,
                self.trigger
            );
        }
        session.batch_execute("ROLLBACK TO made").unwrap();
        outcome.is_ok()
    }
}

fn every_trigger_captures_or_says_why_not(encoding: Encoding) {
    let server = server();
    let documented = verdict::documented();
    let mut session = open(&server, encoding);
    let mut captured = 0usize;
    for table in TABLES {
        for (time, arguments) in TIMES.iter().flat_map(|time| ARGUMENTS.map(|arguments| (time, arguments))) {
            let trigger = format!("CREATE TRIGGER c {time} EXECUTE FUNCTION pgq_capture({arguments})");
            let case = Case { table, trigger };
            if case.make(&mut session) {
                for statement in STATEMENTS {
                    captured += usize::from(case.fires(&mut session, statement, &documented));
                }
            }
            session.batch_execute("ROLLBACK").unwrap();
        }
    }
    assert!(captured > 500, "most of them capture: {captured}");
    let bad = verdict::bad_lines(&server.log()).join("\n");
    assert!(bad.is_empty(), "{bad}");
}

#[test]
fn every_trigger_captures_or_says_why_not_in_utf8() {
    every_trigger_captures_or_says_why_not(Encoding::Utf8);
}

#[test]
fn every_trigger_captures_or_says_why_not_in_latin1() {
    every_trigger_captures_or_says_why_not(Encoding::Latin1);
}
