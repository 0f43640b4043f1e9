//! `pgq_create_topic`, `pgq_drop_topic`, `pgq_list_topics`, `pgq_subscribe`, `pgq_unsubscribe`,
//! `pgq_list_subscriptions`, `pgq_grant_topic`, `pgq_revoke_topic`, `pgq_list_topic_grants`,
//! `pgq_set_topic_owner`.

use std::rc::Rc;

use crate::api::call::{Answer, Call};
use crate::api::rights::{role, role_and_right};
use crate::engine::table::queue;
use crate::engine::table::topic::{self, Topic};
use crate::engine::topic::{manage, subscribe};
use crate::error::{Error, Result};
use crate::pg::session::check_writable;
use crate::value::pattern::{BadWord, LONGEST, check_pattern};
use crate::value::right::Right;

crate::export_to_sql!(
    pgq_create_topic,
    pgq_drop_topic,
    pgq_list_topics,
    pgq_subscribe,
    pgq_unsubscribe,
    pgq_list_subscriptions,
    pgq_grant_topic,
    pgq_revoke_topic,
    pgq_list_topic_grants,
    pgq_set_topic_owner,
);

fn pgq_create_topic(call: &Call) -> Answer {
    let name = call.name(0, "topic")?;
    check_writable("pgq_create_topic")?;
    Ok(Some(manage::create(&name)?.into()))
}

fn pgq_drop_topic(call: &Call) -> Answer {
    let topic = own_topic(call, "pgq_drop_topic")?;
    Ok(Some(manage::drop(&topic)?.into()))
}

fn own_topic(call: &Call, function: &str) -> Result<Rc<Topic>> {
    let name = call.name(0, "topic")?;
    check_writable(function)?;
    topic::existing(&name, Right::Own)
}

fn pgq_list_topics(call: &Call) -> Answer {
    let mut rows = call.rows()?;
    manage::list(|row| rows.push(row));
    rows.done()
}

fn pgq_subscribe(call: &Call) -> Answer {
    let (name, queue) = (call.name(0, "topic")?, call.name(1, "queue")?);
    let pattern = pattern(call.required(2, "pattern")?)?;
    check_writable("pgq_subscribe")?;
    let topic = topic::named(&name)?;
    let queue = subscribe::queue_for(&topic, &queue)?;
    Ok(Some(subscribe::subscribe(&topic, &queue, &pattern)?.into()))
}

fn pgq_unsubscribe(call: &Call) -> Answer {
    let (name, queue) = (call.name(0, "topic")?, call.name(1, "queue")?);
    let pattern = call.optional(2, "pattern")?.map(pattern).transpose()?;
    check_writable("pgq_unsubscribe")?;
    let topic = topic::named(&name)?;
    let queue = queue::named(&queue)?.ok_or_else(|| Error::no_such_queue(&queue.to_string()))?;
    Ok(Some(subscribe::unsubscribe(&topic, &queue, pattern.as_deref())?.into()))
}

fn pattern(pattern: Vec<u8>) -> Result<Vec<u8>> {
    const HINT: &str = "Write words between dots: 'order.*.paid'; * is one word, # any number.";
    let wildcard = "must have its wildcards as words of their own";
    checked_words(pattern, "pattern", check_pattern, wildcard, HINT)
}

/// A routing key or pattern, if it is not too long and its words pass the check.
pub fn checked_words(
    text: Vec<u8>,
    argument: &str,
    check: impl FnOnce(&[u8]) -> std::result::Result<(), BadWord>,
    wildcard: &str,
    hint: &str,
) -> Result<Vec<u8>> {
    if text.len() > LONGEST {
        return Err(Error::text_too_long(argument, text.len(), LONGEST));
    }
    check(&text).map_err(|bad| {
        let problem = match bad {
            BadWord::Empty => "must have no empty word",
            BadWord::Wildcard => wildcard,
        };
        Error::invalid(argument, problem, hint)
    })?;
    Ok(text)
}

fn pgq_list_subscriptions(call: &Call) -> Answer {
    let name = call.optional_name(0, "topic")?;
    name.as_ref().map(topic::named).transpose()?;
    let mut rows = call.rows()?;
    subscribe::list(name.as_ref(), |row| rows.push(row));
    rows.done()
}

fn pgq_grant_topic(call: &Call) -> Answer {
    let (role, right) = role_and_right(call, Right::of_topics, &Right::OF_TOPICS)?;
    let topic = own_topic(call, "pgq_grant_topic")?;
    Ok(Some(manage::grant(&topic, &role, right)?.into()))
}

fn pgq_revoke_topic(call: &Call) -> Answer {
    let (role, right) = role_and_right(call, Right::of_topics, &Right::OF_TOPICS)?;
    let topic = own_topic(call, "pgq_revoke_topic")?;
    Ok(Some(manage::revoke(&topic, &role, right)?.into()))
}

fn pgq_list_topic_grants(call: &Call) -> Answer {
    let name = call.optional_name(0, "topic")?;
    if let Some(name) = &name {
        topic::existing(name, Right::Own)?;
    }
    let mut rows = call.rows()?;
    manage::list_grants(name.as_ref(), |row| rows.push(row));
    rows.done()
}

fn pgq_set_topic_owner(call: &Call) -> Answer {
    let owner = role(call, 1, "owner")?;
    let topic = own_topic(call, "pgq_set_topic_owner")?;
    Ok(Some(manage::set_owner(&topic, &owner)?.into()))
}
