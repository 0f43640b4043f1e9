//! Roles in pgqueue's tables: pinned to their numbers. Their names follow them in `sweep::role_names`.

use pgrx::pg_sys::{Datum, Oid};

use crate::engine::queue::grants::EVERYBODY;
use crate::engine::table::access::{PUBLIC, has_rights_of};
use crate::error::{Error, Result};
use crate::pg::role;
use crate::pg::trigger::{Trigger, TriggerRow};

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
    let as_it_is = refuse_others(trigger)?;
    let Some(row) = trigger.new_row() else { return Ok(as_it_is) };
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

/// The trigger's row as it is; none for a TRUNCATE. An error for a role without the rights of the table's owner.
pub fn refuse_others(trigger: Trigger) -> Result<Datum> {
    if !has_rights_of(role::caller(), trigger.owner_of_table()) {
        return Err(Error::not_for_hands());
    }
    Ok(trigger.new_row().or(trigger.old_row()).map_or(Datum::null(), TriggerRow::datum))
}
