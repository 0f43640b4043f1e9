//! Links within the repository, and the table of contents.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use support::pages::{file, guide, prose, test_exists};

/// The pages that readers see.
fn pages() -> Vec<String> {
    let mut pages = guide();
    pages.push("README.md".to_owned());
    pages
}

/// The targets of the links of a page, without addresses elsewhere.
fn links(page: &str) -> Vec<String> {
    let text = prose(&file(page));
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    targets.filter(|target| !target.contains("://")).map(str::to_owned).collect()
}

fn resolved(page: &str, target: &str) -> String {
    let path = Path::new(page).parent().unwrap().join(target);
    let mut whole = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => assert!(whole.pop(), "{page}: {target}"),
            part => whole.push(part),
        }
    }
    whole.to_str().unwrap().to_owned()
}

/// The names that headings have as targets of links, as GitHub and mdBook make them.
fn names(page: &str) -> BTreeSet<String> {
    let text = prose(&file(page));
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| name(line.trim_start_matches('#').trim())).collect()
}

fn name(heading: &str) -> String {
    let letters = heading.to_lowercase();
    let kept = letters.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut mistakes = Vec::new();
    for page in pages() {
        for link in links(&page) {
            let (path, name) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { page.clone() } else { resolved(&page, path) };
            let exists = Path::new(env!("CARGO_MANIFEST_DIR")).join(&target).exists();
            if !exists || (!name.is_empty() && !names(&target).contains(name)) {
                mistakes.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

#[test]
fn every_page_is_in_the_table_of_contents_once() {
    let listed = guide();
    let unique: BTreeSet<&String> = listed.iter().collect();
    assert_eq!(unique.len(), listed.len(), "no page is listed twice");
    let mut found = Vec::new();
    find(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs"), "docs", &mut found);
    found.retain(|page| page != "docs/SUMMARY.md");
    let lost: Vec<&String> = found.iter().filter(|page| !unique.contains(page)).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

fn find(folder: &Path, name: &str, pages: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{name}/{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            find(&path, &name, pages);
        } else if name.ends_with(".md") {
            pages.push(name);
        }
    }
}

#[test]
fn the_tests_that_pages_name_exist() {
    let mut count = 0;
    for page in pages() {
        // Its names are those of every kind of test: promises.rs looks at them.
        if ["docs/engine.md", "CHANGELOG.md", "benches/results/report.md"].contains(&page.as_str()) {
            continue;
        }
        let text = prose(&file(&page));
        for name in text.split('`').filter(|name| name.contains(".rs: ")) {
            count += 1;
            assert!(test_exists(name), "{page}: {name}");
        }
    }
    assert!(count > 100, "{count}");
}

#[test]
fn the_readme_is_short() {
    let lines = file("README.md").lines().count();
    assert!(lines <= 200, "{lines}");
}

#[test]
fn the_picture_of_the_states_is_the_same_wherever_it_stands() {
    let picture = |page: &str| -> Vec<String> {
        let text = file(page).replace("//! ", "").replace("//!", "");
        let (_, from) = text.split_once("```text\n                due").expect(page);
        from.lines().take_while(|line| *line != "```").map(str::to_owned).collect()
    };
    let of_readme = picture("README.md");
    assert!(of_readme.len() > 5);
    assert_eq!(picture("docs/explanation/life.md"), of_readme);
    assert_eq!(picture("src/lib.rs"), of_readme);
}
