//! Push: new messages into a queue.

use pgrx::pg_sys::{self, Datum, Oid};

use super::counter::{self, Counts};
use super::group::Group;
use super::message::{COLUMNS, Column, Lane, NOT_LEASED};
use super::queue::Queue;
use super::table::Table;
use super::{catalog, id, news, now, reserve, unique};
use crate::call::{Name, Timestamp};
use crate::error::{Error, Result};
use crate::value::duration::Millis;
use crate::value::settings::{MaxLength, OnFull};

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
    pub unique: Option<(Name, OnDuplicate)>,
}

/// What a push does when a message with its key waits already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDuplicate {
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

/// Pushes messages in their order, and returns their ids and what became of them.
pub fn push(
    queue: &Queue,
    messages: &[(Content, Option<Datum>)],
    options: &Options,
) -> Result<Vec<(i64, Outcome)>> {
    let mut row = template(queue, options);
    let Some((key, on_duplicate)) = &options.unique else {
        make_room(queue, messages.len())?;
        let ids = push_all(queue, &mut row, messages, options);
        return Ok(ids.into_iter().map(|id| (id, Outcome::Pushed)).collect());
    };
    row[Column::DedupKey as usize] = Some(key.datum());
    row[Column::KeyPlace as usize] = Some(0i64.into());
    let push_one = |&(content, headers): &(Content, Option<Datum>)| {
        let row = with_content(&row, id::next(), content, headers);
        unique::push(queue, key, *on_duplicate, &row)
    };
    messages.iter().map(push_one).collect()
}

/// Sees to it that so many more messages do not exceed the queue's `max_length`, as far
/// as others have committed theirs.
pub fn make_room(queue: &Queue, more: usize) -> Result<()> {
    let Some(MaxLength(limit)) = queue.settings.max_length else { return Ok(()) };
    let Counts { ready, delayed, blocked, .. } = counter::known(queue.id);
    let length = ready + delayed + blocked;
    let excess = usize::try_from(length + more as i64 - limit).unwrap_or(0);
    let is_possible = more as i64 <= limit && queue.settings.on_full == OnFull::DropOldest;
    if excess > 0 && !(is_possible && reserve::drop_oldest(queue, excess) == excess) {
        return Err(Error::full(&queue.name.to_string(), length, more, limit));
    }
    Ok(())
}

fn push_all(
    queue: &Queue,
    template: &mut Row,
    messages: &[(Content, Option<Datum>)],
    options: &Options,
) -> Vec<i64> {
    let table = Table::open(catalog::refresh().message);
    table.skip_indexes(&unneeded_indexes(template));
    let due_at = template[Column::DueAt as usize].map(|at| at.value() as Timestamp);
    let group = options.group_key.as_ref().filter(|_| queue.settings.keeps_order() && due_at.is_none());
    let group = group.map(|key| Group { queue: queue.id, key: key.bytes().to_vec() });
    let (mut ids, mut counts) = (Vec::with_capacity(messages.len()), Counts::default());
    let mut lane = if due_at.is_some() { Lane::Delayed } else { Lane::Ready };
    if group.as_ref().is_some_and(|group| group.has_our_own(&table, options.priority)) {
        lane = Lane::Blocked;
    }
    for page in messages.chunks(PAGE) {
        pg_sys::check_for_interrupts!();
        let rows: Vec<_> = page
            .iter()
            .map(|&(content, headers)| {
                let id = id::next();
                ids.push(id);
                counts += Counts { pushed: 1, ..Counts::message(lane, NOT_LEASED) };
                template[Column::Lane as usize] = Some(lane.datum());
                if lane == Lane::Ready {
                    news::ready(queue.id, options.priority, id);
                }
                if group.is_some() {
                    lane = Lane::Blocked; // the others wait behind the first
                }
                with_content(template, id, content, headers)
            })
            .collect();
        match &rows[..] {
            [row] => table.insert(row),
            rows => table.insert_all(rows),
        }
    }
    if let Some(at) = due_at {
        news::delayed(queue.id, at);
    }
    counter::add(queue.id, counts);
    ids
}

/// Indexes in which no message of these columns has an entry.
fn unneeded_indexes(row: &Row) -> Vec<Oid> {
    let catalog = catalog::known();
    let partial = [
        (Column::DueAt, catalog.message_due),
        (Column::ExpiresAt, catalog.message_expires),
        (Column::GroupKey, catalog.message_group),
        (Column::DedupKey, catalog.message_key),
    ];
    partial
        .into_iter()
        .filter(|(column, _)| row[*column as usize].is_none())
        .map(|(_, index)| index)
        .collect()
}

/// The columns of a message.
pub type Row = [Option<Datum>; COLUMNS];

fn with_content(template: &Row, id: i64, content: Content, headers: Option<Datum>) -> Row {
    let mut row = *template;
    row[Column::Id as usize] = Some(id.into());
    row[Column::Headers as usize] = headers;
    match content {
        Content::Payload(payload) => row[Column::Payload as usize] = Some(payload),
        Content::Body(body) => row[Column::Body as usize] = Some(body),
    }
    row
}

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
