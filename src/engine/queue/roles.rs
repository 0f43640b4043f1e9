//! Roles in pgqueue's tables: pinned to their numbers, followed when they are renamed or dropped.

use std::cell::Cell;

use pgrx::pg_sys::{Datum, Oid};

use crate::engine::queue::grants::EVERYBODY;
use crate::engine::table::access::{PUBLIC, has_rights_of};
use crate::engine::table::statement::Statement;
use crate::error::{Error, Result};
use crate::pg::role;
use crate::pg::trigger::{Trigger, TriggerRow};

static TIDY: Statement = Statement::new(include_str!("../../../sql/query/sweep_roles.sql"), &[]);

/// The trigger's row, with the number of the role that it names. The trigger's arguments name both columns.
///
/// Only a role with the rights of the table's owner may write such a row, as all statements of pgqueue do.
/// Any other role that may write tables (`pg_write_all_data`) could make itself any role with it. The same
/// goes for deleting such rows, and for truncating their tables.
///
/// An updated row keeps its number unless name or number has changed: the name may be that of a role that is
/// gone, and belong to another role by now.
///
/// The trigger fires for each row, before it is written or deleted, or before a TRUNCATE.
pub fn pin(trigger: Trigger) -> Result<Datum> {
    if !has_rights_of(role::caller(), trigger.owner_of_table()) {
        return Err(Error::not_for_hands());
    }
    let Some(row) = trigger.new_row() else {
        return Ok(trigger.old_row().map_or(Datum::null(), TriggerRow::datum));
    };
    let mut columns = trigger.arguments();
    let (Some(name), Some(number)) = (columns.next(), columns.next()) else {
        return Err(Error::not_a_trigger());
    };
    let role_in = |row: TriggerRow| (row.name(name), row.oid(number));
    if trigger.old_row().is_some_and(|old| role_in(old) == role_in(row)) {
        return Ok(row.datum());
    }
    let role = row.name(name).and_then(|name| match &name[..] {
        EVERYBODY => Some(Oid::from(PUBLIC)),
        name => role::role(name),
    });
    Ok(row.with_oid(number, role))
}

thread_local! {
    static TIDIED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Renames roles in pgqueue's tables, and removes what belonged to dropped roles. Runs once after each change
/// of roles, and again for rows that another transaction held.
pub fn tidy() {
    let changes = role::times_changed();
    if TIDIED.get() != Some(changes) {
        let mut left = 0;
        TIDY.run(&[], |row| left = row.i64(0));
        if left == 0 {
            TIDIED.set(Some(changes));
        }
    }
}
