//! Rescans: looking again at the keys before the front of a hint, a part at a time. So a message whose lease
//! has expired is found again: its key goes into the hint's stash. `hint::level` says when a rescan begins.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::engine::message::group::{self, Group, Turn};
use crate::engine::shared::overview::Facts;
use crate::engine::shared::{hint_cache, listeners};
use crate::engine::table::heap::Table;
use crate::engine::table::message::{Column, is_leased};
use crate::engine::table::queue::{self, Queue};
use crate::engine::table::row::{Intent, TableRow};
use crate::hint::address::Address;
use crate::hint::level::{Chunk, Findings, Rescanner, STASH};
use crate::hint::{Direction, NOWHERE};
use crate::pg::session::now;
use crate::pg::snapshot::Snapshot;
use crate::value::timestamp::{NEVER, Timestamp};

/// After this time a message is looked at again that another transaction was changing.
pub const RECHECK: Timestamp = 1_000_000;

/// The result of a part of a rescan.
pub struct Rescanned {
    /// Entries that gave nothing.
    pub vain: u64,
    /// Messages behind others of their groups.
    waiting: Vec<(Group, i64)>,
}

/// Looks at up to `most` entries of a chunk, and tells the hint which keys may be reservable.
pub fn look_at_part(table: &Table, at: Address, chunk: Chunk, most: u64) -> Rescanned {
    let (findings, waiting) = look(table, at, chunk, most);
    let vain = findings.entries - findings.found.len() as u64;
    let found = !findings.found.is_empty();
    hint_cache::with_level(at, |level| level.rescanned(chunk, findings, now()));
    if found {
        listeners::has_news(at.queue);
    }
    Rescanned { vain, waiting }
}

fn look(table: &Table, at: Address, chunk: Chunk, most: u64) -> (Findings, Vec<(Group, i64)>) {
    let now = now();
    let mut findings = Findings {
        found: Vec::with_capacity(STASH),
        reached: NOWHERE,
        first_visible: None,
        first_end: NEVER,
        entries: 0,
    };
    let mut line = Line::of(table, at);
    let snapshot = Snapshot::take();
    let mut scan = at.entries(table, Some(&snapshot), chunk.from);
    let mut last = None;
    while let Some(entry) = scan.next_entry() {
        let key = at.key(&entry);
        if key >= chunk.to {
            break;
        }
        // A row may have several entries with one key: a part ends between two keys.
        let is_same = last == Some(key);
        if !is_same && (findings.entries >= most || findings.found.len() == STASH) {
            findings.reached = key;
            break;
        }
        last = Some(key);
        findings.entries += 1;
        let Some(row) = scan.fetch() else { continue };
        findings.first_visible.get_or_insert(key);
        let lease_until = row.i64(Column::LeaseUntil);
        if is_leased(lease_until, now) {
            findings.first_end = findings.first_end.min(lease_until);
        } else if row.is_busy(Intent::Change) {
            findings.first_end = findings.first_end.min(now + RECHECK);
        } else if line.may_go(&row, now) {
            findings.found.push(key);
        }
    }
    (findings, line.waiting)
}

/// Decides which messages in a rescan wait for earlier ones of their group.
struct Line<'a> {
    table: &'a Table,
    queue: Option<Rc<Queue>>,
    waiting: Vec<(Group, i64)>,
    /// Groups of which a waiting message was scanned. True if a scan or a removal will notice when the first
    /// is gone: only then may later messages move to the blocked lane, which no reserve scans.
    passed: HashMap<Group, bool>,
    follows_order: bool,
}

impl<'a> Line<'a> {
    fn of(table: &'a Table, at: Address) -> Self {
        // A queue that cannot be read has no order to keep.
        Self {
            table,
            queue: queue::by_id(at.queue).ok().flatten(),
            waiting: Vec::new(),
            passed: HashMap::new(),
            follows_order: at.direction == Direction::OldestFirst,
        }
    }

    fn may_go(&mut self, row: &TableRow, now: Timestamp) -> bool {
        let group = self.queue.as_ref().and_then(|queue| Group::of(row, queue));
        let Some(group) = group else { return !row.has_expired(now) };
        let id = row.i64(Column::Id);
        let is_behind = !row.bool(Column::InTurn) && self.follows_order && self.passed.contains_key(&group);
        let waits =
            is_behind || group.turn(self.table, id, |other| group::has_outlived(other, now)) == Turn::Later;
        if waits {
            let first_is_met = || group.first_is_met(self.table);
            if *self.passed.entry(group.clone()).or_insert_with(first_is_met) {
                self.waiting.push((group, id));
            }
        }
        !waits
    }
}

/// Goes on with the rescans of this database, for up to `budget` entries and a limited time: the worker's
/// part. Returns messages that were moved to the blocked lane (`group::block`).
pub fn work(table: &Table, mut budget: u64) -> Vec<(Group, i64)> {
    let (begun, mut moved) = (Instant::now(), Vec::new());
    while budget > 0
        && begun.elapsed() < LONGEST
        && let Some(Task { at, chunk, is_routine }) = next_task()
    {
        let (part, looked) = (budget.min(PART), Instant::now());
        budget -= part;
        let swept = look_at_part(table, at, chunk, part);
        if is_routine {
            RESTS_UNTIL.set(Some(Instant::now() + looked.elapsed() * ROUTINE_REST));
        }
        moved.extend(group::block(table, &swept.waiting));
    }
    moved
}

/// Whether a rescan in this database is due.
pub fn is_due() -> bool {
    next_task().is_some()
}

/// How many entries the worker looks at with one snapshot.
const PART: u64 = 5_000;

/// How long the worker goes on in one transaction, give or take a part.
const LONGEST: Duration = Duration::from_millis(200);

/// Rest after a part of a routine rescan, as a multiple of the time that it took: all routine rescans together
/// take a twentieth of a core at most.
const ROUTINE_REST: u32 = 20;

thread_local! {
    /// The worker does no routine rescan before.
    static RESTS_UNTIL: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A part of the worker's rescans that is due.
struct Task {
    at: Address,
    chunk: Chunk,
    is_routine: bool,
}

/// The next chunk of a rescan that is due.
fn next_task() -> Option<Task> {
    let now = now();
    let rests = RESTS_UNTIL.get().is_some_and(|until| Instant::now() < until);
    let rescanner = if rests { Rescanner::RestingWorker } else { Rescanner::Worker };
    let is_due = |facts: &Facts| facts.suspicion <= now || !rests && facts.routine <= now;
    hint_cache::find(is_due, |entry| {
        let (queue, direction) = (entry.queue, entry.direction);
        entry.hint.levels().iter_mut().find_map(|level| {
            let at = Address { queue, direction, priority: level.priority };
            let chunk = level.chunk(rescanner, now)?;
            Some(Task { at, chunk, is_routine: !level.is_suspected() })
        })
    })
}
