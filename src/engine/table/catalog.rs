//! The catalog: object ids of the tables and indexes, cached until they change.
//!
//! Invariant: after `refresh()`, the cache holds what a fresh look-up would find, even if this session has
//! run DROP and CREATE EXTENSION. Postgres reports every change by relcache invalidation. Each report raises
//! `generation`. Changes of queues are reported in the same way (`queue_changes`).

use std::cell::Cell;
use std::ffi::CStr;
use std::sync::Once;

use pgrx::pg_sys::{self, Datum, Oid};

use crate::engine::table::index::{self, Index};
use crate::engine::table::{installed_version, queue_changes};
use crate::error::Error;

/// Object ids of the tables and indexes that the engine opens itself.
#[derive(Clone, Copy)]
pub struct Catalog {
    pub owner: Oid,
    pub queue: Oid,
    pub queue_by_name: Index,
    pub begun_queue: Oid,
    pub begun_queue_by_name: Index,
    pub message: Oid,
    pub message_by_id: Index,
    pub message_ready: Index,
    pub message_due: Index,
    pub message_expires: Index,
    pub message_group: Index,
    pub message_key: Index,
    pub message_id: Oid,
    pub dead: Oid,
    pub counter: Oid,
    pub archive: Oid,
    pub slot: Oid,
    pub slot_by_number: Index,
}

thread_local! {
    static CATALOG: Cell<Option<Catalog>> = const { Cell::new(None) };
    static GENERATION: Cell<u64> = const { Cell::new(0) };
    /// How many changes had been reported at this transaction's first call.
    static FIRST_HEARD: Cell<Option<u64>> = const { Cell::new(None) };
}

fn hear() {
    listen();
    // SAFETY: allowed wherever a statement could start, which every call of ours is.
    unsafe { pg_sys::AcceptInvalidationMessages() };
    if FIRST_HEARD.get().is_none() {
        FIRST_HEARD.set(Some(changes()));
    }
}

/// True if anything has changed since this transaction's first call.
pub fn has_changed() -> bool {
    hear();
    FIRST_HEARD.get() != Some(changes())
}

/// Forgets what this transaction's first call has heard, because the transaction ends.
pub fn end_transaction() {
    FIRST_HEARD.set(None);
}

/// Accepts the invalidations of other sessions and returns the object ids.
pub fn refresh() -> Catalog {
    hear();
    loop {
        if let Some(known) = CATALOG.get() {
            return known;
        }
        let before = generation();
        let found = look_up();
        // A table that is away, renamed by hand, is looked up each time: its return would not be heard.
        if found.relations().contains(&Oid::INVALID) {
            return found;
        }
        // A look-up that a change has interrupted may mix old and new ids.
        if generation() == before {
            CATALOG.set(Some(found));
        }
    }
}

/// Returns the object ids as of this call's last `refresh`.
pub fn known() -> Catalog {
    CATALOG.get().unwrap_or_else(refresh)
}

/// Accepts the invalidations of other sessions and returns the number of changes so far.
pub fn heard() -> u64 {
    hear();
    changes()
}

/// Counter of changes of the tables, and of reports that any queue may have changed.
pub fn generation() -> u64 {
    GENERATION.get()
}

/// Counter of all changes: those of the tables and those of single queues.
pub fn changes() -> u64 {
    generation() + queue_changes::count()
}

/// What this session has heard of a queue. A queue that was read is unchanged while this is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    generation: u64,
    of_queue: u32,
}

/// Returns what this session has heard of a queue so far.
pub fn heard_of(queue: i32) -> Heard {
    Heard { generation: generation(), of_queue: queue_changes::count_of(queue) }
}

fn listen() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        // SAFETY: on_change neither allocates nor raises.
        unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(on_change), Datum::null()) }
    });
}

/// Called by Postgres in the middle of its cache handling: only sets flags.
unsafe extern "C-unwind" fn on_change(_: Datum, relation: Oid) {
    queue_changes::hear_of(relation);
    let is_ours = |catalog: Catalog| relation == Oid::INVALID || catalog.relations().contains(&relation);
    if CATALOG.get().is_none_or(is_ours) {
        CATALOG.set(None);
        GENERATION.set(GENERATION.get() + 1);
    }
}

impl Catalog {
    fn relations(&self) -> [Oid; 17] {
        [
            self.queue,
            self.queue_by_name.oid,
            self.begun_queue,
            self.begun_queue_by_name.oid,
            self.message,
            self.message_by_id.oid,
            self.message_ready.oid,
            self.message_due.oid,
            self.message_expires.oid,
            self.message_group.oid,
            self.message_key.oid,
            self.message_id,
            self.dead,
            self.counter,
            self.archive,
            self.slot,
            self.slot_by_number.oid,
        ]
    }
}

/// True if the extension exists.
pub fn is_there() -> bool {
    // SAFETY: a catalog look-up by name.
    unsafe { pg_sys::get_namespace_oid(c"pgqueue".as_ptr(), true) != Oid::INVALID }
}

fn look_up() -> Catalog {
    installed_version::check();
    // SAFETY: catalog look-ups by name; a missing object raises or gives 0, which
    // the first use of it reports.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"pgqueue".as_ptr(), false);
        let find = |name: &CStr| pg_sys::get_relname_relid(name.as_ptr(), schema);
        let index = |which| Index::find(schema, which);
        Catalog {
            owner: owner_of(find(c"message")),
            queue: find(c"queue"),
            queue_by_name: index(index::QUEUES),
            begun_queue: find(c"begun_queue"),
            begun_queue_by_name: index(index::BEGUN),
            message: find(c"message"),
            message_by_id: index(index::BY_ID),
            message_ready: index(index::READY),
            message_due: index(index::DUE),
            message_expires: index(index::EXPIRES),
            message_group: index(index::GROUP),
            message_key: index(index::KEY),
            message_id: find(c"message_id"),
            dead: find(c"dead"),
            counter: find(c"counter"),
            archive: find(c"archive"),
            slot: find(c"slot"),
            slot_by_number: index(index::SLOTS),
        }
    }
}

/// Opens a table. Its lock is kept until the end of the transaction.
pub fn open(table: Oid, lock: u32) -> pg_sys::Relation {
    // SAFETY: gives null if there is no such table.
    let relation = unsafe { pg_sys::try_relation_open(table, lock as i32) };
    if relation.is_null() {
        Error::extension_is_gone().raise();
    }
    relation
}

fn owner_of(table: Oid) -> Oid {
    let relation = open(table, pg_sys::AccessShareLock);
    // SAFETY: the relation is open while its entry is read.
    unsafe {
        let owner = (*(*relation).rd_rel).relowner;
        pg_sys::relation_close(relation, pg_sys::AccessShareLock as i32);
        owner
    }
}
