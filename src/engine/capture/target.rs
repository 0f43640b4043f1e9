//! The target of a capture trigger: its queue, the name of its table, the keys and columns of its rows.
//!
//! A session remembers it until the table, a schema, or a cast changes.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Once;

use pgrx::pg_sys::{self, Datum, Oid};

use crate::engine::capture::json::Shape;
use crate::engine::table::name::Name;
use crate::error::Result;

/// How many targets a session remembers at most.
const MOST_REMEMBERED: usize = 1_000;

/// What a trigger pushes, and where.
pub struct Target {
    /// The table of the trigger.
    pub relation: Oid,
    pub queue: Name,
    /// The table's name, quoted as SQL needs it.
    pub table: Vec<u8>,
    pub shape: Shape,
    /// The names of the key columns.
    pub keys: Vec<Vec<u8>>,
    /// The numbers of the key columns in the shape, each once, in the order of an object.
    pub key_columns: Vec<usize>,
}

impl Target {
    pub fn new(relation: Oid, queue: Name, table: Vec<u8>, shape: Shape, keys: Vec<Vec<u8>>) -> Self {
        let mut key_columns: Vec<_> = keys.iter().filter_map(|name| shape.number_of(name)).collect();
        key_columns.sort_unstable();
        key_columns.dedup();
        Self { relation, queue, table, shape, keys, key_columns }
    }
}

thread_local! {
    /// Targets by the number of their trigger.
    static REMEMBERED: RefCell<HashMap<Oid, Rc<Target>>> = RefCell::default();
    static CHANGES: Cell<u64> = const { Cell::new(0) };
    /// The number of changes when the first target was remembered.
    static REMEMBERED_AT: Cell<u64> = const { Cell::new(0) };
}

/// Returns the target of a trigger of a table; makes it if it is not known.
pub fn of(trigger: Oid, relation: Oid, make: impl FnOnce() -> Result<Target>) -> Result<Rc<Target>> {
    listen();
    if REMEMBERED_AT.get() != CHANGES.get() {
        REMEMBERED.with_borrow_mut(HashMap::clear);
        REMEMBERED_AT.set(CHANGES.get());
    }
    let known = REMEMBERED.with_borrow(|all| all.get(&trigger).cloned());
    if let Some(known) = known.filter(|known| known.relation == relation) {
        return Ok(known);
    }
    let target = Rc::new(make()?);
    // A change that came meanwhile may be in the target only in part.
    if REMEMBERED_AT.get() == CHANGES.get() {
        REMEMBERED.with_borrow_mut(|all| {
            if all.len() >= MOST_REMEMBERED {
                all.clear();
            }
            all.insert(trigger, target.clone());
        });
    }
    Ok(target)
}

fn listen() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        let caches = [pg_sys::SysCacheIdentifier::NAMESPACEOID, pg_sys::SysCacheIdentifier::CASTSOURCETARGET];
        // SAFETY: the callbacks neither allocate nor raise.
        unsafe {
            pg_sys::CacheRegisterRelcacheCallback(Some(on_relation), Datum::null());
            for cache in caches {
                pg_sys::CacheRegisterSyscacheCallback(cache as i32, Some(on_object), Datum::null());
            }
        }
    });
}

/// Called by Postgres in the middle of its cache handling: only counts.
unsafe extern "C-unwind" fn on_relation(_: Datum, relation: Oid) {
    // A table that is not known is locked while its target is made.
    let is_known = REMEMBERED.with(|all| {
        all.try_borrow().map_or(true, |all| all.values().any(|target| target.relation == relation))
    });
    if is_known || relation == Oid::INVALID {
        CHANGES.set(CHANGES.get() + 1);
    }
}

/// As `on_relation`.
unsafe extern "C-unwind" fn on_object(_: Datum, _cache: i32, _hash: u32) {
    CHANGES.set(CHANGES.get() + 1);
}
