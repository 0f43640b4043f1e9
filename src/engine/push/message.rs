//! The messages of a push, and its options.

use pgrx::pg_sys::Datum;

use crate::engine::table::message::{COLUMNS, Column, Lane, NOT_LEASED};
use crate::engine::table::name::Name;
use crate::engine::table::queue::Queue;
use crate::pg::session::now;
use crate::value::duration::Millis;
use crate::value::timestamp::Timestamp;

/// The content of a message: a payload or a body.
#[derive(Clone, Copy)]
pub enum Content {
    Payload(Datum),
    Body(Datum),
}

/// When a message may first be delivered.
#[derive(Clone, Copy, Default, PartialEq)]
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

/// The options that messages of a push share.
#[derive(Clone, Default, PartialEq)]
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

/// Messages that follow each other in a push and have the same options.
pub struct Run<'a> {
    pub messages: &'a [Message],
    pub options: &'a Options,
}

/// The unique keys of the messages of one run.
#[derive(Clone, PartialEq)]
pub enum Keys {
    /// All messages have the same key.
    One(Name),
    /// Each message has its own key, or none.
    Each(Vec<Option<Name>>),
}

impl Keys {
    pub fn of(&self, n: usize) -> Option<&Name> {
        match self {
            Self::One(key) => Some(key),
            Self::Each(keys) => keys.get(n)?.as_ref(),
        }
    }
}

/// The effect of a push when a message with its key waits already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDuplicate {
    #[default]
    Ignore,
    Replace,
    Reject,
}

/// The result of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Pushed,
    /// Another message with the key waits, or the key was seen lately. The id is that message's.
    Ignored,
    /// The message took the place of the waiting one with its key, and has that one's id.
    Replaced,
}

/// The content of a message and its headers.
pub type Message = (Content, Option<Datum>);

/// The columns of a message.
pub type RowValues = [Option<Datum>; COLUMNS];

/// A row with all columns but the id and the content.
pub fn template(queue: &Queue, options: &Options) -> RowValues {
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
