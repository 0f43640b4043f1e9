//! `pgq_publish`, `pgq_publish_batch`.

use crate::api::call::{Answer, Call};
use crate::api::produce::{check_keys, options};
use crate::api::topic::checked_words;
use crate::engine::push::message::Content;
use crate::engine::table::topic;
use crate::engine::topic::publish::{Publication, publish};
use crate::error::{Error, Result};
use crate::pg::argument::{JsonbArray, TextArray, whole};
use crate::pg::datum::Jsonb;
use crate::pg::memory::{collected, room_for};
use crate::pg::session::check_writable;
use crate::value::pattern::check_key;
use crate::value::right::Right;
use crate::worker::start;

crate::export_to_sql!(pgq_publish, pgq_publish_batch);

/// Place of `headers` among the arguments; the options of a push follow.
const HEADERS: usize = 3;

fn pgq_publish(call: &Call) -> Answer {
    let content = Content::Payload(call.required(1, "payload")?);
    let routing_key = routing_key(call.required(2, "routing_key")?, "routing_key")?;
    let headers = call.jsonb(HEADERS);
    check_headers(headers)?;
    publish_checked(call, "pgq_publish", &[Publication { routing_key, content, headers }])
}

fn pgq_publish_batch(call: &Call) -> Answer {
    let JsonbArray(payloads) = call.required(1, "payloads")?;
    let contents = whole(payloads, "payloads", Content::Payload)?;
    let keys = routing_keys(call, contents.len())?;
    let headers = headers(call, contents.len())?;
    let all = contents.into_iter().zip(keys).zip(headers);
    let publications: Vec<_> =
        collected(all.map(|((content, routing_key), headers)| Publication { routing_key, content, headers }));
    publish_checked(call, "pgq_publish_batch", &publications)
}

/// Reads headers for each message; none are given: there are none.
fn headers(call: &Call, messages: usize) -> Result<Vec<Option<Jsonb<'_>>>> {
    let headers = match call.jsonb_array(HEADERS, "headers")? {
        Some(headers) => headers,
        None => collected((0..messages).map(|_| None)),
    };
    if headers.len() != messages {
        return Err(Error::wrong_length("headers", messages, headers.len()));
    }
    headers.iter().try_for_each(|&headers| check_headers(headers))?;
    Ok(headers)
}

/// An error unless headers are an object: the topic and the routing key are added to it.
fn check_headers(headers: Option<Jsonb>) -> Result<()> {
    if headers.is_none_or(Jsonb::is_object) {
        return Ok(());
    }
    Err(Error::invalid("headers", "must be an object", "Pass a JSON object, such as {\"source\": \"shop\"}."))
}

/// The number of messages that were pushed is for the owner of the topic: others learn nothing of the queues.
fn publish_checked(call: &Call, function: &str, publications: &[Publication]) -> Answer {
    let name = call.name(0, "topic")?;
    let options = options(call, HEADERS + 1)?;
    check_writable(function)?;
    check_keys(&options, publications.len())?;
    let topic = topic::existing(&name, Right::Publish)?;
    start::ensure_running();
    let pushed = publish(&topic, publications, &options)?;
    Ok(topic.allows(Right::Own).then(|| pushed.into()))
}

/// Reads a routing key for each message; none are given: all are empty.
fn routing_keys(call: &Call, messages: usize) -> Result<Vec<Vec<u8>>> {
    let Some(TextArray(given)) = call.optional(2, "routing_keys")? else {
        return Ok(collected((0..messages).map(|_| Vec::new())));
    };
    if given.len() != messages {
        return Err(Error::wrong_length("routing_keys", messages, given.len()));
    }
    let mut keys = Vec::new();
    room_for(&mut keys, messages);
    for key in given {
        keys.push(routing_key(key.ok_or_else(|| Error::null("routing_keys"))?, "routing_keys")?);
    }
    Ok(keys)
}

fn routing_key(key: Vec<u8>, argument: &str) -> Result<Vec<u8>> {
    const HINT: &str = "Write words between dots: 'order.eu.paid'; an empty key has none.";
    checked_words(key, argument, check_key, "must have no * or #", HINT)
}
