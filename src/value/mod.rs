//! Pure values: they know no Postgres and are tested with plain `#[test]`.

pub mod backoff;
pub mod cron;
pub mod duration;
pub mod id_range;
pub mod reason;
pub mod right;
pub mod settings;
pub mod timestamp;
