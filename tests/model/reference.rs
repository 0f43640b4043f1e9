//! The reference queue: what pgqueue promises, in plain Rust, for one session at a time.
//!
//! Time is counted in hours and passes only when it is told to. Nothing here knows SQL.
//! Where the promise leaves a choice (which of two letters that died at one moment is the
//! older, when what will never be delivered again is cleared away), the choice is read off
//! what the server did, and judged (`Reference::clear`, `Reference::sort_out`).

use std::collections::{BTreeMap, BTreeSet};

pub type Id = i64;
pub type Hours = i64;

/// How an error is told: by its SQLSTATE.
pub type Refused = &'static str;

/// Of these ids and no others.
pub type Receipt = (Id, Option<i32>);

#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub lease: Option<Hours>,
    /// 0: no limit.
    pub max_deliveries: i32,
    pub dead_letter: bool,
    pub ttl: Option<Hours>,
    pub expires_dead: bool,
    pub times_out_dead: bool,
    pub lifo: bool,
    pub parallel: bool,
    pub max_leased: Option<i64>,
    pub max_length: Option<i64>,
    pub drops_oldest: bool,
    pub dedup_window: Option<Hours>,
    pub archive: Option<Hours>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub pushed: i64,
    pub delivered: i64,
    pub deleted: i64,
    pub retried: i64,
    pub died: i64,
    pub expired: i64,
}

#[derive(Clone, Debug)]
pub struct Queue {
    pub settings: Settings,
    pub paused: bool,
    pub counters: Counters,
    /// Leases that were out when the limit was set: slots beyond it hold them.
    over_limit: Vec<(Id, i32)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub queue: usize,
    pub payload: i64,
    pub kind: Option<bool>,
    pub priority: i32,
    pub group: Option<u8>,
    pub key: Option<u8>,
    /// No consumer has had it as it is now.
    pub holds_key: bool,
    /// Later leases have higher ones.
    pub ticket: u64,
    pub deliveries: i32,
    /// How many of them were given back.
    pub given_back: i32,
    /// End of the last lease, until somebody has taken note that it ended.
    pub lease_until: Option<Hours>,
    pub due_at: Option<Hours>,
    pub expires_at: Option<Hours>,
    pub lease: Option<Hours>,
    pub max_deliveries: Option<i32>,
    /// It is its group's turn until it is gone.
    pub in_turn: bool,
    pub errors: usize,
}

impl Message {
    fn attempts(&self) -> i32 {
        self.deliveries - self.given_back
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Failed,
    Timeout,
    Buried,
    Expired,
}

impl Reason {
    pub fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Buried => "buried",
            Self::Expired => "expired",
        }
    }
}

/// A dead letter: the message as it died. Those of one moment have no order.
#[derive(Clone, Debug)]
pub struct Letter {
    pub message: Message,
    pub reason: Reason,
    pub moment: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Ready,
    Delayed,
    Leased,
    Blocked,
    /// It will never be delivered again, and waits to be cleared away.
    Gone,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Delayed => "delayed",
            Self::Leased => "leased",
            Self::Blocked => "blocked",
            Self::Gone => "gone",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDuplicate {
    Ignore,
    Replace,
    Reject,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Pushed,
    Ignored,
    Replaced,
}

/// A push of one message.
#[derive(Clone, Debug)]
pub struct Push {
    pub queue: usize,
    pub payload: i64,
    pub kind: Option<bool>,
    pub priority: i32,
    pub delay: Option<Hours>,
    pub ttl: Option<Hours>,
    pub group: Option<u8>,
    pub key: Option<(u8, OnDuplicate)>,
    pub lease: Option<Hours>,
    pub max_deliveries: Option<i32>,
}

/// What a reserve or a pop asks for.
#[derive(Clone, Debug)]
pub struct Wish {
    pub queue: usize,
    pub max: usize,
    pub lifo: Option<bool>,
    pub group: Option<u8>,
    pub kind: Option<bool>,
}

/// Changes of a message that waits.
#[derive(Clone, Debug)]
pub struct Change {
    pub payload: Option<i64>,
    pub kind: Option<bool>,
    pub priority: Option<i32>,
    /// Hours from now; in the past, or zero: at once.
    pub deliver_in: Option<Hours>,
}

/// What may be handed out.
#[derive(Debug)]
pub struct Offer {
    /// In this order.
    sure: Vec<Id>,
    /// When something before them in their group has been cleared away.
    late: Vec<Id>,
    max: usize,
    /// Nothing is right too: leases beyond a lowered limit come back first.
    or_nothing: bool,
    one_of_group: bool,
}

#[derive(Clone, Debug)]
pub struct Reference {
    pub now: Hours,
    pub queues: Vec<Queue>,
    pub messages: BTreeMap<Id, Message>,
    pub dead: BTreeMap<Id, Letter>,
    /// Queue, group and time of settling.
    pub archive: BTreeMap<Id, (usize, Option<u8>, Hours)>,
    /// The message with which a key was pushed, and when.
    seen: BTreeMap<(usize, u8), (Id, Hours)>,
    /// How many messages a push has dropped to make room, of each queue, and the newest that
    /// was there before it.
    drops: BTreeMap<usize, (i64, Id)>,
    /// What the operation found superseded, though what superseded it was removed by it.
    outdated: BTreeSet<Id>,
    /// What the server last said of each message; the same, but where the promise leaves a
    /// choice.
    pub shown: BTreeMap<Id, State>,
    moment: u64,
    /// How many leases there were.
    leases: u64,
}

/// Waits before a retry: 1, 2, 4, at most 8 hours.
fn backoff(attempts: i32) -> Hours {
    (1 << (attempts - 1).clamp(0, 3)).min(8)
}

impl Reference {
    pub fn new(settings: Vec<Settings>) -> Self {
        let queue = |settings| Queue {
            settings,
            paused: false,
            counters: Counters::default(),
            over_limit: Vec::new(),
        };
        Self {
            now: 0,
            queues: settings.into_iter().map(queue).collect(),
            messages: BTreeMap::new(),
            dead: BTreeMap::new(),
            archive: BTreeMap::new(),
            seen: BTreeMap::new(),
            drops: BTreeMap::new(),
            outdated: BTreeSet::new(),
            shown: BTreeMap::new(),
            moment: 0,
            leases: 0,
        }
    }

    fn settings(&self, message: &Message) -> &Settings {
        &self.queues[message.queue].settings
    }

    fn counters(&mut self, queue: usize) -> &mut Counters {
        &mut self.queues[queue].counters
    }

    // ---- what a message is at this moment

    pub fn is_leased(&self, message: &Message) -> bool {
        message.lease_until.is_some_and(|until| until > self.now)
    }

    fn is_exhausted(&self, message: &Message) -> bool {
        let max = message.max_deliveries.unwrap_or(self.settings(message).max_deliveries);
        max > 0 && message.attempts() >= max
    }

    fn has_expired(&self, message: &Message) -> bool {
        message.expires_at.is_some_and(|at| at <= self.now)
    }

    /// Why a message that nobody holds will never be delivered again; all that is true.
    fn ends(&self, message: &Message) -> Vec<Reason> {
        if self.is_leased(message) {
            return Vec::new();
        }
        let mut reasons = Vec::new();
        if self.has_expired(message) {
            reasons.push(Reason::Expired);
        }
        let timed_out = message.lease_until.is_some();
        if self.is_exhausted(message) || (timed_out && self.settings(message).times_out_dead) {
            reasons.push(if timed_out { Reason::Timeout } else { Reason::Failed });
        }
        reasons
    }

    fn is_gone(&self, message: &Message) -> bool {
        !self.ends(message).is_empty()
    }

    /// The others of its queue with its key.
    fn siblings(&self, id: Id) -> impl Iterator<Item = (Id, &Message)> {
        let (queue, key) = (self.messages[&id].queue, self.messages[&id].key);
        let has_it = move |m: &Message| key.is_some() && m.queue == queue && m.key == key;
        self.messages.iter().map(|(id, m)| (*id, m)).filter(move |(other, m)| *other != id && has_it(m))
    }

    /// Whether another stands for its key since it was leased: a newer one that waits, or one that
    /// was leased later.
    fn is_superseded(&self, id: Id) -> bool {
        let message = &self.messages[&id];
        let stands = |(other, m): (Id, &Message)| {
            let has_outlived = self.has_expired(m) && !self.is_leased(m);
            !has_outlived && if self.waits(other) { other > id } else { m.ticket > message.ticket }
        };
        !message.holds_key && self.siblings(id).any(stands)
    }

    /// Whether a newer message has its key.
    fn has_newer(&self, id: Id) -> bool {
        self.siblings(id).any(|(other, m)| other > id && (self.is_leased(m) || !self.is_gone(m)))
    }

    fn is_ordered(&self, message: &Message) -> bool {
        message.group.is_some() && !self.settings(message).parallel
    }

    /// The messages before this one in its group.
    fn before(&self, id: Id) -> Vec<(Id, &Message)> {
        let message = &self.messages[&id];
        let place = |id: Id, message: &Message| (!message.in_turn, message.priority, id);
        let is_before = |(other, m): &(Id, &Message)| {
            m.queue == message.queue && m.group == message.group && place(*other, m) < place(id, message)
        };
        self.messages.iter().map(|(id, message)| (*id, message)).filter(is_before).collect()
    }

    pub fn state(&self, id: Id) -> State {
        let message = &self.messages[&id];
        let blocks = |(_, first): &(Id, &Message)| !self.has_expired(first) || self.is_leased(first);
        if self.is_leased(message) {
            State::Leased
        } else if self.is_gone(message) || self.is_superseded(id) {
            State::Gone
        } else if message.due_at.is_some_and(|at| at > self.now) {
            State::Delayed
        } else if self.is_ordered(message) && !message.in_turn && self.before(id).iter().any(blocks) {
            State::Blocked
        } else {
            State::Ready
        }
    }

    /// Whether the server may as well show it as ready as blocked: something that will never
    /// be delivered is before it, and has not been cleared away.
    pub fn is_ambiguous(&self, id: Id) -> bool {
        self.is_ordered(&self.messages[&id]) && self.before(id).iter().any(|(_, other)| self.is_gone(other))
    }

    fn waits(&self, id: Id) -> bool {
        let message = &self.messages[&id];
        !self.is_leased(message) && !self.is_gone(message)
    }

    // ---- pushing

    /// Pushes a message, which gets the id `new` if it is added.
    pub fn push(&mut self, push: &Push, new: Id) -> Result<(Id, Outcome), Refused> {
        if let Some((key, on_duplicate)) = push.key {
            if let Some((id, outcome)) = self.meet(push, key, on_duplicate)? {
                return Ok((id, outcome));
            }
            if let Some(window) = self.queues[push.queue].settings.dedup_window {
                match self.seen.get(&(push.queue, key)) {
                    Some(&(id, at)) if at > self.now - window => {
                        return if on_duplicate == OnDuplicate::Reject {
                            Err("23505")
                        } else {
                            Ok((id, Outcome::Ignored))
                        };
                    }
                    _ => self.seen.insert((push.queue, key), (new, self.now)),
                };
            }
            self.make_room(push.queue, 1)?;
        }
        let message = self.message(push);
        self.counters(push.queue).pushed += 1;
        self.messages.insert(new, message);
        Ok((new, Outcome::Pushed))
    }

    /// Pushes that share their options. Those without a key make room for all at once.
    pub fn push_all(&mut self, pushes: &[Push], ids: &[Id]) -> Result<Vec<(Id, Outcome)>, Refused> {
        if let Some(first) = pushes.first().filter(|first| first.key.is_none()) {
            self.make_room(first.queue, pushes.len() as i64)?;
        }
        pushes.iter().zip(ids).map(|(push, id)| self.push(push, *id)).collect()
    }

    fn message(&self, push: &Push) -> Message {
        let ttl = push.ttl.or(self.queues[push.queue].settings.ttl);
        Message {
            queue: push.queue,
            payload: push.payload,
            kind: push.kind,
            priority: push.priority,
            group: push.group,
            key: push.key.map(|(key, _)| key),
            holds_key: push.key.is_some(),
            ticket: 0,
            deliveries: 0,
            given_back: 0,
            lease_until: None,
            due_at: push.delay.map(|delay| self.now + delay),
            expires_at: ttl.map(|ttl| self.now + ttl),
            lease: push.lease,
            max_deliveries: push.max_deliveries,
            in_turn: false,
            errors: 0,
        }
    }

    /// What becomes of a push if a message waits with its key.
    fn meet(
        &mut self,
        push: &Push,
        key: u8,
        on_duplicate: OnDuplicate,
    ) -> Result<Option<(Id, Outcome)>, Refused> {
        let has_it = |m: &Message| m.queue == push.queue && m.key == Some(key) && !self.is_gone(m);
        let newest = self.messages.iter().rev().find(|(_, m)| has_it(m));
        let Some(id) = newest.map(|(id, _)| *id) else { return Ok(None) };
        if !self.waits(id) {
            return Ok(None);
        }
        let new = self.message(push);
        let most = self.settings(&new).max_deliveries;
        let message = self.messages.get_mut(&id).unwrap();
        match on_duplicate {
            OnDuplicate::Reject => return Err("23505"),
            OnDuplicate::Ignore => {
                message.holds_key = true;
                // It lives until the later of the two; without an end, for ever.
                message.expires_at =
                    message.expires_at.zip(new.expires_at).map(|(first, second)| first.max(second));
            }
            OnDuplicate::Replace => {
                let in_turn = message.in_turn && message.group == new.group;
                // It is delivered once at least.
                let limit = new.max_deliveries.unwrap_or(most);
                let is_spent = limit > 0 && message.attempts() >= limit;
                let max_deliveries = if is_spent { Some(message.attempts() + 1) } else { new.max_deliveries };
                let new = Message { max_deliveries, ..new };
                let Message { deliveries, given_back, errors, .. } = *message;
                *message = Message { deliveries, given_back, errors, in_turn, ..new };
                return Ok(Some((id, Outcome::Replaced)));
            }
        }
        Ok(Some((id, Outcome::Ignored)))
    }

    /// Keeps a queue's `max_length`. Which messages make room is seen afterwards.
    fn make_room(&mut self, queue: usize, more: i64) -> Result<(), Refused> {
        let settings = &self.queues[queue].settings;
        let Some(limit) = settings.max_length else { return Ok(()) };
        let excess = self.length(queue) + more - limit;
        if excess <= 0 {
            return Ok(());
        }
        let is_dead = |id: &Id, m: &Message| {
            m.queue == queue && !self.is_leased(m) && (self.is_gone(m) || self.is_superseded(*id))
        };
        let dead = self.messages.iter().filter(|(id, m)| is_dead(id, m)).count() as i64;
        if more <= limit && excess <= dead {
            return Ok(()); // what is dead goes first
        }
        let is_possible = settings.drops_oldest && more <= limit;
        if !is_possible || excess - dead > self.droppable(queue) {
            return Err("53400");
        }
        let excess = excess - dead;
        let newest = self.messages.last_key_value().map_or(0, |(id, _)| *id);
        self.drops.entry(queue).or_insert((0, newest)).0 += excess;
        Ok(())
    }

    fn length(&self, queue: usize) -> i64 {
        let here = self.messages.values().filter(|message| message.queue == queue).count() as i64;
        here - self.drops.get(&queue).map_or(0, |(left, _)| *left)
    }

    /// How many could make room.
    fn droppable(&self, queue: usize) -> i64 {
        let can = |id: &Id| self.messages[id].queue == queue && self.may_make_room(*id);
        self.messages.keys().filter(|id| can(id)).count() as i64
            - self.drops.get(&queue).map_or(0, |(left, _)| *left)
    }

    /// Whether a push may be refused although enough could make room: what has become due is
    /// found for that when a round has moved it.
    pub fn may_be_full(&self, queue: usize, more: i64) -> bool {
        let has_become_due = |m: &Message| m.queue == queue && m.due_at.is_some_and(|at| at <= self.now);
        let due = self.messages.values().filter(|message| has_become_due(message)).count() as i64;
        let limit = self.queues[queue].settings.max_length;
        limit.is_some_and(|limit| self.length(queue) + more - limit > self.droppable(queue) - due)
    }

    fn may_make_room(&self, id: Id) -> bool {
        self.state(id) == State::Ready && !self.is_superseded(id)
    }

    // ---- handing out

    pub fn offer(&self, wish: &Wish, leases: bool) -> Offer {
        let queue = &self.queues[wish.queue];
        let mut offer = Offer {
            sure: Vec::new(),
            late: Vec::new(),
            max: wish.max,
            or_nothing: false,
            one_of_group: wish.group.is_some() && !queue.settings.parallel,
        };
        for (&id, message) in &self.messages {
            if message.queue != wish.queue || !self.could_be_handed_out(id, wish) {
                continue;
            }
            let before = self.before(id);
            let stays = |(other, m): &(Id, &Message)| !self.is_gone(m) && !self.is_superseded(*other);
            if !self.is_ordered(message) || message.in_turn || before.is_empty() {
                offer.sure.push(id);
            } else if !before.iter().any(stays) {
                offer.late.push(id);
            }
        }
        let lifo = wish.lifo.unwrap_or(queue.settings.lifo);
        offer.sure.sort_by_key(|&id| {
            let message = &self.messages[&id];
            let later = wish.group.is_some() && !message.in_turn;
            (later, message.priority, if lifo { -id } else { id })
        });
        if let Some(limit) = queue.settings.max_leased.filter(|_| leases) {
            offer.max = offer.max.min(usize::try_from(limit - self.leased(wish.queue)).unwrap_or(0));
            offer.or_nothing = self.has_leases_over_limit(wish.queue);
        }
        offer
    }

    fn could_be_handed_out(&self, id: Id, wish: &Wish) -> bool {
        let message = &self.messages[&id];
        !self.is_leased(message)
            && !self.is_gone(message)
            && message.due_at.is_none_or(|at| at <= self.now)
            && !self.is_superseded(id)
            && (wish.group.is_none() || message.group == wish.group)
            && (wish.kind.is_none() || message.kind == wish.kind)
    }

    fn leased(&self, queue: usize) -> i64 {
        self.messages.values().filter(|m| m.queue == queue && self.is_leased(m)).count() as i64
    }

    fn has_leases_over_limit(&self, queue: usize) -> bool {
        let is_out = |(id, delivery): &(Id, i32)| {
            self.messages.get(id).is_some_and(|m| m.deliveries == *delivery && self.is_leased(m))
        };
        self.queues[queue].over_limit.iter().any(is_out)
    }

    /// Leases a message, for as long as the call, the message or its queue says.
    pub fn lease(&mut self, id: Id, length: Option<Hours>) {
        let is_ordered = self.is_ordered(&self.messages[&id]);
        let queue = self.messages[&id].queue;
        let of_queue = self.queues[queue].settings.lease.unwrap_or(1);
        let until = self.now + length.or(self.messages[&id].lease).unwrap_or(of_queue);
        self.leases += 1;
        let ticket = self.leases;
        let message = self.messages.get_mut(&id).unwrap();
        message.lease_until = Some(until);
        message.deliveries += 1;
        message.due_at = None;
        message.holds_key = false;
        message.ticket = ticket;
        message.in_turn |= is_ordered;
        self.counters(queue).delivered += 1;
    }

    /// Removes a message as it is handed out.
    pub fn pop(&mut self, id: Id) {
        let older = self.messages.range(..id).map(|(older, _)| *older);
        let outdated: Vec<Id> = older.filter(|older| self.is_superseded(*older)).collect();
        self.outdated.extend(outdated);
        let queue = self.messages[&id].queue;
        self.counters(queue).delivered += 1;
        self.settle(id);
    }

    // ---- settling

    /// Those messages that are there, whose receipt is good, rising by id.
    fn good(&self, receipts: &[Receipt], must_be_leased: bool) -> Vec<Id> {
        let is_good = |(id, delivery): &&Receipt| {
            self.messages.get(id).is_some_and(|message| {
                delivery.is_none_or(|delivery| delivery == message.deliveries && !message.holds_key)
                    && (!must_be_leased || self.is_leased(message))
            })
        };
        let mut ids: Vec<Id> = receipts.iter().filter(is_good).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    pub fn delete(&mut self, receipts: &[Receipt]) -> Vec<Id> {
        let ids = self.good(receipts, false);
        ids.iter().for_each(|id| self.settle(*id));
        ids
    }

    fn settle(&mut self, id: Id) {
        let Some(message) = self.messages.remove(&id) else { return };
        self.counters(message.queue).deleted += 1;
        if self.settings(&message).archive.is_some() {
            self.archive.insert(id, (message.queue, message.group, self.now));
        }
    }

    pub fn extend(&mut self, receipts: &[Receipt], lease: Hours) -> Vec<Id> {
        let ids = self.good(receipts, true);
        let until = self.now + lease;
        self.change(&ids, |message| message.lease_until = Some(until));
        ids
    }

    pub fn release(&mut self, receipts: &[Receipt], delay: Hours, strict: bool) -> Result<Vec<Id>, Refused> {
        let ids = self.good(receipts, true);
        if strict && receipts.iter().any(|(id, _)| !ids.contains(id)) {
            return Err("P0002");
        }
        let due_at = (delay > 0).then_some(self.now + delay);
        self.change(&ids, |message| {
            (message.lease_until, message.due_at) = (None, due_at);
            message.given_back += 1;
        });
        Ok(ids)
    }

    fn change(&mut self, ids: &[Id], change: impl Fn(&mut Message)) {
        for id in ids {
            change(self.messages.get_mut(id).unwrap());
        }
    }

    /// Each with the hours until its retry; none: it is dead.
    pub fn fail(&mut self, receipts: &[Receipt], delay: Option<Hours>) -> Vec<(Id, Option<Hours>)> {
        let mut failed = Vec::new();
        self.moment += 1;
        for id in self.good(receipts, true) {
            let message = &self.messages[&id];
            if self.is_exhausted(message) {
                self.die(id, Reason::Failed);
                failed.push((id, None));
                continue;
            }
            let wait = delay.unwrap_or_else(|| backoff(message.attempts()));
            let (queue, due_at) = (message.queue, (wait > 0).then_some(self.now + wait));
            self.change(&[id], |message| {
                (message.lease_until, message.due_at) = (None, due_at);
                message.errors = (message.errors + 1).min(10);
            });
            self.counters(queue).retried += 1;
            failed.push((id, Some(wait)));
        }
        failed
    }

    pub fn bury(&mut self, receipts: &[Receipt]) -> Vec<Id> {
        self.moment += 1;
        let ids = self.good(receipts, false);
        ids.iter().for_each(|id| self.die(*id, Reason::Buried));
        ids
    }

    /// A message dies: it becomes a letter if its queue keeps those.
    fn die(&mut self, id: Id, reason: Reason) {
        let Some(mut message) = self.messages.remove(&id) else { return };
        let settings = self.settings(&message);
        let is_kept = settings.dead_letter && (reason != Reason::Expired || settings.expires_dead);
        let counters = self.counters(message.queue);
        counters.expired += i64::from(reason == Reason::Expired);
        counters.died += i64::from(reason != Reason::Expired || is_kept);
        if is_kept {
            message.errors = (message.errors + 1).min(10);
            self.dead.insert(id, Letter { message, reason, moment: self.moment });
        }
    }

    // ---- changing what waits

    fn waiting(&self, ids: &[Id]) -> Vec<Id> {
        let receipts: Vec<Receipt> = ids.iter().map(|id| (*id, None)).collect();
        let mut ids = self.good(&receipts, false);
        ids.retain(|id| self.waits(*id));
        ids
    }

    pub fn update(&mut self, id: Id, change: &Change) -> bool {
        let mut ids = self.waiting(&[id]);
        let is_new = change.payload.is_some() || change.kind.is_some();
        ids.retain(|id| !(self.is_superseded(*id) || is_new && self.has_newer(*id)));
        let now = self.now;
        self.change(&ids, |message| {
            message.holds_key |= message.deliveries > 0 && is_new;
            message.payload = change.payload.unwrap_or(message.payload);
            message.kind = change.kind.or(message.kind);
            message.priority = change.priority.unwrap_or(message.priority);
            if let Some(hours) = change.deliver_in {
                message.due_at = (hours > 0).then_some(now + hours);
            }
        });
        !ids.is_empty()
    }

    pub fn cancel(&mut self, ids: &[Id]) -> Vec<Id> {
        let ids = self.waiting(ids);
        for id in &ids {
            let message = self.messages.remove(id).unwrap();
            self.counters(message.queue).deleted += 1;
        }
        ids
    }

    /// Moves messages, which get these ids; those whose key another waits with, or was seen with
    /// within the window, stay.
    pub fn relocate(&mut self, ids: &[Id], to: usize, moved: &[(Id, Id)]) -> Vec<Id> {
        let mut gone = Vec::new();
        for id in self.waiting(ids) {
            let message = self.messages[&id].clone();
            let has_it =
                |other: &Message| message.key.is_some() && other.queue == to && other.key == message.key;
            let alive = self.messages.iter().rev().filter(|(_, m)| has_it(m));
            let mut alive = alive.filter(|(_, m)| self.is_leased(m) || !self.is_gone(m)).enumerate();
            let is_taken = alive.any(|(n, (id, m))| self.waits(*id) && (n == 0 || m.holds_key));
            if message.queue == to || is_taken || self.is_superseded(id) {
                continue;
            }
            let window = self.queues[to].settings.dedup_window;
            let is_seen = |(_, at): &(Id, Hours)| window.is_some_and(|window| *at > self.now - window);
            if message.key.is_some_and(|key| self.seen.get(&(to, key)).is_some_and(is_seen)) {
                continue;
            }
            gone.push(id);
            let Some((_, new)) = moved.iter().find(|(old, _)| *old == id) else { continue };
            if let Some(key) = message.key.filter(|_| window.is_some()) {
                self.seen.insert((to, key), (*new, self.now));
            }
            self.messages.remove(&id);
            self.counters(message.queue).deleted += 1;
            self.counters(to).pushed += 1;
            let holds_key = message.key.is_some();
            let fresh = Message {
                queue: to,
                deliveries: 0,
                given_back: 0,
                lease_until: None,
                in_turn: false,
                holds_key,
                ..message
            };
            self.messages.insert(*new, fresh);
        }
        gone
    }

    // ---- dead letters

    /// Judges which letters were taken: the oldest of those there are.
    pub fn judge_letters(
        &self,
        queue: usize,
        reason: Option<Reason>,
        max: usize,
        taken: &[Id],
    ) -> Result<(), String> {
        let all: Vec<(Id, &Letter)> = self
            .dead
            .iter()
            .filter(|(_, letter)| {
                letter.message.queue == queue && reason.is_none_or(|reason| reason == letter.reason)
            })
            .map(|(id, letter)| (*id, letter))
            .collect();
        let left = |id: &Id| !taken.contains(id);
        let last = all.iter().filter(|(id, _)| !left(id)).map(|(_, letter)| letter.moment).max().unwrap_or(0);
        let is_skipped = all.iter().any(|(id, letter)| left(id) && letter.moment < last);
        let is_known = taken.iter().all(|id| all.iter().any(|(known, _)| known == id));
        if taken.len() == all.len().min(max) && is_known && !is_skipped {
            Ok(())
        } else {
            Err(format!("of the letters {all:?} at most {max}, oldest first, are {taken:?}"))
        }
    }

    /// Makes a letter a message again, under this id.
    pub fn redrive(&mut self, letter: Id, new: Id, to: usize, reset: bool) {
        let Some(Letter { message, .. }) = self.dead.remove(&letter) else { return };
        if to != message.queue {
            self.counters(to).pushed += 1;
        }
        let limit = message.max_deliveries.unwrap_or(self.queues[to].settings.max_deliveries);
        let keeps_limit = reset || limit == 0 || message.attempts() < limit;
        let max_deliveries = if keeps_limit { message.max_deliveries } else { Some(message.attempts() + 1) };
        let back = Message {
            queue: to,
            key: None,
            holds_key: false,
            deliveries: if reset { 0 } else { message.deliveries },
            given_back: if reset { 0 } else { message.given_back },
            max_deliveries,
            lease_until: None,
            due_at: None,
            expires_at: None,
            in_turn: false,
            ..message
        };
        self.messages.insert(new, back);
    }

    // ---- queues

    /// Removes what there is of a queue, or of one state or group, and returns how many.
    /// `Err` is what is not among the messages: "dead", "archived".
    pub fn purge(&mut self, queue: usize, state: Option<Result<State, &str>>, group: Option<u8>) -> usize {
        let fits = |of: usize, its: Option<u8>| of == queue && (group.is_none() || its == group);
        let before = self.messages.len() + self.dead.len() + self.archive.len();
        let shown = std::mem::take(&mut self.shown);
        let is_of_state =
            |id: &Id| state.is_none_or(|state| state.is_ok_and(|state| shown.get(id) == Some(&state)));
        let messages = self.messages.len();
        self.messages.retain(|id, message| !fits(message.queue, message.group) || !is_of_state(id));
        let purged = messages - self.messages.len();
        self.shown = shown;
        if matches!(state, None | Some(Err("dead"))) {
            self.dead.retain(|_, letter| !fits(letter.message.queue, letter.message.group));
        }
        if matches!(state, None | Some(Err("archived"))) {
            self.archive.retain(|_, (of, its, _)| !fits(*of, *its));
        }
        self.counters(queue).deleted += purged as i64;
        before - self.messages.len() - self.dead.len() - self.archive.len()
    }

    pub fn alter(&mut self, queue: usize, change: impl FnOnce(&mut Settings)) {
        let before = self.queues[queue].settings.clone();
        change(&mut self.queues[queue].settings);
        let settings = self.queues[queue].settings.clone();
        if settings.parallel != before.parallel {
            self.regroup(queue, !settings.parallel);
        }
        if settings.max_leased != before.max_leased {
            let out = |(id, m): (&Id, &Message)| {
                (m.queue == queue && self.is_leased(m)).then_some((*id, m.deliveries))
            };
            let leases: Vec<_> = self.messages.iter().filter_map(out).collect();
            let is_over = settings.max_leased.is_some_and(|limit| leases.len() as i64 > limit);
            self.queues[queue].over_limit = if is_over { leases } else { Vec::new() };
        }
    }

    /// When a queue begins to keep the order of groups, one leased message of each has the
    /// turn.
    fn regroup(&mut self, queue: usize, keeps_order: bool) {
        let mut first: BTreeMap<u8, (i32, Id)> = BTreeMap::new();
        for (&id, message) in self.messages.iter().filter(|(_, m)| m.queue == queue && self.is_leased(m)) {
            if let Some(group) = message.group {
                let place = first.entry(group).or_insert((message.priority, id));
                *place = (*place).min((message.priority, id));
            }
        }
        for (&id, message) in self.messages.iter_mut().filter(|(_, m)| m.queue == queue) {
            let is_first =
                message.group.is_some_and(|group| first.get(&group).is_some_and(|(_, one)| *one == id));
            message.in_turn = keeps_order && is_first;
        }
    }

    // ---- housekeeping

    /// A round takes note of leases that have ended, and forgets what was kept long enough.
    /// What it clears away, `clear` sees.
    pub fn vacuum(&mut self) {
        let ended: Vec<Id> = self
            .messages
            .iter()
            .filter(|(_, m)| m.lease_until.is_some_and(|until| until <= self.now))
            .filter(|(_, m)| !self.is_exhausted(m) && !self.settings(m).times_out_dead)
            .map(|(id, _)| *id)
            .collect();
        self.change(&ended, |message| message.lease_until = None);
        let (now, queues) = (self.now, &self.queues);
        let kept = |queue: usize| queues[queue].settings.archive.unwrap_or(0);
        self.archive.retain(|_, (queue, _, at)| *at + kept(*queue) > now);
        let window = |queue: usize| queues[queue].settings.dedup_window.unwrap_or(0);
        self.seen.retain(|(queue, _), (_, at)| *at + window(*queue) > now);
    }

    /// Takes note of messages that the server has cleared away by itself: they must be gone,
    /// superseded, or have made room. `reason_of` says why a letter died.
    pub fn clear(&mut self, missing: &[Id], reason_of: impl Fn(Id) -> Option<String>) -> Result<(), String> {
        self.moment += 1;
        for &id in missing {
            let message = self.messages[&id].clone();
            let ends = self.ends(&message);
            let told = reason_of(id);
            let matches = |reason: &&Reason| told.as_ref().is_none_or(|told| told == reason.word());
            if let Some(reason) = ends.iter().find(matches) {
                self.die(id, *reason);
                if told.is_some() != self.dead.contains_key(&id) {
                    return Err(format!(
                        "{id} died ({reason:?}) and was {}kept",
                        if told.is_some() { "" } else { "not " }
                    ));
                }
            } else if told.is_none() && (self.is_superseded(id) || self.outdated.contains(&id)) {
                self.messages.remove(&id);
                self.counters(message.queue).deleted += 1;
            } else if told.is_none() && self.drops.get(&message.queue).is_some_and(|(left, _)| *left > 0) {
                self.make_room_by(id)?;
            } else {
                return Err(format!("{id} has vanished ({told:?}): {message:?}, {:?}", self.state(id)));
            }
        }
        self.outdated.clear();
        match std::mem::take(&mut self.drops).values().find(|(left, _)| *left > 0) {
            Some((left, _)) => Err(format!("{left} more must have made room")),
            None => Ok(()),
        }
    }

    fn make_room_by(&mut self, id: Id) -> Result<(), String> {
        let message = self.messages[&id].clone();
        if !self.may_make_room(id) {
            return Err(format!("{id} made room, but was not ready: {message:?}"));
        }
        let goes_first = |(other, m): (&Id, &Message)| (-m.priority, *other) < (-message.priority, id);
        let newest = self.drops[&message.queue].1;
        let is_plain = |m: &Message| m.queue == message.queue && m.group.is_none() && m.due_at.is_none();
        let better = self.messages.iter().find(|&(other, m)| {
            *other <= newest && is_plain(m) && goes_first((other, m)) && self.may_make_room(*other)
        });
        if let Some((better, _)) = better {
            return Err(format!("{id} made room before {better}"));
        }
        self.messages.remove(&id);
        self.counters(message.queue).deleted += 1;
        self.drops.get_mut(&message.queue).unwrap().0 -= 1;
        Ok(())
    }

    /// Whether something is there that a round would have cleared away.
    pub fn has_gone(&self) -> Option<Id> {
        let is_gone = |id: &Id| {
            let message = &self.messages[id];
            self.is_gone(message) || !self.is_leased(message) && self.is_superseded(*id)
        };
        self.messages.keys().copied().find(is_gone)
    }
}

impl Offer {
    /// Whether these may be handed out, in this order.
    pub fn judge(&self, taken: &[Id]) -> Result<(), String> {
        let of_sure: Vec<Id> = taken.iter().copied().filter(|id| self.sure.contains(id)).collect();
        let is_known = taken.iter().all(|id| self.sure.contains(id) || self.late.contains(id));
        let mut distinct = taken.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let most = if self.one_of_group { 1 } else { self.sure.len() + self.late.len() }.min(self.max);
        let least = if self.one_of_group { self.sure.len().min(1) } else { self.sure.len() }.min(self.max);
        let is_right = is_known
            && distinct.len() == taken.len()
            && self.sure.starts_with(&of_sure)
            && (least..=most).contains(&taken.len());
        if is_right || (self.or_nothing && taken.is_empty()) {
            Ok(())
        } else {
            Err(format!("{taken:?} were handed out of {self:?}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Reference {
        let settings = Settings {
            lease: None,
            max_deliveries: 2,
            dead_letter: true,
            ttl: None,
            expires_dead: false,
            times_out_dead: false,
            lifo: false,
            parallel: false,
            max_leased: None,
            max_length: None,
            drops_oldest: false,
            dedup_window: None,
            archive: None,
        };
        Reference::new(vec![settings])
    }

    fn message(group: Option<u8>, key: Option<(u8, OnDuplicate)>) -> Push {
        Push {
            queue: 0,
            payload: 1,
            kind: None,
            priority: 0,
            delay: None,
            ttl: None,
            group,
            key,
            lease: None,
            max_deliveries: None,
        }
    }

    fn anything(max: usize) -> Wish {
        Wish { queue: 0, max, lifo: None, group: None, kind: None }
    }

    #[test]
    fn the_oldest_of_the_most_urgent_comes_first() {
        let mut queue = queue();
        queue.push(&message(None, None), 1).unwrap();
        queue.push(&Push { priority: -1, ..message(None, None) }, 2).unwrap();
        queue.push(&message(None, None), 3).unwrap();
        let offer = queue.offer(&anything(2), true);
        assert_eq!(offer.judge(&[2, 1]), Ok(()));
        for wrong in [&[1, 2][..], &[2, 3], &[2], &[2, 1, 3], &[2, 2]] {
            assert!(offer.judge(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn of_a_group_one_is_out_at_a_time() {
        let mut queue = queue();
        queue.push(&message(Some(1), None), 1).unwrap();
        queue.push(&message(Some(1), None), 2).unwrap();
        assert_eq!(queue.state(2), State::Blocked);
        queue.lease(1, None);
        assert_eq!(queue.offer(&anything(9), true).judge(&[]), Ok(()));
        queue.delete(&[(1, Some(1))]);
        assert_eq!(queue.offer(&anything(9), true).judge(&[2]), Ok(()));
    }

    #[test]
    fn an_old_receipt_settles_nothing() {
        let mut queue = queue();
        queue.push(&message(None, None), 1).unwrap();
        queue.lease(1, Some(1));
        queue.now += 1;
        queue.lease(1, Some(1));
        assert!(queue.delete(&[(1, Some(1))]).is_empty());
        assert_eq!(queue.delete(&[(1, Some(2))]), [1]);
    }

    #[test]
    fn a_failing_message_is_retried_until_no_delivery_is_left() {
        let mut queue = queue();
        queue.push(&message(None, None), 1).unwrap();
        queue.lease(1, None);
        assert_eq!(queue.fail(&[(1, None)], None), [(1, Some(1))]);
        assert_eq!(queue.state(1), State::Delayed);
        queue.now += 1;
        queue.lease(1, None);
        assert_eq!(queue.fail(&[(1, None)], None), [(1, None)]);
        assert_eq!(queue.dead[&1].reason, Reason::Failed);
    }

    #[test]
    fn one_waits_with_a_key() {
        let mut queue = queue();
        let again = |on_duplicate| message(None, Some((1, on_duplicate)));
        assert_eq!(queue.push(&again(OnDuplicate::Ignore), 1), Ok((1, Outcome::Pushed)));
        assert_eq!(queue.push(&again(OnDuplicate::Ignore), 2), Ok((1, Outcome::Ignored)));
        assert_eq!(queue.push(&again(OnDuplicate::Replace), 2), Ok((1, Outcome::Replaced)));
        assert_eq!(queue.push(&again(OnDuplicate::Reject), 2), Err("23505"));
        queue.lease(1, Some(1));
        assert_eq!(queue.push(&again(OnDuplicate::Ignore), 2), Ok((2, Outcome::Pushed)));
        queue.now += 1;
        // The first comes back, and has been superseded.
        assert_eq!(queue.offer(&anything(9), true).judge(&[2]), Ok(()));
        assert_eq!(queue.clear(&[1], |_| None), Ok(()));
    }

    #[test]
    fn a_message_that_a_push_has_reused_is_not_settled_with_an_earlier_receipt() {
        let mut queue = queue();
        let again = |on_duplicate| message(None, Some((1, on_duplicate)));
        queue.push(&again(OnDuplicate::Ignore), 1).unwrap();
        queue.lease(1, Some(1));
        queue.now += 1;
        assert_eq!(queue.push(&again(OnDuplicate::Replace), 2), Ok((1, Outcome::Replaced)));
        assert!(queue.delete(&[(1, Some(1))]).is_empty());
        queue.lease(1, Some(1));
        assert_eq!(queue.delete(&[(1, Some(2))]), [1]);
    }

    #[test]
    fn a_dead_message_is_room_for_one_push_and_not_for_each() {
        for drops_oldest in [false, true] {
            let mut queue = queue();
            queue.push_all(&[message(None, None), message(None, None)], &[1, 2]).unwrap();
            queue.alter(0, |settings| (settings.max_length, settings.drops_oldest) = (Some(2), drops_oldest));
            queue.messages.get_mut(&1).unwrap().deliveries = 2;
            let keyed = [3, 4].map(|key| message(None, Some((key, OnDuplicate::Ignore))));
            assert_eq!(queue.push(&keyed[0], 3), Ok((3, Outcome::Pushed)));
            let second = queue.push(&keyed[1], 4);
            if drops_oldest {
                assert_eq!((second, queue.drops[&0].0), (Ok((4, Outcome::Pushed)), 1));
                assert_eq!(queue.clear(&[1, 2], |id| (id == 1).then(|| "failed".into())), Ok(()));
            } else {
                assert_eq!(second, Err("53400"));
            }
        }
    }

    #[test]
    fn a_message_does_not_vanish() {
        let mut queue = queue();
        queue.push(&message(None, None), 1).unwrap();
        assert!(queue.clear(&[1], |_| None).is_err());
        assert!(queue.clone().clear(&[1], |_| Some("failed".into())).is_err());
    }
}
