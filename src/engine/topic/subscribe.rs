//! Subscriptions: which queues are subscribed to a topic, with which patterns.
//!
//! The owner of a queue subscribes it, if the owner has the right `subscribe` on the topic. That right is asked
//! for again at each publish (`publish`), so a subscription lasts as long as it does.

use std::rc::Rc;

use pgrx::pg_sys::{self, Datum, Oid};

use crate::engine::queue::create;
use crate::engine::table::access::Access;
use crate::engine::table::name::Name;
use crate::engine::table::queue::{self, Queue};
use crate::engine::table::statement::Statement;
use crate::engine::table::topic::{self, Topic};
use crate::error::{Error, Result};
use crate::pg::datum::text_datum;
use crate::pg::role;
use crate::value::right::Right;

static KEEP: Statement = Statement::new(
    include_str!("../../../sql/query/keep_topic_and_queue.sql"),
    &[pg_sys::INT4OID, pg_sys::INT4OID],
);
static SUBSCRIBE: Statement = Statement::new(
    include_str!("../../../sql/query/subscribe.sql"),
    &[pg_sys::INT4OID, pg_sys::INT4OID, pg_sys::TEXTOID],
);
static UNSUBSCRIBE: Statement = Statement::new(
    include_str!("../../../sql/query/unsubscribe.sql"),
    &[pg_sys::INT4OID, pg_sys::INT4OID, pg_sys::TEXTOID],
);
static LIST: Statement =
    Statement::new(include_str!("../../../sql/query/list_subscriptions.sql"), &[pg_sys::TEXTOID]);

/// The queue of the caller with this name, to be subscribed to a topic. Makes it if it does not exist.
pub fn queue_for(topic: &Topic, name: &Name) -> Result<Rc<Queue>> {
    if queue::named(name)?.is_none() {
        check_open_to(topic, role::caller())?; // a queue number drawn in vain is lost
    }
    create::for_owner(name)
}

/// Subscribes a queue of the caller to a topic. False if it is subscribed with this pattern already.
pub fn subscribe(topic: &Topic, queue: &Queue, pattern: &[u8]) -> Result<bool> {
    check_rights(topic, queue)?;
    let is_there = KEEP.run(&[Some(topic.id.into()), Some(queue.id.into())], |_| {}) > 0;
    // That may have waited, and something else may have the name by now.
    let (topic_now, queue_now) = (topic::named(&topic.name)?, queue::existing(&queue.name, Right::Own)?);
    check_rights(&topic_now, &queue_now)?;
    if !is_there || (topic_now.id, queue_now.id) != (topic.id, queue.id) {
        return Err(Error::subscription_was_dropped());
    }
    let args = [Some(topic.id.into()), Some(queue.id.into()), Some(text_datum(pattern))];
    Ok(SUBSCRIBE.run(&args, |_| {}) > 0)
}

/// An error unless the caller owns the queue, and its owner may subscribe queues to the topic.
///
/// A member of the owner has the owner's rights. A superuser needs none, but the owner does: publishers would
/// pass the queue over.
fn check_rights(topic: &Topic, queue: &Queue) -> Result<()> {
    queue.check(Right::Own)?;
    check_open_to(topic, queue.owner())
}

fn check_open_to(topic: &Topic, owner: Oid) -> Result<()> {
    if topic.is_open_to(owner) {
        return Ok(());
    }
    Err(Error::not_allowed_on_topic(&topic.name.to_string(), Right::Subscribe))
}

/// Removes one pattern of a queue, or all, and returns how many there were. The owner of the topic may do that,
/// and the owner of the queue.
pub fn unsubscribe(topic: &Topic, queue: &Queue, pattern: Option<&[u8]>) -> Result<i64> {
    check_may_unsubscribe(topic, queue)?;
    let args = [Some(topic.id.into()), Some(queue.id.into()), pattern.map(text_datum)];
    let removed = UNSUBSCRIBE.run(&args, |_| {});
    if removed > 0 {
        // That may have waited. If topic or queue are gone, so were its subscriptions, and it has removed none.
        let queue = queue::by_id(queue.id)?.ok_or_else(Error::subscription_was_dropped)?;
        check_may_unsubscribe(&*topic::named(&topic.name)?, &queue)?;
    }
    Ok(removed as i64)
}

fn check_may_unsubscribe(topic: &Topic, queue: &Queue) -> Result<()> {
    if topic.allows(Right::Own) { Ok(()) } else { queue.check(Right::Own) }
}

/// Shows the subscriptions to one topic or all: name of the topic, name of the queue, pattern, whether it is
/// active. The caller owns the topic, or has a right on the queue.
pub fn list(topic: Option<&Name>, mut each: impl FnMut(&[Option<Datum>])) {
    /// Columns for the check of rights on the topic, and then on the queue.
    const HEAD: usize = 3;
    LIST.run(&[topic.map(Name::datum)], |row| {
        let (topic, queue) = (Access::from_row(row, 0), Access::from_row(row, HEAD));
        if topic.allows_caller(Right::Own) || queue.allows_caller(Right::Monitor) {
            let mut shown = row.all().split_off(2 * HEAD);
            shown.push(Some(topic.allows(queue.owner(), Right::Subscribe).into()));
            each(&shown);
        }
    });
}
