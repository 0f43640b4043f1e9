//! The background worker: housekeeping, one process a database.
//!
//! ```text
//! preloaded:      postmaster ── launcher ──starts──▶ worker of every database
//!                                                      with the extension
//! not preloaded:  first call of a session ──starts──▶ worker of its database
//!
//! worker ──starts──▶ watcher of each role that has watches which are due
//! ```
//!
//! Correctness never depends on a worker. A database has only one, because each worker holds its database's
//! `WorkerLock` (`lock`); a second worker finds the lock taken and leaves.

pub mod errands;
pub mod launcher;
pub mod lock;
pub mod main_loop;
pub mod notify;
pub mod recount;
pub mod round;
pub mod session;
pub mod signals;
pub mod start;
pub mod step;
pub mod watchers;
