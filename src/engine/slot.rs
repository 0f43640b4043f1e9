//! Slots as they lie in `pgqueue.slot`: where they are, what they hold, and how that is written.
//!
//! What a slot holds is written in place, whatever becomes of the transaction. It is logged before
//! the message is leased, so that after a crash, and on a standby, whoever sees a lease sees it
//! in its slot. `limit` says why that is enough.

use pgrx::pg_sys::{self, ItemPointerData};

use super::catalog;
use super::in_place::{Pages, Row, State};
use super::scan::{Key as Condition, Scan, Snapshot};
use super::short_lock::{Kind, ShortLock};
use super::table::Table;

/// An id and a delivery.
pub type Lease = (i64, i32);

/// No message has this lease.
pub const NO_LEASE: Lease = (0, 0);

/// Where a slot lies.
#[derive(Clone, Copy)]
pub struct Place {
    pub queue: i32,
    pub number: i32,
    at: ItemPointerData,
}

/// What is found where a slot was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Holds(Lease),
    /// Somebody is laying the queue's slots out, or holds the row.
    Busy,
    /// The slot lies elsewhere, or nowhere.
    Moved,
}

// Where the columns of `pgqueue.slot` begin in a row.
const QUEUE: usize = 0;
const NUMBER: usize = 4;
const MESSAGE: usize = 8;
const DELIVERY: usize = 16;
const END: usize = 20;

/// The table of slots, open.
pub struct SlotTable(Pages);

impl SlotTable {
    pub fn open(table: Table) -> Self {
        Self(Pages::open(table))
    }

    /// Where a queue's slots are, as committed now, and what they hold; by number.
    pub fn all(&self, queue: i32) -> Vec<(Place, Lease)> {
        let snapshot = Snapshot::latest();
        let is_its = Condition::equals(1, pg_sys::F_INT4EQ, queue.into());
        let index = catalog::known().slot_by_number;
        let mut rows = Scan::begin(&self.0.table, index, &snapshot, &[is_its], false);
        let mut slots = Vec::new();
        while let Some(row) = rows.next() {
            let [number, message, delivery] =
                [1, 2, 3].map(|column| row.at(column).map_or(0, |datum| datum.value()));
            let place = Place { queue, number: number as i32, at: row.place_in_table() };
            slots.push((place, (message as i64, delivery as i32)));
        }
        slots
    }

    /// What a slot holds.
    pub fn read(&self, place: Place) -> Content {
        self.0.look(place.at, |row| content(row.as_ref(), place))
    }

    /// Writes `after` into a slot that holds `before`; false if it does not, or if its row is busy.
    pub fn write(&self, place: Place, before: Lease, after: Lease) -> bool {
        self.0.change(place.at, |row| {
            let is_as_seen = content(row.as_ref(), place) == Content::Holds(before);
            if let Some(row) = row.filter(|_| is_as_seen) {
                let mut lease = [0; END - MESSAGE];
                lease[..8].copy_from_slice(&after.0.to_ne_bytes());
                lease[8..].copy_from_slice(&after.1.to_ne_bytes());
                row.write(MESSAGE, &lease);
            }
            is_as_seen
        })
    }
}

fn content(row: Option<&Row>, place: Place) -> Content {
    let is_it = |row: &&Row| {
        row.columns.len() >= END && (row.i32(QUEUE), row.i32(NUMBER)) == (place.queue, place.number)
    };
    match row.filter(is_it) {
        Some(row) if row.state == State::Free => Content::Holds((row.i64(MESSAGE), row.i32(DELIVERY))),
        Some(row) if row.state == State::Busy => Content::Busy,
        _ => Content::Moved,
    }
}

/// Not the number of a slot: whoever lays the slots of a queue out has its lock.
pub const ALL: i32 = 0;

/// The lock of a slot, from before a lease is written into it until the message has it: in
/// between nothing else tells that the slot is in use.
pub fn lock(queue: i32, number: i32) -> ShortLock {
    ShortLock::new(Kind::Slot, queue, number as u32)
}
