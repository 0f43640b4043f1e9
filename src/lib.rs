//! pgqueue: a message queue inside PostgreSQL.
//!
//! # Words
//! - **message**: a payload (jsonb) or a body (bytea) in a queue, with an id.
//! - **lease**: a consumer's claim on a message, which ends by itself.
//! - **delivery**: one handing-out of a message, counted from 1; `(id, delivery)` is
//!   the **receipt** that settle calls check.
//! - **attempt**: a delivery that counts for `max_deliveries`: one that was not given back
//!   (released).
//! - **settle**: delete, extend, release, fail or bury.
//! - **group**: the messages of a queue with one group key, delivered in order; whose
//!   **turn** it is, is its first (docs/engine.md).
//! - **unique key**: of the messages with one, one waits; a newer one **supersedes** it.
//! - **slot**: room for a lease in a queue that limits them.
//! - **change**: update, cancel or move a message that nobody holds.
//! - **dead letter**: a message that will not be delivered again, kept to be looked at.
//! - **redrive**: making dead letters messages again.
//! - **archive**: where settled messages stay for a while, if their queue says so.
//! - **capture**: pushing what a statement has changed in a table.
//! - **schedule**: what has the worker push a message again and again.
//! - **watch**: a schedule whose query is compared with what it gave before.
//! - **right**: what a role may do with a queue: push, consume, manage or monitor; all of it
//!   if it owns the queue.
//! - **hint**: where in a queue to look; kept on the **board**, in shared memory; wrong
//!   hints cost time, never a message.
//! - **pass**: looking again at what lies before the front of a hint.
//! - **sweep**: a maintenance round of our own; users meet it as "vacuum".
//!
//! # States of a message
//! ```text
//!                 due                 reserve
//!   ┌─────────┐ ───────▶ ┌───────┐ ────────────▶ ┌────────┐ ── delete ──▶ gone
//!   │ delayed │          │ ready │               │ leased │
//!   └─────────┘          └───────┘ ◀──────────── └────────┘
//!        ▲                  ▲   release, expiry     │   │ fail, expiry: no delivery left; bury
//!        │                  │                       │   ▼
//!        └──── fail (backoff), release (delay) ─────┘ ┌──────┐
//!                           └──────── redrive ─────── │ dead │
//!                                                     └──────┘
//! ```
//! A message that is ready is **blocked** while an earlier one of its group is there.
//!
//! # Rooms
//! `api` checks arguments and shapes rows, `engine` moves messages, `hint` knows where
//! they may be (docs/engine.md), `worker` keeps house, `value` reads settings, spans
//! of time and schedules, `call` is the door to SQL, `setting` the server settings, `error` every
//! mistake a caller can make; `stop` is for tests. `hint` and `value` know no Postgres. Arrows point one way:
//! api → engine → hint, value; worker → engine.

mod api;
mod call;
mod engine;
mod error;
mod error_details;
mod hint;
mod schema;
mod setting;
mod stop;
mod value;
mod worker;

#[cfg(any(test, feature = "pg_test"))]
mod tests;

use pgrx::pg_sys;

pgrx::pg_module_magic!(name, version);

/// Postgres calls this when it loads the library.
#[pgrx::pg_guard]
pub extern "C-unwind" fn _PG_init() {
    error::show_no_frames();
    setting::define();
    #[cfg(feature = "stops")]
    stop::define();
    engine::news::listen();
    // SAFETY: reads a variable of the server.
    if unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        setting::define_for_shared_memory();
        engine::board::request();
        // While pg_upgrade moves tables to another server nobody else may write to them.
        // SAFETY: as above.
        if !unsafe { pg_sys::IsBinaryUpgrade } {
            worker::register_launcher();
        }
    }
    setting::refuse_others();
}

/// `cargo pgrx test` looks for this module here.
#[cfg(test)]
pub mod pg_test {
    pub fn setup(_options: Vec<&str>) {}

    pub fn postgresql_conf_options() -> Vec<&'static str> {
        vec!["shared_preload_libraries = 'pgqueue'", "pgqueue.auto_vacuum = off"]
    }
}
