//! Rights on queues and topics: granting and revoking them, and giving queues to other roles. `table::access`
//! checks them.

use std::collections::BTreeMap;

use pgrx::pg_sys::{self, Datum, Oid};

use crate::engine::table::access::{Access, PUBLIC, has_rights_of};
use crate::engine::table::catalog;
use crate::engine::table::name::Name;
use crate::engine::table::queue::{self, Queue};
use crate::engine::table::statement::Statement;
use crate::error::{Error, Result};
use crate::pg::datum::text_datum;
use crate::pg::role;
use crate::value::right::Right;

static GRANT: Statement = Statement::new(
    include_str!("../../../sql/query/grant.sql"),
    &[pg_sys::INT4OID, pg_sys::TEXTOID, pg_sys::TEXTOID],
);
static REVOKE: Statement = Statement::new(
    include_str!("../../../sql/query/revoke.sql"),
    &[pg_sys::INT4OID, pg_sys::OIDOID, pg_sys::TEXTOID],
);
static LIST: Statement =
    Statement::new(include_str!("../../../sql/query/list_grants.sql"), &[pg_sys::TEXTOID]);
static SET_OWNER: Statement = Statement::new(
    include_str!("../../../sql/query/set_owner.sql"),
    &[pg_sys::INT4OID, pg_sys::TEXTOID, pg_sys::OIDOID],
);
static REASSIGN: Statement = Statement::new(
    include_str!("../../../sql/query/reassign_owned.sql"),
    &[pg_sys::OIDOID, pg_sys::TEXTOID, pg_sys::OIDOID],
);

/// The name that stands for all roles in place of a role's.
pub(super) const EVERYBODY: &[u8] = b"public";

/// A role as a caller names it: exactly as `pg_roles` has it, not folded to lower case.
pub struct Role {
    pub id: Oid,
    pub name: Vec<u8>,
}

impl Role {
    pub fn named(name: &Name, argument: &str) -> Result<Self> {
        match role::role(name.bytes()) {
            Some(id) => Ok(Self { id, name: name.bytes().to_vec() }),
            None => Err(Error::no_such_role(argument, &name.to_string())),
        }
    }

    /// Like `named`; `public` stands for all roles. Postgres lets no role have that name.
    pub fn or_public(name: &Name, argument: &str) -> Result<Self> {
        match name.bytes() {
            EVERYBODY => Ok(Self { id: Oid::from(PUBLIC), name: EVERYBODY.to_vec() }),
            _ => Self::named(name, argument),
        }
    }
}

/// Grants a right on a queue. False if it was granted already.
pub fn grant(queue: &Queue, role: &Role, right: Right) -> Result<bool> {
    let queue = queue::locked(queue, Right::Own)?;
    Ok(add(queue.id, role, right))
}

/// Takes a right on a queue back. False if it was not granted.
pub fn revoke(queue: &Queue, role: &Role, right: Right) -> Result<bool> {
    let queue = queue::locked(queue, Right::Own)?;
    Ok(remove(queue.id, role, right))
}

/// Adds a grant on a queue or topic. False if it is there already.
pub fn add(number: i32, role: &Role, right: Right) -> bool {
    grant_by_name(number, &role.name, right)
}

fn grant_by_name(number: i32, role: &[u8], right: Right) -> bool {
    let right = text_datum(right.word().as_bytes());
    GRANT.run(&[Some(number.into()), Some(text_datum(role)), Some(right)], |_| {}) > 0
}

/// Removes a grant on a queue or topic. False if there is none.
pub fn remove(number: i32, role: &Role, right: Right) -> bool {
    let right = text_datum(right.word().as_bytes());
    REVOKE.run(&[Some(number.into()), Some(role.id.into()), Some(right)], |_| {}) > 0
}

/// Rights that the maker of a queue has set for other roles.
pub type Defaults = BTreeMap<String, Vec<Right>>;

/// Reads default grants; an error if one is for a role that does not exist.
pub fn read_defaults(text: &str) -> Result<Defaults> {
    let defaults: Defaults =
        serde_json::from_str(text).map_err(|error| Error::bad_default_grants(&error.to_string()))?;
    match defaults.keys().find(|role| !is_role(role)) {
        Some(role) => Err(Error::bad_default_grants(&format!("role \"{role}\" does not exist"))),
        None => Ok(defaults),
    }
}

/// Grants them on a new queue, to those roles that are still there.
pub fn grant_defaults(queue: i32, defaults: &Defaults) {
    for (role, rights) in defaults.iter().filter(|(role, _)| is_role(role)) {
        for &right in rights {
            grant_by_name(queue, role.as_bytes(), right);
        }
    }
}

fn is_role(name: &str) -> bool {
    name.as_bytes() == EVERYBODY || role::role(name.as_bytes()).is_some()
}

/// Shows the grants on one queue or all, as far as the caller has a right on them.
pub fn list(queue: Option<&Name>, mut each: impl FnMut(&[Option<Datum>])) {
    /// Columns of the statement for the check of rights.
    const HEAD: usize = 3;
    LIST.run(&[queue.map(Name::datum)], |row| {
        if Access::from_row(row, 0).allows_caller(Right::Monitor) {
            each(&row.all()[HEAD..]);
        }
    });
}

/// Gives a queue to a role that the caller is a member of. False if the role owned it already.
pub fn set_owner(queue: &Queue, owner: &Role) -> Result<bool> {
    let queue = queue::locked(queue, Right::Own)?;
    check_can_be(owner)?;
    if queue.owner() == owner.id {
        return Ok(false);
    }
    SET_OWNER.run(&[Some(queue.id.into()), Some(text_datum(&owner.name)), Some(owner.id.into())], |_| {});
    Ok(true)
}

/// Gives everything a role owns to another role, and returns how much that was.
pub fn reassign_owned(old: &Role, new: &Role) -> Result<i64> {
    check_may_reassign(old, new)?;
    let mut count = 0;
    let args = [Some(old.id.into()), Some(text_datum(&new.name)), Some(new.id.into())];
    REASSIGN.run(&args, |row| count = row.i64(0));
    catalog::refresh();
    check_may_reassign(old, new)?; // the statement may have waited
    Ok(count)
}

fn check_may_reassign(old: &Role, new: &Role) -> Result<()> {
    if !has_rights_of(role::caller(), old.id) {
        return Err(not_a_member(old));
    }
    check_can_be(new)
}

/// An error unless the caller could become a role: a caller who gives something to a role must.
pub fn check_can_be(role: &Role) -> Result<()> {
    if role::caller_can_become(role.id) { Ok(()) } else { Err(not_a_member(role)) }
}

fn not_a_member(role: &Role) -> Error {
    Error::not_a_member(&String::from_utf8_lossy(&role.name))
}
