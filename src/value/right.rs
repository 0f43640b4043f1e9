//! Rights of roles on a queue or a topic.

use serde::Deserialize;

/// A right that a call requires.
///
/// The owner has all rights, and is the only role with `Own`. The others are granted one by one. No right
/// contains another, except that every right includes `Monitor`: that one may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Granting rights, giving the queue away, dropping it.
    #[serde(skip)]
    Own,
    /// Pushing messages.
    Push,
    /// Seeing, reserving and settling messages.
    Consume,
    /// Changing settings, pausing, and operations on all messages at once.
    Manage,
    /// Seeing counts and statistics, never the content of messages.
    Monitor,
    /// Publishing to a topic.
    #[serde(skip)]
    Publish,
    /// Subscribing a queue of one's own to a topic.
    #[serde(skip)]
    Subscribe,
}

impl Right {
    /// Rights on a queue that can be granted.
    pub const GRANTABLE: [&str; 4] = ["push", "consume", "manage", "monitor"];

    /// Rights on a topic that can be granted.
    pub const OF_TOPICS: [&str; 2] = ["publish", "subscribe"];

    /// Returns the right on a topic with this name.
    pub fn of_topics(word: &str) -> Option<Self> {
        Self::OF_TOPICS.contains(&word).then(|| Self::named(word.as_bytes()))?
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Push => "push",
            Self::Consume => "consume",
            Self::Manage => "manage",
            Self::Monitor => "monitor",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
        }
    }

    /// Returns the right with this name, if it can be granted.
    pub fn named(word: &[u8]) -> Option<Self> {
        [Self::Push, Self::Consume, Self::Manage, Self::Monitor, Self::Publish, Self::Subscribe]
            .into_iter()
            .find(|right| right.word().as_bytes() == word)
    }

    /// True if a role with the granted rights has this one.
    pub fn is_among(self, granted: &[Self]) -> bool {
        self == Self::Monitor && !granted.is_empty() || granted.contains(&self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_written_as_they_are_read() {
        for word in Right::GRANTABLE {
            let right: Right = serde_json::from_value(word.into()).unwrap();
            assert_eq!(right.word(), word);
            assert_eq!(Right::named(word.as_bytes()), Some(right));
        }
        for word in Right::OF_TOPICS {
            assert_eq!(Right::named(word.as_bytes()).map(Right::word), Some(word));
            assert!(serde_json::from_value::<Right>(word.into()).is_err(), "it is none on a queue");
        }
        assert_eq!(Right::named(b"own"), None);
        assert!(serde_json::from_value::<Right>("own".into()).is_err());
    }

    #[test]
    fn any_right_lets_one_see_how_many_there_are_and_nothing_else() {
        let all =
            [Right::Push, Right::Consume, Right::Manage, Right::Monitor, Right::Publish, Right::Subscribe];
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
