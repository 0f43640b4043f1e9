//! Server settings (GUC), each with its effect and unit.

use std::ffi::CString;

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

use crate::pg::session::reserve_prefix;
use crate::value::duration::Millis;

static VACUUM_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(6_000);
static AUTO_VACUUM: GucSetting<bool> = GucSetting::<bool>::new(true);
static VACUUM_PAGE_SIZE: GucSetting<i32> = GucSetting::<i32>::new(1_000);
static MAX_DELIVERIES: GucSetting<i32> = GucSetting::<i32>::new(5);
static DEFAULT_LEASE: GucSetting<i32> = GucSetting::<i32>::new(30_000);
static AUTO_CREATE: GucSetting<bool> = GucSetting::<bool>::new(true);
static WATCH_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(30_000);
static WATCH_WORKERS: GucSetting<i32> = GucSetting::<i32>::new(2);
static DEFAULT_GRANTS: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static MAX_QUEUES_HINT: GucSetting<i32> = GucSetting::<i32>::new(1_000);

/// Maximum of `pgqueue.max_queues_hint`.
pub const MOST_QUEUES_HINT: usize = 10_000;

pub fn vacuum_interval() -> Millis {
    Millis::from_millis(VACUUM_INTERVAL.get().into())
}

pub fn auto_vacuum() -> bool {
    AUTO_VACUUM.get()
}

pub fn vacuum_page_size() -> i32 {
    VACUUM_PAGE_SIZE.get()
}

pub fn max_deliveries() -> i32 {
    MAX_DELIVERIES.get()
}

pub fn default_lease() -> Millis {
    Millis::from_millis(DEFAULT_LEASE.get().into())
}

pub fn auto_create() -> bool {
    AUTO_CREATE.get()
}

/// Longest run of a watch.
pub fn watch_timeout() -> Millis {
    Millis::from_millis(WATCH_TIMEOUT.get().into())
}

/// Maximum number of processes that run the watches of a database.
pub fn watch_workers() -> usize {
    WATCH_WORKERS.get() as usize
}

/// Grants on new queues: a JSON object of roles and rights.
pub fn default_grants() -> Option<String> {
    DEFAULT_GRANTS
        .get()
        .filter(|grants| !grants.is_empty())
        .map(|grants| grants.to_string_lossy().into_owned())
}

/// Maximum number of queues, over all databases, with scan hints in shared memory.
pub fn max_queues_hint() -> usize {
    MAX_QUEUES_HINT.get() as usize
}

/// Defines the settings that only a server start can change. Only while the library is being preloaded.
pub fn define_for_shared_memory() {
    GucRegistry::define_int_guc(
        c"pgqueue.max_queues_hint",
        c"For how many queues of all databases shared memory knows where their messages are.",
        c"Each takes about 8 kB. Of more queues, those used least are forgotten and scanned from their beginning.",
        &MAX_QUEUES_HINT,
        1,
        MOST_QUEUES_HINT as i32,
        GucContext::Postmaster,
        GucFlags::default(),
    );
}

/// Defines the settings. Called once, when the library is loaded.
pub fn define() {
    GucRegistry::define_int_guc(
        c"pgqueue.vacuum_interval",
        c"Time between two maintenance rounds of a database.",
        c"Each round clears away what has expired or died, a page at a time. Calls are correct without it.",
        &VACUUM_INTERVAL,
        10,
        86_400_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_bool_guc(
        c"pgqueue.auto_vacuum",
        c"Whether the background worker does maintenance rounds.",
        c"Off, the worker stays and idles; SELECT * FROM pgq_vacuum() does a round by hand.",
        &AUTO_VACUUM,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pgqueue.vacuum_page_size",
        c"How many messages each step of a maintenance round changes at most.",
        c"A round that fills a page is followed by the next without waiting for the interval.",
        &VACUUM_PAGE_SIZE,
        1,
        100_000,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pgqueue.max_deliveries",
        c"How often a message is delivered before it is dead.",
        c"0 means no limit. A queue's or a message's own max_deliveries goes before it.",
        &MAX_DELIVERIES,
        0,
        i32::MAX,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pgqueue.default_lease",
        c"Length of a lease where neither call, message nor queue names one.",
        c"A message that is not settled within its lease is delivered again.",
        &DEFAULT_LEASE,
        1,
        i32::MAX,
        GucContext::Suset,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_bool_guc(
        c"pgqueue.auto_create",
        c"Whether a queue is made by its first push.",
        c"Off, only pgq_create_queue makes queues, and a push to an unknown one is an error.",
        &AUTO_CREATE,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_string_guc(
        c"pgqueue.default_grants",
        c"What is granted on a queue when it is made.",
        c"A JSON object of roles and rights, such as {\"workers\": [\"consume\"], \"public\": [\"push\"]}; it belongs to whoever makes the queue.",
        &DEFAULT_GRANTS,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pgqueue.watch_timeout",
        c"How long a run of a watch may take.",
        c"One that takes longer is cancelled and tried again at its next time, after a rest.",
        &WATCH_TIMEOUT,
        1,
        i32::MAX,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"pgqueue.watch_workers",
        c"How many processes run the watches of a database at most.",
        c"Each takes one of max_worker_processes while it runs the watches of a role. 0: none runs by itself.",
        &WATCH_WORKERS,
        0,
        1_000,
        GucContext::Sighup,
        GucFlags::default(),
    );
}

/// Refuses undefined settings with our prefix. Called after all are defined: Postgres drops values from the
/// configuration whose setting is not defined by now.
pub fn refuse_others() {
    reserve_prefix(c"pgqueue");
}
