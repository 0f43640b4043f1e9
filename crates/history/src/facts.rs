//! A history arranged by message: what the rules look at.

use std::collections::{BTreeMap, BTreeSet};

use crate::memory::Memory;
use crate::record::{
    Act, ClockStep, Done, History, Id, Met, Moment, Operation, Order, Pushed, Receipt, ServerTime, Span,
    Taken, Token, Transaction, Verdict,
};

/// An operation in its transaction.
#[derive(Clone, Copy)]
pub struct Step<'a> {
    pub transaction: &'a Transaction,
    pub operation: &'a Operation,
}

impl<'a> Step<'a> {
    /// When it took effect for others, if it certainly did.
    pub fn effect(self) -> Option<Span> {
        self.transaction.commit().filter(|_| !self.operation.undone)
    }

    /// When it took effect, if it did.
    pub fn possible_effect(self) -> Option<Span> {
        self.transaction.possible_commit().filter(|_| !self.operation.undone)
    }

    pub fn may_count_for(self, other: Step) -> bool {
        self.possible_effect().is_some() || self.is_beside(other)
    }

    /// Whether both are of one transaction, which sees what it did itself.
    pub fn is_beside(self, other: Step) -> bool {
        self.transaction.number == other.transaction.number
    }

    pub fn is_answered(self) -> bool {
        self.operation.clock.is_some()
    }

    pub fn invoked(self) -> Moment {
        self.operation.span.invoked
    }

    pub fn returned(self) -> Moment {
        self.operation.span.returned
    }

    pub fn queue(self) -> &'a str {
        &self.operation.queue
    }
}

/// A message that was handed out.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    pub step: Step<'a>,
    pub taken: &'a Taken,
}

impl Given<'_> {
    pub fn is_pop(&self) -> bool {
        self.taken.until.is_none()
    }
}

/// What a settle call was asked of one message, and said.
#[derive(Clone, Copy)]
pub struct Settled<'a> {
    pub step: Step<'a>,
    pub verdict: Verdict,
    pub receipt: Receipt,
    pub delay: Option<i64>,
    pub answer: Answer<'a>,
}

#[derive(Clone, Copy)]
pub enum Answer<'a> {
    Done(&'a Done),
    Refused,
    /// It never came.
    None,
}

impl<'a> Settled<'a> {
    pub fn done(&self) -> Option<&'a Done> {
        match self.answer {
            Answer::Done(done) => Some(done),
            Answer::Refused | Answer::None => None,
        }
    }

    pub fn may_be_done(&self) -> bool {
        !matches!(self.answer, Answer::Refused)
    }

    pub fn fits(&self, delivery: i32) -> bool {
        self.receipt.delivery.is_none_or(|receipt| receipt == delivery)
    }

    pub fn is_delete(&self) -> bool {
        self.verdict == Verdict::Delete
    }
}

/// A message and its push.
#[derive(Clone, Copy)]
pub struct Pushing<'a> {
    pub step: Step<'a>,
    pub pushed: &'a Pushed,
    pub order: &'a Order,
    pub delay: i64,
    pub ttl: Option<i64>,
    pub key: Option<&'a str>,
}

/// A message that was made a new one of another queue, or may have been.
#[derive(Clone, Copy)]
pub struct Moving<'a> {
    pub step: Step<'a>,
    pub to: &'a str,
    /// None: nobody was told.
    pub new_id: Option<Id>,
}

pub struct Facts<'a> {
    pub history: &'a History,
    pub memory: Memory,
    pub pushes: BTreeMap<Token, Vec<Pushing<'a>>>,
    pub given: BTreeMap<Id, Vec<Given<'a>>>,
    pub settled: BTreeMap<Id, Vec<Settled<'a>>>,
    /// By the id of the message that waited.
    pub met: BTreeMap<Id, Vec<Pushing<'a>>>,
    /// By old ids.
    pub moves: BTreeMap<Id, Vec<Moving<'a>>>,
    /// Messages of which somebody was told or handed the token; of a push that met another
    /// message that one; of one that was moved the new ones too.
    pub ids: BTreeMap<Token, Vec<Id>>,
    /// All else.
    pub others: Vec<Step<'a>>,
    /// Calls whose answer, and so whose messages, nobody knows.
    pub unanswered: Vec<Step<'a>>,
}

impl<'a> Facts<'a> {
    pub fn of(history: &'a History) -> Self {
        let mut facts = Self {
            history,
            memory: Memory::of(history),
            pushes: BTreeMap::new(),
            given: BTreeMap::new(),
            settled: BTreeMap::new(),
            met: BTreeMap::new(),
            moves: BTreeMap::new(),
            ids: BTreeMap::new(),
            others: Vec::new(),
            unanswered: Vec::new(),
        };
        for transaction in &history.transactions {
            for operation in &transaction.operations {
                facts.add(Step { transaction, operation });
            }
        }
        facts.add_ending();
        facts.name_moved();
        facts.given.values_mut().for_each(|given| given.sort_by_key(|given| given.step.invoked()));
        facts.settled.values_mut().for_each(|settled| settled.sort_by_key(|settled| settled.step.invoked()));
        facts
    }

    fn add(&mut self, step: Step<'a>) {
        match &step.operation.act {
            Act::Push { messages, order, delay, ttl, key } => {
                for pushed in messages {
                    let push = Pushing { step, pushed, order, delay: *delay, ttl: *ttl, key: key.as_deref() };
                    self.pushes.entry(pushed.token).or_default().push(push);
                    if let Some(id) = pushed.id {
                        self.name(pushed.token, id);
                        if pushed.met.is_some() {
                            self.met.entry(id).or_default().push(push);
                        }
                    }
                }
            }
            Act::Reserve { taken: Some(taken), .. } | Act::Pop { taken: Some(taken), .. } => {
                for taken in taken {
                    self.given.entry(taken.id).or_default().push(Given { step, taken });
                    self.name(taken.token, taken.id);
                }
            }
            Act::Settle { verdict, receipts, delay, done } => {
                for receipt in receipts {
                    let answer = done.as_ref().map_or(Answer::None, |done| {
                        done.iter().find(|done| done.id == receipt.id).map_or(Answer::Refused, Answer::Done)
                    });
                    let settled =
                        Settled { step, verdict: *verdict, receipt: *receipt, delay: *delay, answer };
                    self.settled.entry(receipt.id).or_default().push(settled);
                }
            }
            Act::Move { ids, to, moved } => {
                for &id in ids {
                    let new_id = moved.as_ref().map(|moved| moved.iter().find(|(old, _)| *old == id));
                    // Who was not told so has moved nothing.
                    if !matches!(new_id, Some(None)) && step.possible_effect().is_some() {
                        let new_id = new_id.flatten().map(|&(_, new)| new);
                        self.moves.entry(id).or_default().push(Moving { step, to, new_id });
                    }
                }
            }
            Act::Reserve { taken: None, .. } | Act::Pop { taken: None, .. } => self.unanswered.push(step),
            Act::DumpDead { dumped: None, .. } => self.unanswered.push(step),
            Act::DumpDead { .. } | Act::Purge | Act::Redrive => self.others.push(step),
        }
    }

    fn add_ending(&mut self) {
        let ending = &self.history.ending;
        for (&id, &token) in ending.alive.iter().chain(&ending.dead) {
            self.name(token, id);
        }
    }

    fn name(&mut self, token: Token, id: Id) {
        let ids = self.ids.entry(token).or_default();
        if !ids.contains(&id) {
            ids.push(id);
        }
    }

    fn name_moved(&mut self) {
        for ids in self.ids.values_mut() {
            let mut next = 0;
            while let Some(id) = ids.get(next) {
                let moves = self.moves.get(id).into_iter().flatten();
                let new = moves.filter_map(|moving| moving.new_id).filter(|new| !ids.contains(new));
                ids.extend(new.collect::<Vec<_>>());
                next += 1;
            }
        }
    }

    /// Messages that were given to somebody, settled, moved, or found waiting.
    pub fn touched(&self) -> BTreeSet<Id> {
        let keys = self.given.keys().chain(self.settled.keys()).chain(self.moves.keys());
        keys.chain(self.met.keys()).copied().collect()
    }

    pub fn given_of(&self, id: Id) -> &[Given<'a>] {
        self.given.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Calls that were given a message for ever.
    pub fn pops(&self, id: Id) -> impl Iterator<Item = Step<'a>> + use<'_, 'a> {
        self.given_of(id).iter().filter(|given| given.is_pop()).map(|given| given.step)
    }

    pub fn moves_of(&self, id: Id) -> &[Moving<'a>] {
        self.moves.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Pushes and updates that found a message waiting.
    pub fn met(&self, id: Id) -> &[Pushing<'a>] {
        self.met.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Those of them that made it a new one.
    pub fn replacing(&self, id: Id) -> impl Iterator<Item = &Pushing<'a>> {
        self.met(id).iter().filter(|push| push.pushed.met == Some(Met::Replaced))
    }

    pub fn settled_of(&self, id: Id) -> &[Settled<'a>] {
        self.settled.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Whether dead letters of a queue may have come back after a moment.
    pub fn may_be_redriven(&self, queue: &str, after: Moment) -> bool {
        self.others.iter().any(|step| {
            matches!(step.operation.act, Act::Redrive)
                && step.queue() == queue
                && step.possible_effect().is_some_and(|effect| effect.returned > after)
        })
    }

    /// Whether somebody moved the server's clock while a call was under way.
    pub fn clock_stepped_during(&self, step: Step) -> bool {
        let span = step.operation.span;
        let overlaps =
            |moved: &ClockStep| moved.span.invoked <= span.returned && span.invoked <= moved.span.returned;
        self.history.clock_steps.iter().any(overlaps)
    }

    /// The latest that the server's clock can have shown between a call and a moment, if
    /// somebody moved it in between.
    pub fn latest_reading(&self, from: Step, to: Moment) -> Option<ServerTime> {
        let within = |moved: &&ClockStep| moved.span.returned >= from.invoked() && moved.span.invoked <= to;
        let mut steps = self.history.clock_steps.iter().filter(within).peekable();
        steps.peek()?;
        let mut reading = from.operation.clock?.ended;
        let (mut since, mut latest) = (from.invoked(), reading);
        for step in steps {
            let before = reading + (step.span.returned - since);
            // What the call showed may be from before or after a step beside it.
            let is_beside = step.span.invoked <= from.returned();
            reading = if is_beside { before.max(before + step.by) } else { before + step.by };
            since = step.span.invoked;
            latest = latest.max(before).max(reading);
        }
        Some(latest.max(reading + (to - since)))
    }
}
