//! Which messages a call asks for, and what happens to them.

use crate::engine::table::name::Name;
use crate::engine::table::row::TableRow;
use crate::pg::datum::Jsonb;
use crate::value::duration::Millis;
use crate::value::timestamp::Timestamp;

/// Which messages, and how many.
pub struct Request<'a> {
    pub max: usize,
    /// Only messages whose headers contain this.
    pub filter: Option<Jsonb<'a>>,
    /// Newest first. None: as the queue is set.
    pub lifo: Option<bool>,
    /// Only messages of this group.
    pub group_key: Option<Name>,
}

impl Request<'_> {
    /// Asks for up to `max` messages, whichever come first.
    pub fn any(max: usize) -> Self {
        Self { max, filter: None, lifo: None, group_key: None }
    }
}

/// The effect of a reserve on a message that it hands out.
#[derive(Clone, Copy)]
pub enum Take {
    /// It is leased, for this long if given.
    Lease(Option<Millis>),
    /// It is removed.
    Remove,
    /// It is removed, and no consumer gets it.
    Drop,
    /// Nothing happens to it.
    Look,
}

/// A message that is handed out, its row still under the scan.
pub struct Taken<'a> {
    pub row: &'a TableRow<'a>,
    pub delivery: i32,
    /// None: the message was removed.
    pub leased_until: Option<Timestamp>,
}
