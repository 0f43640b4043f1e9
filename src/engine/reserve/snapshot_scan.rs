//! Ready messages, as one snapshot shows them.
//!
//! A `SnapshotScan` starts at the lowest key that may be reservable, and changes no hint. It is for a
//! reservation that does not take each message it sees (a filter), sees the past (REPEATABLE READ), sees more
//! than other transactions do (its own uncommitted messages), only looks, or has no hint.

use crate::engine::commit::pending;
use crate::engine::reserve::reservation::{Position, Reservation};
use crate::engine::shared::hint_cache;
use crate::engine::table::heap::Table;
use crate::engine::table::message::Column;
use crate::engine::table::message_index;
use crate::engine::table::queue::Queue;
use crate::engine::table::row::TableRow;
use crate::engine::table::scan::Scan;
use crate::hint::address::Address;
use crate::hint::queue::LEVELS;
use crate::hint::{Direction, Key, START};
use crate::pg::snapshot::Snapshot;

/// The snapshot of a scan, and the keys at which it begins.
pub struct View {
    /// The first key, by priority. A priority that is missing begins at its beginning.
    starts: Vec<(i16, Key)>,
    /// The priority before the first one scanned.
    before: Option<i16>,
    snapshot: Snapshot,
}

impl View {
    /// Views all priorities, each from its first key that may be reservable.
    pub fn of_all(queue: &Queue, reservation: &Reservation) -> Self {
        Self::taken(known_starts(queue.id, reservation), None)
    }

    /// Views a priority and those after it, each from its first key that may be reservable.
    pub fn from_priority(queue: &Queue, reservation: &Reservation, priority: i16) -> Self {
        Self::taken(known_starts(queue.id, reservation), priority.checked_sub(1))
    }

    /// Views a priority from its very beginning.
    pub fn from_beginning_of(priority: i16) -> Self {
        Self::taken(Vec::new(), priority.checked_sub(1))
    }

    /// Takes the snapshot right after the first keys were read: a message that appears before them after that
    /// is not in the snapshot.
    fn taken(starts: Vec<(i16, Key)>, before: Option<i16>) -> Self {
        Self { starts, before, snapshot: Snapshot::take() }
    }

    /// Begins a priority at `from`, unless it is known to begin later.
    pub fn begin_at(&mut self, priority: i16, from: Key) {
        match self.starts.iter_mut().find(|(level, _)| *level == priority) {
            Some((_, start)) => *start = from.max(*start),
            None => self.starts.push((priority, from)),
        }
    }

    fn start_of(&self, priority: i16) -> Key {
        self.starts.iter().find(|(level, _)| *level == priority).map_or(START, |(_, from)| *from)
    }
}

/// The lowest keys of the queue's priorities, as hints and this transaction know them.
fn known_starts(queue: i32, reservation: &Reservation) -> Vec<(i16, Key)> {
    let mut starts = Vec::with_capacity(LEVELS);
    let has_forgotten = pending::has_forgotten(queue);
    hint_cache::with_hint(queue, reservation.direction, |hint| {
        // A hint knows no lowest keys unless the queue's priorities were looked up lately.
        if hint.is_known(reservation.now) && !has_forgotten {
            starts.extend(hint.levels().iter().map(|level| (level.priority, level.lowest(reservation.now))));
        }
    });
    for (priority, from) in &mut starts {
        // No hint knows of this transaction's own messages.
        *from =
            pending::first_of_our_own(queue, *priority, reservation.direction, reservation.now).min(*from);
    }
    starts
}

/// Offers the messages that a snapshot shows, one priority after the other.
pub struct SnapshotScan<'a> {
    table: &'a Table,
    queue: i32,
    direction: Direction,
    view: &'a View,
    /// The priority that was scanned last.
    last: Option<i16>,
    scan: Option<Scan<'a>>,
    /// The row that the scan stands on was offered already.
    is_offered: bool,
    /// The first message it has scanned.
    first_seen: Option<i64>,
}

impl<'a> SnapshotScan<'a> {
    pub fn open(table: &'a Table, queue: &Queue, reservation: &Reservation, view: &'a View) -> Self {
        Self {
            table,
            queue: queue.id,
            direction: reservation.direction,
            view,
            last: view.before,
            scan: None,
            is_offered: false,
            first_seen: None,
        }
    }

    /// The id of the first message it has scanned.
    pub fn first_seen(&self) -> Option<i64> {
        self.first_seen
    }

    /// Offers messages that come before `limit`, until the reservation has enough.
    pub fn take_before(&mut self, reservation: &mut Reservation, limit: Option<Position>) {
        while !reservation.is_full()
            && let Some(place) = self.head_place()
            && limit.is_none_or(|limit| place < limit)
        {
            if let Some(row) = self.head() {
                reservation.offer(&row);
            }
            self.is_offered = true;
        }
    }

    /// The next row, if the scan stands on one that was not offered yet.
    fn head(&self) -> Option<TableRow<'_>> {
        self.scan.as_ref().filter(|_| !self.is_offered)?.current()
    }

    fn head_place(&mut self) -> Option<Position> {
        while self.head().is_none() {
            self.is_offered = false;
            let is_on_row = self.scan.as_mut().is_some_and(|scan| scan.next().is_some());
            if !is_on_row && !self.next_level() {
                return None;
            }
        }
        let (id, place) = self.head().map(|row| (row.i64(Column::Id), row.place(self.direction)))?;
        self.first_seen.get_or_insert(id);
        Some(place)
    }

    fn next_level(&mut self) -> bool {
        let snapshot = &self.view.snapshot;
        let Some(priority) = message_index::next_priority(self.table, Some(snapshot), self.queue, self.last)
        else {
            return false;
        };
        self.last = Some(priority);
        let at = Address { queue: self.queue, direction: self.direction, priority };
        self.scan = Some(at.rows(self.table, snapshot, self.view.start_of(priority)));
        true
    }
}
