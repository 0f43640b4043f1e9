//! Siblings: the messages of a queue that have one unique key, as they stand at this moment.
//!
//! A message is *unseen* while no consumer was given it as it is now. A look sees both what is committed and
//! what other transactions are doing. It begins at the newest message and ends at a message whose `key_floor`
//! says that no older one was alive when it was pushed. So a look costs the same however many messages were
//! consumed with the key before, beside an old snapshot too, which keeps the dead rows.

use pgrx::pg_sys::{self, Datum, TransactionId};

use crate::engine::table::catalog;
use crate::engine::table::heap::Table;
use crate::engine::table::message::{Column, is_leased};
use crate::engine::table::queue::Queue;
use crate::engine::table::row::{Doing, Own, TableRow};
use crate::engine::table::scan::{Condition, Scan};
use crate::pg::session::now;
use crate::pg::snapshot::Snapshot;
use crate::value::timestamp::Timestamp;

/// `key_place` of an unseen message.
pub const UNSEEN: i64 = 0;
/// `key_place` of an echo: at its push an older unseen message was there that the push could not count on at
/// that moment. It stands behind that one, and is absorbed when that one is delivered.
pub const ECHO: i64 = -1;
/// An echo whose content replaces that of the older one.
pub const REPLACEMENT: i64 = -2;
/// An echo that its producer knows by an id of its own: the older message was not committed, or the echo had
/// been delivered before a push counted on it. Only its own delivery, or one of its key, ends it.
pub const NAMED_ECHO: i64 = -3;
/// The message was leased by a transaction with an old snapshot, which may not see what others had committed
/// by then.
pub const LEASED_BLINDLY: i64 = i64::MAX;

/// A look ends after this many siblings: the newest decide.
const ENOUGH: usize = 200;

/// A version of a sibling's row, as far as its key is concerned.
#[derive(Clone, Copy)]
pub struct Version {
    /// The `key_place` of this version.
    pub place: i64,
    pub standing: Standing,
    pub priority: i16,
    pub expires_at: Option<Timestamp>,
    /// This transaction has written it.
    pub is_ours: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It waits to be delivered, now or when it is due.
    Waits,
    Leased,
    /// It has expired.
    Outlived,
    /// No delivery is left.
    Exhausted,
}

impl Version {
    pub fn of(row: &TableRow, queue: &Queue, now: Timestamp) -> Self {
        let standing = if is_leased(row.i64(Column::LeaseUntil), now) {
            Standing::Leased
        } else if row.has_expired(now) {
            Standing::Outlived
        } else if queue.end_of(row, now).is_some() {
            Standing::Exhausted
        } else {
            Standing::Waits
        };
        Self {
            place: row.i64(Column::KeyPlace),
            standing,
            priority: row.i16(Column::Priority),
            expires_at: row.expires_at(),
            is_ours: row.is_our_own(),
        }
    }

    pub fn waits(&self) -> bool {
        self.standing == Standing::Waits
    }

    pub fn is_unseen(&self) -> bool {
        self.place <= UNSEEN
    }

    fn waits_unseen(&self) -> bool {
        self.waits() && self.is_unseen()
    }

    /// Whether this version of the message `own` supersedes another message, which was leased at `place`.
    fn supersedes(&self, own: i64, other: i64, place: i64) -> bool {
        own != other
            && match self.standing {
                Standing::Outlived => false,
                Standing::Waits => own > other,
                _ => place != LEASED_BLINDLY && self.place != LEASED_BLINDLY && self.place > place,
            }
    }
}

/// A message with the key.
pub struct Sibling {
    pub id: i64,
    /// Its version that is committed, or written by this transaction.
    pub settled: Option<Version>,
    /// Its version that another transaction is writing, which has not ended.
    pub pending: Option<Version>,
    /// That other transaction, or the one that is removing the message.
    pub changer: Option<TransactionId>,
}

impl Sibling {
    /// The version that counts, if no other transaction is changing the message.
    pub fn free(&self) -> Option<&Version> {
        self.settled.as_ref().filter(|_| self.changer.is_none())
    }

    /// Whether it waits unseen, as it is committed or as it may be soon.
    pub fn may_wait_unseen(&self) -> bool {
        self.settled.iter().chain(&self.pending).any(Version::waits_unseen)
    }

    /// Whether it waits unseen, as it is committed.
    pub fn waits_unseen(&self) -> bool {
        self.settled.as_ref().is_some_and(Version::waits_unseen)
    }

    /// Whether it will not be delivered any more, and no transaction is changing that.
    fn is_over(&self) -> bool {
        let is_over =
            |version: &Version| matches!(version.standing, Standing::Outlived | Standing::Exhausted);
        self.free().is_some_and(is_over)
    }
}

/// The messages of a key, the newest first.
pub struct Siblings {
    all: Vec<Sibling>,
    /// No message of the key with a smaller id is alive.
    pub floor: Option<i64>,
    /// Those that this transaction has removed, or changed, as they were before.
    taken: Vec<(i64, Version)>,
}

impl Siblings {
    pub fn look(table: &Table, queue: &Queue, key: Datum) -> Self {
        loop {
            pg_sys::check_for_interrupts!();
            if let Some(siblings) = Self::look_once(table, queue, key) {
                return siblings;
            }
        }
    }

    /// Looks at the siblings once. None if a transaction has committed a change meanwhile: its new version
    /// may have been missed.
    fn look_once(table: &Table, queue: &Queue, key: Datum) -> Option<Self> {
        let (now, snapshot) = (now(), Snapshot::latest());
        let conditions = [
            Condition::equals(1, pg_sys::F_INT4EQ, queue.id.into()),
            Condition::equals(2, pg_sys::F_TEXTEQ, key),
        ];
        let mut rows = Scan::begin_any(table, catalog::known().message_key, &conditions, true);
        let (mut all, mut floor, mut taken) = (Vec::<Sibling>::new(), None, Vec::new());
        while let Some(row) = rows.next() {
            let id = row.i64(Column::Id);
            if floor.is_some_and(|floor| id < floor) {
                break;
            }
            match row.doing() {
                Some(doing) => note(&mut all, id, doing, Version::of(&row, queue, now)),
                None if row.is_seen_by(&snapshot) => return None,
                None if row.own() == Own::Change => taken.push((id, Version::of(&row, queue, now))),
                None => {}
            }
            if row.is_made_for_good() {
                floor = floor.max(row.optional_i64(Column::KeyFloor));
            }
            if all.len() > ENOUGH {
                return Some(Self { all, floor, taken });
            }
        }
        let oldest = all.last().map(|sibling| sibling.id);
        Some(Self { all, floor: oldest, taken })
    }

    /// The siblings that are leased or may still be delivered, or may be soon.
    pub fn alive(&self) -> impl Iterator<Item = &Sibling> {
        self.all.iter().filter(|sibling| !sibling.is_over())
    }

    /// The oldest that waits unseen: it is delivered next.
    pub fn head(&self) -> Option<&Sibling> {
        self.alive().filter(|sibling| sibling.free().is_some_and(Version::waits_unseen)).last()
    }

    /// Whether a sibling older than `id` waits unseen, or may wait unseen soon.
    pub fn has_unseen_before(&self, id: i64) -> bool {
        self.alive().any(|sibling| sibling.id < id && sibling.may_wait_unseen())
    }

    /// The message that a push would count on: the newest if it waits, or one that waits unseen. An error is
    /// the transaction on which that depends.
    pub fn waiting(&self) -> Result<Option<i64>, TransactionId> {
        for (n, sibling) in self.alive().enumerate() {
            let counts = |version: &Version| version.waits() && (n == 0 || version.is_unseen());
            match (sibling.free(), sibling.changer) {
                (Some(version), _) if counts(version) => return Ok(Some(sibling.id)),
                (None, Some(changer))
                    if sibling.settled.as_ref().is_some_and(counts) || sibling.may_wait_unseen() =>
                {
                    return Err(changer);
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// The echoes behind a message: those newer than it, the newest first.
    pub fn behind(&self, id: i64) -> impl Iterator<Item = &Sibling> {
        self.alive().filter(move |sibling| {
            let is_echo = |version: &Version| version.place < UNSEEN && version.waits();
            sibling.id > id && sibling.settled.iter().chain(&sibling.pending).any(is_echo)
        })
    }

    /// Whether a message that was leased at `place` is obsolete: a newer one waits, or another was leased
    /// later, by a transaction that saw what was committed by then. An older one that waits makes none
    /// obsolete, so of two that wait one is left. None: that depends on a transaction that is removing or
    /// changing the other.
    pub fn have_superseded(&self, id: i64, place: i64) -> Option<bool> {
        let mut is_sure = true;
        for other in &self.all {
            let supersedes = |version: &Version| version.supersedes(other.id, id, place);
            if !other.settled.as_ref().is_some_and(supersedes) {
                continue;
            }
            if other.changer.is_none() || other.pending.as_ref().is_some_and(supersedes) {
                return Some(true);
            }
            is_sure = false;
        }
        is_sure.then_some(false)
    }

    /// The same for a message that was found superseded, where the other may be one that this transaction has
    /// taken since.
    pub fn have_still_superseded(&self, id: i64, place: i64) -> bool {
        let was_taken = self.taken.iter().any(|(other, version)| version.supersedes(*other, id, place));
        was_taken || self.have_superseded(id, place) == Some(true)
    }
}

/// Adds a version of a row. The versions of one message follow each other.
fn note(all: &mut Vec<Sibling>, id: i64, doing: Doing, version: Version) {
    if all.last().is_none_or(|last| last.id != id) {
        all.push(Sibling { id, settled: None, pending: None, changer: None });
    }
    let Some(sibling) = all.last_mut() else { return };
    sibling.changer = sibling.changer.or(doing.making).or(doing.changing);
    match doing.making {
        Some(_) => sibling.pending = Some(version),
        None => sibling.settled = Some(version),
    }
}

/// Whether a message was pushed while an older one of its key was waiting.
pub fn is_echo(row: &TableRow) -> bool {
    is_place_of_echo(row.i64(Column::KeyPlace))
}

pub fn is_place_of_echo(place: i64) -> bool {
    place < UNSEEN
}
