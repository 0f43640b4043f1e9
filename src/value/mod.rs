//! Pure values: they know no Postgres and are tested with plain `#[test]`.

pub mod backoff;
pub mod duration;
pub mod right;
pub mod schedule;
pub mod settings;
pub mod timeline;
