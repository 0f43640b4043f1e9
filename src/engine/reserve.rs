//! Reserve: the next messages of a queue, leased or removed.
//!
//! Two scans are merged by (priority, id): the ready lane in the order of its index,
//! and the first page of what is due, sorted. A row somebody else is changing is
//! skipped, never waited for; only rows that are handed out are written. So an empty
//! poll writes nothing, and a long transaction hides nothing but what it holds.

use std::collections::HashSet;

use pgrx::PgMemoryContexts;
use pgrx::pg_sys::{self, Datum};

use super::counter::{self, Counts};
use super::dead::{self, Reason};
use super::lane::{self, Level};
use super::message::{Column, Lane, NOT_LEASED, is_exhausted, is_leased};
use super::queue::Queue;
use super::table::{Fate, Found, Patience, Scan, Snapshot, Table};
use super::{catalog, has_one_snapshot, now, waking};
use crate::call::Timestamp;
use crate::value::duration::Millis;
use crate::value::settings::{OnTimeout, Order};

/// How many due messages are looked at to find the first of them in order. The
/// worker moves due messages to the ready lane, so more are seldom waiting.
const DUE_PAGE: usize = 256;

/// How many messages that ran out of deliveries one call clears away.
const EXHAUSTED_PAGE: usize = 100;

/// Which messages, and how many.
pub struct Wish {
    pub max: usize,
    /// Only messages whose headers contain this.
    pub filter: Option<Datum>,
    /// Newest first; none: as the queue is set.
    pub lifo: Option<bool>,
}

/// What happens to a message that is handed out.
#[derive(Clone, Copy)]
pub enum Take {
    /// It is leased, this long if given.
    Lease(Option<Millis>),
    /// It is removed.
    Remove,
}

/// A message handed out, its row still under the scan.
pub struct Taken<'a> {
    pub row: &'a Found,
    pub delivery: i32,
    /// None: it was removed.
    pub leased_until: Option<Timestamp>,
}

/// Hands out up to `wish.max` messages, in order, and returns how many.
pub fn reserve(queue: &Queue, wish: &Wish, take: Take, mut each: impl FnMut(Taken)) -> usize {
    if queue.paused {
        return 0;
    }
    let mut round = Round::new(queue, wish);
    let taken = loop {
        let (taken, missed) = round.run(take, &mut each);
        if taken > 0 || !missed || has_one_snapshot() {
            break taken;
        }
        round.now = now();
    };
    dead::bury_exhausted(&round.exhausted);
    waking::taken(queue.id, taken);
    if let Some(first_end) = round.first_lease_given {
        waking::later(queue.id, first_end);
    }
    let count = taken as i64;
    counter::add(
        queue.id,
        match take {
            Take::Lease(_) => Counts { delivered: count, ..Counts::default() },
            Take::Remove => Counts { delivered: count, deleted: count, ..Counts::default() },
        },
    );
    taken
}

/// What a consumer that waits can expect.
pub struct Outlook {
    /// At least as many messages as asked for could be reserved now.
    pub enough: bool,
    /// The next time at which a message becomes due or a lease ends.
    pub next_change: Option<Timestamp>,
}

/// Looks whether at least `min` messages could be reserved now, and changes nothing.
pub fn outlook(queue: &Queue, min: usize) -> Outlook {
    if queue.paused {
        return Outlook { enough: false, next_change: None };
    }
    Round::new(queue, &Wish { max: min, filter: None, lifo: None }).look()
}

/// The passes of one call over the queue, each with a snapshot of its own.
struct Round<'a> {
    queue: &'a Queue,
    wish: &'a Wish,
    now: Timestamp,
    exhausted: Vec<(i64, Reason)>,
    /// Messages that somebody else was just taking.
    busy: HashSet<i64>,
    /// The first end of the leases it has come past.
    first_lease_end: Option<Timestamp>,
    /// The first end of the leases it has given.
    first_lease_given: Option<Timestamp>,
    /// Memory for one row at a time: a call may come past a million.
    scratch: PgMemoryContexts,
}

impl<'a> Round<'a> {
    fn new(queue: &'a Queue, wish: &'a Wish) -> Self {
        Self {
            queue,
            wish,
            now: now(),
            exhausted: Vec::new(),
            busy: HashSet::new(),
            first_lease_end: None,
            first_lease_given: None,
            scratch: PgMemoryContexts::new("pgqueue row"),
        }
    }

    /// Takes what it can in one pass. Also says whether it missed something: a message
    /// that went to somebody else between the snapshot and the touch. Then the answer
    /// "nothing is ready" would be about no moment at all: meanwhile another may have
    /// been pushed, which only a new snapshot shows. A message that was busy in the
    /// pass before is simply held, and no reason to look again.
    fn run(&mut self, take: Take, each: &mut impl FnMut(Taken)) -> (usize, bool) {
        let table = Table::open(catalog::refresh().message);
        let snapshot = Snapshot::take();
        let mut candidates = Candidates::open(&table, &snapshot, self);
        let (mut taken, mut missed) = (0, false);
        while taken < self.wish.max
            && let Some(row) = candidates.next(self)
        {
            if row.is_busy() {
                missed |= self.busy.insert(row.i64(Column::Id));
                continue;
            }
            let delivery = row.i32(Column::Deliveries) + 1;
            let leased_until = match take {
                Take::Lease(length) => Some(self.now + self.lease(&row, length).as_micros()),
                Take::Remove => None,
            };
            let fate = match leased_until {
                Some(until) => lease(&table, &row, delivery, until),
                None => table.delete(&row, Patience::Skip),
            };
            match fate {
                Fate::Done => {
                    self.with_scratch(|| each(Taken { row: &row, delivery, leased_until }));
                    taken += 1;
                    if let Some(until) = leased_until {
                        self.first_lease_given = earlier(self.first_lease_given, until);
                    }
                }
                Fate::Changed | Fate::Gone => missed = true,
                Fate::Busy => missed |= self.busy.insert(row.i64(Column::Id)),
            }
        }
        (taken, missed)
    }

    fn look(&mut self) -> Outlook {
        let table = Table::open_to_read(catalog::refresh().message);
        let snapshot = Snapshot::take();
        let mut candidates = Candidates::open(&table, &snapshot, self);
        let mut ready = 0;
        while ready < self.wish.max
            && let Some(row) = candidates.next(self)
        {
            ready += usize::from(!row.is_busy());
        }
        let next_due = lane::next_due(&table, &snapshot, self.queue.id, self.now)
            .next()
            .map(|row| row.i64(Column::DueAt));
        let next_change = [next_due, self.first_lease_end].into_iter().flatten().min();
        Outlook { enough: ready >= self.wish.max, next_change }
    }

    fn backward(&self) -> bool {
        self.wish.lifo.unwrap_or(self.queue.settings.order == Order::Lifo)
    }

    /// The caller's wish, or the message's own lease, or its queue's.
    fn lease(&self, row: &Found, wished: Option<Millis>) -> Millis {
        wished
            .or_else(|| row.get(Column::LeaseMs).map(|ms| Millis::from_millis(ms.value() as i64)))
            .unwrap_or_else(|| self.queue.lease())
    }

    /// Whether a row may be handed out. Remembers those that never will be again.
    fn wants(&mut self, row: &Found) -> bool {
        let lease_until = row.i64(Column::LeaseUntil);
        if is_leased(lease_until, self.now) {
            self.first_lease_end = earlier(self.first_lease_end, lease_until);
            return false;
        }
        if row.get(Column::ExpiresAt).is_some_and(|at| at.value() as i64 <= self.now) {
            return false;
        }
        let max = row
            .get(Column::MaxDeliveries)
            .map_or_else(|| self.queue.max_deliveries(), |max| max.value() as i32);
        let timed_out = lease_until != NOT_LEASED;
        if is_exhausted(row.i32(Column::Deliveries), max)
            || (timed_out && self.queue.settings.on_timeout == OnTimeout::Dead)
        {
            let reason = if timed_out { Reason::Timeout } else { Reason::Failed };
            if self.exhausted.len() < EXHAUSTED_PAGE {
                self.exhausted.push((row.i64(Column::Id), reason));
            }
            return false;
        }
        let Some(filter) = self.wish.filter else { return true };
        let headers = row.get(Column::Headers);
        self.with_scratch(|| headers.is_some_and(|headers| jsonb_contains(headers, filter)))
    }

    /// Does something with a row; what it allocates is gone afterwards.
    fn with_scratch<R>(&mut self, work: impl FnOnce() -> R) -> R {
        // SAFETY: nothing that work allocates outlives it: rows are copied to their store.
        unsafe {
            let result = self.scratch.switch_to(|_| work());
            self.scratch.reset();
            result
        }
    }
}

fn earlier(first: Option<Timestamp>, other: Timestamp) -> Option<Timestamp> {
    Some(first.map_or(other, |first| first.min(other)))
}

fn lease(table: &Table, row: &Found, delivery: i32, until: Timestamp) -> Fate {
    let changes = [
        (Column::LeaseUntil, Some(until.into())),
        (Column::Deliveries, Some(delivery.into())),
        (Column::Lane, Some((Lane::Ready as i8).into())),
        (Column::DueAt, None),
    ];
    // A ready message changes its lease only; that keeps the update heap-only.
    let was_due = row.get(Column::DueAt).is_some();
    table.update(row, if was_due { &changes } else { &changes[..2] }, Patience::Skip)
}

/// The rows of a queue that may be handed out: by priority, then id, rising or,
/// under LIFO, falling.
struct Candidates<'a> {
    table: &'a Table,
    snapshot: &'a Snapshot,
    queue: i32,
    lifo: bool,
    ready: Scan,
    /// Under LIFO the scan of the ready lane walks one priority after the other.
    level: Option<i16>,
    head: Option<Found>,
    due: Scan,
    /// A page of what is due, the first in order last.
    due_page: Vec<Place>,
    /// Keeps the last due row that was handed out.
    due_row: Option<Scan>,
}

/// Priority and id, by which messages are ordered.
type Place = (i16, i64);

fn place(row: &Found) -> Place {
    (row.i16(Column::Priority), row.i64(Column::Id))
}

impl<'a> Candidates<'a> {
    fn open(table: &'a Table, snapshot: &'a Snapshot, round: &Round) -> Self {
        let queue = round.queue.id;
        let mut candidates = Self {
            table,
            snapshot,
            queue,
            lifo: round.backward(),
            ready: lane::ready(table, snapshot, queue, Level::Any, false),
            level: None,
            head: None,
            due: lane::due(table, snapshot, queue, round.now),
            due_page: Vec::new(),
            due_row: None,
        };
        if candidates.lifo {
            candidates.next_level();
        }
        candidates
    }

    /// The next row that `round` wants.
    fn next(&mut self, round: &mut Round) -> Option<Found> {
        loop {
            if self.head.is_none() {
                self.head = self.next_ready(round);
            }
            if self.due_page.is_empty() {
                self.read_due_page(round);
            }
            let due_is_first = match (&self.head, self.due_page.last()) {
                (_, None) => false,
                (None, Some(_)) => true,
                (Some(head), Some(&due)) => self.key(due) < self.key(place(head)),
            };
            if !due_is_first {
                return self.head.take();
            }
            if let Some(row) = self.next_due() {
                return Some(row);
            }
        }
    }

    /// What places are compared by.
    fn key(&self, (priority, id): Place) -> Place {
        (priority, if self.lifo { -id } else { id })
    }

    fn next_ready(&mut self, round: &mut Round) -> Option<Found> {
        loop {
            match self.ready.next() {
                Some(row) if round.wants(&row) => return Some(row),
                Some(_) => {}
                None if self.level.is_some() => self.next_level(),
                None => return None,
            }
        }
    }

    /// Turns the LIFO scan to the next priority that has messages.
    fn next_level(&mut self) {
        let above = self.level.map_or(Level::Any, Level::Above);
        let mut levels = lane::ready(self.table, self.snapshot, self.queue, above, false);
        self.level = levels.next().map(|row| row.i16(Column::Priority));
        if let Some(level) = self.level {
            self.ready = lane::ready(self.table, self.snapshot, self.queue, Level::Is(level), true);
        }
    }

    fn read_due_page(&mut self, round: &mut Round) {
        while self.due_page.len() < DUE_PAGE
            && let Some(row) = self.due.next()
        {
            if round.wants(&row) {
                self.due_page.push(place(&row));
            }
        }
        let mut page = std::mem::take(&mut self.due_page);
        page.sort_unstable_by_key(|&place| std::cmp::Reverse(self.key(place)));
        self.due_page = page;
    }

    fn next_due(&mut self) -> Option<Found> {
        let (_, id) = self.due_page.pop()?;
        let mut scan = lane::by_id(self.table, self.snapshot, id);
        let row = scan.next();
        self.due_row = Some(scan);
        row
    }
}

fn jsonb_contains(whole: Datum, part: Datum) -> bool {
    // SAFETY: both are jsonb.
    unsafe { pgrx::direct_function_call(pg_sys::jsonb_contains, &[Some(whole), Some(part)]) }.unwrap_or(false)
}
