//! What the sessions of a scenario did and were told, with a tick for each begin and end.

use std::collections::{BTreeMap, BTreeSet};

use crate::script::{Level, Mode, Settle};

/// A place in the order of what happened.
pub type Tick = u64;

/// An id and a delivery.
pub type Receipt = (i64, i32);

/// What a message is about: its key, or for one without a key a number of its own.
pub type Subject = i64;

#[derive(Debug)]
pub struct Tx {
    pub level: Level,
    pub begin: Tick,
    /// When its commit began and ended; none if it did not commit.
    pub commit: Option<(Tick, Tick)>,
    /// When it was over, one way or the other.
    pub over: Option<Tick>,
}

/// A message as it was handed out.
#[derive(Debug, Clone)]
pub struct Message {
    pub receipt: Receipt,
    pub subject: Subject,
    pub change: i64,
    pub has_group: bool,
}

#[derive(Debug)]
pub enum What {
    Push {
        queue: usize,
        subject: Subject,
        mode: Mode,
        changes: Vec<i64>,
        ids: Vec<i64>,
        is_new: Option<bool>,
        has_ttl: bool,
        is_urgent: bool,
    },
    /// `is_long`: the lease does not end while the scenario runs; none: it was popped.
    Given {
        queue: usize,
        is_long: Option<bool>,
        messages: Vec<Message>,
        seen: BTreeSet<i64>,
    },
    Settled {
        how: Settle,
        receipts: Vec<Receipt>,
        done: Vec<i64>,
        dead: Vec<i64>,
    },
    Updated {
        id: i64,
        subject: Subject,
        change: i64,
        is_done: bool,
    },
    Cancelled {
        id: i64,
        is_done: bool,
    },
    Moved {
        id: i64,
        to: usize,
        new: Option<i64>,
    },
    Limited {
        queue: usize,
        limit: Option<u32>,
    },
    Purged,
    Other,
}

#[derive(Debug)]
pub struct Event {
    pub session: usize,
    pub tx: usize,
    pub what: What,
    pub start: Tick,
    /// None: it failed, or has not ended.
    pub end: Option<Tick>,
    pub is_undone: bool,
    pub sqlstate: Option<String>,
    pub sql: String,
    pub answer: String,
    pub had_to_wait: bool,
}

#[derive(Default)]
pub struct History {
    pub txs: Vec<Tx>,
    pub events: Vec<Event>,
    /// Faults that were seen while the scenario ran.
    pub faults: Vec<String>,
    /// What a message is about, where it is, and whether it has a group.
    pub messages: BTreeMap<i64, (Subject, usize)>,
    /// In the end something was let go of whose receipt nobody had.
    pub is_freed: bool,
    /// Messages that died, with the number of their deliveries.
    pub dead: BTreeSet<Receipt>,
}

impl History {
    /// What has happened for good, and when its transaction committed.
    pub fn committed(&self) -> impl Iterator<Item = Done<'_>> {
        self.events.iter().filter_map(|event| {
            let tx = &self.txs[event.tx];
            let (end, commit) = (event.end?, tx.commit?);
            (!event.is_undone).then_some(Done { event, tx, end, commit })
        })
    }

    pub fn script(&self, setup: &[String]) -> String {
        let mut text = String::new();
        for line in setup {
            text += &format!("   {line};\n");
        }
        let mut last = String::new();
        for event in &self.events {
            let name = (b'A' + event.session as u8) as char;
            let sql = event.sql.replace("id, delivery, payload ->> 's', payload ->> 'c', group_key", "*");
            let wait = if event.had_to_wait { " (waited)" } else { "" };
            let line = format!("{name}: {sql};  -- {}{wait}\n", event.answer);
            if line != last {
                text += &line;
            }
            last = line;
        }
        text
    }
}

/// An event of a transaction that has committed.
#[derive(Clone, Copy)]
pub struct Done<'a> {
    pub event: &'a Event,
    pub tx: &'a Tx,
    pub end: Tick,
    pub commit: (Tick, Tick),
}
