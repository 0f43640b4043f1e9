//! Sweeping: one bounded housekeeping round over the queues of a database.
//!
//! Each step changes at most a page of messages and skips locked rows, so a round never waits for a consumer
//! and no consumer waits for a round. It goes through queues and messages in parts (`pg::turn`), so that no
//! role can make it long for the others. In the worker each step is a transaction of its own; a step that
//! fails is logged and noted, and the others go on. By hand (`pgq_vacuum`) all steps are part of the caller's
//! transaction.

pub mod begun;
pub mod deaths;
pub mod due;
pub mod leases;
pub mod outlived;
pub mod repair;
pub mod report;
pub mod retention;
pub mod role_names;
pub mod tour;

use std::cell::Cell;

use pgrx::pg_sys;

use crate::engine::queue::counter;
use crate::engine::reserve::prepared;
use crate::engine::schedule::run;
use crate::engine::shared::{entry, hint_cache};
use crate::engine::sweep::report::{Report, page};
use crate::engine::sweep::tour::Tour;
use crate::engine::table::statement::{Row, Statement};
use crate::guc;
use crate::pg::datum::{i32_array, jsonb_datum};
use crate::pg::timeout::is_worker;

static DROPPED: Statement = Statement::new(
    include_str!("../../../sql/query/dropped_queues.sql"),
    &[pg_sys::INT4OID, pg_sys::INT8OID],
);
static CLEAR_DROPPED: Statement = Statement::new(
    include_str!("../../../sql/query/sweep_dropped.sql"),
    &[pg_sys::INT4ARRAYOID, pg_sys::INT8OID, pg_sys::INT8OID],
);
static OLDEST_TRANSACTION: Statement =
    Statement::new(include_str!("../../../sql/query/oldest_transaction.sql"), &[]);
static FOLD_COUNTERS: Statement =
    Statement::new(include_str!("../../../sql/query/sweep_counters.sql"), &[pg_sys::INT8OID]);
static RECORD: Statement = Statement::new(
    include_str!("../../../sql/query/sweep_record.sql"),
    &[
        pg_sys::INT4OID,
        pg_sys::INT8OID,
        pg_sys::INT8OID,
        pg_sys::INT8OID,
        pg_sys::INT8OID,
        pg_sys::INT8OID,
        pg_sys::INT8OID,
        pg_sys::JSONBOID,
    ],
);
static PREPARED: Statement = Statement::new(include_str!("../../../sql/query/prepared.sql"), &[]);
static LAST_ROUND: Statement = Statement::new(include_str!("../../../sql/query/last_round.sql"), &[]);

/// How many entries of a rescan one transaction looks at.
pub const RESCAN_PART: u64 = 50_000;

pub type Step = (&'static str, fn(&mut Report));

pub const STEPS: [Step; 12] = [
    ("due", due::promote_next),
    ("leases", leases::sweep),
    ("ttl", outlived::clear),
    ("dead", trim_dead),
    ("archive", trim_archive),
    ("keys", forget_keys),
    ("begun", |_| begun::finish()),
    ("dropped", clear_dropped),
    ("counters", fold_counters),
    ("prepared", settle_prepared),
    ("roles", follow_roles),
    ("schedules", run_schedules), // the last one: `round_by_hand` begins with it
];

/// Does a round in the caller's transaction, and shows the row of `pgq_vacuum_stats`. Schedules and watches
/// come first: no other rows are locked yet while they run.
pub fn round_by_hand(show: impl FnMut(&Row)) {
    let mut report = Report::default();
    let (schedules, others) = STEPS.split_last().expect("there are steps");
    for (_, step) in std::iter::once(schedules).chain(others) {
        step(&mut report);
    }
    record(&report);
    LAST_ROUND.run(&[], show);
}

thread_local! {
    /// The oldest transaction that was running before the worker last wrote down the counts of shared memory:
    /// the counts of all older ones are in the table.
    static COUNTED_TO: Cell<Option<i64>> = const { Cell::new(None) };
}

/// Removes what is left of dropped queues, and forgets those of which nothing is left. By hand it does so a day
/// later: counts of theirs may be in shared memory.
fn clear_dropped(_: &mut Report) {
    thread_local! {
        static TOUR: Tour = const { Tour::new() };
    }
    let clear = |queues: &[i32], max: i64| {
        if !queues.is_empty() {
            let counted_to = COUNTED_TO.get().map(Into::into);
            CLEAR_DROPPED.run(&[Some(i32_array(queues)), Some(max.into()), counted_to], |_| {});
        }
        0 // each part may have a page of rows
    };
    TOUR.with(|tour| tour.go_on(&DROPPED, page(), clear));
}

/// Lets pgqueue's tables follow roles that were renamed or dropped.
fn follow_roles(report: &mut Report) {
    // Rows loaded without triggers do not have the numbers of this server's roles yet.
    if repair::is_whole() {
        role_names::follow(report);
    }
}

/// Drops dead letters that have been kept for as long as their queue says.
fn trim_dead(report: &mut Report) {
    report.dead_dropped = retention::drop_dead(page());
    report.left_work |= report.dead_dropped >= page();
}

/// Drops archived messages that have been kept for as long as their queue says.
fn trim_archive(report: &mut Report) {
    report.archive_dropped = retention::drop_archived(page());
    report.left_work |= report.archive_dropped >= page();
}

/// Forgets keys when their queue's window is over.
fn forget_keys(report: &mut Report) {
    report.left_work |= retention::forget_keys(page()) >= page();
}

/// Writes down the counts of shared memory, and folds rows of counters, so that few have to be read.
fn fold_counters(report: &mut Report) {
    if is_worker() {
        OLDEST_TRANSACTION.run(&[], |row| COUNTED_TO.set(Some(row.i64(0))));
    }
    counter::drain();
    hint_cache::for_each_entry(|facts| facts.has_credit, entry::CacheEntry::grow_old);
    let rows = page() * 10;
    let mut folded = 0;
    FOLD_COUNTERS.run(&[Some(rows.into())], |row| folded = row.i64(0));
    report.left_work |= folded >= rows;
}

/// Tells of the messages that prepared transactions held, when one has ended.
pub fn settle_prepared(_: &mut Report) {
    let told = prepared::Told::now();
    let (mut left, mut any_left) = (Vec::new(), false);
    PREPARED.run(&[], |row| {
        any_left = true;
        left.extend(row.bool(1).then(|| row.i64(0)));
    });
    prepared::settle_prepared(told, left, any_left);
}

/// Runs the schedules that are due.
pub fn run_schedules(report: &mut Report) {
    report.left_work |= run::run_due();
}

pub fn record(report: &Report) {
    let errors = serde_json::to_string(&report.errors).expect("a map of strings");
    RECORD.run(
        &[
            Some(guc::vacuum_page_size().into()),
            Some(report.leases_expired.into()),
            Some(report.moved_to_dead.into()),
            Some(report.dropped.into()),
            Some(report.ttl_dropped.into()),
            Some(report.dead_dropped.into()),
            Some(report.archive_dropped.into()),
            Some(jsonb_datum(&errors)),
        ],
        |_| {},
    );
}
