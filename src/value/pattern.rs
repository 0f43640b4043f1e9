//! Routing keys, and the patterns that they match: as in the topic exchanges of AMQP 0-9-1.
//!
//! A key is words between dots; the empty key has no word. A pattern is the same, and each of its words may be
//! a wildcard: `*` matches one word, `#` matches zero or more. A word is not empty, and has no wildcard in it.

use std::iter;

/// Longest routing key or pattern, in bytes: a short string of AMQP.
pub const LONGEST: usize = 255;

/// A part of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    Word(&'a [u8]),
    /// `*`: one word.
    One,
    /// `#`: zero or more words.
    Any,
}

/// The mistake in a routing key or a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadWord {
    /// Two dots follow each other, or one is at an end.
    Empty,
    /// A word of a key has a wildcard in it, or one of a pattern a wildcard and more.
    Wildcard,
}

/// Checks a routing key.
pub fn check_key(key: &[u8]) -> Result<(), BadWord> {
    words(key).try_for_each(check_word)
}

/// Checks a pattern.
pub fn check_pattern(pattern: &[u8]) -> Result<(), BadWord> {
    let check = |word| if matches!(part(word), Part::Word(_)) { check_word(word) } else { Ok(()) };
    words(pattern).try_for_each(check)
}

fn check_word(word: &[u8]) -> Result<(), BadWord> {
    match word {
        [] => Err(BadWord::Empty),
        word if word.contains(&b'*') || word.contains(&b'#') => Err(BadWord::Wildcard),
        _ => Ok(()),
    }
}

/// The words of a routing key, which has been checked.
pub fn words(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let count = if key.is_empty() { 0 } else { usize::MAX };
    key.split(|&byte| byte == b'.').take(count)
}

/// The parts of a pattern, which has been checked, in their normal form: of wildcards that follow each other
/// there is one `#` at most, and it is the last of them. So `#.*` and `*.#.#` are both `*.#`, which matches the
/// same keys.
pub fn parts(pattern: &[u8]) -> impl Iterator<Item = Part<'_>> {
    let (mut rest, mut held) = (words(pattern).map(part).peekable(), false);
    iter::from_fn(move || {
        while rest.next_if_eq(&Part::Any).is_some() {
            held = true;
        }
        if held && rest.peek() != Some(&Part::One) {
            held = false;
            return Some(Part::Any);
        }
        rest.next()
    })
}

fn part(word: &[u8]) -> Part<'_> {
    match word {
        b"*" => Part::One,
        b"#" => Part::Any,
        word => Part::Word(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(pattern: &str) -> String {
        let words = parts(pattern.as_bytes()).map(|part| match part {
            Part::Word(word) => std::str::from_utf8(word).unwrap(),
            Part::One => "*",
            Part::Any => "#",
        });
        words.collect::<Vec<_>>().join(".")
    }

    #[test]
    fn an_empty_key_has_no_word() {
        assert_eq!(words(b"").count(), 0);
        assert_eq!(words(b"a").count(), 1);
        assert_eq!(words(b"a.b.c").collect::<Vec<_>>(), [b"a", b"b", b"c"]);
    }

    #[test]
    fn words_are_not_empty_and_wildcards_stand_alone() {
        for good in ["", "a", "a.b", "eu-west.order_1", "é.ü"] {
            assert_eq!(
                (check_key(good.as_bytes()), check_pattern(good.as_bytes())),
                (Ok(()), Ok(())),
                "{good}"
            );
        }
        for empty in [".", "a.", ".a", "a..b"] {
            let expected = Err(BadWord::Empty);
            assert_eq!((check_key(empty.as_bytes()), check_pattern(empty.as_bytes())), (expected, expected));
        }
        for mixed in ["a*", "#b.c", "a.**", "a.##"] {
            let expected = Err(BadWord::Wildcard);
            assert_eq!((check_key(mixed.as_bytes()), check_pattern(mixed.as_bytes())), (expected, expected));
        }
        for pattern in ["*", "#", "a.*.b.#"] {
            let expected = (Err(BadWord::Wildcard), Ok(()));
            assert_eq!((check_key(pattern.as_bytes()), check_pattern(pattern.as_bytes())), expected);
        }
    }

    #[test]
    fn wildcards_that_follow_each_other_have_a_normal_form() {
        for (pattern, expected) in [
            ("", ""),
            ("a.b", "a.b"),
            ("#", "#"),
            ("#.#.#", "#"),
            ("#.*", "*.#"),
            ("*.#.*.#", "*.*.#"),
            ("#.a.#.#.*.b.*", "#.a.*.#.b.*"),
        ] {
            assert_eq!(normal(pattern), expected, "{pattern}");
        }
    }
}
