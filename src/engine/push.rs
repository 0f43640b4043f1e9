//! Push: new messages into a queue.

use pgrx::pg_sys::{self, Datum, Oid};
use smallvec::SmallVec;

use super::counter::{self, Counts};
use super::group::Group;
use super::message::{COLUMNS, Column, Lane, NOT_LEASED};
use super::queue::Queue;
pub use super::room::make_room;
use super::table::Table;
use super::unique::{self, Keyed};
use super::{catalog, id, news, now};
use crate::call::{Name, Timestamp, collected, room_for};
use crate::error::Result;
use crate::value::duration::Millis;

/// How many messages are written at a time.
const PAGE: usize = 500;

/// What a message carries: one of the two.
#[derive(Clone, Copy)]
pub enum Content {
    Payload(Datum),
    Body(Datum),
}

/// When a message may first be delivered.
#[derive(Clone, Copy, Default)]
pub enum Due {
    #[default]
    Now,
    After(Millis),
    At(Timestamp),
}

impl OnDuplicate {
    pub const WORDS: [&'static str; 3] = ["ignore", "replace", "reject"];

    const ALL: [Self; 3] = [Self::Ignore, Self::Replace, Self::Reject];

    pub fn of(word: &str) -> Option<Self> {
        Self::WORDS.iter().position(|known| *known == word).map(|n| Self::ALL[n])
    }

    pub fn word(self) -> &'static str {
        Self::WORDS[self as usize]
    }
}

/// What all messages of one push share.
#[derive(Default)]
pub struct Options {
    pub priority: i16,
    pub due: Due,
    pub ttl: Option<Millis>,
    pub lease: Option<Millis>,
    pub max_deliveries: Option<i32>,
    pub group_key: Option<Name>,
    pub keys: Option<Keys>,
    pub on_duplicate: OnDuplicate,
}

/// The unique keys of the messages of one push.
pub enum Keys {
    /// All have the same.
    One(Name),
    /// Each has its own, or none.
    Each(Vec<Option<Name>>),
}

impl Keys {
    fn of(&self, n: usize) -> Option<&Name> {
        match self {
            Self::One(key) => Some(key),
            Self::Each(keys) => keys.get(n)?.as_ref(),
        }
    }
}

/// What a push does when a message with its key waits already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDuplicate {
    #[default]
    Ignore,
    Replace,
    Reject,
}

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Pushed,
    /// Another message with its key waits, or was seen lately; the id is that one's.
    Ignored,
    /// It took the place of the waiting message with its key, whose id it has.
    Replaced,
}

/// The content of a message and its headers.
pub type Message = (Content, Option<Datum>);

/// Pushes messages in their order, and returns their ids and what became of them.
pub fn push(queue: &Queue, messages: &[Message], options: &Options) -> Result<Vec<(i64, Outcome)>> {
    let Some(keys) = &options.keys else {
        make_room(queue, messages.len())?;
        let ids = Writer::new(queue, options).add_all(messages);
        return Ok(collected(ids.into_iter().map(|id| (id, Outcome::Pushed))));
    };
    let mut writer = Writer::new(queue, options);
    let mut pushed = Vec::new();
    room_for(&mut pushed, messages.len());
    for (n, &message) in messages.iter().enumerate() {
        pushed.push(match keys.of(n) {
            Some(key) => {
                let keyed = Keyed { queue, key, on_duplicate: options.on_duplicate, message };
                unique::push(&keyed, &mut writer)?
            }
            None => {
                writer.make_room()?;
                (writer.add(message), Outcome::Pushed)
            }
        });
    }
    Ok(pushed)
}

/// Adds messages to a queue, with what they share.
pub struct Writer<'a> {
    pub table: Table,
    queue: &'a Queue,
    options: &'a Options,
    template: Row,
    /// Of messages that are not delayed, in a queue that keeps the order of groups: each stands
    /// behind the one before it.
    group: Option<Group>,
    /// The lane of the next message.
    lane: Lane,
    counts: Counts,
}

impl<'a> Writer<'a> {
    fn new(queue: &'a Queue, options: &'a Options) -> Self {
        let template = template(queue, options);
        let table = Table::open(catalog::refresh().message);
        table.add_without(&unneeded_indexes(&table, &template, options.keys.is_some()));
        let is_delayed = template[Column::DueAt as usize].is_some();
        let group = options.group_key.as_ref().filter(|_| queue.settings.keeps_order() && !is_delayed);
        let group = group.map(|key| Group { queue: queue.id, key: key.bytes().to_vec() });
        let lane = if is_delayed { Lane::Delayed } else { Lane::Ready };
        let mut writer = Self { table, queue, options, template, group, lane, counts: Counts::default() };
        writer.line_up();
        writer
    }

    /// Has the next message stand behind one of its group, if this transaction has pushed one.
    fn line_up(&mut self) {
        if let Some(group) = &self.group {
            let stands_behind = group.has_our_own(&self.table, self.options.priority);
            self.lane = if stands_behind { Lane::Blocked } else { Lane::Ready };
        }
    }

    /// Makes room for the next message, which loses the one before it if that is dropped.
    pub fn make_room(&mut self) -> Result<()> {
        make_room(self.queue, 1)?;
        if self.lane == Lane::Blocked && self.queue.settings.max_length.is_some() {
            self.line_up();
        }
        Ok(())
    }

    /// When the next message expires.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.template[Column::ExpiresAt as usize].map(|at| at.value() as Timestamp)
    }

    /// A row for a message as it would be pushed, without an id.
    pub fn row(&self, &(content, headers): &Message) -> Row {
        let mut row = self.template;
        row[Column::Headers as usize] = headers;
        match content {
            Content::Payload(payload) => row[Column::Payload as usize] = Some(payload),
            Content::Body(body) => row[Column::Body as usize] = Some(body),
        }
        row
    }

    /// The row of a message that is added next, and its id.
    ///
    /// The next of its group can stand behind it, unless it is an echo: those are passed over.
    fn next_row(&mut self, message: &Message, is_echo: bool) -> (i64, Row) {
        let (id, mut row) = (id::next(), self.row(message));
        row[Column::Id as usize] = Some(id.into());
        row[Column::Lane as usize] = Some(self.lane.datum());
        self.counts += Counts { pushed: 1, ..Counts::message(self.lane, NOT_LEASED) };
        if self.lane == Lane::Ready {
            news::ready(self.queue.id, self.options.priority, id);
        }
        if self.group.is_some() && !is_echo {
            self.lane = Lane::Blocked;
        }
        (id, row)
    }

    fn add(&mut self, message: Message) -> i64 {
        let (id, row) = self.next_row(&message, false);
        self.table.insert(&row);
        self.count();
        id
    }

    /// Adds a message with a key, at its place among those of the key.
    pub fn add_keyed(&mut self, message: &Message, key: &Name, place: i64, floor: Option<i64>) -> i64 {
        let (id, mut row) = self.next_row(message, unique::is_place_of_echo(place));
        row[Column::DedupKey as usize] = Some(key.datum());
        row[Column::KeyPlace as usize] = Some(place.into());
        row[Column::KeyFloor as usize] = Some(floor.unwrap_or(id).into());
        self.table.insert(&row);
        self.count();
        id
    }

    fn add_all(mut self, messages: &[Message]) -> Vec<i64> {
        if let &[message] = messages {
            return vec![self.add(message)];
        }
        let mut ids = Vec::new();
        room_for(&mut ids, messages.len());
        for page in messages.chunks(PAGE) {
            pg_sys::check_for_interrupts!();
            let (new_ids, rows): (Vec<_>, Vec<_>) =
                page.iter().map(|message| self.next_row(message, false)).unzip();
            ids.extend(new_ids);
            self.table.insert_all(&rows);
        }
        self.count();
        ids
    }

    /// Counts what was added, and tells of it if it is delayed.
    fn count(&mut self) {
        if let Some(at) = self.template[Column::DueAt as usize] {
            news::delayed(self.queue.id, at.value() as Timestamp);
        }
        counter::add(self.queue.id, std::mem::take(&mut self.counts));
    }
}

/// Indexes in which no message of these columns has an entry.
fn unneeded_indexes(table: &Table, row: &Row, has_keys: bool) -> SmallVec<[Oid; 4]> {
    let catalog = catalog::known();
    let lacks = |column: Column| row[column as usize].is_none();
    let partial = [
        (lacks(Column::DueAt), catalog.message_due),
        (lacks(Column::ExpiresAt), catalog.message_expires),
        (lacks(Column::GroupKey), catalog.message_group),
        (!has_keys, catalog.message_key),
    ];
    partial
        .into_iter()
        .filter(|(is_unneeded, index)| *is_unneeded && index.is_what_it_says(table))
        .map(|(_, index)| index.oid)
        .collect()
}

/// The columns of a message.
pub type Row = [Option<Datum>; COLUMNS];

/// A row with everything but id and content.
fn template(queue: &Queue, options: &Options) -> Row {
    let now = now();
    let due_at = match options.due {
        Due::Now => None,
        Due::After(delay) => Some(now + delay.as_micros()),
        Due::At(moment) => (moment > now).then_some(moment),
    };
    let lane = if due_at.is_some() { Lane::Delayed } else { Lane::Ready };
    let expires_at = options.ttl.or(queue.settings.ttl).map(|ttl| now + ttl.as_micros());

    let mut row = [None; COLUMNS];
    row[Column::EnqueuedAt as usize] = Some(now.into());
    row[Column::LeaseUntil as usize] = Some(NOT_LEASED.into());
    row[Column::Deliveries as usize] = Some(0i32.into());
    row[Column::Queue as usize] = Some(queue.id.into());
    row[Column::Priority as usize] = Some(options.priority.into());
    row[Column::Lane as usize] = Some(lane.datum());
    row[Column::InTurn as usize] = Some(false.into());
    row[Column::DueAt as usize] = due_at.map(Datum::from);
    row[Column::ExpiresAt as usize] = expires_at.map(Datum::from);
    row[Column::LeaseMs as usize] = options.lease.map(|lease| lease.as_millis().into());
    row[Column::MaxDeliveries as usize] = options.max_deliveries.map(Datum::from);
    row[Column::GroupKey as usize] = options.group_key.as_ref().map(Name::datum);
    row
}
