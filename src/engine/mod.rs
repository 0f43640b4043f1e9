//! The engine: the states of messages and how calls move them.
//!
//! Push, reserve and settle reach their rows directly (`table::heap`); everything rare is
//! a SQL statement (`table::statement`). Nothing here knows how SQL calls us.

pub mod capture;
pub mod commit;
pub mod message;
pub mod push;
pub mod queue;
pub mod reserve;
pub mod schedule;
pub mod shared;
pub mod sweep;
pub mod table;
pub mod topic;
