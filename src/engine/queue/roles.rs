//! Roles in our tables: pinned to their numbers, followed when they are renamed or dropped.

use std::cell::Cell;
use std::ffi::CStr;
use std::sync::Once;

use pgrx::pg_sys::{self, Datum, Oid};

use crate::engine::queue::grants::EVERYBODY;
use crate::engine::table::access::{PUBLIC, has_rights_of};
use crate::engine::table::statement::Statement;
use crate::error::{Error, Result};
use crate::pg::role;

static TIDY: Statement = Statement::new(include_str!("../../../sql/query/sweep_roles.sql"), &[]);

/// The row that is being written, with the number of the role that it names: both columns
/// are the arguments of the trigger.
///
/// Nobody writes such a row but who has the rights of the table's owner, as all our statements
/// do. Whoever else may write tables (`pg_write_all_data`) could make himself anybody with it.
///
/// Nobody else deletes such rows, or truncates their tables, either.
///
/// A row that is updated keeps its number unless either has changed. The name may be that
/// of a role which is gone, and somebody else's by now.
///
/// # Safety
/// The trigger is one for each row, before it is written or deleted, with two columns as arguments;
/// or one before a TRUNCATE.
pub unsafe fn pin(trigger: *mut pg_sys::TriggerData) -> Result<Datum> {
    // SAFETY: the rows and their descriptor are Postgres's, as long as the trigger runs.
    unsafe {
        let trigger = &*trigger;
        if !has_rights_of(role::caller(), (*(*trigger.tg_relation).rd_rel).relowner) {
            return Err(Error::not_for_hands());
        }
        if pgrx::trigger_fired_by_delete(trigger.tg_event)
            || pgrx::trigger_fired_by_truncate(trigger.tg_event)
        {
            return Ok(trigger.tg_trigtuple.into()); // none with TRUNCATE
        }
        let descriptor = (*trigger.tg_relation).rd_att;
        let column = |n: usize| pg_sys::SPI_fnumber(descriptor, *(*trigger.tg_trigger).tgargs.add(n));
        let (name, number) = (column(0), column(1));
        let is_update = !trigger.tg_newtuple.is_null();
        let row = if is_update { trigger.tg_newtuple } else { trigger.tg_trigtuple };
        let role_in = |row| {
            let value = |column| {
                let mut null = false;
                let value = pg_sys::heap_getattr(row, column, descriptor, &mut null);
                (!null).then_some(value)
            };
            let name = value(name).map(|name| CStr::from_ptr(name.cast_mut_ptr()).to_bytes().to_vec());
            (name, value(number).map(|number| number.value() as u32))
        };
        if is_update && role_in(row) == role_in(trigger.tg_trigtuple) {
            return Ok(row.into());
        }
        let role = role_in(row).0.and_then(|name| match &name[..] {
            EVERYBODY => Some(PUBLIC),
            name => role::role(name).map(Oid::to_u32),
        });
        let pinned = pg_sys::heap_modify_tuple_by_cols(
            row,
            descriptor,
            1,
            &mut { number },
            &mut Datum::from(role.unwrap_or_default()),
            &mut role.is_none(),
        );
        Ok(pinned.into())
    }
}

thread_local! {
    static CHANGES: Cell<u64> = const { Cell::new(0) };
    static TIDIED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Once after each change of roles, renames them in our tables, and lets go of what
/// belonged to those that are gone; again for rows that another transaction held.
pub fn tidy() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        let roles = pg_sys::SysCacheIdentifier::AUTHOID as i32;
        // SAFETY: on_change neither allocates nor raises.
        unsafe { pg_sys::CacheRegisterSyscacheCallback(roles, Some(on_change), Datum::null()) }
    });
    let changes = CHANGES.get();
    if TIDIED.get() != Some(changes) {
        let mut left = 0;
        TIDY.run(&[], |row| left = row.i64(0));
        if left == 0 {
            TIDIED.set(Some(changes));
        }
    }
}

/// Postgres calls this in the middle of its cache handling: it only counts.
unsafe extern "C-unwind" fn on_change(_: Datum, _cache: i32, _hash: u32) {
    CHANGES.set(CHANGES.get() + 1);
}
