//! Settings of a queue, as `pgq_create_queue` and `pgq_alter_queue` take them.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::value::backoff::Backoff;
use crate::value::duration::Millis;

/// Settings of a queue. For a missing setting the server setting holds.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Length of a lease if a reserve names none.
    pub lease: Option<Millis>,
    /// Maximum number of deliveries before a message is dead; 0: no limit.
    pub max_deliveries: Option<MaxDeliveries>,
    pub dead_letter: DeadLetter,
    /// Time for which dead letters are kept; none: until they are dumped or redriven.
    pub dead_retention: Option<Millis>,
    pub backoff: Backoff,
    /// Time to live of a message whose push names none.
    pub ttl: Option<Millis>,
    pub on_expire: OnExpire,
    /// Time for which settled messages are archived; none: they are not archived.
    pub archive: Option<Millis>,
    pub order: Order,
    pub on_timeout: OnTimeout,
    /// Whether the messages of a group are delivered in order.
    pub groups: Groups,
    /// Maximum number of messages leased at once.
    pub max_leased: Option<MaxLeased>,
    /// Maximum number of messages in the queue.
    pub max_length: Option<MaxLength>,
    /// Effect of a push beyond `max_length`.
    pub on_full: OnFull,
    /// Time for which a `dedup_key` is refused after its push, whether the message was consumed or not.
    pub dedup_window: Option<Millis>,
    /// Whether a lease is on disk before it is given. If not, a crash of the server may lose the last leases,
    /// and their messages are delivered again.
    pub durable_lease: bool,
    /// Whether a deletion is on disk before its call returns. If not, a crash of the server may undo the last
    /// deletions, and their messages are delivered again.
    pub durable_delete: bool,
    /// Channel on which the worker sends NOTIFY when a message becomes ready.
    pub notify: Notify,
    /// Queue that gets an event for every retry and every death.
    pub events_to: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: None,
            max_deliveries: None,
            dead_letter: DeadLetter::default(),
            dead_retention: None,
            backoff: Backoff::default(),
            ttl: None,
            on_expire: OnExpire::default(),
            archive: None,
            order: Order::default(),
            on_timeout: OnTimeout::default(),
            groups: Groups::default(),
            max_leased: None,
            max_length: None,
            on_full: OnFull::default(),
            dedup_window: None,
            durable_lease: false,
            durable_delete: true,
            notify: Notify::default(),
            events_to: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub struct MaxDeliveries(pub i32);

impl TryFrom<i64> for MaxDeliveries {
    type Error = &'static str;

    fn try_from(count: i64) -> Result<Self, Self::Error> {
        match i32::try_from(count) {
            Ok(count) if count >= 0 => Ok(Self(count)),
            _ => Err("must be 0 (no limit) or a positive integer"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub struct MaxLeased(pub i32);

impl TryFrom<i64> for MaxLeased {
    type Error = &'static str;

    fn try_from(count: i64) -> Result<Self, Self::Error> {
        match i32::try_from(count) {
            Ok(count @ 1..=10_000) => Ok(Self(count)),
            _ => Err("must lie between 1 and 10000"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub struct MaxLength(pub i64);

impl TryFrom<i64> for MaxLength {
    type Error = &'static str;

    fn try_from(count: i64) -> Result<Self, Self::Error> {
        if count >= 1 { Ok(Self(count)) } else { Err("must be 1 or more") }
    }
}

/// Effect of a push into a full queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFull {
    /// The push is an error.
    #[default]
    Reject,
    /// The oldest unleased messages make room, the least urgent first.
    DropOldest,
}

/// Whether listeners are notified when a message becomes ready, and on which channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub enum Notify {
    #[default]
    Nobody,
    /// The channel that is named after the queue.
    OfQueue,
    Channel(String),
}

/// Problem with a channel name that was meant as a boolean.
pub const NOT_A_BOOLEAN: &str = "must not be a boolean as a string, which would name a channel";

impl TryFrom<Value> for Notify {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        match value {
            Value::Bool(false) => Ok(Self::Nobody),
            Value::Bool(true) => Ok(Self::OfQueue),
            Value::String(channel) if channel.is_empty() => Err("must not be an empty name"),
            Value::String(word) if ["true", "false"].iter().any(|it| word.eq_ignore_ascii_case(it)) => {
                Err(NOT_A_BOOLEAN)
            }
            Value::String(channel) => Ok(Self::Channel(channel)),
            _ => Err("must be true, false or the name of a channel"),
        }
    }
}

/// Fate of a dead message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "bool")]
pub enum DeadLetter {
    #[default]
    Kept,
    Dropped,
}

impl From<bool> for DeadLetter {
    fn from(kept: bool) -> Self {
        if kept { Self::Kept } else { Self::Dropped }
    }
}

/// Delivery order of the messages of a priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    #[default]
    Fifo,
    Lifo,
}

/// Delivery of the messages of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Groups {
    /// In their order, one at a time.
    #[default]
    Ordered,
    /// Independently of each other; the group is a label to reserve and count by.
    Parallel,
}

/// Effect of an expired lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnTimeout {
    #[default]
    Retry,
    Dead,
}

/// Fate of a message whose time to live ended while it was not leased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnExpire {
    #[default]
    Drop,
    Dead,
}

/// An invalid setting: its path ("backoff.factor"), and why.
#[derive(Debug, PartialEq)]
pub struct BadSetting {
    pub path: String,
    pub problem: String,
}

impl BadSetting {
    fn new(path: &str, problem: &str) -> Self {
        Self { path: path.into(), problem: problem.into() }
    }

    fn not_an_object() -> Self {
        Self::new(".", "must be a JSON object")
    }
}

impl Settings {
    /// True if groups are delivered in order, one message at a time.
    pub fn keeps_order(&self) -> bool {
        self.groups == Groups::Ordered
    }

    /// Reads and checks settings, field by field.
    pub fn read(settings: &Value) -> Result<Self, BadSetting> {
        let settings = settings.as_object().ok_or_else(BadSetting::not_an_object)?;
        check_shapes(settings)?;
        serde_path_to_error::deserialize(settings).map_err(|error| BadSetting {
            path: error.path().to_string(),
            problem: error.inner().to_string(),
        })
    }
}

/// Refuses shapes that only serde accepts: it reads a word from `{"word": null}` too, and an object from an
/// array. SQL reads settings as well, and does not.
fn check_shapes(settings: &Map<String, Value>) -> Result<(), BadSetting> {
    for name in ["order", "on_expire", "on_timeout", "on_full", "groups"] {
        if settings.get(name).is_some_and(|word| !word.is_string()) {
            return Err(BadSetting::new(name, "must be a string"));
        }
    }
    if settings.get("backoff").is_some_and(|backoff| !backoff.is_object()) {
        return Err(BadSetting::new("backoff", "must be an object"));
    }
    Ok(())
}

/// Returns `settings` with `changes` applied; a null resets a setting to its default.
pub fn merge(settings: Value, changes: Value) -> Result<Value, BadSetting> {
    let mut merged = object(settings)?;
    for (name, value) in object(changes)? {
        if value.is_null() {
            // A null for an unknown setting is still a mistake.
            Settings::read(&Value::Object(Map::from_iter([(name.clone(), Value::Bool(true))])))
                .err()
                .filter(|bad| bad.problem.starts_with("unknown field"))
                .map_or(Ok(()), Err)?;
            merged.remove(&name);
        } else {
            merged.insert(name, value);
        }
    }
    Ok(Value::Object(merged))
}

fn object(settings: Value) -> Result<Map<String, Value>, BadSetting> {
    match settings {
        Value::Object(map) => Ok(map),
        _ => Err(BadSetting::not_an_object()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_empty_object_is_all_defaults() {
        assert_eq!(Settings::read(&json!({})), Ok(Settings::default()));
    }

    #[test]
    fn every_field_is_read() {
        let settings = Settings::read(&json!({
            "lease": "45 s", "max_deliveries": 0, "dead_letter": false, "ttl": "1 day", "archive": "30 days", "on_expire": "dead", "dead_retention": "7 days",
            "backoff": {"base": "5 s", "jitter": 0}, "order": "lifo", "on_timeout": "dead", "events_to": "ops",
            "notify": "orders_ready"
        }))
        .unwrap();
        assert_eq!(settings.lease, Some(Millis::from_secs(45)));
        assert_eq!(settings.max_deliveries, Some(MaxDeliveries(0)));
        assert_eq!(settings.dead_letter, DeadLetter::Dropped);
        assert_eq!(settings.ttl, Some(Millis::from_secs(86_400)));
        assert_eq!(settings.dead_retention, Some(Millis::from_secs(7 * 86_400)));
        assert_eq!(settings.on_expire, OnExpire::Dead);
        assert_eq!(settings.archive, Some(Millis::from_secs(30 * 86_400)));
        assert_eq!(settings.backoff.wait(2, 0.9), Millis::from_secs(10));
        assert_eq!(settings.order, Order::Lifo);
        assert_eq!(settings.on_timeout, OnTimeout::Dead);
        assert_eq!(settings.events_to.as_deref(), Some("ops"));
        assert_eq!(settings.notify, Notify::Channel("orders_ready".into()));
        assert_eq!(Settings::read(&json!({"notify": true})).unwrap().notify, Notify::OfQueue);
        assert_eq!(
            Settings::read(&json!({"notify": "truest"})).unwrap().notify,
            Notify::Channel("truest".into())
        );
        assert_eq!(Settings::read(&json!({"notify": false})).unwrap().notify, Notify::Nobody);
    }

    #[test]
    fn mistakes_are_named_by_their_path() {
        for (settings, path, word) in [
            (json!({"lase": "1 s"}), "lase", "unknown field"),
            (json!({"lease": 30}), "lease", "string"),
            (json!({"lease": "0 s"}), "lease", "greater than zero"),
            (json!({"lease": "fast"}), "lease", "span of time"),
            (json!({"dead_retention": "-1 s"}), "dead_retention", "negative"),
            (json!({"archive": true}), "archive", "string"),
            (json!({"archive": "0 s"}), "archive", "greater than zero"),
            (json!({"max_deliveries": -1}), "max_deliveries", "positive"),
            (json!({"max_deliveries": "5"}), "max_deliveries", "invalid type"),
            (json!({"dead_letter": "yes"}), "dead_letter", "boolean"),
            (json!({"notify": 1}), "notify", "channel"),
            (json!({"notify": ""}), "notify", "empty"),
            (json!({"notify": "true"}), "notify", "boolean"),
            (json!({"notify": "FALSE"}), "notify", "boolean"),
            (json!({"order": "random"}), "order", "random"),
            (json!({"on_expire": "archive"}), "on_expire", "archive"),
            (json!({"events_to": ["ops"]}), "events_to", "string"),
            (json!({"backoff": {"jitter": 2}}), "backoff", "jitter"),
            (json!({"backoff": {"base": 1}}), "backoff.base", "string"),
            (json!({"order": {"lifo": null}}), "order", "string"),
            (json!({"on_expire": {"dead": null}}), "on_expire", "string"),
            (json!({"on_timeout": {"dead": null}}), "on_timeout", "string"),
            (json!({"on_full": {"reject": null}}), "on_full", "string"),
            (json!({"groups": {"parallel": null}}), "groups", "string"),
            (json!({"backoff": ["1 s", 2, "1 h", 0.2]}), "backoff", "object"),
            (json!(["lease"]), ".", "object"),
            (json!(null), ".", "object"),
        ] {
            let bad = Settings::read(&settings).unwrap_err();
            assert!(bad.problem.contains(word), "{settings}: {bad:?}");
            assert_eq!(bad.path, path, "{settings}: {bad:?}");
        }
    }

    #[test]
    fn merging_replaces_and_a_null_removes() {
        let merged = merge(json!({"lease": "1 s", "ttl": "1 h"}), json!({"ttl": null, "order": "lifo"}));
        assert_eq!(merged, Ok(json!({"lease": "1 s", "order": "lifo"})));
        assert!(merge(json!({}), json!({"lase": null})).is_err());
        assert!(merge(json!({}), json!("lifo")).is_err());
    }
}
