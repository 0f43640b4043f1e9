//! Ordered groups: of the messages of a queue with one group key, only the first may be delivered, and none
//! after it until it is gone.
//!
//! The order of a group is an index: first the message that has the turn (it was leased once), then by
//! priority, then by id. A session that wants to take a message looks there whether it is the first (`Turn`),
//! and decides under a lock held for that moment. So a push to a group waits for no other transaction,
//! however long its own lasts.
//!
//! Messages behind another of their group can lie in the blocked lane, which no reserve scans. The
//! transaction that removes the first makes the next ready (`free`).
//!
//! Invariants:
//! - A message in the blocked lane has an earlier one in its group. That one was there, untouched or made by
//!   the same transaction, after all sessions could see the message in that lane.
//! - A transaction that removes a message looks for the next afterwards, at what is committed then.
//! - A message behind one that is just being removed is looked at again: the remover may not have seen it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};

use pgrx::pg_sys;

use crate::engine::commit::pending;
use crate::engine::message::siblings;
use crate::engine::queue::counter;
use crate::engine::table::catalog;
use crate::engine::table::counts::Counts;
pub use crate::engine::table::group_rows::Group;
use crate::engine::table::heap::{Fate, Patience, Table};
use crate::engine::table::message::{Column, Lane, is_leased};
use crate::engine::table::message_index::ById;
use crate::engine::table::queue::{self, Queue};
use crate::engine::table::row::{Intent, Own, TableRow};
use crate::engine::table::scan::{Condition, Scan};
use crate::engine::table::short_lock::{Kind, ShortLock};
use crate::error::{Error, Result};
use crate::pg::session::now;
use crate::pg::snapshot::{Dirty, Snapshot};
use crate::stop::{self, Point};
use crate::value::timestamp::Timestamp;

/// A message's place in the order of its group; smaller comes first.
pub type GroupPosition = (bool, i16, i64);

/// Whether a message has the turn of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Now,
    /// An earlier message is there.
    Later,
    /// An earlier message is there, but another transaction is changing or removing it.
    Unsure,
}

impl Group {
    /// The group whose order the queue keeps for a message, if it has one.
    pub fn of(row: &TableRow, queue: &Queue) -> Option<Self> {
        let key = if queue.settings.keeps_order() { row.text(Column::GroupKey)? } else { return None };
        Some(Self { queue: queue.id, key })
    }

    /// Whether a message has the turn, for a session that is about to take it.
    ///
    /// A dirty scan may miss a row that just gets a new version. If that commits, a snapshot taken after the
    /// scan shows it.
    pub fn turn_for_sure(&self, table: &Table, id: i64, mut is_gone: impl FnMut(&TableRow) -> bool) -> Turn {
        let turn = self.turn(table, id, &mut is_gone);
        if turn != Turn::Now {
            return turn;
        }
        let snapshot = Snapshot::latest();
        let mut rows = self.rows(table, &snapshot);
        while let Some(row) = rows.next() {
            if row.i64(Column::Id) == id {
                return Turn::Now;
            }
            if !is_gone(&row) || row.is_busy(Intent::Change) {
                return Turn::Unsure;
            }
        }
        Turn::Now
    }

    /// Whether a message has the turn, by a dirty scan. A message that `is_gone` will never be delivered
    /// again.
    pub fn turn(&self, table: &Table, id: i64, mut is_gone: impl FnMut(&TableRow) -> bool) -> Turn {
        let dirty = Dirty::new();
        let mut rows = Scan::begin_dirty(table, catalog::known().message_group, &dirty, &self.conditions());
        while let Some(row) = rows.next() {
            if row.i64(Column::Id) == id {
                return Turn::Now;
            }
            // A push under way comes before no other message yet. A first lease under way does.
            let is_push = dirty.is_being_made() && !row.bool(Column::InTurn);
            // The transaction that is settling an expired message may be that of its last consumer.
            let is_sure = !dirty.is_being_made() && !dirty.is_being_changed();
            if is_push || (is_sure && is_gone(&row)) {
                stop::at(Point::TurnPassedOne);
                continue;
            }
            return if is_sure { Turn::Later } else { Turn::Unsure };
        }
        Turn::Now
    }

    /// Whether the first message was leased once, and will be delivered again: it comes before all others.
    pub fn first_has_turn(&self, table: &Table, is_gone: impl FnOnce(&TableRow) -> bool) -> bool {
        let snapshot = Snapshot::latest();
        let mut rows = self.rows(table, &snapshot);
        rows.next().is_some_and(|first| first.bool(Column::InTurn) && !is_gone(&first))
    }

    /// Takes the messages from other transactions that `free` has to move when this one is removed. False if another
    /// transaction has one of them: the removal would wait for it.
    pub fn take_next(&self, table: &Table, removed: &TableRow) -> bool {
        loop {
            if let Some(are_ours) = self.try_take_next(table, removed) {
                return are_ours;
            }
        }
    }

    /// None: it has to look again, as another transaction has changed a message meanwhile.
    fn try_take_next(&self, table: &Table, removed: &TableRow) -> Option<bool> {
        let (id, place) = (removed.i64(Column::Id), place_of(removed));
        let snapshot = Snapshot::latest();
        let mut rows = self.rows(table, &snapshot);
        while let Some(row) = rows.next() {
            pg_sys::check_for_interrupts!();
            if row.i64(Column::Id) == id {
                continue;
            }
            let has_to_move = place_of(&row) >= place && row.lane() == Lane::Blocked;
            if has_to_move && row.own() != Own::Change {
                match table.lock(&row, Intent::Change, Patience::Skip) {
                    Fate::Done => {}
                    Fate::Busy => return Some(false),
                    Fate::Changed | Fate::Gone => return None,
                }
            }
            if row_is_met(&row) && !row.is_busy(Intent::Change) {
                break;
            }
        }
        Some(true)
    }

    /// Does `work` unless another session is deciding about the turn of this group.
    pub fn deciding<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        ShortLock::of_text(Kind::Group, self.queue, &self.key).try_hold(work)
    }

    /// Whether this transaction has itself written an earlier message of the group: no other transaction can
    /// remove that before this one ends. A delayed message does not count: it may expire without being
    /// scanned.
    pub fn has_our_own(&self, table: &Table, priority: i16) -> bool {
        let [queue, key] = self.conditions();
        let waits = Condition::equals(3, pg_sys::F_BOOLEQ, false.into());
        let strategy = pg_sys::BTLessEqualStrategyNumber;
        let earlier = Condition::new(4, strategy, pg_sys::F_INT2LE, priority.into());
        let snapshot = Snapshot::take();
        let conditions = [queue, key, waits, earlier];
        let mut rows = Scan::begin(table, catalog::known().message_group, &snapshot, &conditions, true);
        rows.next().is_some_and(|row| row.is_our_own() && row_is_met(&row) && row.lane() != Lane::Delayed)
    }

    /// Gives the next message the turn, after one at `place` was removed.
    pub fn free(&self, table: &Table, place: GroupPosition) {
        let mut locked = None;
        while let Err(now_locked) = self.try_free(table, place, locked) {
            pg_sys::check_for_interrupts!();
            locked = now_locked;
        }
    }

    /// Looks for the next message, and skips those that may be gone without another look at this group.
    ///
    /// An error means that it has to look again: another transaction has changed a message, or was changing a
    /// blocked one that has to be moved. The id is that of a row it has waited for and locked.
    fn try_free(
        &self,
        table: &Table,
        place: GroupPosition,
        locked: Option<i64>,
    ) -> std::result::Result<(), Option<i64>> {
        let snapshot = Snapshot::latest();
        stop::at(Point::NextIsLookedFor);
        let mut rows = self.rows(table, &snapshot);
        while let Some(row) = rows.next() {
            pg_sys::check_for_interrupts!();
            // The transaction that is removing it, or has just done so, may have looked before this one
            // removed its own.
            let is_busy = row.is_busy(Intent::Change);
            if !is_busy && row.is_outdated() {
                return Err(locked);
            }
            let is_met = row_is_met(&row) && !is_busy;
            let id = row.i64(Column::Id);
            if place_of(&row) >= place {
                if row.lane() == Lane::Blocked {
                    if is_busy && locked != Some(id) {
                        return Err(wait_for(table, &row).then_some(id));
                    }
                    if set_lane(table, &row, Lane::Ready) != Fate::Done {
                        return Err(None);
                    }
                }
                if row.lane() != Lane::Delayed {
                    pending::ready(self.queue, row.i16(Column::Priority), id);
                }
            }
            if is_met {
                return Ok(());
            }
        }
        pending::freed(self.queue, 1);
        Ok(())
    }

    /// Whether a message waits for one whose end will be noticed.
    fn waits(&self, table: &Table, id: i64) -> bool {
        let turn = self.turn(table, id, |row| has_outlived(row, now()));
        turn == Turn::Later && self.first_is_met(table)
    }

    /// Whether the end of the group's first message will be noticed.
    pub fn first_is_met(&self, table: &Table) -> bool {
        let snapshot = Snapshot::latest();
        let mut rows = self.rows(table, &snapshot);
        rows.next().is_some_and(|first| row_is_met(&first))
    }
}

/// Whether the end of a message will be noticed: by the transaction that removes it, or by a reserve. A
/// delayed message may expire without being scanned.
pub fn is_met(lane: Lane, expires_at: Option<Timestamp>) -> bool {
    lane != Lane::Delayed || expires_at.is_none()
}

/// An echo may be skipped in its group, while a sibling of its key is to be delivered first.
fn row_is_met(row: &TableRow) -> bool {
    is_met(row.lane(), row.expires_at()) && !siblings::is_echo(row)
}

/// Groups from which messages were removed, each with the place of the first of them.
#[derive(Default)]
pub struct Freed(BTreeMap<Group, GroupPosition>);

impl Freed {
    /// Notes that a message of the group was removed at `place`.
    pub fn add(&mut self, group: Group, place: GroupPosition) {
        self.0.entry(group).and_modify(|first| *first = place.min(*first)).or_insert(place);
    }

    pub fn contains(&self, group: &Group) -> bool {
        self.0.contains_key(group)
    }

    /// Gives the next message of each group the turn, in one order of groups, so that two calls do not wait
    /// for each other.
    pub fn free_all(self, table: &Table) {
        self.0.into_iter().for_each(|(group, place)| group.free(table, place));
    }
}

thread_local! {
    static WAITS: Cell<bool> = const { Cell::new(true) };
    /// Groups to free when the work is done that is under way (`freeing_afterwards`).
    static POSTPONED: RefCell<Option<Freed>> = const { RefCell::new(None) };
}

/// Does `work`, which fails where it would wait for a transaction that is changing the next message of a
/// group.
pub fn without_waiting<R>(work: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            WAITS.set(self.0);
        }
    }
    let _restore = Restore(WAITS.replace(false));
    work()
}

/// Waits for the transaction that is changing a row. True if the row is locked then, false if it was changed.
fn wait_for(table: &Table, row: &TableRow) -> bool {
    if !WAITS.get() {
        Error::busy().raise();
    }
    table.lock(row, Intent::Change, Patience::Wait) == Fate::Done
}

/// Whether a message has expired and no consumer holds it.
pub fn has_outlived(row: &TableRow, now: Timestamp) -> bool {
    row.has_expired(now) && !is_leased(row.i64(Column::LeaseUntil), now)
}

/// Where a message stands in its group.
pub fn place_of(row: &TableRow) -> GroupPosition {
    (!row.bool(Column::InTurn), row.i16(Column::Priority), row.i64(Column::Id))
}

/// Moves messages that wait behind others of their groups to the blocked lane.
///
/// Returns the first message of each group that was moved. When that is committed, the caller has to look
/// whether they still wait (`unblock`).
pub fn block(table: &Table, waiting: &[(Group, i64)]) -> Vec<(Group, i64)> {
    let (mut first, mut seen) = (Vec::new(), HashSet::new());
    for (group, id) in waiting {
        pg_sys::check_for_interrupts!();
        let is_moved = group.move_to(table, *id, Lane::Ready, Lane::Blocked).is_some();
        if is_moved && seen.insert(group) {
            first.push((group.clone(), *id));
        }
    }
    stop::at(Point::MovedAside);
    first
}

/// Moves messages back that wait for no other: the transaction that removed the one before may have looked
/// for the next before it was in the blocked lane.
pub fn unblock(table: &Table, moved: &[(Group, i64)]) {
    for (group, id) in moved {
        if !group.waits(table, *id)
            && let Some(priority) = group.move_to(table, *id, Lane::Blocked, Lane::Ready)
        {
            pending::ready(group.queue, priority, *id);
        }
    }
}

impl Group {
    /// Moves a message to another lane, and returns its priority if it was moved. It may be in another queue by
    /// now, with its id.
    fn move_to(&self, table: &Table, id: i64, from: Lane, to: Lane) -> Option<i16> {
        let snapshot = Snapshot::take();
        let mut messages = ById::open(table, &snapshot);
        let is_ours = |row: &TableRow| {
            row.i32(Column::Queue) == self.queue && row.text(Column::GroupKey).as_ref() == Some(&self.key)
        };
        let row = messages
            .find(id)
            .filter(|row| is_ours(row) && row.lane() == from && !row.bool(Column::InTurn))?;
        (set_lane(table, &row, to) == Fate::Done).then(|| row.i16(Column::Priority))
    }
}

fn set_lane(table: &Table, row: &TableRow, lane: Lane) -> Fate {
    let (queue, before) = (row.i32(Column::Queue), row.counts());
    let after = Counts::message(lane, row.i64(Column::LeaseUntil));
    let fate = table.update(row, &[(Column::Lane, Some(lane.datum()))], Patience::Skip);
    if fate == Fate::Done {
        counter::add(queue, after - before);
    }
    fate
}

/// Frees a group after a statement has removed messages of it, or moved them back, the first from `place`.
pub fn removed(queue: i32, key: Vec<u8>, place: GroupPosition) -> Result<()> {
    if queue::by_id(queue)?.is_some_and(|queue| queue.settings.keeps_order()) {
        Group { queue, key }.free_soon(place);
    }
    Ok(())
}

impl Group {
    /// Gives the next message the turn, at once or when the work is done that is under way.
    pub fn free_soon(self, place: GroupPosition) {
        let is_postponed = POSTPONED.with_borrow_mut(|postponed| {
            postponed.as_mut().map(|freed| freed.add(self.clone(), place)).is_some()
        });
        if !is_postponed {
            self.free(&Table::open(catalog::refresh().message), place);
        }
    }
}

/// Does `work`, under a lock with which no transaction may be waited for. Groups from which its statements
/// remove messages are freed when it is done.
pub fn freeing_afterwards<R>(work: impl FnOnce() -> R) -> R {
    struct Forget;
    impl Drop for Forget {
        fn drop(&mut self) {
            POSTPONED.set(None);
        }
    }
    if POSTPONED.with_borrow(Option::is_some) {
        return work(); // a trigger of a user, inside of such work
    }
    POSTPONED.set(Some(Freed::default()));
    let _forget = Forget;
    let result = work();
    if let Some(freed) = POSTPONED.take().filter(|freed| !freed.0.is_empty()) {
        freed.free_all(&Table::open(catalog::refresh().message));
    }
    result
}
