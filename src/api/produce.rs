//! `pgq_push`, `pgq_push_batch`, `pgq_push_bytes`, `pgq_push_bytes_batch`.

use pgrx::pg_sys::{Datum, TimestampTz};

use crate::api::call::{Answer, Call};
use crate::engine::push::message::{Content, Due, Keys, OnDuplicate, Options, Outcome};
use crate::engine::push::push;
use crate::engine::queue::create;
use crate::engine::table::name::Name;
use crate::error::{Error, Result};
use crate::pg::argument::{ByteaArray, JsonbArray, TextArray, whole};
use crate::pg::datum::text_datum;
use crate::pg::memory::{collected, room_for};
use crate::pg::session::check_writable;
use crate::value::duration::Millis;
use crate::worker::start;

crate::export_to_sql!(pgq_push, pgq_push_result, pgq_push_batch, pgq_push_bytes, pgq_push_bytes_batch);

fn pgq_push(call: &Call) -> Answer {
    let payload = call.required(1, "payload")?;
    push_one(call, "pgq_push", Content::Payload(payload))
}

fn pgq_push_result(call: &Call) -> Answer {
    let payload = call.required(1, "payload")?;
    let headers = call.optional(2, "headers")?;
    let mut rows = call.rows()?;
    for (id, outcome) in push_checked(call, "pgq_push_result", &[(Content::Payload(payload), headers)])? {
        rows.push(&[Some(id.into()), Some(text_datum(word(outcome).as_bytes()))]);
    }
    rows.done()
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pushed => "pushed",
        Outcome::Ignored => "ignored",
        Outcome::Replaced => "replaced",
    }
}

fn pgq_push_bytes(call: &Call) -> Answer {
    let body = call.required(1, "body")?;
    push_one(call, "pgq_push_bytes", Content::Body(body))
}

fn pgq_push_batch(call: &Call) -> Answer {
    let JsonbArray(payloads) = call.required(1, "payloads")?;
    let contents = whole(payloads, "payloads", Content::Payload)?;
    push_many(call, "pgq_push_batch", contents)
}

fn pgq_push_bytes_batch(call: &Call) -> Answer {
    let ByteaArray(bodies) = call.required(1, "bodies")?;
    let contents = whole(bodies, "bodies", Content::Body)?;
    push_many(call, "pgq_push_bytes_batch", contents)
}

fn push_one(call: &Call, function: &str, content: Content) -> Answer {
    let headers = call.optional(2, "headers")?;
    let pushed = push_checked(call, function, &[(content, headers)])?;
    Ok(pushed.first().map(|&(id, _)| id.into()))
}

fn push_many(call: &Call, function: &str, contents: Vec<Content>) -> Answer {
    let headers = match call.optional::<JsonbArray>(2, "headers")? {
        Some(JsonbArray(headers)) => headers,
        None => collected(contents.iter().map(|_| None)),
    };
    if headers.len() != contents.len() {
        return Err(Error::wrong_length("headers", contents.len(), headers.len()));
    }
    let messages: Vec<_> = collected(contents.into_iter().zip(headers));
    let pushed = push_checked(call, function, &messages)?;
    let mut rows = call.rows()?;
    for (id, _) in pushed {
        rows.push(&[Some(id.into())]);
    }
    rows.done()
}

fn push_checked(
    call: &Call,
    function: &str,
    messages: &[(Content, Option<Datum>)],
) -> Result<Vec<(i64, Outcome)>> {
    let name = call.name(0, "queue")?;
    let options = options(call, 3)?;
    check_writable(function)?;
    check_keys(&options, messages.len())?;
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    let queue = create::for_push(&name)?;
    start::ensure_running();
    push(&queue, messages, &options)
}

/// Reads the options of a push, which are arguments from `first` on.
pub fn options(call: &Call, first: usize) -> Result<Options> {
    let on_duplicate = on_duplicate(call, first + 6)?;
    Ok(Options {
        priority: priority(call.required(first, "priority")?)?,
        due: due(call.optional(first + 1, "delay")?, call.optional(first + 2, "deliver_at")?)?,
        ttl: call.span(first + 3, "ttl")?,
        lease: call.span(first + 7, "lease")?,
        max_deliveries: max_deliveries(call, first + 8)?,
        group_key: call.optional_name(first + 4, "group_key")?,
        keys: keys(call, first)?,
        on_duplicate,
    })
}

/// Reads one key for all messages, or one for each message of a batch.
fn keys(call: &Call, first: usize) -> Result<Option<Keys>> {
    let one = call.optional_name(first + 5, "dedup_key")?;
    let each = call.optional::<TextArray>(first + 9, "dedup_keys")?;
    match (one, each) {
        (Some(_), Some(_)) => Err(Error::invalid(
            "dedup_keys",
            "must not be given together with \"dedup_key\"",
            "Give one of the two.",
        )),
        (Some(key), None) => Ok(Some(Keys::One(key))),
        (None, Some(TextArray(keys))) => {
            let check = |key: Option<Vec<u8>>| key.map(|key| Name::check(key, "dedup_keys")).transpose();
            let mut checked = Vec::new();
            room_for(&mut checked, keys.len());
            for key in keys {
                checked.push(check(key)?);
            }
            Ok(Some(Keys::Each(checked)))
        }
        (None, None) => Ok(None),
    }
}

pub fn check_keys(options: &Options, messages: usize) -> Result<()> {
    match &options.keys {
        Some(Keys::Each(keys)) if keys.len() != messages => {
            Err(Error::wrong_length("dedup_keys", messages, keys.len()))
        }
        _ => Ok(()),
    }
}

/// Converts a priority to the type of its column; an error if it does not fit.
pub fn priority(priority: i64) -> Result<i16> {
    i16::try_from(priority).map_err(|_| {
        Error::invalid(
            "priority",
            "must lie between -32768 and 32767",
            "Smaller runs first; 0 is the default.",
        )
    })
}

pub fn due(delay: Option<Millis>, deliver_at: Option<TimestampTz>) -> Result<Due> {
    match (delay, deliver_at) {
        (None, None) | (Some(Millis::ZERO), None) => Ok(Due::Now),
        (Some(delay), None) => Ok(Due::After(delay)),
        (None, Some(moment)) => finite(moment).map(Due::At),
        (Some(_), Some(_)) => Err(Error::invalid(
            "deliver_at",
            "must not be given together with \"delay\"",
            "Give one of the two.",
        )),
    }
}

/// Returns a delivery time; an error if it is infinite.
pub fn finite(deliver_at: TimestampTz) -> Result<TimestampTz> {
    match deliver_at {
        i64::MIN | i64::MAX => Err(Error::invalid(
            "deliver_at",
            "must not be infinite",
            "Give a moment; one in the past means now.",
        )),
        moment => Ok(moment),
    }
}

pub fn max_deliveries(call: &Call, n: usize) -> Result<Option<i32>> {
    call.optional(n, "max_deliveries")?.map(checked_max_deliveries).transpose()
}

pub fn checked_max_deliveries(max: i64) -> Result<i32> {
    let problem = |problem| {
        Error::invalid("max_deliveries", problem, "0 means no limit; null means as the queue is set.")
    };
    if max < 0 {
        return Err(problem("must not be negative"));
    }
    i32::try_from(max).map_err(|_| problem("must be at most 2147483647"))
}

pub fn on_duplicate(call: &Call, n: usize) -> Result<OnDuplicate> {
    on_duplicate_of(&call.required::<String>(n, "on_duplicate")?)
}

pub fn on_duplicate_of(word: &str) -> Result<OnDuplicate> {
    OnDuplicate::of(word).ok_or_else(|| Error::unknown_word("on_duplicate", word, &OnDuplicate::WORDS))
}
