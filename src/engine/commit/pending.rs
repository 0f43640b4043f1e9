//! Pending changes: what this transaction has done to messages, as far as other sessions have to hear of it.

use std::cell::RefCell;

use crate::engine::commit::noted::{Noted, TOP};
use crate::engine::shared::layout;
use crate::hint::ids::Ids;
use crate::hint::{Direction, Key, NOWHERE};
use crate::pg::session::level;
use crate::value::timestamp::Timestamp;

/// The changes of a transaction to one queue.
#[derive(Default)]
pub struct PendingChanges {
    /// By priority.
    pub(super) levels: Noted<i16, PendingLevel>,
    /// The first due time of the messages that it has delayed.
    pub(super) delayed: Option<Timestamp>,
    /// Messages have left the delayed lane. Until it commits, other transactions see them there.
    undelayed: bool,
    /// All sleepers have to look.
    pub(super) resumed: bool,
    /// The hints about its messages do not hold any more.
    pub(super) forget: bool,
    /// A statement has removed messages, which reserves have skipped meanwhile.
    pub(super) removed: bool,
    /// How much came free for which consumers may wait: turns of groups, slots.
    pub(super) freed: usize,
    /// Slots that came free because leases have ended, in a queue with a limit.
    pub(super) slots_freed: usize,
    /// The numbers of some of these slots.
    pub(super) free_slots: Vec<i32>,
    /// Some of the slots that it has taken: they are free again if it aborts.
    pub(super) slots_taken: Vec<i32>,
}

/// The changes of a transaction to the messages of one priority.
#[derive(Default)]
pub struct PendingLevel {
    /// Messages that are ready when it commits.
    pub(super) ready: Ids,
    /// Messages that were taken, or looked at to be taken. If it aborts, they are as before.
    pub(super) touched: Ids,
    /// Messages that were leased; `first_end` is the first end of their leases.
    pub(super) leased: Ids,
    pub(super) first_end: Timestamp,
}

/// The changes of a transaction, by queue. A rollback to a savepoint takes none away.
pub(super) type AllPending = Noted<i32, PendingChanges>;

thread_local! {
    pub(super) static QUEUES: RefCell<AllPending> = RefCell::default();
}

/// Notes that a message is ready once the transaction commits.
pub fn ready(queue: i32, priority: i16, id: i64) {
    tell_of(queue, priority, |level| level.ready.add(id));
}

/// Notes that a message is about to be taken, before its row is touched.
pub fn touched(queue: i32, priority: i16, id: i64) {
    tell_of(queue, priority, |level| level.touched.add(id));
}

/// Notes that a message is leased.
pub fn leased(queue: i32, priority: i16, id: i64, until: Timestamp) {
    tell_of(queue, priority, |level| {
        level.first_end = if level.leased.is_empty() { until } else { level.first_end.min(until) };
        level.leased.add(id);
    });
}

/// Notes that a message is delayed until `at`.
pub fn delayed(queue: i32, at: Timestamp) {
    tell(queue, |changes| changes.delayed = Some(changes.delayed.map_or(at, |first| first.min(at))));
}

/// Notes that a message has left the delayed lane.
pub fn undelayed(queue: i32) {
    tell(queue, |changes| changes.undelayed = true);
}

/// Notes that messages of the queue are counted.
pub fn counted(queue: i32) {
    tell(queue, |_| {});
}

/// Notes that all sleepers of the queue have to look.
pub fn resumed(queue: i32) {
    tell(queue, |changes| changes.resumed = true);
}

/// Notes that the hints about the queue's messages may not hold any more.
pub fn forget(queue: i32) {
    tell(queue, |changes| changes.forget = true);
}

/// Notes that a statement removes messages of the queue: if it is rolled back, they have to be looked for.
pub fn removed(queue: i32) {
    tell(queue, |changes| changes.removed = true);
}

/// Notes that so much came free for which consumers may wait: turns of groups, slots.
pub fn freed(queue: i32, turns: usize) {
    tell(queue, |changes| changes.freed += turns);
}

/// Notes that leases have ended in a queue with a limit: `slots` slots came free.
pub fn slots_are_free(queue: i32, slots: usize) {
    freed(queue, 1);
    tell(queue, |changes| changes.slots_freed += slots);
}

/// Notes the number of a slot that came free.
pub fn slot_is_known_free(queue: i32, number: i32) {
    tell(queue, |changes| note_slot(&mut changes.free_slots, number));
}

/// Notes that a slot is in use.
pub fn slot_is_taken(queue: i32, number: i32) {
    tell(queue, |changes| note_slot(&mut changes.slots_taken, number));
}

fn note_slot(slots: &mut Vec<i32>, number: i32) {
    /// As many as a hint remembers.
    const MOST: usize = 16;
    if slots.len() < MOST {
        slots.push(number);
    }
}

/// Whether this transaction has itself ended leases of a queue with slots.
pub fn has_freed_slots(queue: i32) -> bool {
    has(queue, |changes| changes.slots_freed > 0)
}

/// Whether this transaction has itself made messages of the queue ready, or changed its settings: hints do
/// not know of that yet.
pub fn is_ahead(queue: i32) -> bool {
    has_forgotten(queue)
        || has(queue, |changes| changes.levels.iter().any(|(_, level)| !level.ready.is_empty()))
}

/// Whether the hints about the queue's messages do not hold for this transaction.
pub fn has_forgotten(queue: i32) -> bool {
    has(queue, |changes| changes.forget)
}

/// The first message of a priority that this transaction has itself made ready, or leased until a time that
/// has come.
pub fn first_of_our_own(queue: i32, priority: i16, direction: Direction, now: Timestamp) -> Key {
    QUEUES.with_borrow(|all| {
        let level = all.get(queue).and_then(|changes| changes.levels.get(priority));
        let own = level.into_iter().flat_map(|level| {
            let ended = (level.first_end <= now).then_some(&level.leased);
            [Some(&level.ready), ended].into_iter().flatten()
        });
        own.filter(|ids| !ids.is_empty()).map(|ids| ids.first(direction)).min().unwrap_or(NOWHERE)
    })
}

/// Whether this transaction has itself delayed messages of the queue.
pub fn has_delayed(queue: i32) -> bool {
    has(queue, |changes| changes.delayed.is_some())
}

/// Whether this transaction has itself taken messages of the queue out of the delayed lane. If it is rolled
/// back, they are there again.
pub fn has_undelayed(queue: i32) -> bool {
    has(queue, |changes| changes.undelayed)
}

fn has(queue: i32, what: impl Fn(&PendingChanges) -> bool) -> bool {
    QUEUES.with_borrow(|all| all.get(queue).is_some_and(what))
}

fn tell(queue: i32, change: impl FnOnce(&mut PendingChanges)) {
    if !layout::is_preloaded() {
        return;
    }
    QUEUES.with_borrow_mut(|all| change(all.change(queue, level(), |_| ())));
}

fn tell_of(queue: i32, priority: i16, change: impl FnOnce(&mut PendingLevel)) {
    tell(queue, |changes| change(changes.levels.change(priority, TOP, |_| ())));
}
