//! The calls on docs/coming-from.md and the pages of docs/coming-from run, and the tests named there exist.

use postgres::{Client, SimpleQueryMessage};
use support::pages::{file, guide, prose, quoted, test_exists};
use support::{Ask, Server};

const HEADER: &str = "| there | here | shown by |";
const SEPARATOR: &str = "| --- | --- | --- |";

/// For what is not ours to test.
const NOT_OURS: &str = "PostgreSQL's own tests";

/// Words that statements begin with.
const VERBS: [&str; 6] = ["ALTER", "CALL", "CREATE", "INSERT", "SELECT", "WITH"];

struct Row {
    there: String,
    here: String,
    shown_by: String,
}

/// The pages, in the order of the guide.
fn pages() -> Vec<String> {
    let all = guide().into_iter().filter(|page| page.starts_with("docs/coming-from"));
    let pages: Vec<String> = all.collect();
    assert!(pages.len() > 7, "{pages:?}");
    pages
}

/// The rows of all tables of a page.
fn rows(page: &str) -> Vec<Row> {
    let text = file(page);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
    let tables = lines.iter().filter(|line| **line == HEADER).count();
    assert!(tables > 0, "{page} has a table");
    if page == "docs/coming-from.md" {
        assert_eq!(tables, text.matches("\n## ").count(), "each section has a table");
    }
    let rows: Vec<Row> = lines.iter().filter(|line| ![HEADER, SEPARATOR].contains(line)).map(row).collect();
    assert_eq!(rows.len() + 2 * tables, lines.len(), "each table has a header and a separator");
    rows
}

fn row(line: &&str) -> Row {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [there, here, shown_by] = cells[..] else { panic!("three cells, no more: {line}") };
    let [there, here, shown_by] = [there, here, shown_by].map(str::to_owned);
    Row { there, here, shown_by }
}

/// A statement, and the SQLSTATE it must give, if any.
struct Step<'a> {
    statement: &'a str,
    sqlstate: Option<&'a str>,
}

fn steps(row: &Row) -> Vec<Step<'_>> {
    let mut steps: Vec<Step> = Vec::new();
    for text in quoted(&row.here) {
        if VERBS.contains(&text.split(' ').next().unwrap_or_default()) {
            steps.push(Step { statement: text, sqlstate: None });
        } else if text.len() == 5 && text.bytes().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase()) {
            steps.last_mut().expect("a statement before its SQLSTATE").sqlstate = Some(text);
        } else {
            assert!(!text.contains("pgq_"), "a call that would not be run: {text}");
        }
    }
    steps
}

/// The queue `jobs` as the text describes it. Returns what stands for its variables.
fn prepare(session: &mut Client) -> [(&'static str, String); 3] {
    session
        .batch_execute(
            "SELECT pgq_drop_queue(queue) FROM pgq_list_queues();
             SELECT pgq_push('jobs', '0', max_deliveries => 1);
             SELECT pgq_reserve('jobs', lease => '1 ms');
             SELECT pg_sleep(0.005);
             SELECT pgq_reserve('jobs');
             SELECT pgq_push('jobs', '1')",
        )
        .unwrap();
    let leased = session.query_one("SELECT id, delivery FROM pgq_reserve('jobs')", &[]).unwrap();
    assert_eq!(session.one::<i64>("SELECT dead FROM pgq_stats('jobs')"), 1);
    session.execute("SELECT pgq_push('jobs', '2')", &[]).unwrap();
    let (id, delivery): (i64, i64) = (leased.get(0), leased.get(1));
    let dead: i64 = session.one("SELECT id FROM pgq_peek_dead('jobs')");
    [(":id", id.to_string()), (":delivery", delivery.to_string()), (":dead", dead.to_string())]
}

/// Runs a statement. A query has to give something: rows, and no false, null or zero first.
fn run(session: &mut Client, step: &Step, variables: &[(&str, String)]) -> Result<(), String> {
    let statement =
        variables.iter().fold(step.statement.to_owned(), |text, (name, value)| text.replace(name, value));
    let answer = match (session.simple_query(&statement), step.sqlstate) {
        (Ok(answer), None) => answer,
        (Ok(_), Some(sqlstate)) => return Err(format!("gives no {sqlstate}")),
        (Err(error), Some(sqlstate)) if error.code().is_some_and(|code| code.code() == sqlstate) => {
            return Ok(());
        }
        (Err(error), _) => return Err(format!("{error:?}")),
    };
    let mut firsts = answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0)),
        _ => None,
    });
    let is_query = ["SELECT", "WITH"].iter().any(|verb| statement.starts_with(verb));
    match firsts.next() {
        Some(None | Some("f" | "0")) => Err("gives nothing".into()),
        None if is_query => Err("gives no row".into()),
        _ => Ok(()),
    }
}

/// Rows that have no statement of their own.
const IN_WORDS: [&str; 2] =
    ["enqueue in the transaction of your own data", "`send(…, { db })`: in your transaction"];

#[test]
fn the_statements_of_every_row_run() {
    let mut mistakes = Vec::new();
    for page in pages() {
        let server = Server::start();
        let mut session = server.connect();
        let rows = rows(&page);
        let mut statements = 0;
        for row in &rows {
            let variables = prepare(&mut session);
            let steps = steps(row);
            assert!(!steps.is_empty() || IN_WORDS.contains(&&row.there[..]), "{page}: {}", row.there);
            for step in steps {
                statements += 1;
                if let Err(mistake) = run(&mut session, &step, &variables) {
                    mistakes.push(format!("{page}: {}: {}: {mistake}", row.there, step.statement));
                }
            }
        }
        let text = prose(&file(&page));
        let quoted = VERBS.map(|verb| text.matches(&format!("`{verb} ")).count()).iter().sum::<usize>();
        assert_eq!(statements, quoted, "{page}: a statement is in no table");
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

#[test]
fn the_tests_that_are_named_exist() {
    let mut mistakes = Vec::new();
    for (page, row) in pages().iter().flat_map(|page| rows(page).into_iter().map(move |row| (page, row))) {
        let names = quoted(&row.shown_by);
        if names.is_empty() && row.shown_by != NOT_OURS {
            mistakes.push(format!("{page}: {}: names no test", row.there));
        }
        for name in names {
            if !test_exists(name) {
                mistakes.push(format!("{page}: {}: there is no test {name}", row.there));
            }
        }
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}
