//! Ordered groups: of the messages of a queue with one group key, only the first may be
//! delivered, and nothing after it until it is gone.
//!
//! The order of a group is: the message whose turn it is (it was leased once), then
//! priority, then id. That is an index; whoever wants to take a message looks there
//! whether it is the first (`Turn`), and decides under a lock held for that moment.
//! So pushes to a group wait for nobody, whatever transactions they are part of.
//!
//! Messages behind another of their group can lie in a lane of their own, where no
//! reserve comes past them. Whoever removes the first makes the next ready (`free`).
//!
//! Invariants:
//! - a message in the blocked lane has an earlier one in its group, which was there,
//!   untouched or made by the same transaction, after the message came into that lane for
//!   everybody to see;
//! - whoever removes a message looks for the next afterwards, at what is committed then;
//! - a message that is blocked by one that is just being removed is looked at again: its
//!   remover may not have seen it.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use pgrx::pg_sys;

use crate::engine::commit::pending;
use crate::engine::message::key;
use crate::engine::queue::counter;
use crate::engine::table::catalog;
use crate::engine::table::counts::Counts;
use crate::engine::table::heap::{Fate, Patience, Table};
use crate::engine::table::message::{Column, Lane, is_leased};
use crate::engine::table::message_index::ById;
use crate::engine::table::queue::{self, Queue};
use crate::engine::table::row::{Intent, TableRow};
use crate::engine::table::scan::{Condition, Scan};
use crate::engine::table::short_lock::{Kind, ShortLock};
use crate::error::{Error, Result};
use crate::pg::datum::text_datum;
use crate::pg::session::now;
use crate::pg::snapshot::{Dirty, Snapshot};
use crate::stop::{self, Point};
use crate::value::timestamp::Timestamp;

/// A group of a queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    pub queue: i32,
    pub key: Vec<u8>,
}

/// GroupPosition in the order of a group; smaller comes first.
pub type GroupPosition = (bool, i16, i64);

/// Whether it is a message's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Now,
    /// An earlier one is there.
    Later,
    /// An earlier one is there, but somebody is changing or removing it.
    Unsure,
}

impl Group {
    /// The group whose order the queue keeps for a message, if it has one.
    pub fn of(row: &TableRow, queue: &Queue) -> Option<Self> {
        let key = if queue.settings.keeps_order() { row.text(Column::GroupKey)? } else { return None };
        Some(Self { queue: queue.id, key })
    }

    fn conditions(&self) -> [Condition; 2] {
        [
            Condition::equals(1, pg_sys::F_INT4EQ, self.queue.into()),
            Condition::equals(2, pg_sys::F_TEXTEQ, text_datum(&self.key)),
        ]
    }

    /// Whether it is a message's turn, as who decides about it has to know. A look at what
    /// others are doing may miss a row that has just got a new version: what is committed
    /// after that look does not.
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

    fn rows<'a>(&self, table: &'a Table, snapshot: &'a Snapshot) -> Scan<'a> {
        Scan::begin(table, catalog::known().message_group, snapshot, &self.conditions(), false)
    }

    /// Whether it is a message's turn. Those that `is_gone` will never be delivered again.
    pub fn turn(&self, table: &Table, id: i64, mut is_gone: impl FnMut(&TableRow) -> bool) -> Turn {
        let dirty = Dirty::new();
        let mut rows = Scan::begin_dirty(table, catalog::known().message_group, &dirty, &self.conditions());
        while let Some(row) = rows.next() {
            if row.i64(Column::Id) == id {
                return Turn::Now;
            }
            // What is just being pushed is nobody's predecessor yet; what is just being
            // leased for the first time is.
            let is_push = dirty.is_being_made() && !row.bool(Column::InTurn);
            // Who is just settling what nobody holds any more may be the one who had it.
            let is_sure = !dirty.is_being_made() && !dirty.is_being_changed();
            if is_push || (is_sure && is_gone(&row)) {
                stop::at(Point::TurnPassedOne);
                continue;
            }
            return if is_sure { Turn::Later } else { Turn::Unsure };
        }
        Turn::Now
    }

    /// Whether a message is out that comes before all others: it was leased once, and will be
    /// delivered again.
    pub fn has_one_out(&self, table: &Table, is_gone: impl FnOnce(&TableRow) -> bool) -> bool {
        let snapshot = Snapshot::latest();
        let mut rows = self.rows(table, &snapshot);
        rows.next().is_some_and(|first| first.bool(Column::InTurn) && !is_gone(&first))
    }

    /// Does `work` unless another session decides about the turn in this group just now.
    pub fn deciding<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        let mut hasher = DefaultHasher::new();
        self.key.hash(&mut hasher);
        ShortLock::new(Kind::Group, self.queue, hasher.finish() as u32).try_hold(work)
    }

    /// Whether this transaction has itself written an earlier message of the group, which
    /// nobody else can remove before it ends. One that is delayed may outlive its time
    /// where nobody comes by.
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

    /// Gives the next message its turn, after one at `place` was removed.
    pub fn free(&self, table: &Table, place: GroupPosition) {
        let mut locked = None;
        while let Err(now_locked) = self.try_free(table, place, locked) {
            pg_sys::check_for_interrupts!();
            locked = now_locked;
        }
    }

    /// Comes past those that may be gone without anybody looking here again. An error if it has
    /// to look again: somebody has changed a message, or was changing one that has to be moved,
    /// which is locked now if it was waited for until it could be.
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
            // Who is removing it, or has just done so, may have looked before we removed ours.
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
        pending::freed(self.queue);
        Ok(())
    }

    /// Whether a message waits for another that will be seen to be gone when it is.
    fn waits(&self, table: &Table, id: i64) -> bool {
        let turn = self.turn(table, id, |row| has_outlived(row, now()));
        turn == Turn::Later && self.first_is_met(table)
    }

    /// Whether the first of the group will be seen to be gone when it is.
    pub fn first_is_met(&self, table: &Table) -> bool {
        let snapshot = Snapshot::latest();
        let mut rows = self.rows(table, &snapshot);
        rows.next().is_some_and(|first| row_is_met(&first))
    }
}

/// Whether a message is seen to be gone when it is: by who removes it, or by a reserve. One that
/// is delayed may outlive its time where nobody comes by.
pub fn is_met(lane: Lane, expires_at: Option<Timestamp>) -> bool {
    lane != Lane::Delayed || expires_at.is_none()
}

/// An echo may be passed over in its group, while another of its key is to be delivered first.
fn row_is_met(row: &TableRow) -> bool {
    is_met(row.lane(), row.expires_at()) && !key::is_echo(row)
}

/// Groups that messages were removed from, and where the first of them stood.
#[derive(Default)]
pub struct Freed(BTreeMap<Group, GroupPosition>);

impl Freed {
    /// A message of the group was removed at `place`.
    pub fn add(&mut self, group: Group, place: GroupPosition) {
        self.0.entry(group).and_modify(|first| *first = place.min(*first)).or_insert(place);
    }

    pub fn contains(&self, group: &Group) -> bool {
        self.0.contains_key(group)
    }

    /// Gives the next of each group its turn. In one order, so that two calls do not wait for
    /// each other.
    pub fn free_all(self, table: &Table) {
        self.0.into_iter().for_each(|(group, place)| group.free(table, place));
    }
}

thread_local! {
    static WAITS: Cell<bool> = const { Cell::new(true) };
}

/// Does `work`; where it would have to wait for somebody who is changing the next message
/// of a group, it fails.
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

/// Waits for who is changing a row; true if it is locked then, false if it was changed.
fn wait_for(table: &Table, row: &TableRow) -> bool {
    if !WAITS.get() {
        Error::busy().raise();
    }
    table.lock(row, Intent::Change, Patience::Wait) == Fate::Done
}

/// Whether a message's time to live was over before anybody settled it.
pub fn has_outlived(row: &TableRow, now: Timestamp) -> bool {
    row.has_expired(now) && !is_leased(row.i64(Column::LeaseUntil), now)
}

/// Where a message stands in its group.
pub fn place_of(row: &TableRow) -> GroupPosition {
    (!row.bool(Column::InTurn), row.i16(Column::Priority), row.i64(Column::Id))
}

/// Moves messages, which wait behind others of their groups, to the blocked lane. Returns
/// the first of each group that was moved: when that is committed, it has to be looked
/// whether they still wait (`unblock`).
pub fn block(table: &Table, waiting: &[(Group, i64)]) -> Vec<(Group, i64)> {
    let (mut first, mut seen) = (Vec::new(), HashSet::new());
    for (group, id) in waiting {
        pg_sys::check_for_interrupts!();
        let is_moved = move_to(table, *id, Lane::Ready, Lane::Blocked).is_some();
        if is_moved && seen.insert(group) {
            first.push((group.clone(), *id));
        }
    }
    stop::at(Point::MovedAside);
    first
}

/// Moves those back that wait for nobody: who removed the one before may have looked for
/// the next before it was in the blocked lane.
pub fn unblock(table: &Table, moved: &[(Group, i64)]) {
    for (group, id) in moved {
        if !group.waits(table, *id)
            && let Some(priority) = move_to(table, *id, Lane::Blocked, Lane::Ready)
        {
            pending::ready(group.queue, priority, *id);
        }
    }
}

/// Returns the message's priority if it was moved.
fn move_to(table: &Table, id: i64, from: Lane, to: Lane) -> Option<i16> {
    let snapshot = Snapshot::take();
    let mut messages = ById::open(table, &snapshot);
    let row = messages.find(id).filter(|row| row.lane() == from && !row.bool(Column::InTurn))?;
    (set_lane(table, &row, to) == Fate::Done).then(|| row.i16(Column::Priority))
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

/// A statement has removed messages of a group, or moved them back, the first from
/// `place`.
pub fn removed(queue: i32, key: Vec<u8>, place: GroupPosition) -> Result<()> {
    if queue::by_id(queue)?.is_some_and(|queue| queue.settings.keeps_order()) {
        Group { queue, key }.free(&Table::open(catalog::refresh().message), place);
    }
    Ok(())
}
