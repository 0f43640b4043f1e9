//! Access: the rights of roles on a queue.
//!
//! A role has the rights of the roles it is a member of, as everywhere in Postgres.

use std::collections::HashMap;

use pgrx::pg_sys::{self, Oid};

use crate::engine::table::statement::Row;
use crate::error::{Error, Result};
use crate::pg::role;
use crate::value::right::Right;

/// Role number of PUBLIC in `pgqueue.privilege`, as in Postgres's own access lists.
pub const PUBLIC: u32 = 0;

/// Postgres's predefined role `pg_monitor`.
const PG_MONITOR: Oid = Oid::from_u32(pg_sys::ROLE_PG_MONITOR);

/// A queue's owner, and the rights granted on it by role.
pub struct Access {
    owner: Oid,
    granted: HashMap<u32, Vec<Right>>,
}

impl Access {
    /// Reads the columns owner_id and granted of `pgqueue.queue_access`, which begin at `first`.
    pub fn from_row(row: &Row, first: usize) -> Result<Self> {
        let owner = row.get(first).map_or(Oid::INVALID, |owner| Oid::from(owner.value() as u32));
        let granted = match row.jsonb(first + 1) {
            Some(granted) => {
                serde_json::from_str(&granted.text()).map_err(|error| Error::unreadable_rights(&error))?
            }
            None => HashMap::new(),
        };
        Ok(Self { owner, granted })
    }

    /// True if the current user has the right.
    pub fn allows_caller(&self, right: Right) -> bool {
        self.allows(role::caller(), right)
    }

    /// True if a role has the right. Superusers have all.
    pub fn allows(&self, role: Oid, right: Right) -> bool {
        has_rights_of(role, self.owner)
            || self.granted.iter().any(|(&to, granted)| {
                right.is_among(granted) && (to == PUBLIC || has_rights_of(role, Oid::from(to)))
            })
            || right == Right::Monitor && has_rights_of(role, PG_MONITOR)
    }

    pub fn owner(&self) -> Oid {
        self.owner
    }
}

/// True if `user` is a superuser or has the privileges of `role`. Only superusers have those of a dropped
/// role.
pub fn has_rights_of(user: Oid, role: Oid) -> bool {
    // SAFETY: look-ups in the caches of roles and memberships.
    unsafe {
        if role == Oid::INVALID { pg_sys::superuser_arg(user) } else { pg_sys::has_privs_of_role(user, role) }
    }
}
