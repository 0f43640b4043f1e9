//! Reasons of dead letters.

/// Reason why a message died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its consumer called `pgq_fail`, and no delivery was left.
    Failed,
    /// Its lease expired, and no delivery was left.
    Timeout,
    /// A consumer called `pgq_bury`.
    Buried,
    /// Its time to live ended while it was not leased. Kept only if its queue has `on_expire` = `dead`.
    Expired,
}

impl Reason {
    /// All values of the column.
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
