//! Rights: what a role may do with a queue.

use serde::Deserialize;

/// What a call takes.
///
/// The owner has all of them, and is alone in `Own`; the others are granted one by one,
/// and none contains another, except that whoever has one sees how many messages there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Granting rights, giving the queue away, dropping it.
    #[serde(skip)]
    Own,
    /// Putting messages in.
    Push,
    /// Seeing messages, taking them out and settling them.
    Consume,
    /// Settings, pauses, and what concerns all messages at once.
    Manage,
    /// How many messages there are, and what has happened to them; never what is in them.
    Monitor,
}

impl Right {
    /// Those that can be granted.
    pub const GRANTABLE: [&str; 4] = ["push", "consume", "manage", "monitor"];

    pub fn word(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Push => "push",
            Self::Consume => "consume",
            Self::Manage => "manage",
            Self::Monitor => "monitor",
        }
    }

    /// Whether somebody who was granted these has this one.
    pub fn is_among(self, granted: &[Self]) -> bool {
        self == Self::Monitor && !granted.is_empty() || granted.contains(&self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_that_are_read() {
        for word in Right::GRANTABLE {
            let right: Right = serde_json::from_value(word.into()).unwrap();
            assert_eq!(right.word(), word);
        }
        assert!(serde_json::from_value::<Right>("own".into()).is_err());
    }

    #[test]
    fn any_right_lets_one_see_how_many_there_are_and_nothing_else() {
        let all = [Right::Push, Right::Consume, Right::Manage, Right::Monitor];
        for granted in all {
            for asked in all {
                let expected = asked == granted || asked == Right::Monitor;
                assert_eq!(asked.is_among(&[granted]), expected, "{asked:?} of {granted:?}");
            }
            assert!(!Right::Own.is_among(&[granted]));
        }
        assert!(!Right::Monitor.is_among(&[]));
    }
}
