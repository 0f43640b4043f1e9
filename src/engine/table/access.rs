//! Access: who may do what with a queue.
//!
//! A role has the rights of those it is a member of, as everywhere in Postgres.

use std::collections::HashMap;

use pgrx::pg_sys::{self, Oid};

use crate::engine::table::statement::Row;
use crate::error::{Error, Result};
use crate::pg::role;
use crate::value::right::Right;

/// What `pgqueue.privilege` has for everybody: as in Postgres's own lists.
pub const PUBLIC: u32 = 0;

/// Postgres's own role for those who watch servers.
const PG_MONITOR: Oid = Oid::from_u32(pg_sys::ROLE_PG_MONITOR);

/// Whose a queue is, and what was granted on it to whom.
pub struct Access {
    owner: Oid,
    granted: HashMap<u32, Vec<Right>>,
}

impl Access {
    /// Reads two columns of `pgqueue.queue_access`, owner_id and granted.
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

    /// Whether the current user has a right.
    pub fn allows_caller(&self, right: Right) -> bool {
        self.allows(role::caller(), right)
    }

    /// Whether a role has a right. Superusers have all.
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

/// Whether a role is a superuser or has the rights of another. Nobody but superusers has
/// those of a role that is gone.
pub fn has_rights_of(user: Oid, role: Oid) -> bool {
    // SAFETY: look-ups in the caches of roles and memberships.
    unsafe {
        if role == Oid::INVALID { pg_sys::superuser_arg(user) } else { pg_sys::has_privs_of_role(user, role) }
    }
}
