//! Access: the rights of roles on a queue, or on a topic, whose number is none of a queue.
//!
//! A role has the rights of the roles it is a member of, as everywhere in Postgres. The rights of a role on a
//! queue are looked up when they are asked for first, and cached until the queue, its grants or any
//! membership changes. So neither grants to other roles nor other members cost a check anything.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use pgrx::pg_sys::{self, Oid};

use crate::engine::table::catalog::{self, Heard};
use crate::engine::table::statement::{Row, Sees, Statement};
use crate::pg::datum::oid_array;
use crate::pg::role;
use crate::value::right::Right;

static GRANTED: Statement = Statement::by_index(
    include_str!("../../../sql/query/granted.sql"),
    &[pg_sys::INT4OID, pg_sys::OIDARRAYOID],
);

/// Role number of PUBLIC in `pgqueue.privilege`, as in Postgres's own access lists.
pub const PUBLIC: u32 = 0;

/// Predefined roles of Postgres.
const PG_MONITOR: Oid = Oid::from_u32(pg_sys::ROLE_PG_MONITOR);
const PG_DATABASE_OWNER: Oid = Oid::from_u32(pg_sys::ROLE_PG_DATABASE_OWNER);

/// Maximum number of queues and roles in a session's cache of rights, and of roles in that of memberships.
const MOST_REMEMBERED: usize = 10_000;

/// Who has rights on a queue: its owner, and roles to which rights were granted.
pub struct Access {
    queue: i32,
    owner: Oid,
    has_grants: bool,
}

/// The rights that were granted to a role on a queue, its memberships included.
struct Granted {
    heard: Heard,
    memberships: u64,
    rights: Vec<Right>,
}

/// The roles whose rights a role has.
struct Held {
    memberships: u64,
    roles: Rc<[Oid]>,
}

thread_local! {
    static RIGHTS: RefCell<HashMap<(i32, Oid), Granted>> = RefCell::default();
    static HELD: RefCell<HashMap<Oid, Held>> = RefCell::default();
}

impl Access {
    /// Reads the columns id, owner_id and has_grants of `pgqueue.queue_access` or `topic_access`, which begin at
    /// `first`.
    pub fn from_row(row: &Row, first: usize) -> Self {
        Self {
            queue: row.i32(first),
            owner: row.get(first + 1).map_or(Oid::INVALID, |owner| Oid::from(owner.value() as u32)),
            has_grants: row.bool(first + 2),
        }
    }

    /// True if the current user has the right.
    pub fn allows_caller(&self, right: Right) -> bool {
        self.allows(role::caller(), right)
    }

    /// True if a role has the right. Superusers have all.
    pub fn allows(&self, role: Oid, right: Right) -> bool {
        has_rights_of(role, self.owner)
            || self.has_grants && right != Right::Own && is_granted(self.queue, role, right)
            || right == Right::Monitor && has_rights_of(role, PG_MONITOR)
    }

    pub fn owner(&self) -> Oid {
        self.owner
    }
}

fn is_granted(queue: i32, role: Oid, right: Right) -> bool {
    let (heard, memberships) = (catalog::heard_of(queue), role::memberships());
    let is_fresh = |known: &&Granted| (known.heard, known.memberships) == (heard, memberships);
    let look = |known: &Granted| right.is_among(&known.rights);
    if let Some(known) = RIGHTS.with_borrow(|all| all.get(&(queue, role)).filter(is_fresh).map(look)) {
        return known;
    }
    let granted = Granted { heard, memberships, rights: read(queue, role) };
    let is_allowed = look(&granted);
    // If a change came during the read, the result is used but not cached.
    if (catalog::heard_of(queue), role::memberships()) == (heard, memberships) {
        remember(&RIGHTS, (queue, role), granted);
    }
    is_allowed
}

fn read(queue: i32, role: Oid) -> Vec<Right> {
    let mut rights = Vec::new();
    let roles = oid_array(&held_by(role));
    GRANTED.run_seeing(Sees::Latest, &[Some(queue.into()), Some(roles)], |row| {
        rights.extend(Right::named(&row.text(0).unwrap_or_default()));
    });
    rights
}

/// The roles whose rights a role has: its own, those of roles that it inherits from, PUBLIC.
fn held_by(role: Oid) -> Rc<[Oid]> {
    let memberships = role::memberships();
    let is_fresh = |held: &&Held| held.memberships == memberships;
    if let Some(held) = HELD.with_borrow(|all| all.get(&role).filter(is_fresh).map(|held| held.roles.clone()))
    {
        return held;
    }
    let mut roles = role::joined_by(role);
    // The owner of the database is a member without being listed.
    roles.push(PG_DATABASE_OWNER);
    roles.retain(|&to| has_rights_of(role, to));
    roles.push(Oid::from(PUBLIC));
    let roles: Rc<[Oid]> = roles.into();
    if role::memberships() == memberships {
        remember(&HELD, role, Held { memberships, roles: roles.clone() });
    }
    roles
}

fn remember<K: std::hash::Hash + Eq, V>(
    cache: &'static std::thread::LocalKey<RefCell<HashMap<K, V>>>,
    key: K,
    value: V,
) {
    cache.with_borrow_mut(|all| {
        if all.len() >= MOST_REMEMBERED {
            all.clear();
        }
        all.insert(key, value);
    });
}

/// True if `user` is a superuser or has the privileges of `role`. Only superusers have those of a dropped
/// role.
pub fn has_rights_of(user: Oid, role: Oid) -> bool {
    // SAFETY: look-ups in the caches of roles and memberships.
    unsafe {
        if role == Oid::INVALID { pg_sys::superuser_arg(user) } else { pg_sys::has_privs_of_role(user, role) }
    }
}
