//! The examples of the README run as they stand there.

use std::fs;
use std::process::{Command, Stdio};

use support::{Ask, Server, until};

/// The contents of the README's code blocks in a language.
fn blocks(language: &str) -> Vec<String> {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let fence = format!("```{language}\n");
    let blocks: Vec<String> = readme
        .split(&fence)
        .skip(1)
        .map(|rest| rest.split("\n```").next().unwrap().to_owned() + "\n")
        .collect();
    assert!(!blocks.is_empty(), "the README has {language} examples");
    blocks
}

#[test]
fn the_examples_run() {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'");
    // As a person at psql would type them, one block after the other.
    let script = std::env::temp_dir().join(format!("pgqueue.readme.{}.sql", std::process::id()));
    fs::write(&script, blocks("sql").concat()).unwrap();
    server.client(
        "psql",
        &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-f", script.to_str().unwrap()],
    );
    fs::remove_file(&script).unwrap();

    let mut session = server.connect();
    assert_eq!(
        session.one::<i64>("SELECT ready FROM pgq_stats('emails')"),
        0,
        "the worker in SQL has worked"
    );
    assert!(session.one::<i64>("SELECT count(*) FROM done") > 0);
    assert_eq!(session.one::<i64>("SELECT ready FROM pgq_stats('welcome')"), 1);

    // The worker in Python goes on where the blocks in SQL ended.
    let mut worker = Command::new("/usr/bin/python3")
        .args(["-c", &blocks("python").concat()])
        .envs(server.environment())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    until("the Python worker has done its message", || {
        session.one::<i64>("SELECT total FROM pgq_stats('welcome')") == 0
    });
    session
        .execute(
            "SELECT pgq_push('welcome', '{\"to\": \"late@example.org\"}'), pgq_push('welcome', '{}')",
            &[],
        )
        .unwrap();
    until("it has woken up, and failed what it can't do", || {
        session.one::<i64>("SELECT retried FROM pgq_stats('welcome')") >= 1
    });
    worker.kill().unwrap();
    worker.wait().unwrap();
    let sent: Vec<String> = session.all("SELECT address FROM sent ORDER BY address");
    assert_eq!(sent, ["ann@example.org", "late@example.org"]);
}
