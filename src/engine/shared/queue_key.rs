//! Which queue of which database: a key for shared memory.

use pgrx::pg_sys;

pub fn database() -> u32 {
    // SAFETY: reads a variable of this backend.
    unsafe { pg_sys::MyDatabaseId }.to_u32()
}

/// The queue among those of all databases.
pub fn key(queue: i32) -> u64 {
    u64::from(database()) << 32 | u64::from(queue as u32)
}

/// A number that spreads queues.
pub fn hash(queue: i32) -> u64 {
    key(queue).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
}
