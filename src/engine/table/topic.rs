//! Topics: finds them by name.
//!
//! A topic is cached like a queue (`table::queue`): its number is none that a queue has, and its changes, and
//! those of its grants and subscriptions, travel as those of a queue with that number would.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use pgrx::pg_sys::{self, Oid};

use crate::engine::table::access::Access;
use crate::engine::table::catalog::{self, Heard};
use crate::engine::table::name::Name;
use crate::engine::table::statement::{Row, Sees, Statement};
use crate::error::{Error, Result};
use crate::value::right::Right;

static FIND: Statement =
    Statement::by_index(include_str!("../../../sql/query/topic.sql"), &[pg_sys::TEXTOID]);

static LOCK: Statement =
    Statement::new(include_str!("../../../sql/query/lock_topic.sql"), &[pg_sys::INT4OID]);
static LOCK_TO_DROP: Statement =
    Statement::new(include_str!("../../../sql/query/lock_topic_to_drop.sql"), &[pg_sys::INT4OID]);

/// Maximum number of topics in a session's cache.
const MOST_REMEMBERED: usize = 10_000;

/// A topic's row.
pub struct Topic {
    pub id: i32,
    pub name: Name,
    access: Access,
}

/// A topic, and what this session had heard of it when it was read.
struct Known {
    topic: Rc<Topic>,
    heard: Heard,
}

thread_local! {
    static REMEMBERED: RefCell<HashMap<Name, Known>> = RefCell::default();
}

/// Finds a topic for a call that requires a right on it; an error if there is none, or without the right.
pub fn existing(name: &Name, right: Right) -> Result<Rc<Topic>> {
    let topic = named(name)?;
    if topic.allows(right) { Ok(topic) } else { Err(Error::not_allowed_on_topic(&name.to_string(), right)) }
}

/// Finds a topic, without a check of rights; an error if there is none.
pub fn named(name: &Name) -> Result<Rc<Topic>> {
    match find(name) {
        Some(topic) => Ok(topic),
        None => Err(Error::no_such_topic(&name.to_string())),
    }
}

/// Locks a topic's row until the transaction ends, which may wait, and judges again whether the caller owns the
/// topic (`queue::locked`). No grant is left behind by a topic that is just being dropped.
pub fn locked(topic: &Topic) -> Result<Rc<Topic>> {
    LOCK.run(&[Some(topic.id.into())], |_| {});
    judged_again(topic)
}

/// Like `locked`, for a removal: new subscriptions have to wait.
pub fn locked_to_drop(topic: &Topic) -> Result<Rc<Topic>> {
    LOCK_TO_DROP.run(&[Some(topic.id.into())], |_| {});
    judged_again(topic)
}

/// Reads a topic as it is now, for a call of its owner that may have waited (`queue::judged_again`).
fn judged_again(topic: &Topic) -> Result<Rc<Topic>> {
    let now = existing(&topic.name, Right::Own)?;
    // Another topic may have the name by now.
    if now.id == topic.id { Ok(now) } else { Err(Error::no_such_topic(&topic.name.to_string())) }
}

/// Finds a topic, without a check of rights.
pub fn find(name: &Name) -> Option<Rc<Topic>> {
    catalog::refresh();
    let is_fresh = |known: &&Known| known.heard == catalog::heard_of(known.topic.id);
    let known = REMEMBERED.with_borrow(|all| all.get(name).filter(is_fresh).map(|known| known.topic.clone()));
    known.or_else(|| read(name))
}

fn read(name: &Name) -> Option<Rc<Topic>> {
    let changes = catalog::changes();
    let mut found = None;
    FIND.run_seeing(Sees::Latest, &[Some(name.datum())], |row| found = Some(Rc::new(Topic::from_row(row))));
    let topic = found?;
    // If a change came during the read, the result is used but not cached.
    if catalog::changes() == changes {
        let known = Known { topic: topic.clone(), heard: catalog::heard_of(topic.id) };
        REMEMBERED.with_borrow_mut(|all| {
            if all.len() >= MOST_REMEMBERED {
                all.clear();
            }
            all.insert(topic.name.clone(), known);
        });
    }
    Some(topic)
}

impl Topic {
    fn from_row(row: &Row) -> Self {
        Self {
            id: row.i32(0),
            name: Name::known(row.text(3).unwrap_or_default()),
            access: Access::from_row(row, 0),
        }
    }

    /// True if the caller has the right.
    pub fn allows(&self, right: Right) -> bool {
        self.access.allows_caller(right)
    }

    /// True if queues of a role may be subscribed.
    pub fn is_open_to(&self, role: Oid) -> bool {
        self.access.allows(role, Right::Subscribe)
    }

    pub fn owner(&self) -> Oid {
        self.access.owner()
    }
}
