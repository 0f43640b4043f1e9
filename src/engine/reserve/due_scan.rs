//! Due messages of a queue's delayed lane.

use crate::engine::commit::pending;
use crate::engine::reserve::reservation::{Position, Reservation};
use crate::engine::shared::entry::CacheEntry;
use crate::engine::shared::hint_cache;
use crate::engine::table::heap::Table;
use crate::engine::table::message::Column;
use crate::engine::table::message_index;
use crate::hint::START;
use crate::hint::queue::Due;
use crate::pg::session::{has_one_snapshot, now};
use crate::pg::snapshot::Snapshot;
use crate::value::timestamp::Timestamp;

/// How many due messages are read to find the first of them in order. The worker moves due messages to the
/// ready lane, so more are seldom waiting. A reservation that only looks reads all of them.
const PAGE: usize = 256;

/// A page of due messages, the first in order last.
pub struct DuePage {
    places: Vec<Position>,
    /// The first due time after now, if the scan got that far.
    pub next: Option<Timestamp>,
}

impl DuePage {
    /// Reads a page. Scans nothing if the hint says that no message is due.
    pub fn read(table: &Table, queue: i32, reservation: &mut Reservation) -> Self {
        let mut page = Self { places: Vec::new(), next: None };
        // The hint does not know the messages that this transaction has delayed itself.
        let knows_all = !pending::has_delayed(queue);
        let hint =
            hint_cache::with_hint(queue, reservation.direction, |hint| hint.due()).filter(|_| knows_all);
        let from = hint.map_or(START, Due::from);
        if let Some(due) = hint.filter(|due| due.first > reservation.now) {
            page.next = Some(due.first);
            return page;
        }
        let begun = now();
        let first = page.fill(table, queue, from, reservation);
        if let Some(seen) = hint {
            page.note(queue, reservation, seen, first, begun);
        }
        page.places.sort_unstable_by_key(|&place| std::cmp::Reverse(place));
        reservation.begin_walk(); // a ready message may come before a due one in its group
        page
    }

    /// Fills the page, and returns the first due time that is visible, even of a message that is busy.
    fn fill(
        &mut self,
        table: &Table,
        queue: i32,
        from: Timestamp,
        reservation: &mut Reservation,
    ) -> Option<Timestamp> {
        let snapshot = Snapshot::take();
        let mut scan = message_index::delayed(table, &snapshot, queue, from);
        let mut first = None;
        while (self.places.len() < PAGE || reservation.only_looks())
            && let Some(row) = scan.next()
        {
            let due_at = row.i64(Column::DueAt);
            first.get_or_insert(due_at);
            if due_at > reservation.now {
                self.next = Some(due_at);
                break;
            }
            reservation.begin_walk(); // due times are not the order of groups
            if reservation.could_take(&row) {
                self.places.push(row.place(reservation.direction));
            }
        }
        first
    }

    /// Tells the hint the first due time. A snapshot from before the hint was read may not show the messages
    /// that the hint counted. A message that this transaction has taken itself may come back.
    fn note(
        &self,
        queue: i32,
        reservation: &Reservation,
        seen: Due,
        first: Option<Timestamp>,
        begun: Timestamp,
    ) {
        if !has_one_snapshot() && !pending::has_undelayed(queue) {
            let now = now();
            hint_cache::with_hint(queue, reservation.direction, |hint| {
                hint.saw_due(seen, first, now, now - begun);
            });
        }
    }

    /// Takes the first position in order off the page.
    pub fn pop(&mut self) -> Option<Position> {
        self.places.pop()
    }

    /// Whether more messages may be due.
    pub fn is_full(&self) -> bool {
        self.places.len() == PAGE
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }
}

/// Has the hints of a queue forget their due times, after its due messages were moved.
pub fn forget_due(queue: i32) {
    let now = now();
    hint_cache::with_known(queue, |entry| entry.hint.forget_due(now));
}

/// The queues of whose delayed lanes a message may be due, as far as a hint knows due times.
pub fn due_queues() -> Vec<i32> {
    let now = now();
    let due = |entry: &mut CacheEntry| {
        let first = entry.hint.due().first;
        (first != START && first <= now).then_some(entry.queue)
    };
    hint_cache::collect(|facts| facts.due <= now, due)
}
