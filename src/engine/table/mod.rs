//! Tables: finds, reads and writes rows.

pub mod access;
pub mod begun;
pub mod catalog;
pub mod content;
pub mod counter_rows;
pub mod counts;
pub mod group_rows;
pub mod guests;
pub mod heap;
pub mod in_place;
pub mod index;
pub mod index_shape;
pub mod installed_version;
pub mod message;
pub mod message_id;
pub mod message_index;
pub mod name;
pub mod queue;
pub mod queue_changes;
pub mod row;
pub mod scan;
pub mod sequence;
pub mod short_lock;
pub mod slot_rows;
pub mod statement;
pub mod triggers;
