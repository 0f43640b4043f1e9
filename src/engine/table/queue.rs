//! Queues: finds them by name or number.
//!
//! A queue is cached until it changes (`catalog::heard_of`). It is read as committed now, at every isolation
//! level, so that the cache is never older than the last change this session has heard of.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use pgrx::pg_sys::{self, Datum, Oid};
use serde_json::Value;

use crate::engine::table::access::Access;
use crate::engine::table::begun;
use crate::engine::table::catalog::{self, Heard};
use crate::engine::table::name::Name;
use crate::engine::table::statement::{Row, Sees, Statement};
use crate::error::{Error, Result};
use crate::guc;
use crate::pg::lock::Lock;
use crate::pg::session::database;
use crate::pg::timeout::is_worker;
use crate::value::duration::Millis;
use crate::value::right::Right;
use crate::value::settings::{BadSetting, DeadLetter, NOT_A_BOOLEAN, Settings};

static FIND: Statement =
    Statement::by_index(include_str!("../../../sql/query/queue.sql"), &[pg_sys::TEXTOID, pg_sys::INT4OID]);

static LOCK: Statement =
    Statement::new(include_str!("../../../sql/query/lock_queue.sql"), &[pg_sys::INT4OID]);

/// Maximum number of queues in a session's cache.
const MOST_REMEMBERED: usize = 10_000;

/// A queue's row.
pub struct Queue {
    pub id: i32,
    pub name: Name,
    pub paused: bool,
    pub settings: Settings,
    /// It has no row yet (`table::begun`).
    pub is_begun: bool,
    access: Access,
}

/// A queue, and what this session had heard of it when it was read.
#[derive(Clone)]
struct Known {
    queue: Rc<Queue>,
    heard: Heard,
}

#[derive(Default)]
struct Remembered {
    generation: u64,
    by_name: HashMap<Name, Known>,
    by_id: HashMap<i32, Known>,
}

thread_local! {
    static REMEMBERED: RefCell<Remembered> = RefCell::default();
}

/// Finds a queue by its name, for a call that requires a right on it; an error without the right.
pub fn find(name: &Name, right: Right) -> Result<Option<Rc<Queue>>> {
    let queue = named(name)?;
    if let Some(queue) = &queue {
        queue.check(right)?;
    }
    Ok(queue)
}

/// Finds a queue by its name, without a check of rights.
pub fn named(name: &Name) -> Result<Option<Rc<Queue>>> {
    match remembered(|all| all.by_name.get(name)) {
        Some(queue) => Ok(Some(queue)),
        None => read(&[Some(name.datum()), None]),
    }
}

/// Finds a queue by its name; an error if there is none.
pub fn existing(name: &Name, right: Right) -> Result<Rc<Queue>> {
    find(name, right)?.ok_or_else(|| Error::no_such_queue(&name.to_string()))
}

/// Finds a queue by its number, without a check of rights.
pub fn by_id(id: i32) -> Result<Option<Rc<Queue>>> {
    match remembered(|all| all.by_id.get(&id)) {
        Some(queue) => Ok(Some(queue)),
        None => read(&[None, Some(id.into())]),
    }
}

/// Locks a queue's row until the transaction ends, which may wait, and judges the caller's right again then: no
/// other transaction changes the queue, or its owner, before this one does.
pub fn locked(queue: &Queue, right: Right) -> Result<Rc<Queue>> {
    LOCK.run(&[Some(queue.id.into())], |_| {});
    judged_again(queue, right)
}

/// Reads a queue as it is now, and judges the caller's right on it again: for a call that may have waited since it
/// has found the queue. An error if the queue was dropped meanwhile, or the caller has lost the right.
pub fn judged_again(queue: &Queue, right: Right) -> Result<Rc<Queue>> {
    let queue = by_id(queue.id)?.ok_or_else(|| Error::no_such_queue(&queue.name.to_string()))?;
    queue.check(right)?;
    Ok(queue)
}

/// Prevents queues from being dropped until the transaction ends, even if it is prepared and another session
/// ends it. False if a transaction is dropping one of them.
pub fn keep(queues: &[i32]) -> bool {
    queues.iter().all(|&queue| lock_of(queue).try_acquire(pg_sys::AccessShareLock))
}

/// Keeps a queue to which a background process has pushed from being dropped until its transaction ends. That
/// works for many roles, and a drop of one of their queues would fail all of it at its commit.
pub fn hold(queue: i32) -> Result<()> {
    let is_there = || keep(&[queue]) && matches!(by_id(queue), Ok(Some(_)));
    if is_worker() && !is_there() {
        return Err(Error::queue_was_dropped());
    }
    Ok(())
}

/// Waits for transactions that prevent the queue from being dropped.
pub fn wait_for_keepers(queue: i32) {
    lock_of(queue).acquire(pg_sys::AccessExclusiveLock);
}

fn lock_of(queue: i32) -> Lock {
    Lock::of_object(database(), catalog::known().queue, queue as u32)
}

pub fn events_to(settings: &Settings) -> Result<Option<Name>> {
    settings.events_to.as_deref().map(|name| Name::from_text(name, "events_to")).transpose()
}

pub fn bad_setting(bad: BadSetting) -> Error {
    let error = Error::setting(&bad.path, &bad.problem);
    match bad.problem.as_str() {
        NOT_A_BOOLEAN => error.hint("Give the boolean, without quotes: {\"notify\": true}."),
        _ => error,
    }
}

fn remembered(look: impl FnOnce(&Remembered) -> Option<&Known>) -> Option<Rc<Queue>> {
    catalog::refresh();
    REMEMBERED.with_borrow_mut(|all| {
        // A queue that is dropped and created again has the same name and another number.
        let is_full = all.by_name.len().max(all.by_id.len()) > MOST_REMEMBERED;
        if all.generation != catalog::generation() || is_full {
            *all = Remembered { generation: catalog::generation(), ..Remembered::default() };
        }
        let known = look(all).filter(|known| known.heard == catalog::heard_of(known.queue.id))?;
        Some(known.queue.clone())
    })
}

fn read(key: &[Option<Datum>]) -> Result<Option<Rc<Queue>>> {
    let changes = catalog::changes();
    let mut found = None;
    FIND.run_seeing(Sees::Latest, key, |row| found = Some(Queue::from_row(row)));
    let Some(queue) = found.transpose()?.map(Rc::new) else { return read_begun(key) };
    REMEMBERED.with_borrow_mut(|all| {
        // If a change came during the read, the result is used but not cached.
        if all.generation == catalog::generation() && catalog::changes() == changes {
            let known = Known { queue: queue.clone(), heard: catalog::heard_of(queue.id) };
            all.by_name.insert(queue.name.clone(), known.clone());
            all.by_id.insert(queue.id, known);
        }
    });
    Ok(Some(queue))
}

/// Reads a queue that has no row, by what was noted of it. It is not cached, as a note is no change of a queue.
fn read_begun(key: &[Option<Datum>]) -> Result<Option<Rc<Queue>>> {
    let mut found = None;
    begun::find(key, |row| found = Some(Queue::from_row(row)));
    let queue = found.transpose()?;
    Ok(queue.map(|queue| Rc::new(Queue { is_begun: true, ..queue })))
}

impl Queue {
    fn from_row(row: &Row) -> Result<Self> {
        let settings = row.jsonb(3).and_then(|settings| serde_json::from_str(&settings.text()).ok());
        Ok(Self {
            id: row.i32(0),
            name: Name::known(row.text(4).unwrap_or_default()),
            paused: row.bool(5),
            settings: Settings::read(&settings.unwrap_or(Value::Null)).map_err(bad_setting)?,
            is_begun: false,
            access: Access::from_row(row, 0),
        })
    }

    /// Returns an error unless the caller has the right.
    pub fn check(&self, right: Right) -> Result<()> {
        if self.allows(right) { Ok(()) } else { Err(Error::not_allowed(&self.name.to_string(), right)) }
    }

    /// True if the caller has the right.
    pub fn allows(&self, right: Right) -> bool {
        self.access.allows_caller(right)
    }

    /// True if a role may push into the queue.
    pub fn is_open_to(&self, role: Oid) -> bool {
        self.access.allows(role, Right::Push)
    }

    pub fn owner(&self) -> Oid {
        self.access.owner()
    }

    /// Returns the queue that gets events of retries and deaths.
    pub fn events_to(&self) -> Result<Option<Name>> {
        events_to(&self.settings)
    }

    /// Returns the lease of a message that has none of its own.
    pub fn lease(&self) -> Millis {
        self.settings.lease.unwrap_or_else(guc::default_lease)
    }

    /// Returns the limit of a message that has none of its own; 0: no limit.
    pub fn max_deliveries(&self) -> i32 {
        self.settings.max_deliveries.map_or_else(guc::max_deliveries, |max| max.0)
    }

    pub fn keeps_dead_letters(&self) -> bool {
        self.settings.dead_letter == DeadLetter::Kept
    }
}
