//! Wrappers of Postgres. This module knows no queue.

pub mod argument;
pub mod datum;
pub mod error_details;
pub mod json_objects;
pub mod lock;
pub mod memory;
pub mod rests;
pub mod role;
pub mod session;
pub mod snapshot;
pub mod subtransaction;
pub mod text_length;
pub mod timeout;
pub mod transaction;
pub mod trigger;
pub mod turn;
