//! The work itself: is a file still what its package brought?

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use md5::{Digest, Md5};

use crate::dpkg::Checksum;

/// What is larger than this is only looked for, so that the demo is over in seconds.
pub const MAX_MB: u64 = 2;

/// What was found of one package, as the audit goes on.
#[derive(Default)]
pub struct Audit {
    pub files: i32,
    pub missing: i32,
    pub altered: i32,
    /// Files that are there but were not read: for their size, or for lack of permission.
    pub unread: i32,
}

impl Audit {
    pub fn check(&mut self, file: &Checksum) {
        self.files += 1;
        match same(file) {
            Ok(true) => {}
            Ok(false) => self.altered += 1,
            Err(error) if absent(&error) => self.missing += 1,
            Err(_) => self.unread += 1,
        }
    }
}

fn same(file: &Checksum) -> io::Result<bool> {
    let found = fs::metadata(&file.path)?;
    if !found.is_file() {
        return Ok(false); // packages list regular files only; and opening a pipe would block
    }
    if found.len() > MAX_MB << 20 {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(md5(&file.path)? == file.md5)
}

fn absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn md5(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Md5::new();
    let mut chunk = [0; 64 << 10];
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            n => hash.update(&chunk[..n]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
