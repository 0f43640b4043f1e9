//! Unique keys: of the messages of a queue with one key, one waits to be delivered.
//!
//! A push decides and writes under a short lock of its key. Under the lock it sees what is
//! committed and what other transactions are doing (`siblings`), draws the id of a new message,
//! and waits for no transaction. So ids rise in the order in which a key's messages were written,
//! and nothing is written that was judged before a wait.
//!
//! A push that counts on a waiting message writes a new version of its row. That version is its
//! trace: until it commits no reserve takes the message, and a consumer with an older snapshot is
//! refused by the heap afterwards. Where a push cannot leave its trace at once, as another
//! transaction holds the message, it adds an echo behind it, and waits for nobody. The delivery of
//! the message absorbs the echoes that are committed by then; an echo that commits later is
//! delivered by itself.
//!
//! docs/engine.md has the protocol: states, writers, invariants.

use std::hash::{DefaultHasher, Hash, Hasher};

use pgrx::pg_sys::{self, Datum, Oid, TransactionId};

use super::counter::{self, Counts};
use super::lane::ById;
use super::message::{Column, Lane};
use super::push::{Message, OnDuplicate, Outcome, Writer};
use super::queue::Queue;
use super::scan::{Found, Intent, Snapshot};
use super::short_lock::{Kind, ShortLock};
use super::siblings::{ECHO, LEASED_BLINDLY, NAMED_ECHO, REPLACEMENT, Sibling, Siblings, UNSEEN, Version};
use super::statement::{Sees, Statement, i64_array};
use super::table::{Fate, Patience, Table};
use super::{board, has_one_snapshot, id, news, now};
use crate::call::{Name, Timestamp};
use crate::error::{Error, Result};
use crate::stop::{self, Point};

static REPLACE: Statement = Statement::new(
    include_str!("../../sql/query/replace_waiting.sql"),
    &[
        pg_sys::INT8OID,
        pg_sys::INT2OID,
        pg_sys::CHAROID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::INT8OID,
        pg_sys::INT4OID,
        pg_sys::TEXTOID,
        pg_sys::JSONBOID,
        pg_sys::BYTEAOID,
        pg_sys::JSONBOID,
        pg_sys::INT4OID,
        pg_sys::INT8OID,
    ],
);
const CLAIM_TYPES: [Oid; 5] =
    [pg_sys::INT4OID, pg_sys::TEXTOID, pg_sys::INT8OID, pg_sys::TIMESTAMPTZOID, pg_sys::TIMESTAMPTZOID];
static CLAIM: Statement = Statement::new(include_str!("../../sql/query/claim_key.sql"), &CLAIM_TYPES);
static NAME_CLAIMED: Statement = Statement::new(
    include_str!("../../sql/query/name_claimed.sql"),
    &[pg_sys::INT4OID, pg_sys::TEXTOID, pg_sys::INT8OID],
);
static SEEN: Statement =
    Statement::new(include_str!("../../sql/query/seen_key.sql"), &[pg_sys::INT4OID, pg_sys::TEXTOID]);
static DROP_SUPERSEDED: Statement = Statement::new(
    include_str!("../../sql/query/drop_superseded.sql"),
    &[pg_sys::INT8ARRAYOID, pg_sys::INT8ARRAYOID],
);

static DROP_ECHOES: Statement =
    Statement::new(include_str!("../../sql/query/drop_echoes.sql"), &[pg_sys::INT8ARRAYOID]);

/// Does `work` while no other session decides about messages with the key.
pub fn deciding<R>(queue: i32, key: &[u8], work: impl FnOnce() -> R) -> R {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    ShortLock::new(Kind::Key, queue, hasher.finish() as u32).hold(work)
}

/// Waits until a transaction has ended. Not under a short lock.
pub fn wait_for(transaction: TransactionId) {
    // SAFETY: waits as a statement does that meets another's row; deadlocks are found.
    unsafe {
        pg_sys::XactLockTableWait(
            transaction,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            pg_sys::XLTW_Oper::XLTW_None,
        )
    }
}

/// A message that is being pushed with a key.
pub struct Keyed<'a> {
    pub queue: &'a Queue,
    pub key: &'a Name,
    pub on_duplicate: OnDuplicate,
    pub message: Message,
}

/// How far an attempt to push came.
enum Step {
    Done(i64, Outcome),
    /// A message will be added: its key must not have been seen lately, and there has to be room
    /// for it, unless another of its key has it.
    Adds {
        needs_room: bool,
    },
    /// Whether one waits is decided when another transaction ends.
    Depends(TransactionId),
}

/// The conditions that a push has met which adds a message, until it has waited again.
#[derive(Clone, Copy, Default)]
struct Permit {
    /// The key is its own in the queue's `dedup_window`, or the queue has none.
    has_claimed: bool,
    has_room: bool,
}

/// Pushes a message with a key, unless it counts on one that waits.
pub fn push(keyed: &Keyed, writer: &mut Writer) -> Result<(i64, Outcome)> {
    let mut permit = Permit::default();
    loop {
        pg_sys::check_for_interrupts!();
        let decide = || keyed.decide(writer, permit);
        match deciding(keyed.queue.id, keyed.key.bytes(), decide)? {
            Step::Done(id, outcome) => {
                if permit.has_claimed {
                    note_in_window(keyed.queue, keyed.key, id);
                }
                return Ok((id, outcome));
            }
            Step::Depends(transaction) => {
                wait_for(transaction);
                permit.has_room = false;
            }
            Step::Adds { needs_room } => {
                if !permit.has_claimed {
                    if let Some(seen) = seen_lately(keyed.queue, keyed.key) {
                        return keyed.repeated(seen);
                    }
                    permit = Permit { has_claimed: true, has_room: false };
                }
                if needs_room {
                    writer.make_room()?;
                    permit.has_room = true;
                }
            }
        }
    }
}

impl Keyed<'_> {
    /// Decides and writes, under the lock of the key.
    fn decide(&self, writer: &mut Writer, permit: Permit) -> Result<Step> {
        let siblings = Siblings::look(&writer.table, self.queue, self.key.datum());
        let met = match self.on_duplicate {
            OnDuplicate::Reject => self.refuse(&siblings)?,
            OnDuplicate::Ignore => self.count_on(writer, &siblings),
            OnDuplicate::Replace => self.replace(writer, &siblings)?,
        };
        if let Some(step) = met {
            return Ok(step);
        }
        let is_echo = siblings.alive().any(Sibling::may_wait_unseen);
        // Where a message of its key has room for certain, an echo needs none.
        let has_room = permit.has_room || siblings.alive().any(Sibling::waits_unseen);
        let settings = &self.queue.settings;
        let needs_room = settings.max_length.is_some() && !has_room;
        if needs_room || (settings.dedup_window.is_some() && !permit.has_claimed) {
            return Ok(Step::Adds { needs_room });
        }
        Ok(self.add(writer, &siblings, is_echo))
    }

    fn add(&self, writer: &mut Writer, siblings: &Siblings, is_echo: bool) -> Step {
        let place = match (is_echo, self.on_duplicate) {
            (false, _) => UNSEEN,
            (true, OnDuplicate::Replace) => REPLACEMENT,
            (true, _) if siblings.head().is_some() => ECHO,
            (true, _) => NAMED_ECHO,
        };
        let added = writer.add_keyed(&self.message, self.key, place, siblings.floor);
        match (siblings.head(), self.on_duplicate) {
            (Some(_), OnDuplicate::Replace) => Step::Done(added, Outcome::Replaced),
            (Some(head), _) => Step::Done(head.id, Outcome::Ignored),
            (None, _) => Step::Done(added, Outcome::Pushed),
        }
    }

    /// An error if a message waits.
    fn refuse(&self, siblings: &Siblings) -> Result<Option<Step>> {
        match siblings.waiting() {
            Ok(None) => Ok(None),
            Ok(Some(id)) => self.repeated(id).map(|_| None),
            Err(transaction) => Ok(Some(Step::Depends(transaction))),
        }
    }

    /// What becomes of a push whose key is in use.
    fn repeated(&self, id: i64) -> Result<(i64, Outcome)> {
        match self.on_duplicate {
            OnDuplicate::Reject => Err(Error::duplicate(&self.key.to_string(), id)),
            _ => Ok((id, Outcome::Ignored)),
        }
    }

    /// Leaves the trace of this push on a message that waits; none if there is none to be had at
    /// this moment. The message lives as long as this push asks for, at least.
    fn count_on(&self, writer: &Writer, siblings: &Siblings) -> Option<Step> {
        let until = writer.expires_at();
        let ours = siblings.alive().find_map(|sibling| {
            let is_trace = |version: &&Version| version.is_ours && version.is_unseen() && version.waits();
            Some((sibling, sibling.free().filter(is_trace)?))
        });
        if let Some((sibling, version)) = ours {
            let lives_on = lives_longer(until, version.expires_at).is_none();
            if lives_on || touch(&writer.table, sibling.id, version.place, until) {
                return Some(self.ignored(siblings, sibling.id));
            }
        }
        let (sibling, place) = self.to_count_on(siblings)?;
        touch(&writer.table, sibling.id, place, until).then(|| self.ignored(siblings, sibling.id))
    }

    /// The newest message if it waits; else an echo, which is not the next to be delivered.
    fn to_count_on<'a>(&self, siblings: &'a Siblings) -> Option<(&'a Sibling, i64)> {
        let newest = siblings.alive().next()?;
        if let Some(version) = newest.free().filter(|version| version.waits()) {
            let is_next = !siblings.has_unseen_before(newest.id);
            return match version.is_unseen() {
                true if is_next && board::is_waited_for_key(self.queue.id) => None,
                true => Some((newest, version.place)),
                false => Some((newest, if is_next { UNSEEN } else { NAMED_ECHO })),
            };
        }
        siblings.alive().find_map(|sibling| {
            let version = sibling.free().filter(|version| version.place < UNSEEN && version.waits())?;
            siblings.has_unseen_before(sibling.id).then_some((sibling, version.place))
        })
    }

    fn ignored(&self, siblings: &Siblings, id: i64) -> Step {
        Step::Done(siblings.head().map_or(id, |head| head.id), Outcome::Ignored)
    }

    /// Gives the newest message, if it waits, this content in place; none if it cannot be had at
    /// this moment. Then echoes behind the next to be delivered are obsolete.
    fn replace(&self, writer: &Writer, siblings: &Siblings) -> Result<Option<Step>> {
        let Some(newest) = siblings.alive().next() else { return Ok(None) };
        let waiting = newest.free().filter(|version| version.waits());
        if let Some(version) = waiting {
            let is_next = !siblings.has_unseen_before(newest.id);
            let must_spare = version.is_unseen() && is_next && board::is_waited_for_key(self.queue.id);
            let place = if is_next { UNSEEN } else { REPLACEMENT };
            if !must_spare && self.replace_in_place(writer, newest.id, place)? {
                return Ok(Some(Step::Done(newest.id, Outcome::Replaced)));
            }
        }
        let obsolete = siblings.alive().filter(|sibling| {
            let is_echo = sibling.free().is_some_and(|version| version.place < UNSEEN && version.waits());
            is_echo && siblings.has_unseen_before(sibling.id)
        });
        for echo in obsolete {
            remove_if(|place| place < UNSEEN, &writer.table, self.queue, echo.id);
        }
        Ok(None)
    }

    /// False if another transaction is changing the message.
    fn replace_in_place(&self, writer: &Writer, id: i64, place: i64) -> Result<bool> {
        let is_locked = {
            let snapshot = Snapshot::latest();
            let mut messages = ById::open(&writer.table, &snapshot);
            messages
                .find(id)
                .is_some_and(|row| writer.table.lock(&row, Intent::Change, Patience::Skip) == Fate::Done)
        };
        if !is_locked {
            return Ok(false);
        }
        let row = writer.row(&self.message);
        let value = |column: Column| row[column as usize];
        let args = [
            Some(id.into()),
            value(Column::Priority),
            value(Column::Lane),
            value(Column::DueAt),
            value(Column::ExpiresAt),
            value(Column::LeaseMs),
            value(Column::MaxDeliveries),
            value(Column::GroupKey),
            value(Column::Payload),
            value(Column::Body),
            value(Column::Headers),
            Some(self.queue.max_deliveries().into()),
            Some(place.into()),
        ];
        match REPLACE.run(&args, |_| {}) {
            0 if has_one_snapshot() => Err(Error::could_not_serialize()),
            replaced => Ok(replaced == 1),
        }
    }
}

/// The message with which a key was pushed, or moved, within the queue's `dedup_window`. If there is
/// none, the key is seen now. Waits for a transaction that pushes the key at this moment.
fn seen_lately(queue: &Queue, key: &Name) -> Option<i64> {
    let window = queue.settings.dedup_window?;
    let since = now() - window.as_micros();
    let claim =
        [Some(queue.id.into()), Some(key.datum()), Some(0i64.into()), Some(now().into()), Some(since.into())];
    if CLAIM.run(&claim, |_| {}) > 0 {
        return None;
    }
    let mut seen = None;
    SEEN.run_seeing(Sees::Latest, &claim[..2], |row| seen = Some(row.i64(0)));
    seen
}

/// Notes with which message a key was seen that this transaction has claimed.
fn note_in_window(queue: &Queue, key: &Name, id: i64) {
    if queue.settings.dedup_window.is_some() {
        NAME_CLAIMED.run(&[Some(queue.id.into()), Some(key.datum()), Some(id.into())], |_| {});
    }
}

/// The end of the longer of two lives, if the first is longer than the second. No end: for ever.
fn lives_longer(first: Option<Timestamp>, second: Option<Timestamp>) -> Option<Option<Timestamp>> {
    let is_longer = second.is_some_and(|second| first.is_none_or(|first| first > second));
    is_longer.then_some(first)
}

/// How a row changes if it is to live until a time at least.
fn longer_life(row: &Found, until: Option<Timestamp>) -> Option<(Column, Option<Datum>)> {
    let longer = lives_longer(until, row.expires_at())?;
    Some((Column::ExpiresAt, longer.map(Datum::from)))
}

/// Writes a new version of a message that waits, which lives until `until` at least; false if another
/// transaction is changing it.
fn touch(table: &Table, id: i64, place: i64, until: Option<Timestamp>) -> bool {
    let snapshot = Snapshot::latest();
    let mut messages = ById::open(table, &snapshot);
    let Some(row) = messages.find(id) else { return false };
    // This transaction would take its own version for one that it has seen.
    if has_one_snapshot() && !row.is_seen_by(&Snapshot::take()) {
        return false;
    }
    let (queue, priority) = (row.i32(Column::Queue), row.i16(Column::Priority));
    news::touched(queue, priority, id);
    let mut changes = vec![(Column::KeyPlace, Some(place.into()))];
    changes.extend(longer_life(&row, until)); // only if it is one: an index has the column
    if table.update(&row, &changes, Patience::Skip) != Fate::Done {
        return false;
    }
    match row.lane() {
        Lane::Delayed => news::delayed(queue, row.i64(Column::DueAt)),
        Lane::Ready => news::ready(queue, priority, id),
        Lane::Blocked => {}
    }
    true
}

/// Removes a message whose place, as it is now, is such, unless another transaction is changing it. Some if
/// it is removed: when it would have expired.
fn remove_if(
    is_such: impl Fn(i64) -> bool,
    table: &Table,
    queue: &Queue,
    id: i64,
) -> Option<Option<Timestamp>> {
    let snapshot = Snapshot::take();
    let mut messages = ById::open(table, &snapshot);
    let row = messages.find(id).filter(|row| is_such(row.i64(Column::KeyPlace)))?;
    news::touched(queue.id, row.i16(Column::Priority), id);
    if row.lane() == Lane::Delayed {
        news::undelayed(queue.id);
    }
    let is_removed = table.delete(&row, Patience::Skip) == Fate::Done;
    if is_removed {
        counter::add(queue.id, Counts { deleted: 1, ..Counts::default() });
        counter::add(queue.id, -row.counts());
    }
    is_removed.then(|| row.expires_at())
}

/// Has a message that this transaction has leased or locked live as long as the longest of these lives.
fn prolong(table: &Table, id: i64, lives: Vec<Option<Timestamp>>) {
    let longest = lives.into_iter().reduce(|longest, life| lives_longer(life, longest).unwrap_or(longest));
    let Some(until) = longest else { return };
    let snapshot = Snapshot::take();
    let mut messages = ById::open(table, &snapshot);
    if let Some(row) = messages.find(id)
        && let Some(change) = longer_life(&row, until)
    {
        table.update(&row, &[change], Patience::Wait); // nobody else can change it
    }
}

/// Whether a message has a receipt that is no good any more: nobody was given it since it was
/// pushed with its key, or since another push counted on it, or its content was changed.
pub fn is_unseen(row: &Found) -> bool {
    row.get(Column::KeyPlace).is_some_and(|place| place.value() as i64 <= UNSEEN)
}

/// Where a message stands among those with its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It may be delivered.
    Now,
    /// An older one, which nobody has had, is delivered first, unless it expires before.
    Later { until: Option<Timestamp> },
    /// The same, but another transaction is changing that one.
    Unsure,
    /// It was delivered, and another stands for its key now.
    Superseded,
}

pub fn turn(table: &Table, queue: &Queue, row: &Found) -> Turn {
    let Some(place) = row.get(Column::KeyPlace).map(|place| place.value() as i64) else { return Turn::Now };
    let id = row.i64(Column::Id);
    // Of two that nobody has had only an echo stands behind another.
    let Some(key) = row.whole(Column::DedupKey).filter(|_| place != UNSEEN) else { return Turn::Now };
    let siblings = Siblings::look(table, queue, key);
    if place > UNSEEN {
        return if siblings.supersede(id, place) { Turn::Superseded } else { Turn::Now };
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

/// The echoes behind a message that nobody has had.
pub struct Echoes {
    /// The newest that brings content of its own.
    pub replacement: Option<i64>,
    /// Each with its priority, the newest first.
    all: Vec<(i16, i64)>,
}

impl Echoes {
    /// None if the message has no key, or was delivered since a push counted on it.
    pub fn behind(table: &Table, queue: &Queue, row: &Found) -> Option<Self> {
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

    /// Removes those that the delivery of the message `leased` covers: committed ones that the
    /// consumer's snapshot shows, but for replacements, which some may have become since. Should the
    /// delivery fail, the message stands for them: it lives as long as they would have.
    pub fn absorb(&self, table: &Table, queue: &Queue, leased: Option<i64>) {
        let lives = self.remove_those(table, queue, |_, place| place < UNSEEN && place != REPLACEMENT);
        if let Some(id) = leased {
            prolong(table, id, lives);
        }
    }

    /// Removes those that the replacement has replaced.
    pub fn remove_replaced(&self, table: &Table, queue: &Queue, replacement: i64) {
        self.remove_those(table, queue, |id, place| id < replacement && place < UNSEEN);
    }

    /// Removes those that count on the message by its id, which is removed undelivered.
    pub fn drop_counted(&self, table: &Table, queue: &Queue) {
        self.remove_those(table, queue, |_, place| place == ECHO);
    }

    /// Removes those whose id and place, as it is now, are such. Of the others consumers hear when this
    /// transaction commits. Returns when those that are removed would have expired.
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
                None => news::ready(queue.id, priority, id),
            }
        }
        lives
    }

    /// Lets consumers hear of them when this transaction, which removes the message, commits.
    pub fn tell(&self, queue: i32) {
        self.all.iter().for_each(|&(priority, id)| news::ready(queue, priority, id));
    }
}

/// The place of a message that is leased now: later leases have higher ones. With an old snapshot
/// the consumer may not see what others had committed before. What a transaction has pushed itself
/// is committed after its lease.
pub fn place_of_lease(row: &Found) -> i64 {
    if has_one_snapshot() || row.is_our_own() { LEASED_BLINDLY } else { id::next() }
}

/// Whether a message stands behind another of its key, which is delivered in its place.
pub fn stands_behind(table: &Table, queue: &Queue, row: &Found) -> bool {
    is_echo(row) && matches!(turn(table, queue, row), Turn::Later { .. })
}

/// Whether a message was pushed while an older one of its key was waiting.
pub fn is_echo(row: &Found) -> bool {
    is_place_of_echo(row.i64(Column::KeyPlace))
}

pub fn is_place_of_echo(place: i64) -> bool {
    place < UNSEEN
}

/// Removes messages that are superseded, those that no push has counted on and that nobody has
/// leased since they were seen at their place.
pub fn drop_superseded(messages: &[(i64, i64)]) {
    let (ids, places): (Vec<i64>, Vec<i64>) = messages.iter().copied().unzip();
    let mut queues = Vec::new();
    DROP_SUPERSEDED.run(&[Some(i64_array(&ids)), Some(i64_array(&places))], |row| queues.push(row.i32(0)));
    counter::add_each(queues, |deleted| Counts { deleted, ..Counts::default() });
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

/// Has a message, which this transaction has locked, stand for the echoes behind it.
pub fn take_in_echoes(table: &Table, id: i64) {
    prolong(table, id, drop_echoes(&[id]));
}

/// Changes the content of a message; false if a newer one with its key is there, or one that replaces
/// its content. Waits for a transaction that is pushing one. Called under no lock but that of the
/// message's row.
pub fn may_change(table: &Table, queue: &Queue, id: i64, key: &Name, change: impl FnOnce() -> bool) -> bool {
    let stands_for_it = |version: &Version| version.place >= UNSEEN || version.place == REPLACEMENT;
    let mut change = Some(change);
    once_it_is_sure(table, queue, key, |siblings| {
        let newer = siblings.alive().find(|sibling| {
            sibling.id > id && sibling.settled.iter().chain(&sibling.pending).any(stands_for_it)
        });
        match newer {
            None => Ok(change.take().is_some_and(|change| change())),
            Some(Sibling { settled, changer: Some(changer), .. })
                if !settled.as_ref().is_some_and(stands_for_it) =>
            {
                Err(*changer)
            }
            Some(_) => Ok(false),
        }
    })
}

/// Brings a message with a key into the queue by `work`, which returns its id, once it is sure that
/// none waits there with the key, and that the key was not seen within the queue's window. Waits for a
/// transaction on which that depends, and judges again then.
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

/// Decides under the lock of a key by the messages that have it. As long as that depends on a
/// transaction, waits for it outside the lock and looks again.
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
