//! `max_length`: room for new messages in a queue that has a limit.
//!
//! The counters give the length of a queue (`counter::length`), without a statement. Only a push into a full
//! queue looks at messages: it removes dead ones first, whatever `on_full` says; then, if that says so, the
//! oldest of the least urgent (`reserve::drop_oldest`).
//!
//! The limit holds for committed messages. Transactions that push at the same moment do not see each other's
//! messages, and the next push makes up for that.

use std::time::{Duration, Instant};

use pgrx::pg_sys;

use crate::engine::message::dead;
use crate::engine::message::key::{self, Turn};
use crate::engine::queue::counter;
use crate::engine::reserve;
use crate::engine::shared::{hint_cache, tally};
use crate::engine::table::heap::Table;
use crate::engine::table::message::{Column, is_leased};
use crate::engine::table::queue::Queue;
use crate::engine::table::row::TableRow;
use crate::engine::table::scan::{Condition, Scan};
use crate::engine::table::statement::{Sees, Statement};
use crate::engine::table::{catalog, message_index};
use crate::error::{Error, Result};
use crate::hint::address::Address;
use crate::hint::rest::Rest;
use crate::hint::{Direction, START};
use crate::pg::session::{has_one_snapshot, nap, now};
use crate::pg::snapshot::Snapshot;
use crate::stop::{self, Point};
use crate::value::reason::Reason;
use crate::value::settings::{MaxLength, OnFull};
use crate::value::timestamp::Timestamp;

/// Makes room for `more` messages, so that they and the committed ones do not exceed the queue's
/// `max_length`.
pub fn make_room(queue: &Queue, more: usize) -> Result<()> {
    let Some(MaxLength(limit)) = queue.settings.max_length else { return Ok(()) };
    /// How long a push waits for the counts of transactions that have just committed.
    const TRIES: usize = 20;
    const PAUSE: Duration = Duration::from_millis(1);
    let mut tries = 0;
    while excess(queue, more, limit) > 0 {
        let (length, counted) = (counter::length(queue.id), tally::counted(queue.id));
        let is_full = || Err(Error::full(&queue.name.to_string(), length, more, limit));
        if more as i64 > limit {
            return is_full();
        }
        clear_dead(queue, excess(queue, more, limit));
        let missing = excess(queue, more, limit);
        if missing == 0 || (queue.settings.on_full == OnFull::DropOldest && has_dropped(queue, missing)) {
            return Ok(());
        }
        if queue.settings.on_full != OnFull::DropOldest {
            return is_full();
        }
        // A removal by another transaction is visible a moment before it is counted.
        let now = tally::counted(queue.id);
        let is_other = now.committing > 0 || now != counted || counter::length(queue.id) != length;
        if !is_other || tries == TRIES {
            let is_of_another_time = has_one_snapshot() && could_be_dropped(queue, missing);
            return if is_of_another_time { Err(Error::could_not_serialize()) } else { is_full() };
        }
        tries += 1;
        if now.committing > 0 {
            nap(PAUSE);
        }
    }
    Ok(())
}

/// By how many messages the queue would exceed its limit.
fn excess(queue: &Queue, more: usize, limit: i64) -> usize {
    usize::try_from(counter::length(queue.id) + more as i64 - limit).unwrap_or(0)
}

/// Drops `missing` messages. If there are too few, those count that other transactions are just removing:
/// they make room when that is committed.
fn has_dropped(queue: &Queue, missing: usize) -> bool {
    let gone = reserve::drop_oldest(queue, missing);
    gone.dropped >= missing || gone.dropped + gone.being_removed >= missing
}

/// Whether a transaction that sees all committed messages could drop `missing` messages.
fn could_be_dropped(queue: &Queue, missing: usize) -> bool {
    static DROPPABLE: Statement = Statement::by_index(
        include_str!("../../../sql/query/droppable.sql"),
        &[pg_sys::INT4OID, pg_sys::INT8OID],
    );
    let args = [Some(queue.id.into()), Some((missing as i64).into())];
    let mut is_possible = false;
    DROPPABLE.run_seeing(Sees::Latest, &args, |row| is_possible = row.bool(0));
    is_possible
}

/// How many messages one scan for dead ones reads at most.
const MOST_LOOKED_AT: usize = 10_000;

/// A search that found nothing rests this many times as long as it took, unless it read few entries.
const REST: i64 = 50;
const FEW: usize = 200;

/// Removes up to `max` dead messages, unless a search without result still rests.
fn clear_dead(queue: &Queue, max: usize) {
    let begun = now();
    if hint_cache::with_room(queue.id, |rest| !rest.is_over(begun)) == Some(true) {
        return;
    }
    let looked = Instant::now();
    stop::at(Point::DeadAreLookedFor);
    let found = Dead::of(queue, max);
    let Dead { gone, superseded, looked_at } = found;
    let is_to_rest = gone.is_empty() && superseded.is_empty() && looked_at > FEW;
    let length = looked.elapsed().as_micros() as Timestamp * REST;
    let next = if is_to_rest { Rest::begin(now(), length) } else { Rest::OVER };
    hint_cache::with_room(queue.id, |rest| *rest = next);
    dead::bury_without_waiting(&gone);
    if !superseded.is_empty() {
        dead::each_in_passing(&superseded, key::drop_superseded);
    }
}

/// Messages that no consumer will ever be given.
#[derive(Default)]
struct Dead {
    gone: Vec<(i64, Reason)>,
    /// Each message with its `key_place`.
    superseded: Vec<(i64, i64)>,
    /// How many index entries were read.
    looked_at: usize,
}

impl Dead {
    /// Finds up to `max` dead messages: expired ones, by their index, then those among the oldest messages.
    fn of(queue: &Queue, max: usize) -> Self {
        let table = Table::open_to_read(catalog::refresh().message);
        let (snapshot, now) = (Snapshot::take(), now());
        let mut look = Look { table: &table, queue, now, max, found: Self::default() };
        let (strategy, procedure) = (pg_sys::BTLessEqualStrategyNumber, pg_sys::F_TIMESTAMPTZ_LE);
        let is_over = Condition::new(1, strategy, procedure, now.into());
        look.at_all(Scan::begin(&table, catalog::known().message_expires, &snapshot, &[is_over], false));
        let mut priority = message_index::next_priority(&table, Some(&snapshot), queue.id, None);
        while let Some(at) = priority.filter(|_| !look.is_over()) {
            let address = Address { queue: queue.id, direction: Direction::OldestFirst, priority: at };
            look.at_all(address.rows(&table, &snapshot, START));
            priority = message_index::next_priority(&table, Some(&snapshot), queue.id, Some(at));
        }
        look.at_all(message_index::delayed(&table, &snapshot, queue.id, Timestamp::MIN));
        look.found
    }
}

/// A search for dead messages.
struct Look<'a> {
    table: &'a Table,
    queue: &'a Queue,
    now: Timestamp,
    max: usize,
    found: Dead,
}

impl Look<'_> {
    fn is_over(&self) -> bool {
        self.found.gone.len() + self.found.superseded.len() >= self.max
    }

    fn at_all(&mut self, mut rows: Scan) {
        let mut looked_at = 0;
        while !self.is_over() && looked_at < MOST_LOOKED_AT && rows.next_place() {
            looked_at += 1;
            let waits = |row: &TableRow| {
                row.i32(Column::Queue) == self.queue.id && !is_leased(row.i64(Column::LeaseUntil), self.now)
            };
            if let Some(row) = rows.fetch().filter(waits) {
                self.at(&row);
            }
        }
        self.found.looked_at += looked_at;
    }

    fn at(&mut self, row: &TableRow) {
        let id = row.i64(Column::Id);
        if self.found.gone.iter().any(|&(known, _)| known == id) {
            return;
        }
        match self.queue.end_of(row, self.now) {
            Some(reason) => self.found.gone.push((id, reason)),
            None if key::turn(self.table, self.queue, row) == Turn::Superseded => {
                self.found.superseded.push((id, row.i64(Column::KeyPlace)));
            }
            None => {}
        }
    }
}
