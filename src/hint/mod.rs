//! Hints: where to scan a queue's ready lane for reservable messages.
//!
//! This module has only sets of keys and their rules; it knows no Postgres. The engine keeps hints in shared
//! memory (`engine::shared`), announces the changes of transactions to them (`engine::commit`) and scans from
//! where they point (`engine::reserve`). docs/engine.md proves the rules.

pub mod address;
pub mod ids;
pub mod level;
pub mod queue;
pub mod rest;
pub mod slots;

#[cfg(test)]
mod simulation;

/// Position of a message within its priority: its id, or its negative if the newest comes first. Smaller keys
/// come first.
pub type Key = i64;

/// Before every key.
pub const START: Key = Key::MIN;

/// Behind every key.
pub const NOWHERE: Key = Key::MAX;

/// Scan order of the messages of a priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    OldestFirst,
    NewestFirst,
}

impl Direction {
    pub fn key(self, id: i64) -> Key {
        match self {
            Self::OldestFirst => id,
            Self::NewestFirst => -id,
        }
    }

    pub fn reversed(self) -> Self {
        match self {
            Self::OldestFirst => Self::NewestFirst,
            Self::NewestFirst => Self::OldestFirst,
        }
    }

    /// Returns the id that has this key.
    pub fn id(self, key: Key) -> i64 {
        match self {
            Self::OldestFirst => key,
            Self::NewestFirst => key.saturating_neg(),
        }
    }
}
