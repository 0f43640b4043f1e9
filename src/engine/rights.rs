//! Rights: granting and revoking them, giving queues away, and what happens to both when
//! roles are renamed or dropped.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::Once;

use pgrx::pg_sys::{self, Datum, Oid};

use super::access::{Access, PUBLIC, has_rights_of};
use super::owner::{self, role_name};
use super::queue::Queue;
use super::statement::Statement;
use crate::call::{Name, text_datum};
use crate::error::{Error, Result};
use crate::setting;
use crate::value::right::Right;

static GRANT: Statement = Statement::new(
    include_str!("../../sql/query/grant.sql"),
    &[pg_sys::INT4OID, pg_sys::TEXTOID, pg_sys::TEXTOID],
);
static REVOKE: Statement = Statement::new(
    include_str!("../../sql/query/revoke.sql"),
    &[pg_sys::INT4OID, pg_sys::OIDOID, pg_sys::TEXTOID],
);
static LIST: Statement = Statement::new(include_str!("../../sql/query/list_grants.sql"), &[pg_sys::TEXTOID]);
static SET_OWNER: Statement = Statement::new(
    include_str!("../../sql/query/set_owner.sql"),
    &[pg_sys::INT4OID, pg_sys::TEXTOID, pg_sys::OIDOID],
);
static REASSIGN: Statement =
    Statement::new(include_str!("../../sql/query/reassign_owned.sql"), &[pg_sys::OIDOID, pg_sys::TEXTOID]);
static TIDY: Statement = Statement::new(include_str!("../../sql/query/sweep_roles.sql"), &[]);

/// How everybody is called where a role is.
const EVERYBODY: &[u8] = b"public";

/// Grants a right; false if it was granted.
pub fn grant(queue: &Queue, role: Oid, right: Right) -> Result<bool> {
    let role = if role == Oid::from(PUBLIC) { EVERYBODY.to_vec() } else { existing(role)? };
    Ok(grant_by_name(queue.id, &role, right))
}

fn grant_by_name(queue: i32, role: &[u8], right: Right) -> bool {
    let right = text_datum(right.word().as_bytes());
    GRANT.run(&[Some(queue.into()), Some(text_datum(role)), Some(right)], |_| {}) > 0
}

/// Takes a right back; false if it was not granted.
pub fn revoke(queue: &Queue, role: Oid, right: Right) -> bool {
    let right = text_datum(right.word().as_bytes());
    REVOKE.run(&[Some(queue.id.into()), Some(role.into()), Some(right)], |_| {}) > 0
}

/// Grants on a new queue what its maker has set for new ones.
pub fn grant_defaults(queue: i32) -> Result<()> {
    let Some(defaults) = setting::default_grants() else { return Ok(()) };
    let defaults: BTreeMap<String, Vec<Right>> =
        serde_json::from_str(&defaults).map_err(|error| Error::bad_default_grants(&error.to_string()))?;
    for (role, rights) in defaults {
        if role.as_bytes() != EVERYBODY && owner::role(role.as_bytes()).is_none() {
            return Err(Error::bad_default_grants(&format!("role \"{role}\" does not exist")));
        }
        for right in rights {
            grant_by_name(queue, role.as_bytes(), right);
        }
    }
    Ok(())
}

/// Shows what was granted on one queue or all: those on which the caller has a right.
pub fn list(queue: Option<&Name>, mut each: impl FnMut(&[Option<Datum>])) -> Result<()> {
    let mut problem = Ok(());
    LIST.run(&[queue.map(Name::datum)], |row| match Access::from_row(row, 0) {
        Ok(access) if access.allows_caller(Right::Monitor) => each(&row.all()[2..]),
        Ok(_) => {}
        Err(error) => problem = Err(error),
    });
    problem
}

/// Gives a queue to a role that the caller is a member of; false if it was its owner.
pub fn set_owner(queue: &Queue, owner: Oid) -> Result<bool> {
    let name = existing(owner)?;
    check_can_be(owner, &name)?;
    if queue.owner() == owner {
        return Ok(false);
    }
    SET_OWNER.run(&[Some(queue.id.into()), Some(text_datum(&name)), Some(owner.into())], |_| {});
    Ok(true)
}

/// Gives what a role owns to another and returns how much that was.
pub fn reassign_owned(old: Oid, new: Oid) -> Result<i64> {
    let (old_name, name) = (existing(old)?, existing(new)?);
    if !has_rights_of(owner::caller(), old) {
        return Err(not_a_member(&old_name));
    }
    check_can_be(new, &name)?;
    let mut count = 0;
    REASSIGN.run(&[Some(old.into()), Some(text_datum(&name))], |row| count = row.i64(0));
    Ok(count)
}

fn existing(role: Oid) -> Result<Vec<u8>> {
    role_name(role).ok_or_else(|| Error::no_such_role(role.to_u32()))
}

/// An error unless the caller could become a role, as who gives something to it must.
fn check_can_be(role: Oid, name: &[u8]) -> Result<()> {
    #[cfg(any(feature = "pg14", feature = "pg15"))]
    use pg_sys::is_member_of_role as can_be;
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    use pg_sys::member_can_set_role as can_be;
    // SAFETY: a look-up in the cache of memberships.
    if unsafe { can_be(owner::caller(), role) } { Ok(()) } else { Err(not_a_member(name)) }
}

fn not_a_member(name: &[u8]) -> Error {
    Error::not_a_member(&String::from_utf8_lossy(name))
}

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
        if !has_rights_of(owner::caller(), (*(*trigger.tg_relation).rd_rel).relowner) {
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
            name => owner::role(name).map(Oid::to_u32),
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
