//! One message: settling, dying, changing, and its place in its group and among those of its key.

pub mod archive;
pub mod change;
pub mod dead;
pub mod dedup_window;
pub mod events;
pub mod group;
pub mod key;
pub mod receipt;
pub mod removal;
pub mod settle;
pub mod siblings;
