//! The queues of a run: each keeps other promises.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    Plain,
    /// Its messages come in groups.
    Ordered,
    /// Its deletes do not wait for the disk.
    Loose,
    /// Its leases wait for the disk.
    Sure,
    /// Its messages die after a few deliveries, some of old age.
    Mortal,
    /// Its messages have unique keys.
    Keyed,
    /// Few of its messages may be leased at once, and those that were removed are kept.
    Narrow,
}

/// How many messages of `Narrow` may be leased at once.
const FEW: usize = 4;

impl Queue {
    pub const ALL: [Self; 7] =
        [Self::Plain, Self::Ordered, Self::Loose, Self::Sure, Self::Mortal, Self::Keyed, Self::Narrow];

    /// Those where any message may wait, as long as it has to.
    pub const FOR_ALL: [Self; 5] = [Self::Plain, Self::Ordered, Self::Loose, Self::Sure, Self::Narrow];

    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Ordered => "ordered",
            Self::Loose => "loose",
            Self::Sure => "sure",
            Self::Mortal => "mortal",
            Self::Keyed => "keyed",
            Self::Narrow => "narrow",
        }
    }

    pub fn settings(self) -> String {
        match self {
            Self::Plain | Self::Ordered | Self::Keyed => r#"{"max_deliveries": 0}"#.into(),
            Self::Loose => r#"{"max_deliveries": 0, "durable_delete": false}"#.into(),
            Self::Sure => r#"{"max_deliveries": 0, "durable_lease": true}"#.into(),
            Self::Mortal => r#"{"max_deliveries": 3, "backoff": {"base": "10 ms"}}"#.into(),
            Self::Narrow => {
                format!(r#"{{"max_deliveries": 0, "max_leased": {FEW}, "archive": "1000 days"}}"#)
            }
        }
    }

    /// How many of its messages may be leased at once.
    pub fn limit(self) -> Option<usize> {
        (self == Self::Narrow).then_some(FEW)
    }

    pub fn keeps_what_was_removed(self) -> bool {
        self == Self::Narrow
    }
}
