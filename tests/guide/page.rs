//! A page, run in a new database as a person at psql would: its blocks in order, in one session.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use support::pages::{Block, blocks, file, prose, quoted};
use support::{Ask, Server};

/// Blocks that are not code.
const NO_CODE: [&str; 4] = ["output", "signature", "text", "json"];

/// Runs a page in a database of its own and returns what is wrong with it.
pub fn run(server: &Server, page: &str) -> Vec<String> {
    let text = file(page);
    let blocks = blocks(&text);
    let mut script = script(server, page, &blocks);
    // Queries in sentences and tables run at the end; coming_from.rs runs those of tables that translate.
    if !page.starts_with("docs/coming-from") {
        script.extend(inline(&text).iter().map(|statement| format!("{statement} \\g /dev/null\n")));
    }
    if script.is_empty() {
        return Vec::new();
    }
    let mut observer = server.connect();
    observer.batch_execute("CREATE DATABASE page").unwrap();
    if !blocks.iter().any(|block| block.text.contains("CREATE EXTENSION pgqueue")) {
        server.connect_to("page").batch_execute("CREATE EXTENSION pgqueue").unwrap();
    }
    let path = server.place().join("page.sql");
    fs::write(&path, script).unwrap();
    let args = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "page", "-f", path.to_str().unwrap()];
    let told = server.try_client("psql", &args);
    observer.batch_execute("DROP DATABASE page WITH (FORCE)").unwrap();
    if !told.status.success() {
        return vec![format!("{page}: {}", String::from_utf8_lossy(&told.stderr))];
    }
    let mut mistakes = states(server, page, &blocks);
    mistakes.extend(outputs(server, page, &text, &blocks));
    mistakes
}

/// What psql reads for a page. Each block prints into a file of its own.
fn script(server: &Server, page: &str, blocks: &[Block]) -> String {
    let place = server.place().display();
    let mut script = String::new();
    for (n, block) in blocks.iter().enumerate() {
        match (block.language.as_str(), block.mark.split_once('=')) {
            ("sql", None) => write!(script, "\\o {place}/{n}.out\n{}\\o\n", block.text).unwrap(),
            ("sql", Some(("fails", _))) => write!(
                script,
                "\\set ON_ERROR_STOP off\n{}\\set ON_ERROR_STOP on\n\\o {place}/{n}.state\n\
                 \\qecho :LAST_ERROR_SQLSTATE\n\\o\n",
                block.text
            )
            .unwrap(),
            // worker.rs and upgrade.rs run these.
            ("python", None) if block.mark == "worker" && page == "docs/tutorial/worker.md" => {}
            ("sh", None) if block.mark == "pooler" => assert_eq!(page, "docs/operations/upgrade.md"),
            // tests/workers runs these, and its setup installs what they need.
            (_, Some(("worker", _)) | None) if is_a_worker(page, &block.mark) => {}
            ("sh", Some(("not-run", _))) | ("toml", None) if page.starts_with("docs/workers/") => {}
            ("ini", None) => check_settings(server, &block.text),
            (language, None) if NO_CODE.contains(&language) => {}
            (language, mark) => panic!("{page}: nothing runs a block of {language} {mark:?}"),
        }
    }
    script
}

fn is_a_worker(page: &str, mark: &str) -> bool {
    page.starts_with("docs/workers/") && (mark == "worker" || mark.starts_with("worker="))
}

/// The queries of a page that are no blocks, and are whole.
fn inline(text: &str) -> Vec<String> {
    let prose = prose(text);
    let whole = |code: &&str| code.starts_with("SELECT ") && !code.contains('…');
    quoted(&prose).into_iter().filter(whole).map(str::to_owned).collect()
}

fn check_settings(server: &Server, text: &str) {
    for line in text.lines() {
        let name = line.split_once(" = ").expect("a setting and its value").0;
        let exists = format!("SELECT count(*) FROM pg_settings WHERE name = '{name}'");
        assert_eq!(server.connect().one::<i64>(&exists), 1, "{name}");
    }
}

/// The errors that blocks must end with.
fn states(server: &Server, page: &str, blocks: &[Block]) -> Vec<String> {
    let expected = blocks.iter().enumerate().filter_map(|(n, block)| {
        let state = block.mark.strip_prefix("fails=")?;
        let given = fs::read_to_string(server.place().join(format!("{n}.state"))).unwrap();
        (given.trim() != state).then(|| format!("{page}: {}ends with {given}", block.text))
    });
    expected.collect()
}

/// The blocks of output that differ from what psql has printed for the block before.
fn outputs(server: &Server, page: &str, text: &str, blocks: &[Block]) -> Vec<String> {
    let mut mistakes = Vec::new();
    let mut accepted = text.to_owned();
    for (n, block) in blocks.iter().enumerate().rev().filter(|(_, block)| block.language == "output") {
        assert!(n > 0 && blocks[n - 1].language == "sql", "{page}: output follows a block of SQL");
        let printed = fs::read_to_string(server.place().join(format!("{}.out", n - 1))).unwrap();
        let printed = trimmed(&printed);
        if printed != trimmed(&block.text) {
            accepted.replace_range(block.place.clone(), &printed);
            mistakes.push(format!("{page}: {}prints\n{printed}", blocks[n - 1].text));
        }
    }
    if !mistakes.is_empty() && std::env::var_os("PGQUEUE_ACCEPT").is_some() {
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(page), accepted).unwrap();
        return Vec::new();
    }
    mistakes
}

/// Without spaces at the ends of lines, and without empty lines at its end.
fn trimmed(text: &str) -> String {
    let lines: String = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    match lines.trim_end() {
        "" => String::new(),
        rest => format!("{rest}\n"),
    }
}
