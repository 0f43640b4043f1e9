//! The tests and commands that docs/promises.md names exist.

use support::pages::{file, quoted, test_exists};

#[test]
fn what_is_named_exists() {
    let page = file("docs/promises.md");
    let (makefile, rules) = (file("Makefile"), file("tests/history/src/rule/mod.rs"));
    let mut named = 0;
    let mut missing = Vec::new();
    for row in page.lines().filter(|line| line.starts_with('|')) {
        let shown_by = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for word in quoted(shown_by) {
            let exists = if let Some(target) = word.strip_prefix("make ") {
                makefile.contains(&format!("\n{target}:"))
            } else if word.contains(".rs: ") || word.ends_with(".sql") {
                test_exists(word)
            } else if word.starts_with(char::is_uppercase) {
                rules.contains(word)
            } else {
                std::path::Path::new(&format!("{}/{word}", env!("CARGO_MANIFEST_DIR"))).exists()
                    || std::path::Path::new(&format!("{}/tests/{word}", env!("CARGO_MANIFEST_DIR"))).exists()
            };
            named += 1;
            if !exists {
                missing.push(word.to_owned());
            }
        }
    }
    assert!(named > 60, "{named}");
    assert_eq!(missing, [""; 0]);
}
