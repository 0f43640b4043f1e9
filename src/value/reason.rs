//! Why messages die.

/// Why a message died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its consumer said that it failed, and no delivery was left.
    Failed,
    /// Its lease ended unsettled, and no delivery was left.
    Timeout,
    /// `pgq_bury`.
    Buried,
    /// It outlived its time to live unleased. Kept only where its queue says so.
    Expired,
}

impl Reason {
    /// All that the column may hold.
    pub const NAMES: [&'static str; 4] = ["failed", "timeout", "buried", "expired"];

    pub fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Buried => "buried",
            Self::Expired => "expired",
        }
    }
}
