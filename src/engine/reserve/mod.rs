//! Reserve: the next messages of a queue, leased or removed.
//!
//! Ready messages (`hinted_scan`, `snapshot_scan`) and the first page of due ones (`due_scan`) are merged by
//! (priority, id). A reserve skips a row that another transaction is changing and never waits for it. It
//! writes only rows that it hands out. So an empty poll writes nothing, and a long transaction hides nothing
//! but the rows it has locked.

pub mod due_scan;
pub mod group_scan;
pub mod hinted_scan;
pub mod peek;
pub mod prepared;
pub mod request;
pub mod rescan;
pub mod reservation;
pub mod snapshot_scan;
pub mod stats;

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::engine::commit::{async_commit, pending};
use crate::engine::queue::slots::Slots;
use crate::engine::reserve::due_scan::DuePage;
use crate::engine::reserve::hinted_scan::{HintedScan, STRIDE};
use crate::engine::reserve::request::{Request, Take, Taken};
use crate::engine::reserve::reservation::{DEAD_PAGE, Position, Reservation};
use crate::engine::reserve::snapshot_scan::{SnapshotScan, View};
use crate::engine::shared::hint_cache;
use crate::engine::table::heap::Table;
use crate::engine::table::message::Column;
use crate::engine::table::queue::Queue;
use crate::engine::table::{catalog, message_index};
use crate::hint::{Direction, NOWHERE};
use crate::pg::session::{has_one_snapshot, now};
use crate::value::timestamp::Timestamp;

/// Hands out up to `request.max` messages, in order, and returns how many.
pub fn reserve(queue: &Queue, request: &Request, take: Take, each: impl FnMut(Taken)) -> usize {
    match take {
        Take::Lease(_) if !queue.settings.durable_lease => {
            async_commit::harmless(|| hand_out(queue, request, take, each))
        }
        _ => hand_out(queue, request, take, each),
    }
}

fn hand_out(queue: &Queue, request: &Request, take: Take, mut each: impl FnMut(Taken)) -> usize {
    if queue.paused {
        return 0;
    }
    let table = Table::open(catalog::refresh().message);
    let mut reservation = Reservation::new(&table, queue, request, take, &mut each);
    reservation.run();
    reservation.taken
}

/// The result of a drop.
#[derive(Clone, Copy, Default)]
pub struct Dropped {
    /// Messages that were dropped, or were dead anyway.
    pub dropped: usize,
    /// Further messages that other transactions were just removing.
    pub being_removed: usize,
}

/// Removes up to `max` messages that could be reserved, the oldest of the least urgent, and the dead messages
/// that it scans.
pub fn drop_oldest(queue: &Queue, max: usize) -> Dropped {
    let table = Table::open(catalog::refresh().message);
    let likely = drop_from(&table, queue, max, DropFrom::WhereSomethingIs);
    if likely.dropped >= max {
        return likely;
    }
    let rest = drop_from(&table, queue, max - likely.dropped, DropFrom::TheBeginning);
    Dropped { dropped: likely.dropped + rest.dropped, ..rest }
}

/// Where the scan of a drop begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DropFrom {
    /// At the first key that may be reservable.
    WhereSomethingIs,
    /// At the very beginning: the scan also sees messages that other transactions are just removing.
    TheBeginning,
}

fn drop_from(table: &Table, queue: &Queue, max: usize, from: DropFrom) -> Dropped {
    let mut all = Dropped::default();
    // A removal lets the next message of its group come, which may be dropped as well.
    while all.dropped < max {
        all.being_removed = 0;
        let before = all.dropped;
        let mut next = message_index::previous_priority(table, queue.id, None);
        while let Some(at) = next {
            pgrx::check_for_interrupts!();
            let some = drop_of_priority(table, queue, at, max - all.dropped, from);
            all.dropped += some.dropped;
            all.being_removed += some.being_removed;
            if some.dropped > 0 {
                break;
            }
            next = message_index::previous_priority(table, queue.id, Some(at));
        }
        if all.dropped == before {
            break;
        }
    }
    all
}

fn drop_of_priority(table: &Table, queue: &Queue, priority: i16, max: usize, from: DropFrom) -> Dropped {
    let (request, mut each) = (Request::any(max), |_: Taken| {});
    let mut reservation = Reservation::new(table, queue, &request, Take::Drop, &mut each);
    reservation.direction = Direction::OldestFirst;
    let (at, begun) = ((queue.id, priority), Instant::now());
    let known = lowest(at).filter(|_| from == DropFrom::WhereSomethingIs);
    let mut view = match from {
        DropFrom::WhereSomethingIs => View::from_priority(queue, &reservation, priority),
        DropFrom::TheBeginning => View::from_beginning_of(priority),
    };
    if let Some(known) = known {
        view.begin_at(priority, known);
    }
    let mut scanned = SnapshotScan::open(table, queue, &reservation, &view);
    scanned.take_before(&mut reservation, Some((priority, NOWHERE)));
    note_lowest(at, known, scanned.first_seen(), begun);
    drop(scanned);
    drop(view);
    let cleared = reservation.clear_dead();
    reservation.close();
    Dropped { dropped: reservation.taken + cleared, being_removed: reservation.being_removed }
}

/// Where a drop of this session saw the first message of a queue and priority. Before it lie dropped rows,
/// for as long as an old snapshot keeps them.
struct Lowest {
    id: i64,
    good_until: Instant,
}

thread_local! {
    static LOWEST: RefCell<HashMap<(i32, i16), Lowest>> = RefCell::default();
}

fn lowest(at: (i32, i16)) -> Option<i64> {
    LOWEST.with_borrow(|all| all.get(&at).filter(|it| it.good_until > Instant::now()).map(|it| it.id))
}

/// Remembers where a drop saw the first message.
///
/// A scan from the very beginning finds messages that have appeared there since. It is repeated after a
/// second, or after fifty times as long as it took.
fn note_lowest(at: (i32, i16), known: Option<i64>, first: Option<i64>, begun: Instant) {
    const REST: u32 = 50;
    const MOST_REMEMBERED: usize = 1_000;
    LOWEST.with_borrow_mut(|all| match (all.get_mut(&at), first) {
        (Some(lowest), Some(id)) if known.is_some() => lowest.id = id,
        (_, Some(id)) => {
            if all.len() > MOST_REMEMBERED {
                all.clear();
            }
            let rest = (begun.elapsed() * REST).max(Duration::from_secs(1));
            all.insert(at, Lowest { id, good_until: Instant::now() + rest });
        }
        (_, None) => {}
    });
}

/// The priorities of a queue's messages, the most urgent first.
fn all_priorities(table: &Table, queue: &Queue) -> impl Iterator<Item = i16> {
    let next = |last: &i16| message_index::next_priority(table, None, queue.id, Some(*last));
    std::iter::successors(message_index::next_priority(table, None, queue.id, None), next)
}

/// The prospects of a waiting consumer.
#[derive(Default)]
pub struct Outlook {
    /// How many messages could be reserved now, at most as many as it has looked for.
    pub found: usize,
    /// The next time at which a message becomes due or a lease ends.
    pub next_change: Option<Timestamp>,
}

/// Looks whether up to `wish` messages could be reserved now. Changes nothing.
pub fn outlook(queue: &Queue, wish: usize) -> Outlook {
    if queue.paused {
        return Outlook::default();
    }
    let table = Table::open_to_read(catalog::refresh().message);
    let slots = Slots::seen(queue, &table, wish);
    let wish = slots.as_ref().map_or(wish, |slots| slots.count().min(wish));
    if wish == 0 {
        return Outlook { found: 0, next_change: slots.and_then(|slots| slots.next_end) };
    }
    let request = Request::any(wish);
    let mut each = |_: Taken| {};
    let mut reservation = Reservation::new(&table, queue, &request, Take::Look, &mut each);
    if let Some(hinted) = HintedScan::open(&table, queue, &reservation) {
        hinted.finish_rescans(&reservation);
    }
    let due = DuePage::read(&table, queue.id, &mut reservation);
    let view = View::of_all(queue, &reservation);
    SnapshotScan::open(&table, queue, &reservation, &view).take_before(&mut reservation, None);
    let known = hint_cache::with_hint(queue.id, reservation.direction, |hint| hint.next_change());
    let slots_end = slots.filter(|slots| slots.count() <= wish).and_then(|slots| slots.next_end);
    let next = [known, due.next, reservation.first_lease_passed, slots_end];
    let now = reservation.now;
    reservation.pass_over();
    Outlook {
        found: (reservation.taken + due.len()).min(wish),
        next_change: next.into_iter().flatten().filter(|&at| at > now).min(),
    }
}

/// Shows up to `max` messages that could be reserved now, in order. Changes nothing.
pub fn look(queue: &Queue, max: usize, mut each: impl FnMut(Taken)) {
    let table = Table::open_to_read(catalog::refresh().message);
    let request = Request::any(max);
    let mut reservation = Reservation::new(&table, queue, &request, Take::Look, &mut each);
    let view = View::of_all(queue, &reservation);
    let mut scanned = SnapshotScan::open(&table, queue, &reservation, &view);
    reservation.merge(|reservation, limit| scanned.take_before(reservation, limit));
    reservation.pass_over();
}

/// The earliest time at which a message that could be reserved was enqueued. Of each priority only the
/// reservable message with the lowest id counts.
pub fn oldest_ready(queue: &Queue) -> Option<Timestamp> {
    let table = Table::open_to_read(catalog::refresh().message);
    let request = Request::any(1);
    let mut oldest = None::<Timestamp>;
    const WORTH_LOOKING_AT: usize = 100;
    for priority in all_priorities(&table, queue).take(WORTH_LOOKING_AT) {
        let mut each = |taken: Taken| {
            let at = taken.row.i64(Column::EnqueuedAt);
            oldest = Some(oldest.map_or(at, |oldest| oldest.min(at)));
        };
        let mut reservation = Reservation::new(&table, queue, &request, Take::Look, &mut each);
        reservation.direction = Direction::OldestFirst;
        let view = View::from_priority(queue, &reservation, priority);
        let mut scanned = SnapshotScan::open(&table, queue, &reservation, &view);
        scanned.take_before(&mut reservation, Some((priority, NOWHERE)));
        reservation.pass_over();
    }
    oldest
}

impl Reservation<'_> {
    /// Hands out the messages there are, and clears away dead ones that it scans.
    pub fn run(&mut self) {
        self.take_what_there_is();
        for _ in 0..DEAD_PAGE {
            if !(self.clear_away() || self.has_uncovered() || self.has_lost_slots()) || self.is_full() {
                break;
            }
            self.take_what_there_is();
        }
        self.put_back_unsure();
        self.close();
    }

    /// Ends a look: has the next one begin where this one has found something, if there is much before.
    fn pass_over(&mut self) {
        if self.vain > STRIDE
            && self.takes_all_it_sees()
            && let Some(hinted) = HintedScan::open(self.table, self.queue, self)
        {
            hinted.pass_over(self);
            self.put_back_unsure();
        }
    }

    /// Whether it may move the fronts of hints.
    fn takes_all_it_sees(&self) -> bool {
        self.request.filter.is_none() && !has_one_snapshot() && !pending::is_ahead(self.queue.id)
    }

    fn take_what_there_is(&mut self) {
        if let Some(key) = &self.request.group_key {
            return group_scan::take(self.table, self.queue, key, self);
        }
        match self.takes_all_it_sees().then(|| HintedScan::open(self.table, self.queue, self)).flatten() {
            Some(mut hinted) => {
                self.merge(|reservation, limit| hinted.take_before(reservation, limit));
                hinted.take_suspected(self);
                if self.taken == 0 && hinted.is_lost {
                    self.scan_until_sure();
                }
            }
            None => self.scan_until_sure(),
        }
    }

    /// Takes due messages at their place among the ready ones.
    pub fn merge(&mut self, mut take_ready_before: impl FnMut(&mut Self, Option<Position>)) {
        loop {
            let mut due = DuePage::read(self.table, self.queue.id, self);
            let (more_is_due, before) = (due.is_full() && !self.only_looks(), self.taken);
            while let Some(first) = due.pop() {
                take_ready_before(self, Some(first));
                if self.is_full() {
                    return;
                }
                self.probe(first.0, [self.direction.id(first.1)]);
            }
            if !more_is_due || self.taken == before {
                return take_ready_before(self, None);
            }
        }
    }

    /// Takes the messages that a snapshot shows. Takes a new snapshot as long as other transactions got
    /// messages between the snapshot and the touch: the answer "nothing is ready" would hold for no moment at
    /// all. Another message may have been pushed meanwhile, and only a new snapshot shows it. A message that
    /// was busy the time before is simply held.
    fn scan_until_sure(&mut self) {
        loop {
            self.missed = false;
            self.begin_walk();
            let view = View::of_all(self.queue, self);
            let mut scanned = SnapshotScan::open(self.table, self.queue, self, &view);
            self.merge(|reservation, limit| scanned.take_before(reservation, limit));
            if self.taken > 0 || !self.missed || has_one_snapshot() {
                return;
            }
            self.now = now();
        }
    }
}
