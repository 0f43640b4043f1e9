//! Publishing: a message is pushed into each queue that is subscribed with a pattern which its routing key
//! matches. All these pushes are part of the caller's transaction; the first that fails, fails the call.

use std::collections::BTreeMap;

use pgrx::pg_sys::Datum;

use crate::engine::capture::jsonb::{Object, Value};
use crate::engine::push::message::{Content, Keys, Message, Options};
use crate::engine::push::{check, push};
use crate::engine::table::queue::{self, Queue};
use crate::engine::table::topic::Topic;
use crate::engine::topic::routes::Routes;
use crate::error::Result;
use crate::pg::datum::{Jsonb, bytes_datum};
use crate::pg::memory::{collected, room_for};
use crate::value::right::Right;

/// How many messages for queues are collected before they are pushed. Each queue gets those of a batch in their
/// order, and the queues of a part theirs in the order of their numbers: two batches do not wait for each other.
const PART: usize = 100_000;

/// A message to be published.
pub struct Publication<'a> {
    pub routing_key: Vec<u8>,
    pub content: Content,
    /// An object.
    pub headers: Option<Jsonb<'a>>,
}

/// A call that publishes.
struct Publisher<'a> {
    topic: &'a Topic,
    publications: &'a [Publication<'a>],
    options: &'a Options,
    /// Which messages are collected for which queue, by their places in the batch.
    collected: BTreeMap<i32, Vec<usize>>,
    /// The messages as they are pushed: with their headers, if any queue gets them.
    messages: Vec<Option<Message>>,
    pushed: i64,
}

/// Publishes messages in their order, and returns how many were pushed: one for each queue of each message.
pub fn publish(topic: &Topic, publications: &[Publication], options: &Options) -> Result<i64> {
    let routes = Routes::of(topic);
    let messages = collected(publications.iter().map(|_| None));
    let mut publisher =
        Publisher { topic, publications, options, collected: BTreeMap::new(), messages, pushed: 0 };
    let mut in_part = 0;
    for (n, publication) in publications.iter().enumerate() {
        // Whatever queues there are, the error is the publisher's.
        check(&(publication.content, publication.headers.map(Jsonb::datum)))?;
        let queues = routes.find(&publication.routing_key)?;
        in_part += queues.len();
        publisher.collect(n, &queues);
        if in_part >= PART {
            publisher.push_collected()?;
            in_part = 0;
        }
    }
    publisher.push_collected()?;
    Ok(publisher.pushed)
}

impl Publisher<'_> {
    fn collect(&mut self, n: usize, queues: &[i32]) {
        if !queues.is_empty() {
            self.messages[n] = Some(self.with_headers(&self.publications[n]));
        }
        for &queue in queues {
            let places = self.collected.entry(queue).or_default();
            room_for(places, 1);
            places.push(n);
        }
    }

    /// The message with the headers `topic` and `routing_key`, which a publisher cannot set otherwise.
    fn with_headers(&self, publication: &Publication) -> Message {
        let ours = self.own_headers(publication);
        let all = publication.headers.map_or(ours, |headers| headers.with_fields(ours));
        (publication.content, Some(all))
    }

    fn own_headers(&self, publication: &Publication) -> Datum {
        let mut headers = Object::begin(&[&b"topic"[..], b"routing_key"]);
        headers.add(Value::text(self.topic.name.bytes()));
        headers.add(Value::text(&publication.routing_key));
        bytes_datum(&headers.end().expect("two short texts"))
    }

    fn push_collected(&mut self) -> Result<()> {
        for (queue, places) in std::mem::take(&mut self.collected) {
            pgrx::check_for_interrupts!();
            let queue =
                queue::by_id(queue).map_err(|error| error.behind_topic(&self.topic.name.to_string()))?;
            if let Some(queue) = queue.filter(|queue| self.topic.is_open_to(queue.owner())) {
                self.push_to(&queue, &places)?;
            }
        }
        Ok(())
    }

    /// Pushes some of the messages. An error names the queue only to a caller who may see it.
    fn push_to(&mut self, queue: &Queue, places: &[usize]) -> Result<()> {
        let messages: Vec<Message> =
            collected(places.iter().map(|&n| self.messages[n].expect("it was collected")));
        let pushed = match &self.options.keys {
            Some(Keys::Each(keys)) => {
                let keys = Keys::Each(collected(places.iter().map(|&n| keys[n].clone())));
                push(queue, &messages, &Options { keys: Some(keys), ..self.options.clone() })
            }
            _ => push(queue, &messages, self.options),
        };
        match pushed {
            Ok(pushed) => self.pushed += pushed.len() as i64,
            Err(error) if queue.allows(Right::Monitor) => return Err(error),
            Err(error) => return Err(error.behind_topic(&self.topic.name.to_string())),
        }
        Ok(())
    }
}
