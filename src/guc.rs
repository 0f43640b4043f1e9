//! Server settings (GUC), each with its effect and unit.

use std::ffi::CString;

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

use crate::pg::session::{reserve_prefix, set_internal};
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

static HINT_MEMORY: GucSetting<i32> = GucSetting::<i32>::new(0);

/// Maximum of `pgqueue.max_queues_hint`. Memory is the limit before.
pub const MOST_QUEUES_HINT: usize = 10_000_000;

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
        c"Maximum number of queues, over all databases, with scan hints in shared memory.",
        c"Each takes about 8 kB (pgqueue.hint_memory). Of more queues, the least used lose their hints and are scanned from their beginning.",
        &MAX_QUEUES_HINT,
        1,
        MOST_QUEUES_HINT as i32,
        GucContext::Postmaster,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pgqueue.hint_memory",
        c"Shared memory that pgqueue.max_queues_hint takes.",
        c"It is reserved at the start; a place that no queue has used yet is not written.",
        &HINT_MEMORY,
        0,
        i32::MAX,
        GucContext::Internal,
        GucFlags::UNIT_KB,
    );
}

/// Shows how many bytes of shared memory the hints take, in `pgqueue.hint_memory`.
pub fn show_hint_memory(bytes: usize) {
    set_internal(c"pgqueue.hint_memory", &bytes.div_ceil(1024).to_string());
}

/// Defines the settings. Called once, when the library is loaded.
pub fn define() {
    define_for_rounds();
    define_for_queues();
    define_for_watches();
}

fn define_for_rounds() {
    GucRegistry::define_int_guc(
        c"pgqueue.vacuum_interval",
        c"Time between two maintenance rounds of a database.",
        c"Each round clears expired and dead messages away, a page at a time. Calls are correct without it.",
        &VACUUM_INTERVAL,
        10,
        86_400_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_bool_guc(
        c"pgqueue.auto_vacuum",
        c"Whether the background worker does maintenance rounds.",
        c"If off, the worker idles; SELECT * FROM pgq_vacuum() does a round by hand.",
        &AUTO_VACUUM,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pgqueue.vacuum_page_size",
        c"Maximum number of messages that each step of a maintenance round changes.",
        c"A round that fills a page is followed by the next without waiting for the interval.",
        &VACUUM_PAGE_SIZE,
        1,
        100_000,
        GucContext::Sighup,
        GucFlags::default(),
    );
}

fn define_for_queues() {
    GucRegistry::define_int_guc(
        c"pgqueue.max_deliveries",
        c"Number of deliveries after which a message is dead.",
        c"0 means no limit. The max_deliveries of a message, or of its queue, takes precedence.",
        &MAX_DELIVERIES,
        0,
        i32::MAX,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pgqueue.default_lease",
        c"Length of a lease if neither call, message nor queue sets one.",
        c"A message that is not settled within its lease is delivered again.",
        &DEFAULT_LEASE,
        1,
        i32::MAX,
        GucContext::Suset,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_bool_guc(
        c"pgqueue.auto_create",
        c"Whether the first push to a queue creates it.",
        c"If off, only pgq_create_queue creates queues, and a push to an unknown queue is an error.",
        &AUTO_CREATE,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_string_guc(
        c"pgqueue.default_grants",
        c"Rights that are granted on a queue when it is created.",
        c"A JSON object of roles and rights, such as {\"workers\": [\"consume\"], \"public\": [\"push\"]}; the setting of the role that creates the queue counts.",
        &DEFAULT_GRANTS,
        GucContext::Userset,
        GucFlags::default(),
    );
}

fn define_for_watches() {
    GucRegistry::define_int_guc(
        c"pgqueue.watch_timeout",
        c"Maximum duration of one run of a watch.",
        c"A run that takes longer is cancelled; the watch runs again at its next time, after a pause.",
        &WATCH_TIMEOUT,
        1,
        i32::MAX,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"pgqueue.watch_workers",
        c"Maximum number of processes that run the watches of a database.",
        c"Each takes one of max_worker_processes while it runs the watches of a role. 0: watches do not run by themselves.",
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
