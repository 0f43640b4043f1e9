//! Names of queues and keys.

use std::ffi::CString;

use pgrx::pg_sys::Datum;

use crate::error::{Error, Result};
use crate::pg::datum::{in_server_encoding, text_datum};

/// Longest queue name or key, in bytes.
pub const LONGEST_NAME: usize = 512;

/// A queue's name or a key: 1 to 512 bytes, compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(Vec<u8>);

impl Name {
    /// Checks a name from a caller.
    pub fn check(bytes: Vec<u8>, argument: &str) -> Result<Self> {
        match bytes.len() {
            0 => Err(Error::invalid(argument, "must not be empty", "Give it at least one character.")),
            length if length > LONGEST_NAME => Err(Error::too_long(argument, length, LONGEST_NAME)),
            _ => Ok(Self(bytes)),
        }
    }

    /// Checks a name from a setting.
    pub fn from_text(text: &str, argument: &str) -> Result<Self> {
        let text = CString::new(text).expect("JSON has no NUL byte");
        Self::check(in_server_encoding(&text).to_bytes().to_vec(), argument)
    }

    /// Takes a name from the tables, which was checked before.
    pub fn known(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub fn datum(&self) -> Datum {
        text_datum(&self.0)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}
