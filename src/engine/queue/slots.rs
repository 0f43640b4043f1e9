//! `max_leased`: how many messages of a queue may be leased at once.
//!
//! Such a queue has as many slots. A reserve writes the lease that it gives, an id and a delivery, into a
//! free slot: one whose lease is not valid any more. The message says whether the lease is valid, so nothing
//! has to be done when a lease ends, however it does.
//!
//! A slot is overwritten in place (`slot_rows`), so a rollback does not undo that. It need not: the slot
//! names its writer, and is in use as long as that transaction is at work. A lease of a failed transaction is
//! not valid. One case needs more: a lease that this transaction has ended itself is valid again after a
//! rollback, and its slot must be in use again then. Such a slot is taken last, and by a new version of its
//! row.
//!
//! docs/engine.md argues why this holds.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use pgrx::pg_sys;

use crate::engine::commit::pending;
use crate::engine::queue::slot_search::Search;
use crate::engine::shared::hint_cache;
use crate::engine::table::catalog::{self, Heard};
use crate::engine::table::heap::Table;
use crate::engine::table::message::{Column, is_leased};
use crate::engine::table::message_index::ById;
use crate::engine::table::queue::{self, Queue};
use crate::engine::table::row::{Intent, TableRow};
use crate::engine::table::scan::{Condition, Scan};
use crate::engine::table::slot_rows::{self, Content, Entry, Lease, NOTHING, SlotPlace, SlotTable};
use crate::engine::table::statement::{Sees, Statement};
use crate::error::Result;
use crate::hint::slots::Known;
use crate::pg::datum::{i32_array, i64_array};
use crate::pg::session::{self, now};
use crate::pg::snapshot::{Dirty, Snapshot};
use crate::pg::transaction::{Last, Writer, has_number};
use crate::stop::{self, Point};
use crate::value::timestamp::Timestamp;

static LOCK: Statement =
    Statement::new(include_str!("../../../sql/query/lock_slots.sql"), &[pg_sys::INT4OID]);
static CLEAR: Statement =
    Statement::new(include_str!("../../../sql/query/clear_slots.sql"), &[pg_sys::INT4OID]);
static LEASES: Statement =
    Statement::by_index(include_str!("../../../sql/query/leases.sql"), &[pg_sys::INT4OID]);
static LAY_OUT: Statement = Statement::new(
    include_str!("../../../sql/query/lay_out_slots.sql"),
    &[
        pg_sys::INT4OID,
        pg_sys::INT4OID,
        pg_sys::INT8ARRAYOID,
        pg_sys::INT4ARRAYOID,
        pg_sys::INT8ARRAYOID,
        pg_sys::INT8OID,
        pg_sys::INT4OID,
    ],
);
static LOCK_ONE: Statement = Statement::by_index(
    include_str!("../../../sql/query/lock_slot.sql"),
    &[pg_sys::INT4OID, pg_sys::INT4OID],
);
static TAKE: Statement = Statement::new(
    include_str!("../../../sql/query/take_slot.sql"),
    &[pg_sys::INT4OID, pg_sys::INT4OID, pg_sys::INT8OID, pg_sys::INT4OID, pg_sys::INT8OID],
);

/// Notes that leases of a queue have ended: consumers may wait for a slot, if the queue has slots, or for a
/// turn.
pub fn let_go(queue: i32, leases: usize) -> Result<()> {
    let is_limited = queue::by_id(queue)?.is_some_and(|queue| queue.settings.max_leased.is_some());
    if is_limited {
        pending::slots_are_free(queue, leases);
    } else {
        pending::freed(queue, leases);
    }
    Ok(())
}

/// Notes that the lease of a message in a queue with a limit has ended.
pub fn ended(queue: i32, id: i64) {
    pending::slots_are_free(queue, 1);
    if let Some(number) = OUT.with_borrow_mut(|out| out.remove(&id)) {
        pending::slot_is_known_free(queue, number);
    }
}

/// Lays out the slots of a queue that this transaction makes: no message of it is leased, and no other
/// session sees it. So it keeps no lock: a transaction that makes many queues would need many.
pub fn lay_out_new(queue: i32, limit: Option<i32>) {
    if let Some(limit) = limit {
        write_layout(queue, limit, &[]);
    }
}

/// Lays out the slots of a queue, with the valid leases already in them.
pub fn lay_out(queue: i32, limit: Option<i32>) {
    slot_rows::layout_lock(queue).keep();
    lay_out_alone(queue, limit);
}

/// Lays out the slots. The caller has the lock of the layout.
fn lay_out_alone(queue: i32, limit: Option<i32>) {
    LOCK.run(&[Some(queue.into())], |_| {});
    let leases = limit.map(|_| leases(queue));
    CLEAR.run(&[Some(queue.into())], |_| {});
    pending::forget(queue);
    if let (Some(limit), Some(leases)) = (limit, leases) {
        write_layout(queue, limit, &leases);
    }
}

fn write_layout(queue: i32, limit: i32, leases: &[Entry]) {
    let ids: Vec<i64> = leases.iter().map(|entry| entry.lease.0).collect();
    let deliveries: Vec<i32> = leases.iter().map(|entry| entry.lease.1).collect();
    let writers: Vec<i64> = leases.iter().map(|entry| entry.writer.0).collect();
    let (server, database) = here();
    LAY_OUT.run(
        &[
            Some(queue.into()),
            Some(limit.into()),
            Some(i64_array(&ids)),
            Some(i32_array(&deliveries)),
            Some(i64_array(&writers)),
            Some(server.into()),
            Some(database.into()),
        ],
        |_| {},
    );
}

/// The valid leases of a queue: those in slots, committed or not, and committed ones that are in no slot.
fn leases(queue: i32) -> Vec<Entry> {
    let messages = Table::open_to_read(catalog::refresh().message);
    let mut slots = Slots::none(queue, i32::MAX, false);
    let held =
        slots.table.all(queue).into_iter().filter(|(place, _)| place.number != slot_rows::ORIGIN).collect();
    let mut leases: Vec<Entry> = Vec::new();
    for (slot, standing) in slots.judge(&messages, held) {
        if matches!(standing, Standing::InUse(_)) {
            leases.push(slot.holds);
        }
    }
    LEASES.run_seeing(Sees::Latest, &[Some(queue.into())], |row| {
        leases.push(Entry { lease: (row.i64(0), row.i32(1)), writer: Writer::NONE });
    });
    leases.sort_by_key(|entry| entry.lease);
    leases.dedup_by_key(|entry| entry.lease);
    leases
}

/// Where slots are good: on this server or a physical copy of it, in this database. A dump or logical
/// replication writes slots one by one, and together they fit no moment.
fn here() -> Lease {
    (session::server() as i64, session::database().to_u32() as i32)
}

/// The slots of a queue, as this session knows them.
#[derive(Clone)]
struct Layout {
    heard: Heard,
    /// The slots 1, 2, ….
    slots: Rc<[SlotPlace]>,
    /// Slots beyond the limit that may hold a valid lease.
    beyond: Vec<SlotPlace>,
    /// The slots were laid out on this server, in this database.
    is_good: bool,
}

/// How many layouts and slots a session remembers.
const MOST_LAYOUTS: usize = 1_000;
const MOST_OUT: usize = 10_000;

thread_local! {
    static LAYOUTS: RefCell<HashMap<i32, Layout>> = RefCell::default();
    /// The slots of the leases that this session has given, by the message's id. Only a hint.
    static OUT: RefCell<HashMap<i64, i32>> = RefCell::default();
}

impl Layout {
    fn read(table: &SlotTable, queue: i32) -> Self {
        let heard = catalog::heard_of(queue);
        let (mut slots, mut beyond, mut is_good) = (Vec::new(), Vec::new(), false);
        for (place, holds) in table.all(queue) {
            match place.number {
                slot_rows::ORIGIN => is_good = holds.lease == here(),
                1.. => slots.push(place),
                _ => beyond.push(place),
            }
        }
        Self { heard, slots: slots.into(), beyond, is_good }
    }

    fn known(queue: i32) -> Option<Self> {
        LAYOUTS.with_borrow(|all| all.get(&queue).cloned()).filter(|it| it.heard == catalog::heard_of(queue))
    }

    fn remember(self, queue: i32) {
        LAYOUTS.with_borrow_mut(|all| {
            if all.len() > MOST_LAYOUTS {
                all.clear();
            }
            all.insert(queue, self);
        });
    }

    fn forget(queue: i32) {
        LAYOUTS.with_borrow_mut(|all| all.remove(&queue));
    }
}

/// A slot and the lease in it.
#[derive(Clone, Copy)]
struct Slot {
    place: SlotPlace,
    holds: Entry,
    /// It is free only if this transaction commits.
    is_by_us: bool,
}

/// Whether the lease in a slot is valid.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Until then, or a transaction is at work that may make or change the lease.
    InUse(Option<Timestamp>),
    Free,
    /// The lease is not valid if this transaction commits.
    FreeByUs,
}

/// Free slots of a queue.
pub struct Slots {
    queue: i32,
    limit: i32,
    table: SlotTable,
    may_write: bool,
    free: Vec<Slot>,
    /// The first end of the leases that were looked at.
    pub next_end: Option<Timestamp>,
    /// Other reserves have taken some of the slots since the look, or are about to.
    has_lost: bool,
    /// The slots have to be laid out, which a look cannot do.
    is_unknown: bool,
}

impl Slots {
    /// Looks for up to `wanted` free slots to take. None if the queue has no limit.
    pub fn of(queue: &Queue, messages: &Table, wanted: usize) -> Option<Self> {
        Self::looked_for(queue, messages, wanted, true)
    }

    /// Looks whether `wanted` slots are free, and changes nothing. None also if only a reserve can tell.
    pub fn seen(queue: &Queue, messages: &Table, wanted: usize) -> Option<Self> {
        Self::looked_for(queue, messages, wanted, false)
    }

    fn looked_for(queue: &Queue, messages: &Table, wanted: usize, may_write: bool) -> Option<Self> {
        let limit = queue.settings.max_leased?.0;
        let mut slots = Self::none(queue.id, limit, may_write);
        slots.look(messages, wanted);
        (!slots.is_unknown).then_some(slots)
    }

    fn none(queue: i32, limit: i32, may_write: bool) -> Self {
        let slot = catalog::refresh().slot;
        let table = if may_write { Table::open(slot) } else { Table::open_to_read(slot) };
        Self {
            queue,
            limit,
            table: SlotTable::open(table),
            may_write,
            free: Vec::new(),
            next_end: None,
            has_lost: false,
            is_unknown: false,
        }
    }

    /// Looks whether further slots are free now, after some were lost.
    pub fn look_again(&mut self, messages: &Table, wanted: usize) -> bool {
        if !std::mem::take(&mut self.has_lost) {
            return false;
        }
        self.free.clear();
        self.look(messages, wanted);
        self.count() > 0
    }

    pub fn count(&self) -> usize {
        self.free.len()
    }

    fn look(&mut self, messages: &Table, wanted: usize) {
        /// What this session knows of the layout may be out of date once.
        const TRIES: usize = 2;
        let known = hint_cache::with_slots(self.queue, |hint| hint.known(now()));
        if let Some(Known::Full(until)) = known
            && !pending::has_freed_slots(self.queue)
        {
            self.next_end = Some(until);
            return;
        }
        for _ in 0..TRIES {
            let Some(layout) = self.layout() else { return };
            let mut search = Search::new(self.limit, layout.slots.clone());
            let beyond = self.beyond_in_use(messages, &layout);
            self.find(messages, &mut search, wanted.saturating_add(beyond.len()));
            if search.is_outdated {
                Layout::forget(self.queue);
                self.free.clear();
                self.has_lost = true;
                continue;
            }
            self.make_up_for(&beyond);
            self.tell(&search, known);
            return;
        }
    }

    /// The layout of the slots. None if they have to be laid out and this call cannot.
    fn layout(&mut self) -> Option<Layout> {
        if let Some(layout) = Layout::known(self.queue) {
            return Some(layout);
        }
        let mut layout = Layout::read(&self.table, self.queue);
        if !layout.is_good {
            layout = if self.may_write { self.laid_out_now()? } else { return self.leave_to_a_reserve() };
        }
        layout.clone().remember(self.queue);
        Some(layout)
    }

    /// Lays the slots out on this server. None if another transaction is doing so.
    fn laid_out_now(&self) -> Option<Layout> {
        if !slot_rows::layout_lock(self.queue).try_keep() {
            return None;
        }
        // Another transaction may have laid them out meanwhile, and by another limit.
        let layout = Layout::read(&self.table, self.queue);
        if layout.is_good {
            return Some(layout);
        }
        let queue = queue::by_id(self.queue).ok().flatten()?;
        lay_out_alone(self.queue, Some(queue.settings.max_leased?.0));
        Some(Layout::read(&self.table, self.queue))
    }

    /// Leaves the layout to a reserve. A reserve cannot do it while another transaction that has laid the
    /// slots out is at work.
    fn leave_to_a_reserve<T>(&mut self) -> Option<T> {
        self.is_unknown = slot_rows::layout_lock(self.queue).try_hold(|| ()).is_some();
        None
    }

    /// Looks at slots until enough are free.
    fn find(&mut self, messages: &Table, search: &mut Search, wanted: usize) {
        const MOST_AT_ONCE: usize = 64;
        hint_cache::with_slots(self.queue, |hint| search.begin(wanted, hint));
        let (mut by_us, mut at_once) = (Vec::new(), wanted.clamp(1, MOST_AT_ONCE));
        while self.free.len() < wanted {
            let numbers: Vec<i32> = search.by_ref().take(at_once).collect();
            if numbers.is_empty() {
                break;
            }
            let held = self.read(search, &numbers);
            for (slot, standing) in self.judge(messages, held) {
                match standing {
                    Standing::Free => self.free.push(slot),
                    Standing::FreeByUs => by_us.push(Slot { is_by_us: true, ..slot }),
                    Standing::InUse(None) => search.is_unsure = true,
                    Standing::InUse(end) => self.next_end = self.next_end.min(end).or(end),
                }
            }
            at_once = (at_once * 2).min(MOST_AT_ONCE);
        }
        // Slots are popped from the end.
        by_us.append(&mut self.free);
        self.free = by_us;
    }

    /// Reads the content of slots.
    fn read(&self, search: &mut Search, numbers: &[i32]) -> Vec<(SlotPlace, Entry)> {
        let mut held = Vec::with_capacity(numbers.len());
        for &number in numbers {
            let place = search.slots[number as usize - 1];
            match self.table.read(place) {
                Content::Holds(entry) => held.push((place, entry)),
                Content::Busy => search.is_unsure = true,
                Content::Moved => search.is_outdated = true,
            }
        }
        held
    }

    /// Judges whether the leases in slots are valid. The slots were read before the snapshot is taken: if the
    /// snapshot does not show a writer at work, it shows what that writer has done to the message.
    fn judge(&mut self, messages: &Table, held: Vec<(SlotPlace, Entry)>) -> Vec<(Slot, Standing)> {
        let (snapshot, last) = (Snapshot::latest(), Last::now());
        let mut rows = ById::open(messages, &snapshot);
        held.into_iter()
            .map(|(place, holds)| {
                let standing = match holds {
                    NOTHING => Standing::Free,
                    _ if holds.writer.is_at_work(&snapshot, last) => Standing::InUse(None),
                    _ => standing(messages, rows.find(holds.lease.0), holds),
                };
                (Slot { place, holds, is_by_us: false }, standing)
            })
            .collect()
    }

    /// The slots beyond the limit whose leases may be valid.
    fn beyond_in_use(&mut self, messages: &Table, layout: &Layout) -> Vec<(SlotPlace, Entry)> {
        if layout.beyond.is_empty() {
            return Vec::new();
        }
        let mut held = Vec::new();
        for &place in &layout.beyond {
            match self.table.read(place) {
                Content::Holds(entry) => held.push((place, entry)),
                // While no session can tell, each of them counts as in use.
                Content::Busy | Content::Moved => return vec![(place, NOTHING); layout.beyond.len()],
            }
        }
        let judged = self.judge(messages, held);
        let in_use: Vec<_> = judged
            .into_iter()
            .filter(|(_, standing)| *standing != Standing::Free)
            .map(|(slot, _)| (slot.place, slot.holds))
            .collect();
        let beyond = in_use.iter().map(|&(place, _)| place).collect();
        Layout { beyond, ..layout.clone() }.remember(self.queue);
        in_use
    }

    /// Moves the leases beyond the limit into slots that are free now. As long as one of them is left, no
    /// message is leased.
    fn make_up_for(&mut self, beyond: &[(SlotPlace, Entry)]) {
        if !self.may_write {
            self.free.truncate(self.free.len().saturating_sub(beyond.len()));
            return;
        }
        for &(place, entry) in beyond {
            if !self.has_moved(place, entry) {
                self.free.clear();
                return;
            }
        }
    }

    /// Moves an entry to a free slot. For a moment it is in both slots, and never in none.
    fn has_moved(&mut self, from: SlotPlace, entry: Entry) -> bool {
        let Some(slot) = self.free.pop() else { return false };
        if slot.is_by_us {
            // Only this transaction can take the slot, so it is enough to leave it out. The move would stay
            // after a rollback.
            return true;
        }
        let has_room = entry != NOTHING && self.put(slot, slot.holds, entry);
        let has_moved = has_room && self.put(Slot { place: from, ..slot }, entry, NOTHING);
        if has_room && !has_moved {
            self.put(slot, entry, slot.holds);
        }
        self.has_lost |= !has_moved;
        has_moved
    }

    /// Tells the hint what was found.
    fn tell(&mut self, search: &Search, known: Option<Known>) {
        let (next_end, is_sure) = (self.next_end, !search.is_unsure && !self.has_lost);
        let is_full = is_sure && search.is_over() && self.free.is_empty();
        hint_cache::with_slots(self.queue, |hint| {
            hint.move_hand(search.hand());
            if let Some(Known::Perhaps(times_freed)) = known.filter(|_| is_full) {
                hint.is_full(times_freed, next_end, now());
            }
        });
    }

    /// Puts a lease into a free slot. None if other reserves have taken them all.
    pub fn take(&mut self, lease: Lease) -> Option<TakenSlot> {
        let entry = Entry { lease, writer: Writer::current() };
        while let Some(slot) = self.free.pop() {
            stop::at(Point::SlotIsJudged);
            if self.put(slot, slot.holds, entry) {
                return Some(TakenSlot { slot, entry });
            }
            self.has_lost = true;
        }
        None
    }

    fn put(&self, slot: Slot, before: Entry, after: Entry) -> bool {
        if slot.is_by_us || self.table.is_observed() {
            self.put_anew(slot.place, before, after)
        } else {
            self.table.write(slot.place, before, after)
        }
    }

    /// Puts a lease into a slot by a new version of its row, which a rollback removes. The slot is judged
    /// when no other session can write it in place any more.
    fn put_anew(&self, place: SlotPlace, before: Entry, after: Entry) -> bool {
        let number = [Some(self.queue.into()), Some(place.number.into())];
        Layout::forget(self.queue);
        if LOCK_ONE.run(&number, |_| {}) == 0 {
            return false;
        }
        let is_as_seen = match self.table.read(place) {
            // This transaction has taken the slot before.
            Content::Moved => self
                .table
                .all(self.queue)
                .iter()
                .any(|(now, holds)| now.number == place.number && *holds == before),
            content => content == Content::Holds(before),
        };
        if !is_as_seen {
            return false;
        }
        let [queue, number] = number;
        let (message, delivery) = after.lease;
        let args = [queue, number, Some(message.into()), Some(delivery.into()), Some(after.writer.0.into())];
        TAKE.run(&args, |_| {}) > 0
    }

    /// Gives a slot back whose lease was not given after all.
    pub fn give_back(&mut self, taken: TakenSlot) {
        if self.put(taken.slot, taken.entry, taken.slot.holds) {
            self.free.push(taken.slot);
        }
    }

    /// Keeps a slot whose lease was given.
    pub fn keep(&self, taken: TakenSlot) {
        let number = taken.slot.place.number;
        pending::slot_is_taken(self.queue, number);
        OUT.with_borrow_mut(|out| {
            if out.len() > MOST_OUT {
                out.clear();
            }
            out.insert(taken.entry.lease.0, number);
        });
    }

    /// Tells the hint of the free slots that are left over.
    pub fn close(&mut self) {
        let left: Vec<i32> =
            self.free.drain(..).filter(|slot| !slot.is_by_us).map(|slot| slot.place.number).collect();
        if !left.is_empty() {
            hint_cache::with_slots(self.queue, |hint| hint.remember(&left));
        }
    }
}

/// A slot with a lease in it.
pub struct TakenSlot {
    slot: Slot,
    entry: Entry,
}

/// Whether a lease is valid whose writer is not at work, or is this transaction.
fn standing(messages: &Table, row: Option<TableRow>, holds: Entry) -> Standing {
    let lease = holds.lease;
    let row = row.filter(|row| row.i32(Column::Deliveries) == lease.1);
    let Some(row) = row else { return free(messages, lease) };
    let until = row.i64(Column::LeaseUntil);
    if is_leased(until, now()) {
        // After a rollback the next lease of the message is equal to it, and may be in another slot.
        let is_its = row.writer() == holds.writer.short() || !holds.writer.has_failed();
        return if is_its { Standing::InUse(Some(until)) } else { Standing::Free };
    }
    // Another transaction may be extending the lease, or may have done so in time since.
    if row.is_outdated() || (row.is_busy(Intent::Change) && !is_leased_anew(messages, lease)) {
        return Standing::InUse(None);
    }
    free(messages, lease)
}

/// Whether a lease that is not valid can be valid again.
fn free(messages: &Table, lease: Lease) -> Standing {
    if has_number() && is_ended_by_us(messages, lease) { Standing::FreeByUs } else { Standing::Free }
}

/// Whether this transaction has ended a lease before its time. Not if it has given the lease in the same
/// savepoint: both are rolled back together.
fn is_ended_by_us(messages: &Table, (id, delivery): Lease) -> bool {
    let is_it = Condition::equals(1, pg_sys::F_INT8EQ, id.into());
    let mut versions = Scan::begin_any(messages, catalog::known().message_by_id, &[is_it], false);
    while let Some(version) = versions.next() {
        let changer = version.our_changer();
        let is_it =
            version.i32(Column::Deliveries) == delivery && is_leased(version.i64(Column::LeaseUntil), now());
        if is_it && changer.is_some() && version.our_writer() != changer {
            return true;
        }
    }
    false
}

/// Whether an open transaction has leased the message anew: then this lease is over, however that transaction
/// ends.
fn is_leased_anew(messages: &Table, (id, delivery): Lease) -> bool {
    let dirty = Dirty::new();
    let is_it = Condition::equals(1, pg_sys::F_INT8EQ, id.into());
    let mut versions = Scan::begin_dirty(messages, catalog::known().message_by_id, &dirty, &[is_it]);
    while let Some(version) = versions.next() {
        if dirty.is_being_made() && version.i32(Column::Deliveries) > delivery {
            return true;
        }
    }
    false
}
