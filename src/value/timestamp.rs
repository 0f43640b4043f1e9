//! Moments, as Postgres counts them.

/// Microseconds since 2000-01-01 UTC.
pub type Timestamp = i64;

/// After every moment.
pub const NEVER: Timestamp = Timestamp::MAX;
