//! What is ready, as one snapshot shows it.
//!
//! `Scanned` starts at the lowest place that may hold something, and disturbs nobody's
//! hint. It is for those who do not take everything they see (a filter), see the past
//! (REPEATABLE READ), see more than others do (their own uncommitted messages), only
//! look, or have no board.

use crate::engine::commit::pending;
use crate::engine::reserve::reservation::{Place, Round};
use crate::engine::shared::hint_cache;
use crate::engine::table::heap::Table;
use crate::engine::table::message::Column;
use crate::engine::table::message_index;
use crate::engine::table::queue::Queue;
use crate::engine::table::row::Found;
use crate::engine::table::scan::Scan;
use crate::hint::address::Address;
use crate::hint::queue::LEVELS;
use crate::hint::{Direction, Key, START};
use crate::pg::snapshot::Snapshot;

/// Offers what a snapshot shows, one priority after the other.
pub struct Scanned<'a> {
    table: &'a Table,
    queue: i32,
    direction: Direction,
    /// Where to begin, by priority; others begin at their beginning.
    starts: Vec<(i16, Key)>,
    /// The priority that was scanned last.
    last: Option<i16>,
    scan: Option<Scan>,
    head: Option<Found>,
    snapshot: Snapshot,
    /// The first message it came by.
    first_seen: Option<i64>,
}

impl<'a> Scanned<'a> {
    /// Begins where something may lie first.
    pub fn open(table: &'a Table, queue: &Queue, round: &Round) -> Self {
        Self::begin(table, queue.id, round.direction, None, Self::starts(queue.id, round))
    }

    /// Begins at a priority.
    pub fn from_priority(table: &'a Table, queue: &Queue, round: &Round, priority: i16) -> Self {
        Self::begin(table, queue.id, round.direction, priority.checked_sub(1), Self::starts(queue.id, round))
    }

    /// Begins a priority at its very beginning.
    pub fn from_beginning_of(table: &'a Table, queue: &Queue, round: &Round, priority: i16) -> Self {
        Self::begin(table, queue.id, round.direction, priority.checked_sub(1), Vec::new())
    }

    fn begin(
        table: &'a Table,
        queue: i32,
        direction: Direction,
        last: Option<i16>,
        starts: Vec<(i16, Key)>,
    ) -> Self {
        let snapshot = Snapshot::take();
        Self { table, queue, direction, starts, last, scan: None, head: None, snapshot, first_seen: None }
    }

    /// The lowest places of the queue's priorities. Read before the snapshot is taken.
    fn starts(queue: i32, round: &Round) -> Vec<(i16, Key)> {
        let mut starts = Vec::with_capacity(LEVELS);
        let has_forgotten = pending::has_forgotten(queue);
        hint_cache::with_hint(queue, round.direction, |hint| {
            // A queue that nobody has looked through has no lowest places.
            if hint.is_known(round.now) && !has_forgotten {
                starts.extend(hint.levels().iter().map(|level| (level.priority, level.lowest(round.now))));
            }
        });
        for (priority, from) in &mut starts {
            // Others do not know of our own messages.
            *from = pending::first_of_our_own(queue, *priority, round.direction, round.now).min(*from);
        }
        starts
    }

    /// Begins a priority at `from`, unless it is known to begin later.
    pub fn begin_at(&mut self, priority: i16, from: Key) {
        match self.starts.iter_mut().find(|(level, _)| *level == priority) {
            Some((_, start)) => *start = from.max(*start),
            None => self.starts.push((priority, from)),
        }
    }

    /// The id of the first message it came by.
    pub fn first_seen(&self) -> Option<i64> {
        self.first_seen
    }

    /// Offers what comes before `limit`, until the round has enough.
    pub fn take_before(&mut self, round: &mut Round, limit: Option<Place>) {
        while !round.is_full()
            && let Some(place) = self.head_place()
            && limit.is_none_or(|limit| place < limit)
        {
            if let Some(row) = self.head.take() {
                round.offer(&row);
            }
        }
    }

    fn head_place(&mut self) -> Option<Place> {
        while self.head.is_none() {
            self.head = self.scan.as_mut().and_then(Scan::next);
            if self.head.is_none() && !self.next_level() {
                return None;
            }
        }
        let head = self.head.as_ref()?;
        self.first_seen.get_or_insert_with(|| head.i64(Column::Id));
        Some(head.place(self.direction))
    }

    fn next_level(&mut self) -> bool {
        let Some(priority) =
            message_index::next_priority(self.table, Some(&self.snapshot), self.queue, self.last)
        else {
            return false;
        };
        self.last = Some(priority);
        let known = self.starts.iter().find(|(level, _)| *level == priority);
        let from = known.map_or(START, |(_, from)| *from);
        let at = Address { queue: self.queue, direction: self.direction, priority };
        self.scan = Some(at.rows(self.table, &self.snapshot, from));
        true
    }
}
