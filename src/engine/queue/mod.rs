//! Queues: making and changing them, rights on them, their counters and limits.

pub mod channel;
pub mod counter;
pub mod create;
pub mod grants;
pub mod manage;
pub mod pages;
pub mod roles;
pub mod slot_search;
pub mod slots;
