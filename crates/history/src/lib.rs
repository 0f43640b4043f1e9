//! Histories: what many clients did to a queue and were told, and what must hold in it.
//!
//! A test records every transaction of every client (`record`), also those whose end it
//! never heard of, and what it finds at the end. `check` then looks for what no correct queue
//! could have answered. Nothing here knows Postgres.
//!
//! # What counts as certain
//! - An operation takes effect when its transaction commits, or not at all. Between the moment
//!   a COMMIT is sent and the moment its answer is there, others may see it or not.
//! - If a connection dies, its transaction may have happened. A rule never takes it for
//!   granted, in neither direction: it explains a loss, and proves nothing.
//! - What a call returned was returned, even if the transaction was rolled back later: a
//!   lease must not be shown to a second consumer, whatever becomes of his transaction.
//! - Two events are in order if one's answer was there before the other was sent, by the one
//!   clock of the recording process. Leases end by the server's clock, which may step: so
//!   the end of a lease is only ever compared with what the server read when it gave the next.
//! - A crash forgets transactions that did not wait for the disk, if they ended shortly
//!   before it and nothing that did wait was acknowledged since (`memory`).
//!   What is forgotten can come again under the same number. It forgets nothing else.

mod facts;
mod memory;
mod record;
mod rule;
#[cfg(test)]
mod sample;
mod story;

pub use record::*;
pub use rule::{Rule, Violation, check, story};
