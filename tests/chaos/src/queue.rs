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
}

impl Queue {
    pub const ALL: [Self; 5] = [Self::Plain, Self::Ordered, Self::Loose, Self::Sure, Self::Mortal];

    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Ordered => "ordered",
            Self::Loose => "loose",
            Self::Sure => "sure",
            Self::Mortal => "mortal",
        }
    }

    pub fn settings(self) -> &'static str {
        match self {
            Self::Plain | Self::Ordered => r#"{"max_deliveries": 0}"#,
            Self::Loose => r#"{"max_deliveries": 0, "durable_delete": false}"#,
            Self::Sure => r#"{"max_deliveries": 0, "durable_lease": true}"#,
            Self::Mortal => r#"{"max_deliveries": 3, "backoff": {"base": "10 ms"}}"#,
        }
    }
}
