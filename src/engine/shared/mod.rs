//! Shared memory: hints about queues, counts that are not written yet, and sleepers.

pub mod entry;
pub mod hint_cache;
pub mod layout;
pub mod listen_counter;
pub mod listeners;
pub mod overview;
pub mod queue_key;
pub mod sleeper;
pub mod startup;
pub mod tally;
pub mod wait_list;
