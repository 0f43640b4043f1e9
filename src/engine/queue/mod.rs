//! Queues: making them, who may use them, how many messages they have and give out.

pub mod channel;
pub mod counter;
pub mod create;
pub mod grants;
pub mod manage;
pub mod roles;
pub mod slot_search;
pub mod slots;
