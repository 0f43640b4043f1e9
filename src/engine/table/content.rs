//! The content of a message: how long it may be.
//!
//! Postgres stores values whose text it cannot make, because that is longer than a gigabyte. A message with such
//! a content could be read by no consumer, and neither dumped nor replicated.

use pgrx::pg_sys::Datum;

use crate::error::{Error, Result};
use crate::pg::text_length;

/// Longest text of a payload or a body, in bytes. Together with the headers and the other columns it has to stay
/// below Postgres's longest string, 1,073,741,823 bytes.
const LONGEST_CONTENT: usize = 900_000_000;

/// Longest text of headers, in bytes.
const LONGEST_HEADERS: usize = 100_000_000;

/// An error if a payload or headers are too long to be written as text.
pub fn check(payload: Option<Datum>, headers: Option<Datum>) -> Result<()> {
    check_length("payload", payload.map_or(0, jsonb_length), LONGEST_CONTENT)?;
    check_length("headers", headers.map_or(0, jsonb_length), LONGEST_HEADERS)
}

/// An error if a body is too long to be written as text.
pub fn check_body(body: Datum) -> Result<()> {
    // SAFETY: the column is a bytea.
    check_length("body", unsafe { text_length::of_bytea(body) }, LONGEST_CONTENT)
}

fn jsonb_length(value: Datum) -> usize {
    // SAFETY: both columns are jsonb.
    unsafe { text_length::of_long_jsonb(value) }
}

fn check_length(argument: &str, length: usize, limit: usize) -> Result<()> {
    if length > limit { Err(Error::too_long_as_text(argument, length, limit)) } else { Ok(()) }
}
