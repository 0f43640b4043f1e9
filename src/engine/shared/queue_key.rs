//! Keys of queues in shared memory: database and queue number.

use crate::pg::session;

pub fn database() -> u32 {
    session::database().to_u32()
}

/// Returns the key of a queue, distinct over all databases.
pub fn key(queue: i32) -> u64 {
    u64::from(database()) << 32 | u64::from(queue as u32)
}

/// Returns a hash of the key.
pub fn hash(queue: i32) -> u64 {
    key(queue).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
}
