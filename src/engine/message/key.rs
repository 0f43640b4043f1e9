//! Unique keys: how a message stands among its siblings (`siblings`), and what its removal means for them.

use std::rc::Rc;

use pgrx::pg_sys::{self, Datum, TransactionId};

use crate::engine::commit::pending;
use crate::engine::message::dedup_window::{note_in_window, seen_lately};
use crate::engine::message::group;
use crate::engine::message::siblings::{
    ECHO, LEASED_BLINDLY, REPLACEMENT, Sibling, Siblings, UNSEEN, Version, is_echo,
};
use crate::engine::queue::counter;
use crate::engine::table::catalog;
use crate::engine::table::counts::Counts;
use crate::engine::table::heap::{Fate, Patience, Table};
use crate::engine::table::message::{Column, Lane};
use crate::engine::table::message_id;
use crate::engine::table::message_index::ById;
use crate::engine::table::name::Name;
use crate::engine::table::queue::{self, Queue};
use crate::engine::table::row::TableRow;
use crate::engine::table::short_lock::{Kind, ShortLock};
use crate::engine::table::statement::Statement;
use crate::pg::datum::i64_array;
use crate::pg::session::has_one_snapshot;
use crate::pg::snapshot::Snapshot;
use crate::pg::transaction::wait_for;
use crate::stop::{self, Point};
use crate::value::timestamp::Timestamp;

static DROP_SUPERSEDED: Statement = Statement::by_index(
    include_str!("../../../sql/query/drop_superseded.sql"),
    &[pg_sys::INT8OID, pg_sys::INT8OID, pg_sys::INT4OID],
);

static DROP_ECHOES: Statement =
    Statement::by_index(include_str!("../../../sql/query/drop_echoes.sql"), &[pg_sys::INT8ARRAYOID]);

/// Does `work` while no other session decides about messages with the key. Groups that it frees are freed after
/// that: this may wait for a transaction.
pub fn deciding<R>(queue: i32, key: &[u8], work: impl FnOnce() -> R) -> R {
    let lock = ShortLock::of_text(Kind::Key, queue, key);
    group::freeing_afterwards(|| lock.hold(work))
}

/// The end of the first of two lives, if it is longer than the second. No end: for ever.
pub fn lives_longer(first: Option<Timestamp>, second: Option<Timestamp>) -> Option<Option<Timestamp>> {
    let is_longer = second.is_some_and(|second| first.is_none_or(|first| first > second));
    is_longer.then_some(first)
}

/// The change to a row that has to live at least until a time. None if it does already.
pub fn longer_life(row: &TableRow, until: Option<Timestamp>) -> Option<(Column, Option<Datum>)> {
    let longer = lives_longer(until, row.expires_at())?;
    Some((Column::ExpiresAt, longer.map(Datum::from)))
}

/// Removes a message if its `key_place`, as it is now, `is_such`, and no other transaction is changing it.
/// Returns when a removed message would have expired.
pub fn remove_if(
    is_such: impl Fn(i64) -> bool,
    table: &Table,
    queue: &Queue,
    id: i64,
) -> Option<Option<Timestamp>> {
    let snapshot = Snapshot::take();
    let mut messages = ById::open(table, &snapshot);
    let is_there = |row: &TableRow| row.i32(Column::Queue) == queue.id && is_such(row.i64(Column::KeyPlace));
    let row = messages.find(id).filter(is_there)?;
    pending::touched(queue.id, row.i16(Column::Priority), id);
    if row.lane() == Lane::Delayed {
        pending::undelayed(queue.id);
    }
    let is_removed = table.delete(&row, Patience::Skip) == Fate::Done;
    if is_removed {
        counter::add(queue.id, Counts { deleted: 1, ..Counts::default() });
        counter::add(queue.id, -row.counts());
    }
    is_removed.then(|| row.expires_at())
}

/// Lets a message that this transaction has leased or locked live as long as the longest of these lives.
fn prolong(table: &Table, id: i64, lives: Vec<Option<Timestamp>>) {
    let longest = lives.into_iter().reduce(|longest, life| lives_longer(life, longest).unwrap_or(longest));
    let Some(until) = longest else { return };
    let snapshot = Snapshot::take();
    let mut messages = ById::open(table, &snapshot);
    if let Some(row) = messages.find(id)
        && let Some(change) = longer_life(&row, until)
    {
        table.update(&row, &[change], Patience::Wait); // no other transaction can change it
    }
}

/// Whether a message is unseen, so that its old receipts are no good: no consumer was given it since it was
/// pushed with its key, since another push counted on it, or since its content was changed.
pub fn is_unseen(row: &TableRow) -> bool {
    row.optional_i64(Column::KeyPlace).is_some_and(|place| place <= UNSEEN)
}

/// A message's turn among its siblings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It may be delivered.
    Now,
    /// An older unseen message is delivered first, unless it expires before.
    Later { until: Option<Timestamp> },
    /// Another transaction is changing the message on which that depends.
    Unsure,
    /// It was delivered, and another message stands for its key now.
    Superseded,
}

pub fn turn(table: &Table, queue: &Queue, row: &TableRow) -> Turn {
    let Some(place) = row.optional_i64(Column::KeyPlace) else { return Turn::Now };
    let id = row.i64(Column::Id);
    // Of two unseen messages only an echo stands behind another.
    let Some(key) = row.whole(Column::DedupKey).filter(|_| place != UNSEEN) else { return Turn::Now };
    let siblings = Siblings::look(table, queue, key);
    if place > UNSEEN {
        return match siblings.have_superseded(id, place) {
            Some(true) => Turn::Superseded,
            Some(false) => Turn::Now,
            None => Turn::Unsure,
        };
    }
    let mut before = siblings.alive().filter(|sibling| {
        let waits = |version: &Version| version.is_unseen() && version.waits();
        sibling.id < id && sibling.settled.as_ref().is_some_and(waits)
    });
    match before.next() {
        None => Turn::Now,
        Some(sibling) if sibling.changer.is_some() => Turn::Unsure,
        Some(sibling) => Turn::Later { until: sibling.settled.and_then(|version| version.expires_at) },
    }
}

/// The echoes behind an unseen message.
pub struct Echoes {
    /// The newest that has content of its own.
    pub replacement: Option<i64>,
    /// All of them, each with its priority, the newest first.
    all: Vec<(i16, i64)>,
}

impl Echoes {
    /// Looks for the echoes behind a message. None if the message has no key, or was delivered since the last
    /// push counted on it.
    pub fn behind(table: &Table, queue: &Queue, row: &TableRow) -> Option<Self> {
        let key = row.whole(Column::DedupKey).filter(|_| is_unseen(row))?;
        let siblings = Siblings::look(table, queue, key);
        let id = row.i64(Column::Id);
        let replaces =
            |sibling: &&Sibling| sibling.free().is_some_and(|version| version.place == REPLACEMENT);
        let replacement = siblings.behind(id).find(replaces).map(|sibling| sibling.id);
        let version = |sibling: &Sibling| sibling.settled.or(sibling.pending);
        let all = siblings.behind(id).filter_map(|echo| Some((version(echo)?.priority, echo.id))).collect();
        Some(Self { replacement, all })
    }

    /// Removes the echoes that the delivery of the message covers: the committed ones that the consumer's
    /// snapshot shows. A replacement stays; an echo may have become one since. If the message is leased, it
    /// stands for the removed echoes when its delivery fails: it lives as long as they would have.
    pub fn absorb(&self, table: &Table, queue: &Queue, leased: Option<i64>) {
        let lives = self.remove_those(table, queue, |_, place| place < UNSEEN && place != REPLACEMENT);
        if let Some(id) = leased {
            prolong(table, id, lives);
        }
    }

    /// Removes the echoes that the replacement has replaced.
    pub fn remove_replaced(&self, table: &Table, queue: &Queue, replacement: i64) {
        self.remove_those(table, queue, |id, place| id < replacement && place < UNSEEN);
    }

    /// Removes the echoes that count on the message by its id, when it is removed undelivered.
    pub fn drop_counted(&self, table: &Table, queue: &Queue) {
        self.remove_those(table, queue, |_, place| place == ECHO);
    }

    /// Removes the echoes whose id and place, as it is now, `are_such`. Hints hear of the others when this
    /// transaction commits. Returns when each removed echo would have expired.
    fn remove_those(
        &self,
        table: &Table,
        queue: &Queue,
        are_such: impl Fn(i64, i64) -> bool,
    ) -> Vec<Option<Timestamp>> {
        stop::at(Point::EchoesAreSeen);
        let mut lives = Vec::new();
        for &(priority, id) in &self.all {
            match remove_if(|place| are_such(id, place), table, queue, id) {
                Some(until) => lives.push(until),
                None => pending::ready(queue.id, priority, id),
            }
        }
        lives
    }

    /// Makes the echoes known as ready when this transaction, which removes the message, commits.
    pub fn tell(&self, queue: i32) {
        self.all.iter().for_each(|&(priority, id)| pending::ready(queue, priority, id));
    }
}

/// The `key_place` of a message that is leased now: later leases have higher ones.
///
/// A lease is blind if its consumer may not see what others had committed before: with an old snapshot, or if
/// the transaction has pushed the message itself, which is committed after its lease.
pub fn place_of_lease(row: &TableRow) -> i64 {
    if has_one_snapshot() || row.is_our_own() { LEASED_BLINDLY } else { message_id::next() }
}

/// Whether a message stands behind a sibling of its key, which is delivered in its place.
pub fn stands_behind(table: &Table, queue: &Queue, row: &TableRow) -> bool {
    is_echo(row) && matches!(turn(table, queue, row), Turn::Later { .. })
}

/// Removes messages that were seen superseded at their place, if they still are.
///
/// Each is judged again under the lock of its key: of two messages that supersede each other in turn, as one is
/// leased and the other removed, one stays.
pub fn drop_superseded(messages: &[(i64, i64)]) {
    stop::at(Point::SupersededAreFound);
    let table = Table::open(catalog::refresh().message);
    for &(id, place) in messages {
        pg_sys::check_for_interrupts!();
        let Some((queue, key)) = queue_and_key(&table, id) else { continue };
        let drop = || {
            let siblings = Siblings::look(&table, &queue, key.datum());
            if siblings.have_still_superseded(id, place) {
                let args = [Some(id.into()), Some(place.into()), Some(queue.id.into())];
                let deleted = DROP_SUPERSEDED.run(&args, |_| {}) as i64;
                counter::add(queue.id, Counts { deleted, ..Counts::default() });
            }
        };
        deciding(queue.id, key.bytes(), drop);
    }
}

fn queue_and_key(table: &Table, id: i64) -> Option<(Rc<Queue>, Name)> {
    let snapshot = Snapshot::take();
    let mut messages = ById::open(table, &snapshot);
    let row = messages.find(id)?;
    let key = row.text(Column::DedupKey).map(Name::known)?;
    Some((queue::by_id(row.i32(Column::Queue)).ok()??, key))
}

/// Removes the echoes behind messages that leave their queue undelivered. Returns when each would have
/// expired.
pub fn drop_echoes(ids: &[i64]) -> Vec<Option<Timestamp>> {
    let (mut queues, mut lives) = (Vec::new(), Vec::new());
    DROP_ECHOES.run(&[Some(i64_array(ids))], |row| {
        queues.push(row.i32(0));
        lives.push(row.get(1).map(|at| at.value() as Timestamp));
    });
    counter::add_each(queues, |deleted| Counts { deleted, ..Counts::default() });
    lives
}

/// Lets a message, which this transaction has locked, stand for the echoes behind it.
pub fn take_in_echoes(table: &Table, id: i64) {
    prolong(table, id, drop_echoes(&[id]));
}

/// Changes the content of a message by `change`, which is told whether an older message of the key waits unseen.
/// False if a newer message with its key is there, or one that
/// replaces its content.
///
/// Waits for a transaction that is pushing such a message. The caller holds no lock but that of the message's
/// row.
pub fn may_change(
    table: &Table,
    queue: &Queue,
    id: i64,
    key: &Name,
    change: impl FnOnce(bool) -> bool,
) -> bool {
    let stands_for_it = |version: &Version| version.place >= UNSEEN || version.place == REPLACEMENT;
    let mut change = Some(change);
    once_it_is_sure(table, queue, key, |siblings| {
        let newer = siblings.alive().find(|sibling| {
            sibling.id > id && sibling.settled.iter().chain(&sibling.pending).any(stands_for_it)
        });
        match newer {
            None => Ok(change.take().is_some_and(|change| change(siblings.has_unseen_before(id)))),
            Some(Sibling { settled, changer: Some(changer), .. })
                if !settled.as_ref().is_some_and(stands_for_it) =>
            {
                Err(*changer)
            }
            Some(_) => Ok(false),
        }
    })
}

/// Brings a message with a key into the queue by `work`, which returns its id. Does nothing if a message
/// waits there with the key, or if the key was seen within the queue's window.
///
/// Waits for a transaction on which that depends, and judges again then.
pub fn bring(table: &Table, queue: &Queue, key: &Name, work: impl FnOnce() -> Option<i64>) {
    let waiting = |siblings: &Siblings| siblings.waiting();
    if queue.settings.dedup_window.is_some()
        && (once_it_is_sure(table, queue, key, waiting).is_some() || seen_lately(queue, key).is_some())
    {
        return;
    }
    let mut work = Some(work);
    let known_by = once_it_is_sure(table, queue, key, |siblings| {
        let waiting = siblings.waiting()?;
        Ok(waiting.or_else(|| work.take().and_then(|work| work())))
    });
    known_by.into_iter().for_each(|id| note_in_window(queue, key, id));
}

/// Decides by the messages of a key, under the key's lock. While that depends on another transaction, waits
/// for it outside the lock and looks again.
fn once_it_is_sure<T>(
    table: &Table,
    queue: &Queue,
    key: &Name,
    mut decide: impl FnMut(&Siblings) -> std::result::Result<T, TransactionId>,
) -> T {
    loop {
        pg_sys::check_for_interrupts!();
        let look = || decide(&Siblings::look(table, queue, key.datum()));
        match deciding(queue.id, key.bytes(), look) {
            Ok(done) => return done,
            Err(transaction) => wait_for(transaction),
        }
    }
}
