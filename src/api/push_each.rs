//! `pgq_push_each`: messages with options of their own, as a JSON array of objects.

use crate::api::call::{Answer, Call};
use crate::api::produce::{checked_max_deliveries, due, on_duplicate_of, priority};
use crate::engine::push::message::{Content, Keys, Message, Options, Run};
use crate::engine::push::{check, push_runs};
use crate::engine::queue::create;
use crate::engine::table::name::Name;
use crate::error::{Error, Result};
use crate::pg::argument::{bad_span, moment_of, span_of};
use crate::pg::json_objects::Field;
use crate::pg::memory::{collected, room_for};
use crate::pg::session::check_writable;
use crate::value::duration::Millis;
use crate::worker::start;

crate::export_to_sql!(pgq_push_each);

/// The fields of a message: the arguments of `pgq_push`.
const FIELDS: [&str; 11] = [
    "payload",
    "headers",
    "priority",
    "delay",
    "deliver_at",
    "ttl",
    "group_key",
    "dedup_key",
    "on_duplicate",
    "lease",
    "max_deliveries",
];

fn pgq_push_each(call: &Call) -> Answer {
    let name = call.name(0, "queue")?;
    let mut batches = Vec::new();
    // Of more fields one is unknown.
    call.each_object(1, "messages", FIELDS.len() + 1, |number, fields| {
        let draft = Draft::read(fields).map_err(|error| error.of_message(number))?;
        add(&mut batches, draft);
        Ok(())
    })?;
    check_writable("pgq_push_each")?;
    let mut rows = call.rows()?;
    if !batches.is_empty() {
        let queue = create::for_push(&name)?;
        start::ensure_running();
        batches.iter_mut().for_each(Batch::give_keys);
        let runs = collected(batches.iter().map(Batch::run));
        for (id, _) in push_runs(&queue, &runs)? {
            rows.push(&[Some(id.into())]);
        }
    }
    rows.done()
}

/// Messages that follow each other and have the same options, but for their keys.
struct Batch {
    options: Options,
    messages: Vec<Message>,
    keys: Vec<Option<Name>>,
}

impl Batch {
    fn give_keys(&mut self) {
        if self.keys.iter().any(Option::is_some) {
            self.options.keys = Some(Keys::Each(std::mem::take(&mut self.keys)));
        }
    }

    fn run(&self) -> Run<'_> {
        Run { messages: &self.messages, options: &self.options }
    }
}

fn add(batches: &mut Vec<Batch>, draft: Draft) {
    let Draft { message, options, key } = draft;
    match batches.last_mut().filter(|batch| batch.options == options) {
        Some(batch) => {
            room_for(&mut batch.messages, 1);
            room_for(&mut batch.keys, 1);
            batch.messages.push(message);
            batch.keys.push(key);
        }
        None => {
            room_for(batches, 1);
            batches.push(Batch { options, messages: vec![message], keys: vec![key] });
        }
    }
}

/// One message as it was given.
struct Draft {
    message: Message,
    options: Options,
    key: Option<Name>,
}

impl Draft {
    fn read(fields: &[Field]) -> Result<Self> {
        let (mut payload, mut headers, mut key) = (None, None, None);
        let (mut delay, mut deliver_at) = (None, None);
        let mut options = Options::default();
        for &field in fields {
            let name = field_name(field)?;
            if field.is_null() && name != "payload" {
                continue; // as if it were left out
            }
            match name {
                "payload" => payload = Some(field.jsonb()),
                "headers" => headers = Some(field.jsonb()),
                "priority" => options.priority = priority(integer(field, name)?)?,
                "delay" => delay = Some(span(field, name)?),
                "deliver_at" => deliver_at = Some(moment_of(&text(field, name)?, name)?),
                "ttl" => options.ttl = Some(positive(field, name)?),
                "group_key" => options.group_key = Some(Name::check(text(field, name)?, name)?),
                "dedup_key" => key = Some(Name::check(text(field, name)?, name)?),
                "on_duplicate" => {
                    options.on_duplicate = on_duplicate_of(&String::from_utf8_lossy(&text(field, name)?))?;
                }
                "lease" => options.lease = Some(positive(field, name)?),
                _ => options.max_deliveries = Some(checked_max_deliveries(integer(field, name)?)?),
            }
        }
        options.due = due(delay, deliver_at)?;
        let payload = payload.ok_or_else(|| Error::null("payload"))?;
        let message = (Content::Payload(payload), headers);
        check(&message)?;
        Ok(Self { message, options, key })
    }
}

fn field_name(field: Field) -> Result<&'static str> {
    FIELDS
        .into_iter()
        .find(|name| name.as_bytes() == field.key)
        .ok_or_else(|| Error::unknown_field(&String::from_utf8_lossy(field.key), &FIELDS))
}

fn text(field: Field, name: &str) -> Result<Vec<u8>> {
    field.text().ok_or_else(|| Error::invalid(name, "must be a string", "Write it in quotes."))
}

fn integer(field: Field, name: &str) -> Result<i64> {
    field.integer().ok_or_else(|| {
        Error::invalid(name, "must be an integer", "Write it without quotes, and without a fraction.")
    })
}

fn span(field: Field, name: &str) -> Result<Millis> {
    span_of(&text(field, name)?, name)
}

fn positive(field: Field, name: &str) -> Result<Millis> {
    span(field, name)?.positive().map_err(|bad| bad_span(name, bad))
}
