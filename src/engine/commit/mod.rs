//! Transactions: the changes they note, and what they tell other sessions when they end.

pub mod async_commit;
pub mod callbacks;
pub mod counts;
pub mod noted;
pub mod pending;
pub mod publish;
