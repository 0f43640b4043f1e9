//! The window: the next messages by id, of which each may need a change.
//!
//! Takes expired leases back, buries messages without a delivery left, drops superseded ones, unblocks
//! messages behind none, and removes those of dropped queues.

use std::time::Instant;

use pgrx::pg_sys;

use crate::engine::message::{dead, key};
use crate::engine::schedule::run;
use crate::engine::sweep::deaths::{self, Gone};
use crate::engine::sweep::report::{Report, page};
use crate::engine::table::statement::Statement;
use crate::pg::datum::i64_array;
use crate::pg::session::now;
use crate::pg::timeout::is_worker;
use crate::pg::turn::{Parts, TURN};
use crate::value::reason::Reason;

static WINDOW: Statement = Statement::by_index(
    include_str!("../../../sql/query/sweep_window.sql"),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INT8OID, pg_sys::INT8OID, pg_sys::INT8OID],
);
static CLOSELY: Statement = Statement::by_index(
    include_str!("../../../sql/query/sweep_closely.sql"),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INT8ARRAYOID],
);
static SWEPT_TO: Statement = Statement::new(include_str!("../../../sql/query/swept_to.sql"), &[]);
static SWEEP_FROM: Statement =
    Statement::new(include_str!("../../../sql/query/sweep_from.sql"), &[pg_sys::INT8OID]);
static RETURN_EXPIRED: Statement = Statement::by_index(
    include_str!("../../../sql/query/sweep_return.sql"),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INT8ARRAYOID],
);
static DELETE_ORPHANS: Statement =
    Statement::by_index(include_str!("../../../sql/query/sweep_orphans.sql"), &[pg_sys::INT8ARRAYOID]);
static UNBLOCK: Statement =
    Statement::by_index(include_str!("../../../sql/query/sweep_unblock.sql"), &[pg_sys::INT8ARRAYOID]);

/// How many pages of messages a round looks at.
const WINDOW_PAGES: i64 = 50;

/// How many pages of messages a part has. A part is looked at whole, also if its first page fills.
const PART_PAGES: i64 = 4;

/// How many ids the first part of a window spans.
const FIRST_SPAN: i64 = 10_000;

/// How many messages are first looked at more closely at a time.
const FIRST_CLOSE: i64 = 100;

thread_local! {
    /// Spans of ids: dead entries between living messages take time, too.
    static SPANS: Parts = const { Parts::of(FIRST_SPAN) };
    static CLOSE: Parts = const { Parts::of(FIRST_CLOSE) };
}

/// The messages that need a change, by kind of change.
#[derive(Default)]
struct Needs {
    expired: Vec<i64>,
    exhausted: Vec<Gone>,
    unblocked: Vec<i64>,
    orphans: Vec<i64>,
    /// Each message with its `key_place`.
    superseded: Vec<(i64, i64)>,
    /// Messages to look at more closely. That costs by their group or key.
    close: Vec<i64>,
    /// How many messages were looked at.
    looked_at: i64,
}

impl Needs {
    /// Looks at the next window, one part after the other, for no longer than a turn.
    fn of_next_window() -> Self {
        let (mut found, begun) = (Self::default(), Instant::now());
        let mut place = swept_to();
        loop {
            pgrx::check_for_interrupts!();
            let left = page() * WINDOW_PAGES - found.looked_at;
            let (most, rows) = (page() - found.count(), left.min(page() * PART_PAGES));
            match SPANS.with(|spans| spans.work(i64::MAX / 2, |span| Self::of_span(most, rows, span))) {
                Ok(some) => found.append(some),
                // An id that cannot be looked at in a turn: other steps come first.
                Err(took_long) if took_long.is_smallest() || begun.elapsed() >= TURN => break,
                Err(_) => continue,
            }
            let before = std::mem::replace(&mut place, swept_to());
            let is_full = found.count() >= page() || found.looked_at >= page() * WINDOW_PAGES;
            if is_full || place == 0 || place == before || begun.elapsed() >= TURN {
                break;
            }
        }
        found.look_closely();
        found
    }

    fn of_span(most: i64, rows: i64, span: i64) -> Self {
        let mut found = Self::default();
        let args = [Some(now().into()), Some(most.into()), Some(rows.into()), Some(span.into())];
        WINDOW.run(&args, |row| {
            let id = row.i64(0);
            match row.value(1).value() as u8 {
                b'r' => found.expired.push(id),
                b't' => found.exhausted.push(Gone { id, queue: row.i32(2), reason: Reason::Timeout }),
                b'f' => found.exhausted.push(Gone { id, queue: row.i32(2), reason: Reason::Failed }),
                b'o' => found.orphans.push(id),
                b'c' => found.close.push(id),
                _ => found.looked_at = id,
            }
        });
        found
    }

    /// Looks at messages of keys and groups, in random order and for a turn, so that those of a large group
    /// do not always come before others.
    fn look_closely(&mut self) {
        let mut close = std::mem::take(&mut self.close);
        if self.count() >= page() {
            return;
        }
        if is_worker() {
            fastrand::shuffle(&mut close);
        }
        let done = |some| {
            self.append(some);
            self.count() < page()
        };
        CLOSE.with(|parts| parts.go_through(&close, TURN, Self::of, done, |_| {}).len());
    }

    fn of(messages: &[i64]) -> Self {
        let mut found = Self::default();
        CLOSELY.run(&[Some(now().into()), Some(i64_array(messages))], |row| {
            match row.value(1).value() as u8 {
                b's' => found.superseded.push((row.i64(0), row.i64(2))),
                _ => found.unblocked.push(row.i64(0)),
            }
        });
        found
    }

    fn append(&mut self, mut more: Self) {
        self.expired.append(&mut more.expired);
        self.exhausted.append(&mut more.exhausted);
        self.unblocked.append(&mut more.unblocked);
        self.orphans.append(&mut more.orphans);
        self.superseded.append(&mut more.superseded);
        self.close.append(&mut more.close);
        self.looked_at += more.looked_at;
    }

    fn count(&self) -> i64 {
        let Self { expired, exhausted, unblocked, orphans, superseded, .. } = self;
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

/// Looks at the next window of messages, and does what they need.
pub fn sweep(report: &mut Report) {
    if run::is_being_restored() {
        return; // a death may push an event
    }
    let Needs { expired, exhausted, unblocked, orphans, superseded, .. } = Needs::of_next_window();
    if !superseded.is_empty() {
        dead::each_in_passing(&superseded, key::drop_superseded);
    }
    if !expired.is_empty() {
        let args = [Some(now().into()), Some(i64_array(&expired))];
        report.leases_expired = RETURN_EXPIRED.run(&args, |_| {}) as i64;
    }
    if !unblocked.is_empty() {
        UNBLOCK.run(&[Some(i64_array(&unblocked))], |_| {});
    }
    let mut deleted = 0;
    if !orphans.is_empty() {
        deleted = DELETE_ORPHANS.run(&[Some(i64_array(&orphans))], |_| {}) as i64;
    }
    let (buried, untried) = deaths::bury(exhausted);
    if let Some(first) = untried.first() {
        SWEEP_FROM.run(&[Some(first.id.into())], |_| {});
        report.left_work = true;
    }
    report.moved_to_dead = buried.kept;
    report.dropped = buried.dropped;
    // Rows that other transactions have locked are no reason to come back at once.
    report.left_work |= report.leases_expired + deleted + buried.kept + buried.dropped >= page();
}
