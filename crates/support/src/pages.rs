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

/// The parts of a text in backticks.
pub fn quoted(text: &str) -> Vec<&str> {
    assert_eq!(text.matches('`').count() % 2, 0, "backticks come in pairs: {text}");
    text.split('`').skip(1).step_by(2).collect()
}

/// A block of code of a page.
pub struct Block {
    pub language: String,
    /// The words after the language: `fails=22023`.
    pub mark: String,
    pub text: String,
    /// Where its text lies in the page.
    pub place: std::ops::Range<usize>,
}

/// The blocks of code of a page, in order.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut offset = 0;
    let mut open: Option<Block> = None;
    for line in page.split_inclusive('\n') {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(head)) => {
                let (language, mark) = head.trim_end().split_once(' ').unwrap_or((head.trim_end(), ""));
                let start = offset + line.len();
                open = Some(Block {
                    language: language.to_owned(),
                    mark: mark.to_owned(),
                    text: String::new(),
                    place: start..start,
                });
            }
            (Some(block), Some("\n")) => {
                block.place.end = offset;
                blocks.extend(open.take());
            }
            (Some(block), _) => block.text += line,
            (None, None) => {}
        }
        offset += line.len();
    }
    assert!(open.is_none(), "a block of code ends");
    blocks
}

/// A page without its blocks of code.
pub fn prose(page: &str) -> String {
    let mut is_code = false;
    let lines = page.lines().filter(|line| {
        let is_fence = line.starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The pages of the guide that its table of contents lists, as paths in this repository.
pub fn guide() -> Vec<String> {
    let contents = file("docs/SUMMARY.md");
    let links = contents.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
    links.map(|link| link.strip_prefix("../").map_or_else(|| format!("docs/{link}"), str::to_owned)).collect()
}
