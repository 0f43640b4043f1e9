//! The guide: the blocks of its pages run as they stand, its links lead somewhere, and its reference
//! is the catalogue's.
//!
//! `PGQUEUE_ACCEPT=1` writes what psql prints into the pages.

mod links;
mod page;
mod reference;
mod upgrade;
mod worker;

use page::run;
use support::Server;
use support::pages::{Block, blocks, file, guide as pages};

/// Pages whose blocks other tests run.
const ELSEWHERE: [(&str, &str); 4] = [
    ("docs/install.md", "packaging/try"),
    ("docs/high-availability.md", "tests/high_availability.rs"),
    ("docs/sharding.md", "tests/proxy/examples.rs"),
    ("docs/drivers.md", "tests/guide/reference.rs"),
];

/// Pages of the project have commands for its engineers: `reference.rs` looks whether they exist.
fn is_of_the_project(page: &str) -> bool {
    let names = ["chaos", "testing", "majors", "promises", "engine", "tools"];
    names.iter().any(|name| page == format!("docs/{name}.md")) || !page.starts_with("docs/")
}

fn run_pages(is_one: impl Fn(&str) -> bool) {
    let all = pages();
    let is_elsewhere = |page: &str| ELSEWHERE.iter().any(|(name, _)| *name == page);
    let chosen: Vec<&String> =
        all.iter().filter(|page| is_one(page) && !is_elsewhere(page) && !is_of_the_project(page)).collect();
    assert!(!chosen.is_empty());
    let server = Server::bare("shared_preload_libraries = 'pgqueue'");
    let mistakes: Vec<String> = chosen.into_iter().flat_map(|page| run(&server, page)).collect();
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

#[test]
fn the_tutorial_and_the_how_to_pages_run() {
    run_pages(|page| ["docs/tutorial/", "docs/how-to/"].iter().any(|folder| page.starts_with(folder)));
}

#[test]
fn the_reference_runs() {
    run_pages(|page| page.starts_with("docs/reference/"));
}

#[test]
fn the_other_pages_run() {
    run_pages(|page| {
        !["docs/tutorial/", "docs/how-to/", "docs/reference/"].iter().any(|folder| page.starts_with(folder))
    });
}

/// So that a page whose blocks run elsewhere does run there. A block that nothing runs says why.
#[test]
fn pages_that_run_elsewhere_are_named_there() {
    for (page, test) in ELSEWHERE {
        let blocks = blocks(&file(page));
        let is_run = |block: &&Block| !block.mark.starts_with("not-run=") && block.language != "ini";
        assert!(
            blocks.iter().filter(is_run).count() == 0 || file(test).contains(page),
            "{test} reads {page}"
        );
    }
}
