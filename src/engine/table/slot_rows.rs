//! Rows of `pgqueue.slot`: their places, their content, and how it is written.
//!
//! The content of a slot is written in place, whatever becomes of the transaction. The write is logged before
//! the message is leased: so after a crash, and on a standby, every lease is in its slot. `queue::slots` says
//! why that is enough.

use pgrx::pg_sys::{self, ItemPointerData};

use crate::engine::table::catalog;
use crate::engine::table::heap::Table;
use crate::engine::table::in_place::{PageRow, Pages, State};
use crate::engine::table::scan::{Condition, Scan};
use crate::engine::table::short_lock::{Kind, ShortLock};
use crate::pg::snapshot::Snapshot;
use crate::pg::transaction::Writer;

/// An id and a delivery.
pub type Lease = (i64, i32);

/// Content of a slot: a lease, and the transaction that has written it to give that lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub lease: Lease,
    pub writer: Writer,
}

/// Content of a free slot: no message has this lease.
pub const NOTHING: Entry = Entry { lease: (0, 0), writer: Writer::NONE };

/// Place of a slot.
#[derive(Clone, Copy)]
pub struct SlotPlace {
    pub queue: i32,
    pub number: i32,
    at: ItemPointerData,
}

/// Result of reading a slot at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Holds(Entry),
    /// Another transaction is laying the queue's slots out, or has locked the row.
    Busy,
    /// The slot is at another place, or does not exist.
    Moved,
}

// Offsets of the columns of `pgqueue.slot` in a row.
const QUEUE: usize = 0;
const NUMBER: usize = 4;
const MESSAGE: usize = 8;
const DELIVERY: usize = 16;
const WRITER: usize = 24; // aligned to 8
const END: usize = 32;

/// The open table of slots.
pub struct SlotTable(Pages);

impl SlotTable {
    pub fn open(table: Table) -> Self {
        Self(Pages::open(table))
    }

    /// True if users' triggers or constraints have to see changes: then nothing is written in place.
    pub fn is_observed(&self) -> bool {
        self.0.table.has_guests()
    }

    /// Returns the places and contents of a queue's slots, as committed now, sorted by number.
    pub fn all(&self, queue: i32) -> Vec<(SlotPlace, Entry)> {
        let snapshot = Snapshot::latest();
        let is_its = Condition::equals(1, pg_sys::F_INT4EQ, queue.into());
        let index = catalog::known().slot_by_number;
        let mut rows = Scan::begin(&self.0.table, index, &snapshot, &[is_its], false);
        let mut slots = Vec::new();
        while let Some(row) = rows.next() {
            let [number, message, delivery, writer] =
                [1, 2, 3, 4].map(|column| row.at(column).map_or(0, |datum| datum.value()));
            let place = SlotPlace { queue, number: number as i32, at: row.place_in_table() };
            let writer = Writer(writer as i64);
            slots.push((place, Entry { lease: (message as i64, delivery as i32), writer }));
        }
        slots
    }

    /// Reads the content of a slot.
    pub fn read(&self, place: SlotPlace) -> Content {
        self.0.look(place.at, |row| content(row.as_ref(), place))
    }

    /// Writes `after` into a slot if it holds `before`; false if it does not, or if its row is busy.
    pub fn write(&self, place: SlotPlace, before: Entry, after: Entry) -> bool {
        self.0.change(place.at, |row| {
            let is_as_seen = content(row.as_ref(), place) == Content::Holds(before);
            if let Some(row) = row.filter(|_| is_as_seen) {
                let mut bytes = [0; END - MESSAGE];
                bytes[..DELIVERY - MESSAGE].copy_from_slice(&after.lease.0.to_ne_bytes());
                bytes[DELIVERY - MESSAGE..][..4].copy_from_slice(&after.lease.1.to_ne_bytes());
                bytes[WRITER - MESSAGE..].copy_from_slice(&after.writer.0.to_ne_bytes());
                row.write(MESSAGE, &bytes);
            }
            is_as_seen
        })
    }
}

fn content(row: Option<&PageRow>, place: SlotPlace) -> Content {
    let is_it = |row: &&PageRow| {
        row.columns.len() >= END && (row.i32(QUEUE), row.i32(NUMBER)) == (place.queue, place.number)
    };
    match row.filter(is_it) {
        Some(row) if row.state == State::Free => Content::Holds(Entry {
            lease: (row.i64(MESSAGE), row.i32(DELIVERY)),
            writer: Writer(row.i64(WRITER)),
        }),
        Some(row) if row.state == State::Busy => Content::Busy,
        _ => Content::Moved,
    }
}

/// Number of a row that is no slot: it says where the slots of the queue were laid out.
pub const ORIGIN: i32 = 0;

/// Returns the lock of a transaction that lays the slots of a queue out.
pub fn layout_lock(queue: i32) -> ShortLock {
    ShortLock::new(Kind::Slots, queue, 0)
}
