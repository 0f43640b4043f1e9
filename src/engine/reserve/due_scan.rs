//! What is due of a queue's delayed lane.

use crate::engine::commit::pending;
use crate::engine::reserve::reservation::{Position, Reservation};
use crate::engine::shared::hint_cache;
use crate::engine::table::heap::Table;
use crate::engine::table::message::Column;
use crate::engine::table::message_index;
use crate::hint::START;
use crate::hint::queue::Due;
use crate::pg::session::{has_one_snapshot, now};
use crate::pg::snapshot::Snapshot;
use crate::value::timestamp::Timestamp;

/// How many due messages are looked at to find the first of them in order. The
/// worker moves due messages to the ready lane, so more are seldom waiting. Who only looks
/// sees all of them.
const PAGE: usize = 256;

/// A page of what is due, the first in order last.
pub struct DuePage {
    places: Vec<Position>,
    /// The first time after now at which a message is due, if the look got that far.
    pub next: Option<Timestamp>,
}

impl DuePage {
    /// Reads a page; not even looks if the board says that nothing is due.
    pub fn read(table: &Table, queue: i32, reservation: &mut Reservation) -> Self {
        let mut page = Self { places: Vec::new(), next: None };
        // Of what this transaction has delayed itself the board does not know.
        let knows_all = !pending::has_delayed(queue);
        let hint =
            hint_cache::with_hint(queue, reservation.direction, |hint| hint.due()).filter(|_| knows_all);
        let from = hint.map_or(START, |due| due.first);
        if from > reservation.now {
            page.next = Some(from);
            return page;
        }
        let first = page.fill(table, queue, from, reservation);
        if let Some(seen) = hint {
            page.note(queue, reservation, seen, first);
        }
        page.places.sort_unstable_by_key(|&place| std::cmp::Reverse(place));
        reservation.begin_walk(); // and what is ready may come before it in its group
        page
    }

    /// Returns the first due time that is visible, whoever has the message in hand.
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

    /// A snapshot from before the hint was read may not show what the hint counted, and what
    /// this transaction has taken itself may come back.
    fn note(&self, queue: i32, reservation: &Reservation, seen: Due, first: Option<Timestamp>) {
        if !has_one_snapshot() && !pending::has_undelayed(queue) {
            hint_cache::with_hint(queue, reservation.direction, |hint| hint.saw_due(seen, first));
        }
    }

    /// Where the first of them stands, which is not among them any more.
    pub fn pop(&mut self) -> Option<Position> {
        self.places.pop()
    }

    /// Whether more may be due.
    pub fn is_full(&self) -> bool {
        self.places.len() == PAGE
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }
}

/// All that was due has been moved: what the hints know of due times is over.
pub fn forget_due() {
    let now = now();
    hint_cache::for_each_place(|place| place.hint.forget_due(now));
}

/// Whether a message of the delayed lane may be due. What nobody has looked for, rounds
/// find.
pub fn a_message_is_due() -> bool {
    let now = now();
    hint_cache::find(|place| {
        let first = place.hint.due().first;
        (first != START && first <= now).then_some(())
    })
    .is_some()
}
