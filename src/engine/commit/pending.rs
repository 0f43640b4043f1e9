//! What this transaction has done to messages, as far as others have to hear of it.

use std::cell::RefCell;

use crate::engine::shared::layout;
use crate::hint::ids::Ids;
use crate::hint::{Direction, Key, NOWHERE};
use crate::value::timestamp::Timestamp;

/// What a transaction has done to one queue.
#[derive(Default)]
pub struct PendingChanges {
    pub(super) queue: i32,
    pub(super) levels: Vec<PendingLevel>,
    /// The first time for which a message was delayed.
    pub(super) delayed: Option<Timestamp>,
    /// Messages have left the delayed lane; until it commits others see them there.
    undelayed: bool,
    /// Sleepers have to look, all of them.
    pub(super) resumed: bool,
    /// What is known of its messages does not hold any more.
    pub(super) forget: bool,
    /// A statement has removed messages, which reserves went past meanwhile.
    pub(super) removed: bool,
    /// Something is free that others may wait for: a group's turn, a slot.
    pub(super) freed: bool,
    /// Leases have ended in a queue that limits them: so many slots are free.
    pub(super) slots_freed: usize,
    /// Those of which the number is known, a few.
    pub(super) free_slots: Vec<i32>,
    /// Slots that it has taken, a few: free again, should it abort.
    pub(super) slots_taken: Vec<i32>,
}

/// What a transaction has done to the messages of one priority.
#[derive(Default)]
pub struct PendingLevel {
    pub(super) priority: i16,
    /// They are ready when it commits.
    pub(super) ready: Ids,
    /// They were taken, or looked at to be taken: as before, should it abort.
    pub(super) touched: Ids,
    /// They were leased, the first of the leases until then.
    pub(super) leased: Ids,
    pub(super) first_end: Timestamp,
}

thread_local! {
    pub(super) static QUEUES: RefCell<Vec<PendingChanges>> = const { RefCell::new(Vec::new()) };
}

/// A message is ready once the transaction commits.
pub fn ready(queue: i32, priority: i16, id: i64) {
    tell_of(queue, priority, |level| level.ready.add(id));
}

/// A message is about to be taken: told before its row is touched.
pub fn touched(queue: i32, priority: i16, id: i64) {
    tell_of(queue, priority, |level| level.touched.add(id));
}

/// A message is leased.
pub fn leased(queue: i32, priority: i16, id: i64, until: Timestamp) {
    tell_of(queue, priority, |level| {
        level.first_end = if level.leased.is_empty() { until } else { level.first_end.min(until) };
        level.leased.add(id);
    });
}

/// A message waits until `at`.
pub fn delayed(queue: i32, at: Timestamp) {
    tell(queue, |news| news.delayed = Some(news.delayed.map_or(at, |first| first.min(at))));
}

/// A message that was delayed is not any more, or is gone.
pub fn undelayed(queue: i32) {
    tell(queue, |news| news.undelayed = true);
}

/// Whoever sleeps on the queue has to look.
pub fn resumed(queue: i32) {
    tell(queue, |news| news.resumed = true);
}

/// What was known of the queue's messages may not hold any more.
pub fn forget(queue: i32) {
    tell(queue, |news| news.forget = true);
}

/// A statement removes messages of the queue: should it be rolled back, they have to be
/// looked for.
pub fn removed(queue: i32) {
    tell(queue, |news| news.removed = true);
}

/// Something is free that others may wait for: the turn in a group, a slot.
pub fn freed(queue: i32) {
    tell(queue, |news| news.freed = true);
}

/// So many messages less are out of a queue that limits how many are.
pub fn slots_are_free(queue: i32, slots: usize) {
    freed(queue);
    tell(queue, |news| news.slots_freed += slots);
}

/// One of the slots that are free is this.
pub fn slot_is_known_free(queue: i32, number: i32) {
    tell(queue, |news| note_slot(&mut news.free_slots, number));
}

/// A slot is in use.
pub fn slot_is_taken(queue: i32, number: i32) {
    tell(queue, |news| note_slot(&mut news.slots_taken, number));
}

fn note_slot(slots: &mut Vec<i32>, number: i32) {
    /// As many as the board remembers.
    const MOST: usize = 16;
    if slots.len() < MOST {
        slots.push(number);
    }
}

/// Whether this transaction has itself ended leases of a queue with slots.
pub fn has_freed_slots(queue: i32) -> bool {
    has(queue, |news| news.slots_freed > 0)
}

/// Whether this transaction has itself made messages of the queue ready, or given it other
/// settings. Others do not know of that.
pub fn is_ahead(queue: i32) -> bool {
    has_forgotten(queue) || has(queue, |news| news.levels.iter().any(|level| !level.ready.is_empty()))
}

/// Whether what others know of the queue's messages does not hold for this transaction.
pub fn has_forgotten(queue: i32) -> bool {
    has(queue, |news| news.forget)
}

/// The first message of a priority that this transaction has itself made ready, or leased until
/// a time that has come.
pub fn first_of_our_own(queue: i32, priority: i16, direction: Direction, now: Timestamp) -> Key {
    QUEUES.with_borrow(|all| {
        let levels = all.iter().filter(|news| news.queue == queue).flat_map(|news| &news.levels);
        let own = levels.filter(|level| level.priority == priority).flat_map(|level| {
            let ended = (level.first_end <= now).then_some(&level.leased);
            [Some(&level.ready), ended].into_iter().flatten()
        });
        own.filter(|ids| !ids.is_empty()).map(|ids| ids.first(direction)).min().unwrap_or(NOWHERE)
    })
}

/// Whether this transaction has itself made messages of the queue wait.
pub fn has_delayed(queue: i32) -> bool {
    has(queue, |news| news.delayed.is_some())
}

/// Whether this transaction has itself taken messages of the queue out of the delayed lane.
/// Should it be rolled back, they are there again.
pub fn has_undelayed(queue: i32) -> bool {
    has(queue, |news| news.undelayed)
}

fn has(queue: i32, what: impl Fn(&PendingChanges) -> bool) -> bool {
    QUEUES.with_borrow(|all| all.iter().any(|news| news.queue == queue && what(news)))
}

fn tell(queue: i32, change: impl FnOnce(&mut PendingChanges)) {
    if !layout::is_preloaded() {
        return;
    }
    QUEUES.with_borrow_mut(|all| {
        let n = all.iter().position(|news| news.queue == queue).unwrap_or_else(|| {
            all.push(PendingChanges { queue, ..PendingChanges::default() });
            all.len() - 1
        });
        change(&mut all[n]);
    });
}

fn tell_of(queue: i32, priority: i16, change: impl FnOnce(&mut PendingLevel)) {
    tell(queue, |news| {
        let n = news.levels.iter().position(|level| level.priority == priority).unwrap_or_else(|| {
            news.levels.push(PendingLevel { priority, ..PendingLevel::default() });
            news.levels.len() - 1
        });
        change(&mut news.levels[n]);
    });
}
