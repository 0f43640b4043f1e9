//! Pure values. This module knows no Postgres, and its tests are plain `#[test]`.

pub mod backoff;
pub mod cron;
pub mod duration;
pub mod id_range;
pub mod pattern;
pub mod pattern_tree;
pub mod reason;
pub mod receipt;
pub mod right;
pub mod settings;
pub mod timestamp;
