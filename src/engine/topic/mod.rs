//! Topics: a message that is published to one goes into each queue whose subscription its routing key matches.
//!
//! Invariant: a message goes only into queues whose owner has the right `subscribe` on the topic at that moment;
//! the publisher learns nothing of them.

pub mod manage;
pub mod publish;
pub mod routes;
pub mod subscribe;
