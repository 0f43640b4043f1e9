//! `max_leased`: how many messages of a queue may be out at once.
//!
//! Such a queue has as many slots. Who leases a message writes the lease, an id and a delivery,
//! into a slot that is free: one whose lease is not valid any more. The message says whether it
//! is, so nothing has to be done when a lease ends, however it does.
//!
//! A slot is overwritten in place (`slot`), so what it holds is not undone with the
//! transaction. It need not be: a lease that never came to be is not valid, and what an open
//! transaction is making or changing counts as in use. Two moments want more:
//! - between the slot and the message nothing tells of a lease. The slot's lock does, for as
//!   long (`slot::lock`);
//! - a lease that this transaction has itself ended is back if that is rolled back, and then
//!   the slot has to be. Such a slot is taken last, and by a new version of its row.
//!
//! docs/engine.md argues it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use pgrx::pg_sys;

use super::lane::ById;
use super::message::{Column, is_leased};
use super::queue::{self, Queue};
use super::scan::{Dirty, Found, Key as Condition, Scan, Snapshot};
use super::short_lock::Claim;
use super::slot::{self, Content, Lease, NO_LEASE, Place, SlotTable};
use super::statement::{Sees, Statement, i32_array, i64_array};
use super::table::Table;
use super::{board, catalog, news, now};
use crate::call::Timestamp;
use crate::error::Result;
use crate::hint::slots::Known;

static LOCK: Statement = Statement::new(include_str!("../../sql/query/lock_slots.sql"), &[pg_sys::INT4OID]);
static CLEAR: Statement = Statement::new(include_str!("../../sql/query/clear_slots.sql"), &[pg_sys::INT4OID]);
static LEASES: Statement = Statement::new(include_str!("../../sql/query/leases.sql"), &[pg_sys::INT4OID]);
static LAY_OUT: Statement = Statement::new(
    include_str!("../../sql/query/lay_out_slots.sql"),
    &[
        pg_sys::INT4OID,
        pg_sys::INT4OID,
        pg_sys::INT8ARRAYOID,
        pg_sys::INT4ARRAYOID,
        pg_sys::INT8OID,
        pg_sys::INT4OID,
    ],
);
static TAKE: Statement = Statement::new(
    include_str!("../../sql/query/take_slot.sql"),
    &[pg_sys::INT4OID, pg_sys::INT4OID, pg_sys::INT8OID, pg_sys::INT4OID, pg_sys::INT8OID, pg_sys::INT4OID],
);

/// Leases of a queue have ended: others may wait for a slot, if it has any, or for a turn.
pub fn let_go(queue: i32, leases: usize) -> Result<()> {
    let is_limited = queue::by_id(queue)?.is_some_and(|queue| queue.settings.max_leased.is_some());
    if is_limited {
        news::slots_are_free(queue, leases);
    } else {
        news::freed(queue);
    }
    Ok(())
}

/// The lease of a message in a queue with a limit has ended.
pub fn ended(queue: i32, id: i64) {
    news::slots_are_free(queue, 1);
    if let Some(number) = OUT.with_borrow_mut(|out| out.remove(&id)) {
        news::slot_is_known_free(queue, number);
    }
}

/// Gives a queue its slots, those that are leased already in them.
pub fn lay_out(queue: i32, limit: Option<i32>) {
    slot::lock(queue, slot::ALL).keep(false);
    lay_out_alone(queue, limit);
}

/// The caller has the lock of all slots.
fn lay_out_alone(queue: i32, limit: Option<i32>) {
    LOCK.run(&[Some(queue.into())], |_| {});
    let leases = limit.map(|_| leases(queue));
    CLEAR.run(&[Some(queue.into())], |_| {});
    news::forget(queue);
    if let (Some(limit), Some(leases)) = (limit, leases) {
        let (ids, deliveries): (Vec<i64>, Vec<i32>) = leases.into_iter().unzip();
        let (server, database) = here();
        LAY_OUT.run(
            &[
                Some(queue.into()),
                Some(limit.into()),
                Some(i64_array(&ids)),
                Some(i32_array(&deliveries)),
                Some(server.into()),
                Some(database.into()),
            ],
            |_| {},
        );
    }
}

/// What is out of a queue: what its slots hold, committed or not, and what is committed and in
/// no slot.
fn leases(queue: i32) -> Vec<Lease> {
    let messages = Table::open_to_read(catalog::refresh().message);
    let mut slots = Slots::none(queue, i32::MAX, false);
    let held = slots.table.all(queue).into_iter().filter(|(place, _)| place.number != slot::ALL).collect();
    let mut leases: Vec<Lease> = Vec::new();
    for (slot, standing) in slots.judge(&messages, held) {
        if matches!(standing, Standing::InUse(_)) {
            leases.push(slot.holds);
        }
    }
    LEASES.run_seeing(Sees::Latest, &[Some(queue.into())], |row| leases.push((row.i64(0), row.i32(1))));
    leases.sort_unstable();
    leases.dedup();
    leases
}

/// Where slots are good: on this server or a physical copy of it, in this database. What came
/// here by a dump, or by logical replication, was written one by one and fits no moment.
fn here() -> Lease {
    // SAFETY: both read variables of the server.
    unsafe { (pg_sys::GetSystemIdentifier() as i64, pg_sys::MyDatabaseId.to_u32() as i32) }
}

/// How the slots of a queue lie, as this session knows.
#[derive(Clone)]
struct Layout {
    generation: u64,
    /// The slots 1, 2, ….
    slots: Rc<[Place]>,
    /// Those beyond the limit that may hold a valid lease.
    beyond: Vec<Place>,
    /// They were laid out where they are.
    is_good: bool,
}

/// More than a session should remember.
const MOST_LAYOUTS: usize = 1_000;
const MOST_OUT: usize = 10_000;

thread_local! {
    static LAYOUTS: RefCell<HashMap<i32, Layout>> = RefCell::default();
    /// In which slot the leases are that this session has given, by the message's id. Only a hint.
    static OUT: RefCell<HashMap<i64, i32>> = RefCell::default();
}

impl Layout {
    fn read(table: &SlotTable, queue: i32) -> Self {
        let generation = catalog::generation();
        let (mut slots, mut beyond, mut is_good) = (Vec::new(), Vec::new(), false);
        for (place, holds) in table.all(queue) {
            match place.number {
                slot::ALL => is_good = holds == here(),
                1.. => slots.push(place),
                _ => beyond.push(place),
            }
        }
        Self { generation, slots: slots.into(), beyond, is_good }
    }

    fn known(queue: i32) -> Option<Self> {
        LAYOUTS.with_borrow(|all| all.get(&queue).cloned()).filter(|it| it.generation == catalog::generation())
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

/// A slot and what is in it.
#[derive(Clone, Copy)]
struct Slot {
    place: Place,
    holds: Lease,
    /// It is free only if this transaction commits.
    is_by_us: bool,
}

/// Whether the lease in a slot is valid.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is until then, or somebody is making or changing it.
    InUse(Option<Timestamp>),
    Free,
    /// It is not if this transaction commits.
    FreeByUs,
}

/// Slots of a queue that are free.
pub struct Slots {
    queue: i32,
    limit: i32,
    table: SlotTable,
    may_write: bool,
    free: Vec<Slot>,
    /// When the first of the leases ends that were looked at.
    pub next_end: Option<Timestamp>,
    /// Others took some, or are about to, since the look.
    has_lost: bool,
}

impl Slots {
    /// Looks for so many free slots to take. None if the queue has no limit.
    pub fn of(queue: &Queue, messages: &Table, wanted: usize) -> Option<Self> {
        Self::looked_for(queue, messages, wanted, true)
    }

    /// Looks whether so many are free, and changes nothing.
    pub fn seen(queue: &Queue, messages: &Table, wanted: usize) -> Option<Self> {
        Self::looked_for(queue, messages, wanted, false)
    }

    fn looked_for(queue: &Queue, messages: &Table, wanted: usize, may_write: bool) -> Option<Self> {
        let limit = queue.settings.max_leased?.0;
        let mut slots = Self::none(queue.id, limit, may_write);
        slots.look(messages, wanted);
        Some(slots)
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
        }
    }

    /// After some were lost: looks whether others are free now.
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
        let known = board::with_slots(self.queue, |hint| hint.known(now()));
        if let Some(Known::Full(until)) = known
            && !news::has_freed_slots(self.queue)
        {
            self.next_end = Some(until);
            return;
        }
        for _ in 0..TRIES {
            let Some(layout) = self.layout() else { return };
            let mut search = Search::new(self.limit, &layout);
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

    /// How the slots lie; none if they have to be laid out and somebody is at it.
    fn layout(&self) -> Option<Layout> {
        if let Some(layout) = Layout::known(self.queue) {
            return Some(layout);
        }
        let mut layout = Layout::read(&self.table, self.queue);
        if !layout.is_good && self.may_write {
            if !slot::lock(self.queue, slot::ALL).keep(true) {
                return None;
            }
            // Somebody else may have done it meanwhile, and by another limit.
            layout = Layout::read(&self.table, self.queue);
            if !layout.is_good {
                let queue = queue::by_id(self.queue).ok().flatten()?;
                lay_out_alone(self.queue, Some(queue.settings.max_leased?.0));
                layout = Layout::read(&self.table, self.queue);
            }
        }
        layout.clone().remember(self.queue);
        Some(layout)
    }

    /// Looks at slots until enough are free.
    fn find(&mut self, messages: &Table, search: &mut Search, wanted: usize) {
        const MOST_AT_ONCE: usize = 64;
        board::with_slots(self.queue, |hint| search.begin(wanted, hint));
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
        // They are popped from the end.
        by_us.append(&mut self.free);
        self.free = by_us;
    }

    /// What slots hold.
    fn read(&self, search: &mut Search, numbers: &[i32]) -> Vec<(Place, Lease)> {
        let mut held = Vec::with_capacity(numbers.len());
        for &number in numbers {
            let place = search.slots[number as usize - 1];
            match self.table.read(place) {
                Content::Holds(lease) => held.push((place, lease)),
                Content::Busy => search.is_unsure = true,
                Content::Moved => search.is_outdated = true,
            }
        }
        held
    }

    /// Whether leases that slots hold are valid. What they hold was read before.
    fn judge(&mut self, messages: &Table, held: Vec<(Place, Lease)>) -> Vec<(Slot, Standing)> {
        let snapshot = Snapshot::latest();
        let mut rows = ById::open(messages, &snapshot);
        held.into_iter()
            .map(|(place, holds)| {
                let slot = Slot { place, holds, is_by_us: false };
                let standing = if holds == NO_LEASE {
                    Standing::Free
                } else {
                    self.standing(messages, rows.find(holds.0), slot)
                };
                (slot, standing)
            })
            .collect()
    }

    fn standing(&self, messages: &Table, row: Option<Found>, slot: Slot) -> Standing {
        let lease = slot.holds;
        let Some(row) = row else { return free(messages, lease) };
        let (deliveries, until) = (row.i32(Column::Deliveries), row.i64(Column::LeaseUntil));
        let is_it = deliveries == lease.1;
        if is_it && is_leased(until, now()) {
            return Standing::InUse(Some(until));
        }
        // Somebody may be giving the lease, or extending it, having come in time.
        let is_changing = row.is_outdated() || (row.is_busy() && !(is_it && is_leased_anew(messages, lease)));
        if is_changing {
            return Standing::InUse(None);
        }
        if deliveries < lease.1 && !self.is_past_its_writer(messages, slot) {
            return Standing::InUse(None);
        }
        free(messages, lease)
    }

    /// Whether a lease that the message does not have will never come to be: whoever wrote it
    /// into the slot is not about to change the message.
    fn is_past_its_writer(&self, messages: &Table, slot: Slot) -> bool {
        let is_over = slot::lock(self.queue, slot.place.number).try_claim().is_some();
        if !is_over || self.table.read(slot.place) != Content::Holds(slot.holds) {
            return false;
        }
        let snapshot = Snapshot::latest();
        let mut rows = ById::open(messages, &snapshot);
        rows.find(slot.holds.0).is_none_or(|row| {
            row.i32(Column::Deliveries) < slot.holds.1 && !row.is_busy() && !row.is_outdated()
        })
    }

    /// The slots beyond the limit whose leases are valid.
    fn beyond_in_use(&mut self, messages: &Table, layout: &Layout) -> Vec<(Place, Lease)> {
        if layout.beyond.is_empty() {
            return Vec::new();
        }
        let mut held = Vec::new();
        for &place in &layout.beyond {
            match self.table.read(place) {
                Content::Holds(lease) => held.push((place, lease)),
                // It holds something as long as nobody can tell.
                Content::Busy | Content::Moved => return vec![(place, NO_LEASE); layout.beyond.len()],
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

    /// Puts the leases beyond the limit into slots that are free now. As long as one is left,
    /// nothing is leased.
    fn make_up_for(&mut self, beyond: &[(Place, Lease)]) {
        if !self.may_write {
            self.free.truncate(self.free.len().saturating_sub(beyond.len()));
            return;
        }
        for &(place, lease) in beyond {
            if !self.has_moved(place, lease) {
                self.free.clear();
                return;
            }
        }
    }

    fn has_moved(&mut self, from: Place, lease: Lease) -> bool {
        let claim = slot::lock(self.queue, from.number).try_claim();
        if claim.is_none() || lease == NO_LEASE || self.table.read(from) != Content::Holds(lease) {
            self.has_lost = true;
            return false;
        }
        self.take(lease).is_some() && self.table.write(from, lease, NO_LEASE)
    }

    /// Tells others what was found.
    fn tell(&mut self, search: &Search, known: Option<Known>) {
        let (next_end, is_sure) = (self.next_end, !search.is_unsure && !self.has_lost);
        let is_full = is_sure && search.is_over() && self.free.is_empty();
        board::with_slots(self.queue, |hint| {
            hint.move_hand(search.hand());
            if let Some(Known::Perhaps(times_freed)) = known.filter(|_| is_full) {
                hint.is_full(times_freed, next_end, now());
            }
        });
    }

    /// Puts a lease into a free slot; none if others have taken them all.
    pub fn take(&mut self, lease: Lease) -> Option<Taken> {
        while let Some(slot) = self.free.pop() {
            if let Some(claim) = slot::lock(self.queue, slot.place.number).try_claim()
                && self.put(slot, slot.holds, lease)
            {
                return Some(Taken { slot, lease, _claim: claim });
            }
            self.has_lost = true;
        }
        None
    }

    fn put(&self, slot: Slot, before: Lease, after: Lease) -> bool {
        if !slot.is_by_us {
            return self.table.write(slot.place, before, after);
        }
        let args = [
            Some(self.queue.into()),
            Some(slot.place.number.into()),
            Some(before.0.into()),
            Some(before.1.into()),
            Some(after.0.into()),
            Some(after.1.into()),
        ];
        Layout::forget(self.queue);
        TAKE.run(&args, |_| {}) > 0
    }

    /// The lease was not given after all.
    pub fn give_back(&mut self, taken: Taken) {
        if self.put(taken.slot, taken.lease, taken.slot.holds) {
            self.free.push(taken.slot);
        }
    }

    /// The lease was given.
    pub fn keep(&self, taken: Taken) {
        let number = taken.slot.place.number;
        news::slot_is_taken(self.queue, number);
        OUT.with_borrow_mut(|out| {
            if out.len() > MOST_OUT {
                out.clear();
            }
            out.insert(taken.lease.0, number);
        });
    }

    /// Lets others know of those that are left over.
    pub fn close(&mut self) {
        let left: Vec<i32> = self.free.drain(..).filter(|slot| !slot.is_by_us).map(|slot| slot.place.number).collect();
        if !left.is_empty() {
            board::with_slots(self.queue, |hint| hint.remember(&left));
        }
    }
}

/// A slot with a lease in it. Nobody else takes it meanwhile.
pub struct Taken {
    slot: Slot,
    lease: Lease,
    _claim: Claim,
}

/// In which order slots are looked at: those that are probably free, then one after the other.
struct Search {
    slots: Rc<[Place]>,
    count: i32,
    hinted: Vec<i32>,
    next_hinted: usize,
    /// Where it began, from 0, and how many it has come by.
    from: i32,
    passed: i32,
    /// Somebody is just changing what some of them hold.
    is_unsure: bool,
    /// The slots do not lie there any more.
    is_outdated: bool,
}

impl Search {
    fn new(limit: i32, layout: &Layout) -> Self {
        let slots = layout.slots.clone();
        let count = limit.min(slots.len() as i32);
        let (is_unsure, is_outdated) = (false, false);
        Self { slots, count, hinted: Vec::with_capacity(16), next_hinted: 0, from: 0, passed: 0, is_unsure, is_outdated }
    }

    /// Takes what is known; it has room for it.
    fn begin(&mut self, wanted: usize, hint: &mut crate::hint::slots::SlotHint) {
        let room = self.hinted.capacity().min(wanted);
        while self.hinted.len() < room
            && let Some(number) = hint.take()
        {
            if (1..=self.count).contains(&number) {
                self.hinted.push(number);
            }
        }
        self.from = if self.count > 0 { hint.hand().rem_euclid(self.count) } else { 0 };
    }

    fn is_over(&self) -> bool {
        self.passed == self.count
    }

    /// Where the next search begins.
    fn hand(&self) -> i32 {
        self.from.wrapping_add(self.passed)
    }
}

impl Iterator for Search {
    type Item = i32;

    fn next(&mut self) -> Option<i32> {
        if let Some(&number) = self.hinted.get(self.next_hinted) {
            self.next_hinted += 1;
            return Some(number);
        }
        while self.passed < self.count {
            let number = (self.from + self.passed) % self.count + 1;
            self.passed += 1;
            if !self.hinted.contains(&number) {
                return Some(number);
            }
        }
        None
    }
}

/// A lease that is not valid: whether it can be again.
fn free(messages: &Table, lease: Lease) -> Standing {
    // SAFETY: reads state of the transaction.
    let has_written = unsafe { pg_sys::GetTopTransactionIdIfAny() } != pg_sys::InvalidTransactionId;
    if has_written && is_ended_by_us(messages, lease) { Standing::FreeByUs } else { Standing::Free }
}

/// Whether this transaction has ended a lease, unless it has given it in the same savepoint: then
/// either goes with the other.
fn is_ended_by_us(messages: &Table, (id, delivery): Lease) -> bool {
    let is_it = Condition::equals(1, pg_sys::F_INT8EQ, id.into());
    let mut versions = Scan::begin_any(messages, catalog::known().message_by_id, &[is_it], false);
    while let Some(version) = versions.next() {
        let changer = version.our_changer();
        if version.i32(Column::Deliveries) == delivery && changer.is_some() && version.our_writer() != changer {
            return true;
        }
    }
    false
}

/// Whether an open transaction has leased the message anew: then this lease is over, whatever
/// becomes of that one.
fn is_leased_anew(messages: &Table, (id, delivery): Lease) -> bool {
    let mut dirty = Dirty::new();
    let is_it = Condition::equals(1, pg_sys::F_INT8EQ, id.into());
    let mut versions = Scan::begin_dirty(messages, catalog::known().message_by_id, &mut dirty, &[is_it]);
    while let Some(version) = versions.next() {
        if dirty.is_being_made() && version.i32(Column::Deliveries) > delivery {
            return true;
        }
    }
    false
}
