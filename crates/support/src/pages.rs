//! Pages of the documentation that name tests.

use std::fs;

/// A file of this repository.
pub fn file(path: &str) -> String {
    let whole = format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&whole).unwrap_or_else(|error| panic!("{whole}: {error}"))
}

/// Whether there is a test: `topic.sql` of tests/pg_regress, or `path.rs: function` in tests.
pub fn test_exists(name: &str) -> bool {
    if let Some(topic) = name.strip_suffix(".sql") {
        assert!(!file(&format!("tests/pg_regress/expected/{topic}.out")).is_empty());
        return file(".ci/regress").split([' ', '(', ')', '\n']).any(|word| word == topic);
    }
    let Some((path, test)) = name.split_once(": ") else { return false };
    let text = file(&format!("tests/{path}"));
    text.split("#[test]\n").skip(1).any(|part| {
        let signature = part.lines().find(|line| line.trim_start().starts_with("fn "));
        signature.is_some_and(|line| line.trim_start().starts_with(&format!("fn {test}(")))
    })
}

/// What a text has in backticks.
pub fn quoted(text: &str) -> Vec<&str> {
    assert_eq!(text.matches('`').count() % 2, 0, "backticks come in pairs: {text}");
    text.split('`').skip(1).step_by(2).collect()
}
