//! The tests, rules and commands that docs/promises.md names exist.

use std::path::Path;

use support::pages::{file, quoted, test_exists};

#[test]
fn every_name_in_promises_exists() {
    let page = file("docs/promises.md");
    let rows = page.lines().filter(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.trim_end_matches(" |").rsplit(" | ").next().unwrap());
    let named: Vec<&str> = cells.flat_map(quoted).collect();
    assert!(named.len() > 60, "{}", named.len());
    let missing: Vec<&str> = named.into_iter().filter(|name| !exists(name)).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn tests_that_the_page_of_tools_names_exist() {
    let page = file("docs/tools.md");
    let named: Vec<&str> = quoted(&page).into_iter().filter(|name| name.contains(".rs")).collect();
    assert!(named.len() > 15, "{}", named.len());
    let missing: Vec<&str> = named.into_iter().filter(|name| !exists(name)).collect();
    assert_eq!(missing, [""; 0]);
}

/// The page names tests by themselves, or by their beginning and an ellipsis.
#[test]
fn tests_that_the_page_of_the_engine_names_exist() {
    let page = file("docs/engine.md");
    let is_of_a_test = |name: &&str| {
        let name = name.trim_end_matches('…');
        name.matches('_').count() > 2
            && name.chars().all(|letter| letter == '_' || letter.is_ascii_alphanumeric())
    };
    let mentioned: Vec<&str> =
        page.split('`').flat_map(|text| text.split(": ")).filter(is_of_a_test).collect();
    assert!(mentioned.len() > 40, "{}", mentioned.len());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = String::new();
    ["tests", "src", "crates/history/src"]
        .iter()
        .for_each(|folder| read_all(&root.join(folder), &mut sources));
    let exists = |name: &str| sources.contains(&format!("fn {}", name.trim_end_matches('…')));
    let missing: Vec<&str> = mentioned.into_iter().filter(|name| !exists(name)).collect();
    assert_eq!(missing, [""; 0]);
}

fn read_all(folder: &Path, sources: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            read_all(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *sources += &std::fs::read_to_string(path).unwrap();
        }
    }
}

/// Whether there is a command of the Makefile, a test, a rule of histories, or a file.
fn exists(name: &str) -> bool {
    if let Some(target) = name.strip_prefix("make ") {
        return file("Makefile").contains(&format!("\n{target}:"));
    }
    if name.contains(".rs: ") || name.ends_with(".sql") {
        return test_exists(name);
    }
    if name.starts_with(char::is_uppercase) {
        return file("crates/history/src/rule/mod.rs").contains(name);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    [root.join(name), root.join("tests").join(name)].iter().any(|path| path.exists())
}
