//! How long one step or errand may keep the worker from the others.

use std::time::Duration;

/// After this time a step that goes through queues or messages leaves the rest to the next round, and so does
/// an errand.
pub const TURN: Duration = Duration::from_millis(200);
