//! How long one thing may keep the worker from the others.

use std::time::Duration;

/// A step that goes through queues or messages goes on in the next round after so long, and so does an
/// errand.
pub const TURN: Duration = Duration::from_millis(200);
