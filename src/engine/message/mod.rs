//! One message: its settling, death and changes, its place in its group and among those with its key.

pub mod archive;
pub mod change;
pub mod dead;
pub mod dedup_window;
pub mod events;
pub mod group;
pub mod key;
pub mod letter;
pub mod receipt;
pub mod removal;
pub mod settle;
pub mod siblings;
