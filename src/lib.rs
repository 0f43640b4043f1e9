//! pgqueue: a message queue inside PostgreSQL.
//!
//! # Words
//! - **message**: a payload (jsonb) or a body (bytea) in a queue, with an id.
//! - **lease**: a consumer's claim on a message, which ends by itself.
//! - **delivery**: one handing-out of a message, counted from 1. `(id, delivery)` is the
//!   **receipt** that settle calls check.
//! - **attempt**: a delivery that counts for `max_deliveries`. A released delivery does not.
//! - **settle**: delete, extend, release, fail or bury a message.
//! - **group**: the messages of a queue with one group key, delivered in order. Only the first of
//!   them may be delivered: it has its **turn** (docs/engine.md).
//! - **unique key**: of the messages of a queue with one key, one waits. A newer message
//!   **supersedes** a delivered one.
//! - **lane**: where a message stands: ready (leased or not), delayed, or blocked behind another of its
//!   group.
//! - **slot**: room for one lease in a queue with `max_leased`.
//! - **change**: update, cancel or move a message that is not leased.
//! - **dead letter**: a message that will not be delivered again, kept to be inspected.
//! - **event**: a message that tells another queue (`events_to`) of a retry or death.
//! - **redrive**: making dead letters messages again.
//! - **archive**: where settled messages stay for a while, if the queue is set so.
//! - **capture**: pushing the changes that a statement has made in a table.
//! - **schedule**: a message that the worker pushes again and again.
//! - **watch**: a schedule with a query; changes of its result are pushed.
//! - **topic**: a name under which messages are **published**: each goes into the queues that are **subscribed**
//!   to the topic with a **pattern** that matches the message's **routing key**.
//! - **right**: push, consume, manage or monitor, of a role on a queue; publish or subscribe, on a topic. Its
//!   owner has all.
//! - **hint**: where in a queue to look for a message, kept in shared memory, in the **hint cache**.
//!   A wrong hint costs time, never a message.
//! - **reservation**: one call that scans a queue, to lease, remove or show messages.
//! - **rescan**: looking again at the messages before the front of a hint (`hint::level`). So a message
//!   whose lease has expired is found again.
//! - **counter**: how many messages of a queue are ready, leased, …, and how many were pushed, …. Counts
//!   are added up in shared memory; `queue::counter` writes them down and reads them.
//! - **guest**: a trigger, foreign key or constraint that a user has put on pgqueue's tables.
//! - **pending changes**: the effects of a transaction that it tells hints and sleepers at its end.
//! - **round**: one run of the worker over a database. Its steps are the **sweep**; users meet it
//!   as "vacuum".
//!
//! # States of a message
//! ```text
//!                 due                 reserve
//!   ┌─────────┐ ───────▶ ┌───────┐ ────────────▶ ┌────────┐ ── delete ──▶ gone, or archived
//!   │ delayed │          │ ready │               │ leased │
//!   └─────────┘          └───────┘ ◀──────────── └────────┘
//!        ▲                  ▲   release, timeout    │   │ fail, timeout: no attempt left; bury
//!        │                  │                       │   ▼
//!        └──── fail (backoff), release (delay) ─────┘ ┌──────┐
//!                           └──────── redrive ─────── │ dead │
//!                                                     └──────┘
//! ```
//! A message that is ready is **blocked** while an earlier one of its group is there.
//!
//! # Modules
//! A module uses those below it and none above; no two files use each other in a circle; `unsafe`
//! stands only where there is a `*`. `tests/architecture.rs` reads this table and checks that.
//! ```text
//! api                 the functions of SQL, a file a verb family
//! api::call         * a call from SQL: arguments in, rows out
//! worker            * background processes: rounds, errands, watchers, NOTIFY
//! engine::sweep       steps of a round of housekeeping
//! engine::schedule  * pushes by the clock, and watches
//! engine::topic       topics: who is subscribed, and what is published
//! engine::capture   * pushes of what a statement has changed in a table
//! engine::push        new messages: unique keys, room in a full queue
//! engine::reserve     finding the next messages, and leasing or removing them
//! engine::message     one message: settle, death, change, its group, its unique key
//! engine::queue       queues: made, changed, counted (`counter`), limited (`slots`), granted
//! engine::commit    * what a transaction notes, and tells others when it ends
//! engine::shared    * shared memory: hints, counts; sleepers and their waking
//! engine::table     * rows: found (`scan`, `row`), written with index entries (`heap`); rights (`access`)
//! guc                 server settings
//! pg                * Postgres, wrapped; knows no queue
//! error             * mistakes that callers can make
//! stop                named points at which tests stop a session
//! hint                where in a queue to look; knows no Postgres
//! value               settings, spans of time, rights; knows no Postgres
//! ```

mod api;
mod engine;
mod error;
mod guc;
mod hint;
mod install;
mod pg;
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
    guc::define();
    #[cfg(feature = "stops")]
    stop::define();
    engine::commit::callbacks::listen();
    // SAFETY: reads a variable of the server.
    if unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        guc::define_for_shared_memory();
        engine::shared::startup::request();
        // While pg_upgrade moves tables to another server nobody else may write to them.
        // SAFETY: as above.
        if !unsafe { pg_sys::IsBinaryUpgrade } {
            worker::launcher::register_launcher();
        }
    }
    guc::refuse_others();
}

/// `cargo pgrx test` looks for this module here.
#[cfg(test)]
pub mod pg_test {
    pub fn setup(_options: Vec<&str>) {}

    pub fn postgresql_conf_options() -> Vec<&'static str> {
        vec!["shared_preload_libraries = 'pgqueue'", "pgqueue.auto_vacuum = off"]
    }
}
