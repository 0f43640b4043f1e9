//! Sweeping: one bounded housekeeping round over the queues of a database.
//!
//! Each step changes at most a page of messages and skips locked rows, so a round never waits for a consumer
//! and no consumer waits for a round. In the worker each step is a transaction of its own; a step that fails
//! is logged and noted, and the others go on. By hand (`pgq_vacuum`) all steps are part of the caller's
//! transaction.

pub mod repair;
pub mod retention;
pub mod turn;

use std::cell::Cell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::{self, Datum, ItemPointerData};

use crate::engine::message::{dead, key};
use crate::engine::queue::{counter, roles};
use crate::engine::reserve::prepared;
use crate::engine::schedule::run;
use crate::engine::shared::{entry, hint_cache};
use crate::engine::sweep::turn::TURN;
use crate::engine::table::statement::{Row, Statement};
use crate::guc;
use crate::pg::datum::{i64_array, jsonb_datum};
use crate::pg::session::now;
use crate::pg::subtransaction::unless;
use crate::pg::timeout::{CancelAfter, is_worker};
use crate::value::reason::Reason;
use crate::value::timestamp::Timestamp;

static PROMOTE: Statement = Statement::new(
    include_str!("../../../sql/query/sweep_promote.sql"),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INT8OID],
);
static WINDOW: Statement = Statement::new(
    include_str!("../../../sql/query/sweep_window.sql"),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INT8OID, pg_sys::INT8OID],
);
static SWEPT_TO: Statement = Statement::new(include_str!("../../../sql/query/swept_to.sql"), &[]);
static RETURN_EXPIRED: Statement = Statement::new(
    include_str!("../../../sql/query/sweep_return.sql"),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INT8ARRAYOID],
);
static DELETE_ORPHANS: Statement =
    Statement::new(include_str!("../../../sql/query/sweep_orphans.sql"), &[pg_sys::INT8ARRAYOID]);
static UNBLOCK: Statement =
    Statement::new(include_str!("../../../sql/query/sweep_unblock.sql"), &[pg_sys::INT8ARRAYOID]);
static OUTLIVED: Statement = Statement::new(
    include_str!("../../../sql/query/sweep_ttl.sql"),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INT8OID, pg_sys::TIMESTAMPTZOID, pg_sys::TIDOID],
);
static CLEAR_DROPPED: Statement =
    Statement::new(include_str!("../../../sql/query/sweep_dropped.sql"), &[pg_sys::INT8OID]);
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

/// How many pages of messages a round looks at to find expired leases.
const WINDOW_PAGES: i64 = 50;

/// How many messages the first part of a window has.
const SMALLEST_PART: i64 = 100;

/// A part that took too long is followed by one that is this many times smaller.
const SMALLER: i64 = 16;

/// How many entries of a rescan one transaction looks at.
pub const RESCAN_PART: u64 = 50_000;

/// The results of a round.
#[derive(Default)]
pub struct Report {
    leases_expired: i64,
    moved_to_dead: i64,
    dropped: i64,
    ttl_dropped: i64,
    dead_dropped: i64,
    archive_dropped: i64,
    pub errors: HashMap<&'static str, serde_json::Value>,
    /// A step filled its page: there may be more.
    pub left_work: bool,
}

impl Report {
    pub fn add(&mut self, step: Self) {
        self.leases_expired += step.leases_expired;
        self.moved_to_dead += step.moved_to_dead;
        self.dropped += step.dropped;
        self.ttl_dropped += step.ttl_dropped;
        self.dead_dropped += step.dead_dropped;
        self.archive_dropped += step.archive_dropped;
        self.left_work |= step.left_work;
    }
}

type Step = (&'static str, fn(&mut Report));

pub const STEPS: [Step; 11] = [
    ("due", promote_due),
    ("leases", sweep_leases),
    ("ttl", clear_outlived),
    ("dead", trim_dead),
    ("archive", trim_archive),
    ("keys", forget_keys),
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

fn page() -> i64 {
    guc::vacuum_page_size().into()
}

/// Moves due messages to the ready lane.
pub fn promote_due(report: &mut Report) {
    let promoted = PROMOTE.run(&[Some(now().into()), Some(page().into())], |_| {});
    report.left_work |= promoted as i64 >= page();
}

/// The messages that need a change, by kind of change.
#[derive(Default)]
struct Needs {
    expired: Vec<i64>,
    exhausted: Vec<(i64, Reason)>,
    unblocked: Vec<i64>,
    orphans: Vec<i64>,
    /// Each message with its `key_place`.
    superseded: Vec<(i64, i64)>,
}

thread_local! {
    /// How many messages a part of a window has. Fewer if a look at each takes long, as it does for many
    /// messages of one key or group.
    static PART: Cell<i64> = const { Cell::new(SMALLEST_PART) };
}

impl Needs {
    /// Looks at the next window, one part after the other, for no longer than a turn.
    fn of_next_window() -> Self {
        let (mut found, begun) = (Self::default(), Instant::now());
        let (mut left, mut place) = (page() * WINDOW_PAGES, swept_to());
        while left > 0 && begun.elapsed() < TURN {
            pgrx::check_for_interrupts!();
            let (part, looked) = (PART.get().min(left), Instant::now());
            let Some(is_full) = found.look_in_time(page() - found.count(), part) else {
                PART.set((part / SMALLER).max(1));
                continue;
            };
            PART.set(next_part(part, looked.elapsed()));
            left -= part;
            let before = std::mem::replace(&mut place, swept_to());
            if is_full || place == 0 || place == before {
                break;
            }
        }
        found
    }

    /// The same as `look`; none if the part was too large to look at in a turn. It may lie behind a larger
    /// part whose messages were quick to look at.
    fn look_in_time(&mut self, max: i64, part: i64) -> Option<bool> {
        if part == 1 || !is_worker() {
            return Some(self.look(max, part));
        }
        let _limit = CancelAfter::in_worker(TURN);
        let cancelled = [PgSqlErrorCode::ERRCODE_QUERY_CANCELED];
        // An error of the statement itself is raised by a part of one message.
        let (found, is_full) = unless(
            &cancelled,
            &[],
            |_| {},
            || {
                let mut found = Self::default();
                let is_full = found.look(max, part);
                Ok((found, is_full))
            },
        )?;
        self.append(found);
        Some(is_full)
    }

    fn append(&mut self, mut more: Self) {
        self.expired.append(&mut more.expired);
        self.exhausted.append(&mut more.exhausted);
        self.unblocked.append(&mut more.unblocked);
        self.orphans.append(&mut more.orphans);
        self.superseded.append(&mut more.superseded);
    }

    /// Looks at a part and takes up to `max` messages from it. True if it took that many.
    fn look(&mut self, max: i64, part: i64) -> bool {
        let before = self.count();
        WINDOW.run(&[Some(now().into()), Some(max.into()), Some(part.into())], |row| {
            let id = row.i64(0);
            match row.value(1).value() as u8 {
                b'r' => self.expired.push(id),
                b't' => self.exhausted.push((id, Reason::Timeout)),
                b'f' => self.exhausted.push((id, Reason::Failed)),
                b'b' => self.unblocked.push(id),
                b's' => self.superseded.push((id, row.i64(2))),
                _ => self.orphans.push(id),
            }
        });
        self.count() - before >= max
    }

    fn count(&self) -> i64 {
        let Self { expired, exhausted, unblocked, orphans, superseded } = self;
        let count = expired.len() + exhausted.len() + unblocked.len() + orphans.len() + superseded.len();
        count as i64
    }
}

/// The place at which the next window begins.
fn swept_to() -> i64 {
    let mut place = 0;
    SWEPT_TO.run(&[], |row| place = row.i64(0));
    place
}

/// How many messages the next part has, after a look at a part that took so long.
fn next_part(part: i64, took: Duration) -> i64 {
    let ratio = (TURN / 4).as_secs_f64() / took.as_secs_f64().max(1e-6);
    ((part as f64 * ratio.min(4.0)) as i64).max(1)
}

/// Looks at the next window of messages: takes expired leases back, buries messages without a delivery left,
/// and removes those of dropped queues.
fn sweep_leases(report: &mut Report) {
    if run::is_being_restored() {
        return; // a death may push an event
    }
    let Needs { expired, exhausted, unblocked, orphans, superseded } = Needs::of_next_window();
    if !expired.is_empty() {
        let args = [Some(now().into()), Some(i64_array(&expired))];
        report.leases_expired = RETURN_EXPIRED.run(&args, |_| {}) as i64;
    }
    if !unblocked.is_empty() {
        UNBLOCK.run(&[Some(i64_array(&unblocked))], |_| {});
    }
    if !superseded.is_empty() {
        dead::each_in_passing(&superseded, key::drop_superseded);
    }
    let mut deleted = 0;
    if !orphans.is_empty() {
        deleted = DELETE_ORPHANS.run(&[Some(i64_array(&orphans))], |_| {}) as i64;
    }
    let buried = dead::bury_without_waiting(&exhausted);
    report.moved_to_dead = buried.kept;
    report.dropped = buried.dropped;
    // Rows that other transactions have locked are no reason to come back at once.
    report.left_work |= report.leases_expired + deleted + buried.kept + buried.dropped >= page();
}

/// A place among the messages with a time to live, in the order in which they expire.
#[derive(Clone, Copy)]
struct End {
    expires_at: Timestamp,
    at: ItemPointerData,
}

impl End {
    const NONE: Self = Self {
        expires_at: Timestamp::MIN,
        at: ItemPointerData { ip_blkid: pg_sys::BlockIdData { bi_hi: 0, bi_lo: 0 }, ip_posid: 0 },
    };
}

thread_local! {
    /// The place at which the worker's next round goes on to clear expired messages.
    static CLEARED_TO: Cell<End> = const { Cell::new(End::NONE) };
}

/// Drops messages that have expired unleased, or makes them dead letters where their queue keeps them.
///
/// Skips those that cannot be cleared because another transaction holds messages of their groups, until it
/// has cleared some. The worker does so for one turn.
fn clear_outlived(report: &mut Report) {
    if run::is_being_restored() {
        return; // as above
    }
    let begun = Instant::now();
    let mut place = if is_worker() { CLEARED_TO.get() } else { End::NONE };
    loop {
        pgrx::check_for_interrupts!();
        let (outlived, last) = outlived_behind(&place);
        let buried = dead::bury_without_waiting(&outlived);
        report.moved_to_dead += buried.kept;
        report.ttl_dropped += buried.dropped;
        if (outlived.len() as i64) < page() {
            place = End::NONE;
            break;
        }
        place = last;
        // Messages that could not be buried are no reason to come back at once.
        let some_went = buried.kept + buried.dropped > 0;
        report.left_work |= some_went;
        if some_went || is_worker() && begun.elapsed() >= TURN {
            break;
        }
    }
    if is_worker() {
        CLEARED_TO.set(place);
    }
}

/// The next page of expired messages, and the place of the last one.
fn outlived_behind(place: &End) -> (Vec<(i64, Reason)>, End) {
    let (mut outlived, mut last) = (Vec::new(), *place);
    let args = [
        Some(now().into()),
        Some(page().into()),
        Some(place.expires_at.into()),
        Some(Datum::from(&raw const place.at)),
    ];
    OUTLIVED.run(&args, |row| {
        outlived.push((row.i64(0), Reason::Expired));
        if let Some(at) = row.tid(2) {
            last = End { expires_at: row.i64(1), at };
        }
    });
    (outlived, last)
}

/// Removes what is left of dropped queues.
fn clear_dropped(_: &mut Report) {
    CLEAR_DROPPED.run(&[Some(page().into())], |_| {});
}

/// Lets pgqueue's tables follow roles that were renamed or dropped.
fn follow_roles(_: &mut Report) {
    // Rows loaded without triggers do not have the numbers of this server's roles yet.
    if repair::is_whole() {
        roles::tidy();
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
    counter::drain();
    hint_cache::for_each_entry(entry::CacheEntry::grow_old);
    let rows = page() * 10;
    let mut folded = 0;
    FOLD_COUNTERS.run(&[Some(rows.into())], |row| folded = row.i64(0));
    report.left_work |= folded >= rows;
}

/// Tells of the messages that prepared transactions held, when one has ended.
pub fn settle_prepared(_: &mut Report) {
    let mut prepared = Vec::new();
    PREPARED.run(&[], |row| prepared.push(row.i64(0)));
    prepared::settle_prepared(prepared);
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
