//! Reserve: the next messages of a queue, leased or removed.
//!
//! What is ready (`hinted`, `scanned`) and the first page of what is due (`due`) are merged by
//! (priority, id). A row somebody else is changing is skipped, never waited for; only
//! rows that are handed out are written. So an empty poll writes nothing, and a long
//! transaction hides nothing but what it holds.

use std::collections::HashSet;

use pgrx::PgMemoryContexts;
use pgrx::pg_sys::{self, Datum};

use super::counter::{self, Counts};
use super::dead::{self, Reason};
use super::due::DuePage;
use super::hinted::Hinted;
use super::lane::ById;
use super::message::{Column, Lane, NOT_LEASED, is_exhausted, is_leased};
use super::pass::RECHECK;
use super::queue::Queue;
use super::scanned::Scanned;
use super::table::{Fate, Found, Patience, Snapshot, Table};
use super::{board, catalog, has_one_snapshot, news, now};
use crate::call::Timestamp;
use crate::hint::{Direction, Key};
use crate::value::duration::Millis;
use crate::value::settings::{OnTimeout, Order};

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

/// Who is shown what is handed out.
type Receiver<'a> = &'a mut dyn FnMut(Taken);

/// Priority and key, by which messages are ordered.
pub type Place = (i16, Key);

/// Hands out up to `wish.max` messages, in order, and returns how many.
pub fn reserve(queue: &Queue, wish: &Wish, take: Take, each: impl FnMut(Taken)) -> usize {
    match take {
        Take::Lease(_) if !queue.settings.durable_lease => {
            news::harmless(|| hand_out(queue, wish, take, each))
        }
        _ => hand_out(queue, wish, take, each),
    }
}

fn hand_out(queue: &Queue, wish: &Wish, take: Take, mut each: impl FnMut(Taken)) -> usize {
    if queue.paused {
        return 0;
    }
    let table = Table::open(catalog::refresh().message);
    let mut round = Round::new(&table, queue, wish, Some((take, &mut each)));
    let takes_all_it_sees = wish.filter.is_none() && !has_one_snapshot() && !news::has_ready(queue.id);
    match takes_all_it_sees.then(|| Hinted::open(&table, queue, &round)).flatten() {
        Some(mut hinted) => {
            round.merge(|round, limit| hinted.take_before(round, limit));
            hinted.take_suspected(&mut round);
            if round.taken == 0 && hinted.is_lost {
                round.scan_until_sure();
            }
        }
        None => round.scan_until_sure(),
    }
    let (taken, exhausted) = (round.taken, std::mem::take(&mut round.exhausted));
    dead::bury_exhausted(&exhausted);
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
    let table = Table::open_to_read(catalog::refresh().message);
    let wish = Wish { max: min, filter: None, lifo: None };
    let mut round = Round::new(&table, queue, &wish, None);
    if let Some(hinted) = Hinted::open(&table, queue, &round) {
        hinted.finish_passes(&round);
    }
    let due = DuePage::read(&table, queue.id, &mut round);
    Scanned::open(&table, queue, &round).take_before(&mut round, None);
    let known = board::with_hint(queue.id, round.direction, |hint| hint.next_change());
    let next = [known, due.next, round.first_lease_passed];
    Outlook {
        enough: round.taken + due.len() >= min,
        next_change: next.into_iter().flatten().filter(|&at| at > round.now).min(),
    }
}

/// One call, on its way over the queue.
pub struct Round<'a> {
    table: &'a Table,
    queue: &'a Queue,
    wish: &'a Wish,
    /// None: it only looks.
    take: Option<(Take, Receiver<'a>)>,
    pub direction: Direction,
    pub now: Timestamp,
    pub taken: usize,
    /// A message went to somebody else between the snapshot and the touch.
    missed: bool,
    /// Messages that somebody else was just taking.
    busy: HashSet<i64>,
    exhausted: Vec<(i64, Reason)>,
    /// The first end of the leases it has come past.
    first_lease_passed: Option<Timestamp>,
    /// Memory for one row at a time: a call may come past a million.
    scratch: Option<PgMemoryContexts>,
}

impl<'a> Round<'a> {
    fn new(table: &'a Table, queue: &'a Queue, wish: &'a Wish, take: Option<(Take, Receiver<'a>)>) -> Self {
        let newest_first = wish.lifo.unwrap_or(queue.settings.order == Order::Lifo);
        Self {
            table,
            queue,
            wish,
            take,
            direction: if newest_first { Direction::NewestFirst } else { Direction::OldestFirst },
            now: now(),
            taken: 0,
            missed: false,
            busy: HashSet::new(),
            exhausted: Vec::new(),
            first_lease_passed: None,
            scratch: None,
        }
    }

    pub fn missing(&self) -> usize {
        self.wish.max - self.taken
    }

    pub fn is_full(&self) -> bool {
        self.missing() == 0
    }

    pub fn take_first_lease_passed(&mut self) -> Option<Timestamp> {
        self.first_lease_passed.take()
    }

    /// Takes what is due at its place among what is ready.
    fn merge(&mut self, mut take_ready_before: impl FnMut(&mut Self, Option<Place>)) {
        loop {
            let mut due = DuePage::read(self.table, self.queue.id, self);
            let (more_is_due, before) = (due.is_full(), self.taken);
            while let Some(first) = due.pop() {
                take_ready_before(self, Some(first));
                if self.is_full() {
                    return;
                }
                self.probe([self.direction.id(first.1)]);
            }
            if !more_is_due || self.taken == before {
                return take_ready_before(self, None);
            }
        }
    }

    /// Takes what snapshots show, a new one as long as messages went to somebody else
    /// between the snapshot and the touch: the answer "nothing is ready" would be about
    /// no moment at all. Meanwhile another may have been pushed, which only a new
    /// snapshot shows. A message that was busy the time before is simply held.
    fn scan_until_sure(&mut self) {
        loop {
            self.missed = false;
            let mut scanned = Scanned::open(self.table, self.queue, self);
            self.merge(|round, limit| scanned.take_before(round, limit));
            if self.taken > 0 || !self.missed || has_one_snapshot() {
                return;
            }
            self.now = now();
        }
    }

    /// Takes these messages if they can be had.
    pub fn probe(&mut self, ids: impl IntoIterator<Item = i64>) {
        let snapshot = Snapshot::take();
        let mut messages = ById::open(self.table, &snapshot);
        for id in ids {
            if let Some(row) = messages.find(id) {
                self.offer(&row);
            }
        }
    }

    /// Takes a row if it can be had.
    pub fn offer(&mut self, row: &Found) {
        if !self.wants(row) {
            return;
        }
        let fate = if row.is_busy() { Fate::Busy } else { self.hand_over(row) };
        if fate == Fate::Busy {
            self.look_again_soon();
        }
        match fate {
            Fate::Done => self.taken += 1,
            Fate::Changed | Fate::Gone => self.missed = true,
            Fate::Busy => self.missed |= self.busy.insert(row.i64(Column::Id)),
        }
    }

    /// Whether a row can be had now.
    pub fn could_take(&mut self, row: &Found) -> bool {
        let wanted = self.wants(row);
        let is_busy = wanted && row.is_busy();
        if is_busy {
            self.look_again_soon();
        }
        wanted && !is_busy
    }

    /// Whoever changes the row may let go of it without telling: as if a lease ended soon.
    fn look_again_soon(&mut self) {
        self.passes_lease(self.now + RECHECK);
    }

    fn passes_lease(&mut self, end: Timestamp) {
        self.first_lease_passed = Some(self.first_lease_passed.map_or(end, |first| first.min(end)));
    }

    fn hand_over(&mut self, row: &Found) -> Fate {
        let Some((take, _)) = &self.take else { return Fate::Done };
        let (id, priority, delivery) =
            (row.i64(Column::Id), row.i16(Column::Priority), row.i32(Column::Deliveries) + 1);
        let leased_until = match take {
            Take::Lease(length) => Some(self.now + self.lease(row, *length).as_micros()),
            Take::Remove => None,
        };
        news::touched(self.queue.id, priority, id);
        let fate = match leased_until {
            Some(until) => lease(self.table, row, delivery, until),
            None => self.table.delete(row, Patience::Skip),
        };
        if fate == Fate::Done {
            if let Some(until) = leased_until {
                news::leased(self.queue.id, priority, id, until);
                if row.lane() == Lane::Delayed as i8 {
                    // It comes into the ready lane, where nobody has been told of it.
                    news::ready(self.queue.id, priority, id);
                }
            }
            self.show(&Taken { row, delivery, leased_until });
        }
        fate
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
            self.passes_lease(lease_until);
            return false;
        }
        if row.has_expired(self.now) {
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
        self.with_scratch(|_| headers.is_some_and(|headers| jsonb_contains(headers, filter)))
    }

    fn show(&mut self, taken: &Taken) {
        self.with_scratch(|round| {
            if let Some((_, each)) = &mut round.take {
                each(Taken { ..*taken });
            }
        });
    }

    /// Does something with a row; what it allocates is gone afterwards.
    fn with_scratch<R>(&mut self, work: impl FnOnce(&mut Self) -> R) -> R {
        let mut scratch = self.scratch.take().unwrap_or_else(|| PgMemoryContexts::new("pgqueue row"));
        // SAFETY: nothing that work allocates outlives it: rows are copied to their store.
        let result = unsafe {
            let result = scratch.switch_to(|_| work(self));
            scratch.reset();
            result
        };
        self.scratch = Some(scratch);
        result
    }
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

fn jsonb_contains(whole: Datum, part: Datum) -> bool {
    // SAFETY: both are jsonb.
    unsafe { pgrx::direct_function_call(pg_sys::jsonb_contains, &[Some(whole), Some(part)]) }.unwrap_or(false)
}
