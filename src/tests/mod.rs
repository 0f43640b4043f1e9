//! Tests inside a backend; each is one transaction that is rolled back.
//!
//! What a person at psql sees is in `tests/pg_regress`, what needs several sessions
//! in `tests/*.rs`; here is what the engine promises about its rows.

mod reserve;
mod rows;
mod text_length;

use pgrx::Spi;
use pgrx::datum::{FromDatum, IntoDatum};

/// The one value a query gives.
fn one<T: FromDatum + IntoDatum>(query: &str) -> T {
    Spi::get_one(query)
        .unwrap_or_else(|error| panic!("{query}: {error}"))
        .unwrap_or_else(|| panic!("{query}: null"))
}

/// The first column of all rows, as text.
fn all(query: &str) -> Vec<String> {
    one(&format!("SELECT coalesce(array_agg(v::text), '{{}}') FROM ({query}) AS q (v)"))
}

fn run(statement: &str) {
    Spi::run(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
}
