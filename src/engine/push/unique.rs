//! Unique keys: of the messages of a queue with one key, one waits to be delivered.
//!
//! A push decides and writes under a short lock of its key. Under the lock it sees what is committed and what
//! other transactions are doing (`siblings`), and draws the id of a new message. It waits for no transaction
//! there. So ids rise in the order in which a key's messages were written, and no push writes what it judged
//! before a wait.
//!
//! A push that counts on a waiting message writes a new version of its row. That version is its trace: until
//! it commits no reserve takes the message, and the heap refuses a consumer with an older snapshot
//! afterwards. If another transaction holds the message, the push cannot leave its trace at once: it adds an
//! echo behind the message, and does not wait. The delivery of the message absorbs the echoes that are
//! committed by then. An echo that commits later is delivered by itself.
//!
//! docs/engine.md has the protocol: states, writers, invariants.

use pgrx::pg_sys::{self, TransactionId};

use crate::engine::commit::pending;
use crate::engine::message::dedup_window::{note_in_window, seen_lately};
use crate::engine::message::group::{Group, place_of};
use crate::engine::message::key::{deciding, lives_longer, longer_life, remove_if};
use crate::engine::message::siblings::{
    ECHO, NAMED_ECHO, REPLACEMENT, Sibling, Siblings, UNSEEN, Version, is_echo, is_place_of_echo,
};
use crate::engine::push::message::{Message, OnDuplicate, Outcome};
use crate::engine::push::writer::Writer;
use crate::engine::shared::hint_cache;
use crate::engine::table::heap::{Fate, Patience, Table};
use crate::engine::table::message::{Column, Lane};
use crate::engine::table::message_index::ById;
use crate::engine::table::name::Name;
use crate::engine::table::queue::Queue;
use crate::engine::table::row::{Intent, TableRow};
use crate::engine::table::statement::Statement;
use crate::error::{Error, Result};
use crate::pg::session::{has_one_snapshot, now};
use crate::pg::snapshot::Snapshot;
use crate::pg::transaction::wait_for;
use crate::stop::{self, Point};
use crate::value::timestamp::Timestamp;

static REPLACE: Statement = Statement::by_index(
    include_str!("../../../sql/query/replace_waiting.sql"),
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

/// A message that is being pushed with a key.
pub struct Keyed<'a> {
    pub queue: &'a Queue,
    pub key: &'a Name,
    pub on_duplicate: OnDuplicate,
    pub message: Message,
}

/// The result of an attempt to push.
enum Step {
    Done(i64, Outcome),
    /// The push would add a message. First its key must not have been seen within the window, and the queue
    /// needs room, unless another message of the key has room already.
    Adds {
        needs_room: bool,
    },
    /// The end of another transaction decides whether a message waits.
    Depends(TransactionId),
    /// A consumer has changed the message to count on since the look.
    Again,
}

/// The fate of a message that a push was to count on.
#[derive(PartialEq, Eq)]
enum Touch {
    Done,
    /// Another transaction is changing it, or this one does not see it as it is.
    Refused,
    /// It is no longer as the look has shown it.
    Changed,
}

/// The conditions met by a push that adds a message. Room counts only until the push waits again.
#[derive(Clone, Copy, Default)]
struct Permit {
    /// The push has claimed the key in the queue's `dedup_window`, or the queue has none.
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
            Step::Again => {}
            Step::Adds { needs_room } => {
                if let Some(seen) = keyed.meet_conditions(&mut permit, writer, needs_room)? {
                    return keyed.repeated(seen);
                }
            }
        }
    }
}

impl Keyed<'_> {
    /// Meets the conditions of a push that adds a message. If its key was seen lately, returns the message
    /// with which.
    fn meet_conditions(
        &self,
        permit: &mut Permit,
        writer: &mut Writer,
        needs_room: bool,
    ) -> Result<Option<i64>> {
        if !permit.has_claimed {
            if let Some(seen) = seen_lately(self.queue, self.key) {
                return Ok(Some(seen));
            }
            *permit = Permit { has_claimed: true, has_room: false };
        }
        if needs_room {
            writer.make_room()?;
            permit.has_room = true;
        }
        Ok(None)
    }

    /// Decides and writes, under the lock of the key.
    fn decide(&self, writer: &mut Writer, permit: Permit) -> Result<Step> {
        let siblings = Siblings::look(&writer.table, self.queue, self.key.datum());
        stop::at(Point::KeyIsLookedAt);
        let met = match self.on_duplicate {
            OnDuplicate::Reject => self.refuse(&siblings)?,
            OnDuplicate::Ignore => self.count_on(writer, &siblings),
            OnDuplicate::Replace => self.replace(writer, &siblings)?,
        };
        if let Some(step) = met {
            return Ok(step);
        }
        let is_echo = siblings.alive().any(Sibling::may_wait_unseen);
        // If a message of its key has room for certain, an echo needs none.
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
        if self.on_duplicate == OnDuplicate::Replace {
            self.remove_obsolete(writer, siblings);
        }
        let added = writer.add_keyed(&self.message, self.key, place, siblings.floor);
        match (siblings.head(), self.on_duplicate) {
            (Some(_), OnDuplicate::Replace) => Step::Done(added, Outcome::Replaced),
            (Some(head), _) => Step::Done(head.id, Outcome::Ignored),
            (None, _) => Step::Done(added, Outcome::Pushed),
        }
    }

    /// An error if a message with the key waits.
    fn refuse(&self, siblings: &Siblings) -> Result<Option<Step>> {
        match siblings.waiting() {
            Ok(None) => Ok(None),
            Ok(Some(id)) => self.repeated(id).map(|_| None),
            Err(transaction) => Ok(Some(Step::Depends(transaction))),
        }
    }

    /// The outcome of a push whose key is in use.
    fn repeated(&self, id: i64) -> Result<(i64, Outcome)> {
        match self.on_duplicate {
            OnDuplicate::Reject => Err(Error::duplicate(&self.key.to_string(), id)),
            _ => Ok((id, Outcome::Ignored)),
        }
    }

    /// Leaves the trace of this push on a waiting message, and lets that live at least as long as this push
    /// asks for. None if no message can take a trace at this moment.
    fn count_on(&self, writer: &Writer, siblings: &Siblings) -> Option<Step> {
        let until = writer.expires_at();
        let ours = siblings.alive().find_map(|sibling| {
            let is_trace = |version: &&Version| version.is_ours && version.is_unseen() && version.waits();
            Some((sibling, sibling.free().filter(is_trace)?))
        });
        if let Some((sibling, version)) = ours {
            let lives_on = lives_longer(until, version.expires_at).is_none();
            if lives_on || self.touch(&writer.table, sibling.id, version, version.place, until) == Touch::Done
            {
                return Some(self.ignored(siblings, sibling.id));
            }
        }
        let (sibling, version, place) = self.to_count_on(siblings)?;
        match self.touch(&writer.table, sibling.id, version, place, until) {
            Touch::Done => Some(self.ignored(siblings, sibling.id)),
            Touch::Refused => None,
            Touch::Changed => Some(Step::Again),
        }
    }

    /// The message to count on, and its `key_place` then: the newest if it waits, else an echo that is not the
    /// next to be delivered.
    fn to_count_on<'a>(&self, siblings: &'a Siblings) -> Option<(&'a Sibling, &'a Version, i64)> {
        let newest = siblings.alive().next()?;
        if let Some(version) = newest.free().filter(|version| version.waits()) {
            let is_next = !siblings.has_unseen_before(newest.id);
            return match version.is_unseen() {
                true if is_next && hint_cache::is_waited_for_key(self.queue.id) => None,
                true => Some((newest, version, version.place)),
                false => Some((newest, version, if is_next { UNSEEN } else { NAMED_ECHO })),
            };
        }
        siblings.alive().find_map(|sibling| {
            let version = sibling.free().filter(|version| version.place < UNSEEN && version.waits())?;
            siblings.has_unseen_before(sibling.id).then_some((sibling, version, version.place))
        })
    }

    /// Writes a new version of a waiting message, at `place`, which lives at least until `until`. Reserves hold
    /// no lock of the key: the message may have been leased since it was `seen`.
    fn touch(&self, table: &Table, id: i64, seen: &Version, place: i64, until: Option<Timestamp>) -> Touch {
        let snapshot = Snapshot::latest();
        let mut messages = ById::open(table, &snapshot);
        let row = messages.find(id).filter(|row| self.is_ours(row)).filter(|row| {
            let found = Version::of(row, self.queue, now());
            found.place == seen.place && found.waits()
        });
        let Some(row) = row else { return if seen.is_ours { Touch::Refused } else { Touch::Changed } };
        // This transaction would take its own version for one that it has seen.
        if has_one_snapshot() && !row.is_seen_by(&Snapshot::take()) {
            return Touch::Refused;
        }
        let (queue, priority) = (row.i32(Column::Queue), row.i16(Column::Priority));
        pending::touched(queue, priority, id);
        let mut changes = vec![(Column::KeyPlace, Some(place.into()))];
        // An echo has no turn in its group: it is passed over.
        let loses_turn = is_place_of_echo(place) && row.bool(Column::InTurn);
        changes.extend(loses_turn.then_some((Column::InTurn, Some(false.into()))));
        changes.extend(longer_life(&row, until)); // only a longer life: an index has the column
        if table.update(&row, &changes, Patience::Skip) != Fate::Done {
            return Touch::Refused;
        }
        if is_place_of_echo(place)
            && !is_echo(&row)
            && let Some(group) = Group::of(&row, self.queue)
        {
            group.free_soon(place_of(&row));
        }
        match row.lane() {
            Lane::Delayed => pending::delayed(queue, row.i64(Column::DueAt)),
            Lane::Ready => pending::ready(queue, priority, id),
            Lane::Blocked => {}
        }
        Touch::Done
    }

    /// Whether a message found by its id is still in the queue, with the key: a redrive takes a message with its
    /// id to another queue.
    fn is_ours(&self, row: &TableRow) -> bool {
        row.i32(Column::Queue) == self.queue.id
            && row.text(Column::DedupKey).is_some_and(|key| key == self.key.bytes())
    }

    fn ignored(&self, siblings: &Siblings, id: i64) -> Step {
        Step::Done(siblings.head().map_or(id, |head| head.id), Outcome::Ignored)
    }

    /// Replaces the content of the newest message in place, if it waits. None if that is not possible at this
    /// moment.
    fn replace(&self, writer: &Writer, siblings: &Siblings) -> Result<Option<Step>> {
        let Some(newest) = siblings.alive().next() else { return Ok(None) };
        let Some(version) = newest.free().filter(|version| version.waits()) else { return Ok(None) };
        let is_next = !siblings.has_unseen_before(newest.id);
        let must_spare = version.is_unseen() && is_next && hint_cache::is_waited_for_key(self.queue.id);
        let place = if is_next { UNSEEN } else { REPLACEMENT };
        let is_replaced = !must_spare && self.replace_in_place(writer, newest.id, place)?;
        Ok(is_replaced.then_some(Step::Done(newest.id, Outcome::Replaced)))
    }

    /// Removes the echoes behind the next message to be delivered: the push that is being added replaces them.
    fn remove_obsolete(&self, writer: &Writer, siblings: &Siblings) {
        let obsolete = siblings.alive().filter(|sibling| {
            let is_echo = sibling.free().is_some_and(|version| version.place < UNSEEN && version.waits());
            is_echo && siblings.has_unseen_before(sibling.id)
        });
        for echo in obsolete {
            remove_if(|place| place < UNSEEN, &writer.table, self.queue, echo.id);
        }
    }

    /// Replaces the content of a message. False if another transaction is changing it.
    fn replace_in_place(&self, writer: &Writer, id: i64, place: i64) -> Result<bool> {
        let is_locked = {
            let snapshot = Snapshot::latest();
            let mut messages = ById::open(&writer.table, &snapshot);
            messages.find(id).filter(|row| self.is_ours(row)).is_some_and(|row| {
                // A reserve that meanwhile finds it locked passes it.
                pending::touched(self.queue.id, row.i16(Column::Priority), id);
                writer.table.lock(&row, Intent::Change, Patience::Skip) == Fate::Done
            })
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
