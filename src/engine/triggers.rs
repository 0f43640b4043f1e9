//! Triggers of our own, which fire whatever role a session plays.
//!
//! A subscriber counts and wakes by them, and no superuser's session passes them by. Disabling all
//! triggers of a table and enabling them again, as `pg_restore --disable-triggers` does, leaves
//! them as plain ones.

use std::ffi::CString;

use pgrx::{PgSqlErrorCode, pg_sys};

use super::attempt::unless;
use super::statement::Statement;
use super::{catalog, owner};
use crate::call::varlena_bytes;

static PLAIN: Statement = Statement::new(include_str!("../../sql/query/plain_triggers.sql"), &[]);

/// What says that the table is in use: the next round tries again.
const IN_USE: [PgSqlErrorCode; 2] =
    [PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE, PgSqlErrorCode::ERRCODE_OBJECT_IN_USE];

/// Sets back those that have become plain; none that is disabled, and none while its table is in use.
pub fn keep() {
    let mut commands = Vec::new();
    PLAIN.run(&[], |row| {
        // SAFETY: both columns are text, and never null.
        let command = |column| unsafe { CString::new(varlena_bytes(row.value(column))) };
        let command = |column| command(column).expect("names have no NUL byte");
        commands.push([command(0), command(1)]);
    });
    for command in commands {
        unless(&IN_USE, || {
            owner::act_as(catalog::refresh().owner, || command.iter().for_each(|text| execute(text)));
            Ok(())
        });
    }
}

fn execute(text: &CString) {
    // SAFETY: connect and finish are paired, or closed by the abort if the command raises.
    unsafe {
        assert!(pg_sys::SPI_connect() >= 0, "SPI_connect");
        let code = pg_sys::SPI_execute(text.as_ptr(), false, 0);
        assert!(code >= 0, "SPI_execute: {code}");
        assert!(pg_sys::SPI_finish() >= 0, "SPI_finish");
    }
}
