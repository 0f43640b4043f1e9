//! Hints: where in a queue's ready lane to look for messages that may be reserved.
//!
//! Only sets of keys and rules about them; nothing here knows Postgres. The engine
//! keeps the hints in shared memory (`engine::shared`), tells them what transactions
//! did (`engine::commit`) and looks where they point (`engine::reserve`).
//! The rules are argued in docs/engine.md.

pub mod address;
pub mod ids;
pub mod level;
pub mod queue;
pub mod rest;
pub mod slots;

#[cfg(test)]
mod simulation;

/// Place of a message among those of its priority: its id, or, newest first, its
/// negative. Smaller comes first.
pub type Key = i64;

/// Before every key.
pub const START: Key = Key::MIN;

/// Behind every key.
pub const NOWHERE: Key = Key::MAX;

/// In which order the messages of a priority come.
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

    /// The id that has this key.
    pub fn id(self, key: Key) -> i64 {
        match self {
            Self::OldestFirst => key,
            Self::NewestFirst => key.saturating_neg(),
        }
    }
}
