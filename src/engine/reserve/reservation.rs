//! A reservation: one call that reserves, drops or shows messages of a queue.
//!
//! The scans (`hinted_scan`, `snapshot_scan`, `group_scan`, `due_scan`) find messages and offer them. The
//! reservation judges each (leased, expired, superseded, not its turn) and leases or removes it. It never
//! waits for another transaction.

use std::collections::{HashMap, HashSet};

use crate::engine::commit::{counts, pending};
use crate::engine::message::group::{self, Freed, Group, Turn};
use crate::engine::message::key::{self, Echoes};
use crate::engine::message::{archive, dead};
use crate::engine::queue::counter;
use crate::engine::queue::slots::Slots;
use crate::engine::reserve::request::{Request, Take, Taken};
use crate::engine::reserve::rescan::RECHECK;
use crate::engine::shared::hint_cache;
use crate::engine::table::counts::Counts;
use crate::engine::table::heap::{Fate, Patience, Table};
use crate::engine::table::message::{Column, Lane, is_leased};
use crate::engine::table::message_index::ById;
use crate::engine::table::queue::Queue;
use crate::engine::table::row::{Intent, TableRow};
use crate::hint::address::Address;
use crate::hint::ids::Ids;
use crate::hint::{Direction, Key};
use crate::pg::memory::{Outlives, Scratch};
use crate::pg::session::now;
use crate::pg::snapshot::Snapshot;
use crate::value::duration::Millis;
use crate::value::reason::Reason;
use crate::value::settings::Order;
use crate::value::timestamp::Timestamp;

/// How many dead messages of a kind a call clears away at a time, and how often it does so.
pub const DEAD_PAGE: usize = 100;

/// The function that is shown each message handed out.
type Receiver<'a> = &'a mut dyn FnMut(Taken);

/// Priority and key, by which messages are ordered.
pub type Position = (i16, Key);

/// One call that takes messages of a queue.
pub struct Reservation<'a> {
    pub(super) table: &'a Table,
    pub(super) queue: &'a Queue,
    pub(super) request: &'a Request<'a>,
    take: Take,
    each: Receiver<'a>,
    pub direction: Direction,
    pub now: Timestamp,
    pub taken: usize,
    /// Another transaction got a message between the snapshot and the touch.
    pub(super) missed: bool,
    /// Messages that other transactions were just taking.
    busy: HashSet<i64>,
    exhausted: Vec<(i64, Reason)>,
    /// Messages that a sibling with their key has superseded, each with its `key_place`.
    superseded: Vec<(i64, i64)>,
    /// Some of the dead messages have a group.
    clears_group: bool,
    /// A message was removed because another replaces its content, and that one was not taken with it.
    uncovered: bool,
    /// Messages behind one of their group that another transaction is just changing or removing, and messages
    /// for which no slot was left.
    unsure: Vec<(i16, i64)>,
    /// Groups already scanned in order: later messages cannot be first. True while another transaction is
    /// changing the first: the next message may be first soon.
    passed_groups: HashMap<Group, bool>,
    /// Groups that a drop has scanned, and whether their first message has the turn and will be delivered
    /// again.
    groups_in_turn: HashMap<Group, bool>,
    /// The messages offered were noted before.
    is_noted: bool,
    /// Groups whose first message was removed: a consumer gets no other of theirs before they are freed.
    freed: Freed,
    /// Messages that a drop has scanned while other transactions are just removing them.
    pub being_removed: usize,
    /// The changes in each lane.
    counts: Counts,
    /// The slots for leases, in a queue with a limit.
    slots: Option<Slots>,
    /// How many messages it was offered in vain.
    pub(super) vain: usize,
    /// The first end of the leases it has skipped.
    pub first_lease_passed: Option<Timestamp>,
    /// Memory for one row at a time: a call may scan a million.
    scratch: Scratch,
}

impl<'a> Reservation<'a> {
    pub fn new(
        table: &'a Table,
        queue: &'a Queue,
        request: &'a Request<'a>,
        take: Take,
        each: Receiver<'a>,
    ) -> Self {
        let newest_first = request.lifo.unwrap_or(queue.settings.order == Order::Lifo);
        Self {
            table,
            queue,
            request,
            take,
            each,
            direction: if newest_first { Direction::NewestFirst } else { Direction::OldestFirst },
            now: now(),
            taken: 0,
            missed: false,
            busy: HashSet::new(),
            exhausted: Vec::new(),
            superseded: Vec::new(),
            clears_group: false,
            uncovered: false,
            unsure: Vec::new(),
            passed_groups: HashMap::new(),
            groups_in_turn: HashMap::new(),
            is_noted: false,
            freed: Freed::default(),
            being_removed: 0,
            counts: Counts::default(),
            slots: if matches!(take, Take::Lease(_)) { Slots::of(queue, table, request.max) } else { None },
            vain: 0,
            first_lease_passed: None,
            scratch: Scratch::default(),
        }
    }

    /// Gives the next message of each freed group its turn, and counts the changes.
    pub fn close(&mut self) {
        std::mem::take(&mut self.freed).free_all(self.table);
        if let Some(slots) = &mut self.slots {
            slots.close();
        }
        self.count();
    }

    /// Clears away the scanned messages that will never be delivered again. True if later messages of a group
    /// may have waited for that.
    pub(super) fn clear_away(&mut self) -> bool {
        let superseded = std::mem::take(&mut self.superseded);
        if !superseded.is_empty() {
            dead::each_in_passing(&superseded, key::drop_superseded);
        }
        dead::bury_without_waiting(&std::mem::take(&mut self.exhausted));
        std::mem::take(&mut self.clears_group)
    }

    /// Clears away dead messages for a drop, and returns how many are gone.
    pub fn clear_dead(&mut self) -> usize {
        let before = counts::counted_of(self.queue.id).length();
        self.clear_away();
        usize::try_from(before - counts::counted_of(self.queue.id).length()).unwrap_or(0)
    }

    /// Whether a message was removed whose replacement may be ready now, and nothing was taken.
    pub(super) fn has_uncovered(&mut self) -> bool {
        let has_uncovered = std::mem::take(&mut self.uncovered) && self.taken == 0;
        if has_uncovered {
            std::mem::take(&mut self.freed).free_all(self.table);
        }
        has_uncovered
    }

    /// Whether other transactions took all free slots meanwhile, and more slots are free now.
    pub(super) fn has_lost_slots(&mut self) -> bool {
        let Some(slots) = self.slots.as_mut().filter(|_| self.taken == 0) else { return false };
        let has_others = slots.look_again(self.table, self.request.max);
        if has_others {
            self.put_back_unsure();
        }
        has_others
    }

    /// Lets the next call look again at the messages that were put off: they may be free then.
    pub(super) fn put_back_unsure(&mut self) {
        for (priority, id) in self.unsure.drain(..) {
            let at = Address { queue: self.queue.id, direction: self.direction, priority };
            let mut ids = Ids::default();
            ids.add(id);
            hint_cache::with_level(at, |level| level.appeared(&ids, at.direction));
        }
    }

    fn count(&self) {
        let taken = self.taken as i64;
        let (delivered, deleted) = match self.take {
            Take::Lease(_) => (taken, 0),
            Take::Remove => (taken, taken),
            Take::Drop => (0, taken),
            Take::Look => (0, 0),
        };
        counter::add(
            self.queue.id,
            Counts { delivered, deleted: self.counts.deleted + deleted, ..self.counts },
        );
    }

    pub fn keeps_order(&self) -> bool {
        self.queue.settings.keeps_order()
    }

    /// The change it makes to the rows that it takes.
    fn intent(&self) -> Intent {
        match self.take {
            Take::Lease(_) | Take::Look => Intent::Change,
            Take::Remove | Take::Drop => Intent::Remove,
        }
    }

    pub fn only_looks(&self) -> bool {
        matches!(self.take, Take::Look)
    }

    pub fn missing(&self) -> usize {
        let mut missing = self.request.max - self.taken;
        if matches!(self.take, Take::Drop) {
            // Dead messages make room as well.
            missing = missing.saturating_sub(self.exhausted.len() + self.superseded.len());
        }
        self.slots.as_ref().map_or(missing, |slots| slots.count().min(missing))
    }

    pub fn is_full(&self) -> bool {
        self.missing() == 0
    }

    pub fn take_first_lease_passed(&mut self) -> Option<Timestamp> {
        self.first_lease_passed.take()
    }

    /// Takes these messages if they are free, still in this queue and of this priority.
    ///
    /// A redrive may take a message to another queue with its id. A message that has moved is known at its
    /// new place.
    pub fn probe(&mut self, priority: i16, ids: impl IntoIterator<Item = i64>) {
        self.begin_walk();
        let snapshot = Snapshot::take();
        let mut messages = ById::open(self.table, &snapshot);
        for id in ids {
            if let Some(row) = messages.find(id)
                && row.i32(Column::Queue) == self.queue.id
                && row.i16(Column::Priority) == priority
            {
                self.offer(&row);
            }
        }
    }

    /// Takes a message if it is free.
    pub fn offer(&mut self, row: &TableRow) {
        if !self.wants(row) || !self.is_its_turn(row) {
            self.vain += 1;
            return;
        }
        let fate = if row.is_busy(self.intent()) { Fate::Busy } else { self.hand_over(row) };
        if fate == Fate::Busy && matches!(self.take, Take::Drop) && row.is_being_removed() {
            self.being_removed += 1;
        }
        if fate == Fate::Busy {
            self.look_again_soon();
            if key::is_unseen(row) {
                hint_cache::waits_for_key(self.queue.id);
            }
        }
        match fate {
            Fate::Done => self.taken += 1,
            Fate::Changed | Fate::Gone => self.missed = true,
            Fate::Busy => self.missed |= self.busy.insert(row.i64(Column::Id)),
        }
    }

    /// Does `work`, which offers messages that were noted already: each is noted once, before the hint is
    /// told that they are taken.
    pub fn with_noted(&mut self, work: impl FnOnce(&mut Self)) {
        self.is_noted = true;
        work(self);
        self.is_noted = false;
    }

    /// Notes that a message may be taken, before its row is touched.
    fn note_touched(&self, row: &TableRow) {
        if !self.is_noted {
            pending::touched(self.queue.id, row.i16(Column::Priority), row.i64(Column::Id));
        }
    }

    /// Whether a message could be taken now.
    pub fn could_take(&mut self, row: &TableRow) -> bool {
        let wanted = self.wants(row) && self.is_its_turn(row);
        let is_busy = wanted && row.is_busy(self.intent());
        if is_busy {
            self.look_again_soon();
        }
        wanted && !is_busy
    }

    /// Begins to look at messages in another order, or with another snapshot.
    pub fn begin_walk(&mut self) {
        self.passed_groups.clear();
    }

    /// Whether a message has the turn of its group.
    ///
    /// Among rows that are offered in the order of a group, with one snapshot, no row behind the first can be
    /// first.
    fn is_its_turn(&mut self, row: &TableRow) -> bool {
        let Some(group) = self.group_of(row) else { return true };
        if matches!(self.take, Take::Drop) {
            return !self.first_has_turn(group);
        }
        let follows_order = self.direction == Direction::OldestFirst;
        let passed = self.passed_groups.get_mut(&group).filter(|_| follows_order);
        if let Some(may_be_next) = passed {
            let turn = if std::mem::take(may_be_next) { Turn::Unsure } else { Turn::Later };
            self.note_unsure(turn, row);
            return false;
        }
        if self.freed.contains(&group) {
            return false;
        }
        let turn = group.turn(self.table, row.i64(Column::Id), |other| self.is_gone(other));
        self.note_unsure(turn, row);
        if follows_order {
            self.passed_groups.insert(group, turn == Turn::Now && row.is_busy(self.intent()));
        }
        turn == Turn::Now
    }

    /// Whether the first of the group has the turn, and will be delivered again: the messages behind it are not
    /// dropped.
    fn first_has_turn(&mut self, group: Group) -> bool {
        if let Some(&has_turn) = self.groups_in_turn.get(&group) {
            return has_turn;
        }
        let has_turn = group.first_has_turn(self.table, |first| self.is_gone(first));
        self.groups_in_turn.insert(group, has_turn);
        has_turn
    }

    fn note_unsure(&mut self, turn: Turn, row: &TableRow) {
        if turn == Turn::Unsure {
            self.put_off(row);
        }
    }

    /// Leaves a message to the next call, which looks at it again.
    fn put_off(&mut self, row: &TableRow) {
        // If an error comes first, the message must not stay hidden behind the claimed front.
        self.note_touched(row);
        self.unsure.push((row.i16(Column::Priority), row.i64(Column::Id)));
    }

    /// Whether a message that no consumer holds will never be delivered again, or stands behind a sibling of
    /// its key, which may wait behind it in their group.
    pub fn is_gone(&self, row: &TableRow) -> bool {
        !is_leased(row.i64(Column::LeaseUntil), self.now)
            && (self.end_of(row).is_some() || key::stands_behind(self.table, self.queue, row))
    }

    /// Has a rescan look at the row soon, as if a lease ended then: the transaction that is changing the row
    /// may let go of it without telling.
    fn look_again_soon(&mut self) {
        self.passes_lease(self.now + RECHECK);
    }

    fn passes_lease(&mut self, end: Timestamp) {
        self.first_lease_passed = Some(self.first_lease_passed.map_or(end, |first| first.min(end)));
    }

    fn hand_over(&mut self, row: &TableRow) -> Fate {
        if self.only_looks() {
            self.show(&Taken { row, delivery: row.i32(Column::Deliveries), leased_until: None });
            return Fate::Done;
        }
        self.note_touched(row);
        match self.group_of(row) {
            // Another session may decide about another message of the group at the same moment.
            Some(group) if !matches!(self.take, Take::Drop) => {
                let decided = group.deciding(|| {
                    let id = row.i64(Column::Id);
                    match group.turn_for_sure(self.table, id, |other| self.is_gone(other)) {
                        Turn::Now => Ok(self.take_row(row, true)),
                        turn => Err(turn),
                    }
                });
                decided.unwrap_or(Err(Turn::Unsure)).unwrap_or_else(|turn| {
                    self.note_unsure(turn, row);
                    Fate::Busy
                })
            }
            _ => self.take_row(row, false),
        }
    }

    /// The group whose turn a message needs. None if its order is not kept, or if it has the turn already.
    fn group_of(&self, row: &TableRow) -> Option<Group> {
        Group::of(row, self.queue).filter(|_| !row.bool(Column::InTurn))
    }

    fn take_row(&mut self, row: &TableRow, takes_turn: bool) -> Fate {
        let Some(echoes) = Echoes::behind(self.table, self.queue, row) else {
            return self.take_this(row, takes_turn);
        };
        let is_dropped = matches!(self.take, Take::Drop);
        if let Some(replacement) = echoes.replacement.filter(|_| !is_dropped) {
            return self.take_replacement(row, replacement, &echoes);
        }
        let fate = self.take_this(row, takes_turn);
        match fate {
            Fate::Done if is_dropped => echoes.tell(self.queue.id),
            Fate::Done => {
                let leased = matches!(self.take, Take::Lease(_)).then(|| row.i64(Column::Id));
                echoes.absorb(self.table, self.queue, leased);
            }
            _ => {}
        }
        fate
    }

    /// Removes a message whose content another replaces, and hands out the replacement in its place, if that
    /// is free now.
    fn take_replacement(&mut self, row: &TableRow, replacement: i64, echoes: &Echoes) -> Fate {
        let fate = self.remove_without_waiting(row);
        if fate != Fate::Done {
            return fate;
        }
        self.note_taken(row, None);
        self.counts.deleted += 1;
        echoes.remove_replaced(self.table, self.queue, replacement);
        let snapshot = Snapshot::take();
        let mut messages = ById::open(self.table, &snapshot);
        let Some(row) = messages.find(replacement) else { return Fate::Gone };
        let is_there = row.i32(Column::Queue) == self.queue.id;
        if !is_there || !self.wants(&row) || self.group_of(&row).is_some() || row.is_busy(self.intent()) {
            self.uncovered = true;
            return Fate::Gone;
        }
        pending::touched(self.queue.id, row.i16(Column::Priority), replacement);
        self.take_row(&row, false)
    }

    /// Removes a message, unless another transaction would have to be waited for to free its group.
    fn remove_without_waiting(&self, row: &TableRow) -> Fate {
        let would_wait = Group::of(row, self.queue).is_some_and(|group| !group.take_next(self.table, row));
        if would_wait { Fate::Busy } else { self.table.delete(row, Patience::Skip) }
    }

    fn take_this(&mut self, row: &TableRow, takes_turn: bool) -> Fate {
        let delivery = row.i32(Column::Deliveries) + 1;
        let leased_until = match self.take {
            // The reservation may have waited for an index since it began.
            Take::Lease(length) => Some(now() + self.length(row, length).as_micros()),
            Take::Remove | Take::Drop | Take::Look => None,
        };
        let fate = match leased_until {
            Some(until) => self.lease(row, delivery, until, takes_turn),
            None if matches!(self.take, Take::Drop) => self.remove_without_waiting(row),
            None => self.table.delete(row, Patience::Skip),
        };
        if fate == Fate::Done {
            self.note_taken(row, leased_until);
            if matches!(self.take, Take::Remove) {
                archive::keep(self.queue, row, delivery);
            }
            self.show(&Taken { row, delivery, leased_until });
        }
        fate
    }

    fn lease(&mut self, row: &TableRow, delivery: i32, until: Timestamp, takes_turn: bool) -> Fate {
        let Some(slots) = &mut self.slots else {
            return lease(self.table, row, delivery, until, takes_turn);
        };
        let id = row.i64(Column::Id);
        let Some(slot) = slots.take((id, delivery)) else {
            self.unsure.push((row.i16(Column::Priority), id));
            return Fate::Busy;
        };
        let fate = lease(self.table, row, delivery, until, takes_turn);
        match fate {
            Fate::Done => slots.keep(slot),
            _ => slots.give_back(slot),
        }
        fate
    }

    fn note_taken(&mut self, row: &TableRow, leased_until: Option<Timestamp>) {
        let (id, priority) = (row.i64(Column::Id), row.i16(Column::Priority));
        if row.lane() == Lane::Delayed {
            pending::undelayed(self.queue.id);
        }
        let Some(until) = leased_until else {
            self.counts += -row.counts();
            if let Some(group) = Group::of(row, self.queue) {
                self.freed.add(group, group::place_of(row));
            }
            return;
        };
        self.counts += Counts::message(Lane::Ready, until) - row.counts();
        pending::leased(self.queue.id, priority, id, until);
        if row.lane() != Lane::Ready {
            // The message enters the ready lane, where no hint knows it.
            pending::ready(self.queue.id, priority, id);
        }
    }

    /// The length of a lease: as requested, else as the message says, else as its queue says.
    fn length(&self, row: &TableRow, wished: Option<Millis>) -> Millis {
        wished
            .or_else(|| row.optional_i64(Column::LeaseMs).map(Millis::from_millis))
            .unwrap_or_else(|| self.queue.lease())
    }

    /// Whether a message may be handed out. Remembers messages that will never be delivered again.
    fn wants(&mut self, row: &TableRow) -> bool {
        let lease_until = row.i64(Column::LeaseUntil);
        if is_leased(lease_until, self.now) {
            self.passes_lease(lease_until);
            return false;
        }
        // A key in a hint may be that of a message that was put off meanwhile.
        let is_there = match row.lane() {
            Lane::Ready => true,
            Lane::Delayed => row.i64(Column::DueAt) <= self.now,
            Lane::Blocked => false,
        };
        if !is_there {
            return false;
        }
        if let Some(end) = self.end_of(row) {
            if self.exhausted.len() < DEAD_PAGE {
                self.exhausted.push((row.i64(Column::Id), end));
                self.clears_group |= row.get(Column::GroupKey).is_some();
            }
            return false;
        }
        if !self.stands_for_its_key(row) {
            return false;
        }
        let Some(filter) = self.request.filter else { return true };
        let headers = row.jsonb(Column::Headers);
        self.with_scratch(|_| headers.is_some_and(|headers| headers.contains(filter)))
    }

    /// Whether a message may be delivered before its siblings of the same key.
    fn stands_for_its_key(&mut self, row: &TableRow) -> bool {
        match key::turn(self.table, self.queue, row) {
            key::Turn::Now => return true,
            // No transaction tells when the older message expires.
            key::Turn::Later { until } => until.into_iter().for_each(|end| self.passes_lease(end)),
            key::Turn::Unsure => self.put_off(row),
            key::Turn::Superseded => {
                // If the removal is rolled back, the message must be seen again.
                self.note_touched(row);
                if self.superseded.len() < DEAD_PAGE {
                    self.superseded.push((row.i64(Column::Id), row.i64(Column::KeyPlace)));
                }
                self.clears_group |= row.get(Column::GroupKey).is_some();
            }
        }
        false
    }

    /// Why a message that no consumer holds will never be delivered again.
    fn end_of(&self, row: &TableRow) -> Option<Reason> {
        self.queue.end_of(row, self.now)
    }

    fn show(&mut self, taken: &Taken) {
        self.with_scratch(|reservation| {
            (reservation.each)(Taken { ..*taken });
        });
    }

    /// Works on a row, and frees afterwards what that allocates.
    fn with_scratch<R: Outlives>(&mut self, work: impl FnOnce(&mut Self) -> R) -> R {
        let mut scratch = std::mem::take(&mut self.scratch);
        let result = scratch.with(|| work(self));
        self.scratch = scratch;
        result
    }
}

fn lease(table: &Table, row: &TableRow, delivery: i32, until: Timestamp, takes_turn: bool) -> Fate {
    // A plain message changes its lease only: that keeps the update heap-only.
    let mut changes =
        vec![(Column::LeaseUntil, Some(until.into())), (Column::Deliveries, Some(delivery.into()))];
    if row.lane() != Lane::Ready {
        changes.extend([(Column::Lane, Some(Lane::Ready.datum())), (Column::DueAt, None)]);
    }
    if takes_turn {
        changes.push((Column::InTurn, Some(true.into())));
    }
    if row.get(Column::KeyPlace).is_some() {
        // From now on the message has a receipt, and another with its key may wait.
        let is_keyed = row.get(Column::DedupKey).is_some();
        let place = if is_keyed { key::place_of_lease(row) } else { row.i64(Column::Id) };
        changes.push((Column::KeyPlace, Some(place.into())));
    }
    table.update(row, &changes, Patience::Skip)
}
