//! Events: messages that tell of the retries and deaths in another queue.
//!
//! An event is a message like any other, pushed in the transaction it tells of. It is pushed by the queue's
//! owner, whether a call of some role or the worker let the message die. So what other roles may see of the
//! queue goes only where its owner has a right.
//!
//! Invariant: no event of a queue goes to one whose own events lead back to that queue, directly or over
//! others.

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use pgrx::pg_sys::{self, Datum};

use crate::engine::queue::{counter, create};
use crate::engine::table::counts::Counts;
use crate::engine::table::queue::{self, Queue};
use crate::engine::table::statement::Statement;
use crate::engine::table::{begun, message_id};
use crate::error::{Error, Result};
use crate::guc;
use crate::pg::datum::{i32_array, i64_array, text_datum, timestamp_array};
use crate::pg::memory::collected;
use crate::pg::session::now;
use crate::value::right::Right;
use crate::value::timestamp::Timestamp;

static PUSH: Statement = Statement::new(
    include_str!("../../../sql/query/push_events.sql"),
    &[
        pg_sys::INT4OID,
        pg_sys::TEXTOID,
        pg_sys::INT8ARRAYOID,
        pg_sys::INT4ARRAYOID,
        pg_sys::TIMESTAMPTZARRAYOID,
        pg_sys::TEXTOID,
        pg_sys::TEXTOID,
        pg_sys::TIMESTAMPTZOID,
    ],
);

/// The longest chain of queues that tell each other, from the queue on whose setting is made.
const LONGEST_CHAIN: usize = 30;

/// How far an event's way is followed. Owners of queues before and behind may have made the chain longer than
/// one setting could, and circles of concurrent changes too.
const LONGEST_WAY: usize = 10 * LONGEST_CHAIN;

/// What happened to a message.
pub struct Event {
    pub queue: i32,
    pub id: i64,
    pub delivery: i32,
    /// None: the message died.
    pub retry_at: Option<Timestamp>,
}

/// Pushes events of retries, or of deaths for a reason, each to the queue that its own queue is set to tell.
///
/// A queue that is gone, or whose settings are broken, tells no other.
pub fn tell(events: &[Event], reason: Option<&str>, error: Datum) {
    let mut by_queue: BTreeMap<i32, Vec<&Event>> = BTreeMap::new();
    for event in events {
        by_queue.entry(event.queue).or_default().push(event);
    }
    for (queue, events) in by_queue {
        let Ok(Some(queue)) = queue::by_id(queue) else { continue };
        let Ok(Some(target)) = target(&queue) else { continue };
        if way_on(&queue, &target, LONGEST_WAY) == Way::Back {
            warn_of_loss(&queue, "they would come back to it");
        } else if target.is_open_to(queue.owner()) {
            push(&queue, &target, &events, reason, error);
        } else {
            warn_of_loss(&queue, &format!("its owner has no right on queue \"{}\"", target.name));
        }
    }
}

/// Not to a publisher whose message has driven a dead one out of a queue of others.
fn warn_of_loss(queue: &Queue, reason: &str) {
    if queue.allows(Right::Monitor) {
        pgrx::warning!("events of queue \"{}\" are lost: {reason}", queue.name);
    }
}

fn push(queue: &Queue, target: &Queue, events: &[&Event], reason: Option<&str>, error: Datum) {
    let ids: Vec<i64> = collected(events.iter().map(|event| event.id));
    let deliveries: Vec<i32> = collected(events.iter().map(|event| event.delivery));
    // All retries have a time, and no death has one.
    let retries: Option<Vec<Timestamp>> = events.iter().map(|event| event.retry_at).collect();
    message_id::prepare();
    let pushed = PUSH.run(
        &[
            Some(target.id.into()),
            Some(queue.name.datum()),
            Some(i64_array(&ids)),
            Some(i32_array(&deliveries)),
            retries.as_deref().map(timestamp_array),
            reason.map(|reason| text_datum(reason.as_bytes())),
            Some(error),
            target.settings.ttl.map(|ttl| (now() + ttl.as_micros()).into()),
        ],
        |_| {},
    );
    counter::add(target.id, Counts { pushed: pushed as i64, ..Counts::default() });
    queue::hold(target.id).unwrap_or_else(|error| error.raise());
}

/// Where events of events go.
#[derive(PartialEq, Eq)]
enum Way {
    /// They come to an end.
    Ends,
    /// They come back to the queue, directly or over others: each event that dies would cause the next,
    /// without end.
    Back,
    /// Over more queues than were followed.
    TooLong,
}

/// Follows the events that a queue pushes to its target, over up to `most` queues.
///
/// This is asked at each event: queues that tell each other can be changed at the same moment, and are known
/// by name.
fn way_on(queue: &Queue, target: &Rc<Queue>, most: usize) -> Way {
    let (mut seen, mut next) = (HashSet::new(), Some(Rc::clone(target)));
    while let Some(target) = next {
        if target.id == queue.id {
            return Way::Back;
        }
        if seen.len() == most {
            return Way::TooLong;
        }
        // Other queues may tell each other in a circle that does not include this one.
        if !seen.insert(target.id) {
            return Way::Ends;
        }
        let name = target.events_to().ok().flatten();
        next = name.and_then(|name| queue::named(&name).ok().flatten());
    }
    Way::Ends
}

/// Checks the queue that this one tells. It must exist, or be one that a push would make. The caller and this
/// queue's owner must both have a right on it. Its events must not lead back to this queue.
pub fn check_target(queue: &Queue) -> Result<()> {
    if let Some(name) = queue.events_to()?
        && !guc::auto_create()
        && queue::named(&name)?.is_none()
    {
        return Err(Error::no_such_queue(&name.to_string()));
    }
    match target(queue)? {
        Some(target) if way_on(queue, &target, LONGEST_CHAIN) != Way::Ends => Err(Error::setting(
            "events_to",
            &format!("must not lead back to the queue over others, nor over more than {LONGEST_CHAIN}"),
        )),
        Some(target) if !(target.allows(Right::Push) && target.is_open_to(queue.owner())) => {
            Err(Error::not_allowed(&target.name.to_string(), Right::Push))
        }
        _ => Ok(()),
    }
}

/// The queue that this one tells, made for this one's owner if it is not there.
fn target(queue: &Queue) -> Result<Option<Rc<Queue>>> {
    let Some(name) = queue.events_to()? else { return Ok(None) };
    if let Some(target) = queue::named(&name)? {
        return Ok(Some(target));
    }
    if !begun::join(&name, queue.owner(), None) {
        create::create_for(&name, queue.owner(), serde_json::json!({}))?;
    }
    queue::named(&name)
}
