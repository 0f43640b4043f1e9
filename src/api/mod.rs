//! The SQL surface: a file per verb family, a function per SQL function.
//!
//! Each function checks its arguments, asks the engine and shapes the rows. `sql/schema` declares the
//! functions. Arguments are numbered in the order of their declaration.

pub mod call;
pub mod capture;
pub mod change;
pub mod consume;
pub mod dead;
pub mod manage;
pub mod observe;
pub mod produce;
pub mod publish;
pub mod push_each;
pub mod rights;
pub mod schedule;
pub mod settle;
pub mod topic;
pub mod trigger;
pub mod wait;
pub mod watch;
