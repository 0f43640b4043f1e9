//! Consumers: reserve and settle in every way there is, keep old receipts and try them again.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use pgqueue_history::{Receipt, Verdict};

use crate::call::{Call, receipts};
use crate::producer::update;
use crate::queue::Queue;
use crate::session::{Ending, Failure, Manner, Session};

const VERDICTS: [Verdict; 5] =
    [Verdict::Extend, Verdict::Release, Verdict::Fail, Verdict::Bury, Verdict::Delete];

/// How many receipts a consumer keeps that it should not use any more.
const OLD_RECEIPTS: usize = 50;

/// What a consumer remembers.
#[derive(Default)]
pub struct Consumer {
    old: VecDeque<(Queue, Receipt)>,
}

impl Consumer {
    pub fn work(&mut self, session: &mut Session) -> Result<(), Failure> {
        let queue = *session.rng.choice(&Queue::ALL).expect("there are queues");
        if session.stage.is_quiet.load(Ordering::Relaxed) {
            return quietly(session, queue);
        }
        match session.rng.u32(0..40) {
            0..3 => pop(session, queue),
            3..5 => self.try_old(session),
            5..8 => self.next(session, queue),
            8..12 => all_at_once(session, queue),
            12 => on_dead_letters(session),
            _ => self.reserve_and_settle(session, queue),
        }
    }

    fn reserve_and_settle(&mut self, session: &mut Session, queue: Queue) -> Result<(), Failure> {
        let call = reserve(session);
        let held = if session.one_in(2) {
            receipts(&session.once(queue, &call)?)
        } else {
            let ending = ending(session);
            let held = session.transaction(ending, |open| {
                let manner = Manner::at_random(&mut open.session.rng);
                open.call(queue, &call, manner).map(|rows| receipts(&rows))
            })?;
            if ending == Ending::Commit { held } else { Vec::new() }
        };
        if held.is_empty() {
            session.pause(10);
            return Ok(());
        }
        let longest = if session.one_in(8) { 400 } else { 8 };
        session.pause(longest);
        self.settle(session, queue, held)
    }

    fn settle(&mut self, session: &mut Session, queue: Queue, held: Vec<Receipt>) -> Result<(), Failure> {
        if held.is_empty() {
            return Ok(());
        }
        self.remember(queue, &held);
        let verdict = match session.rng.u32(0..20) {
            0 => return Ok(()), // its consumer forgets it
            1 | 2 => Verdict::Release,
            3 => Verdict::Fail,
            4 if queue == Queue::Mortal => Verdict::Bury,
            5 => Verdict::Extend,
            6..10 if queue == Queue::Keyed => Verdict::Fail, // that pushes meet it
            _ => Verdict::Delete,
        };
        let call = Call::Settle { verdict, receipts: held.clone(), ms: session.rng.i64(50..400) };
        if session.one_in(3) {
            session.once(queue, &call)?;
        } else {
            let ending = ending(session);
            session.transaction(ending, |open| {
                let manner = Manner::at_random(&mut open.session.rng);
                open.call(queue, &call, manner).map(drop)
            })?;
        }
        if matches!(verdict, Verdict::Release | Verdict::Fail) && session.one_in(2) {
            return change_mind(session, queue, held);
        }
        Ok(())
    }

    fn next(&mut self, session: &mut Session, queue: Queue) -> Result<(), Failure> {
        let first = reserve(session);
        let mut held = receipts(&session.once(queue, &first)?);
        for _ in 0..3 {
            if held.is_empty() {
                return Ok(());
            }
            let call =
                Call::Next { done: held, max: session.rng.usize(1..5), lease_ms: session.rng.i64(50..400) };
            held = receipts(&session.once(queue, &call)?);
        }
        self.settle(session, queue, held)
    }

    fn remember(&mut self, queue: Queue, receipts: &[Receipt]) {
        self.old.extend(receipts.iter().map(|receipt| (queue, *receipt)));
        let too_many = self.old.len().saturating_sub(OLD_RECEIPTS);
        self.old.drain(..too_many);
    }

    /// Tries a receipt that may be old.
    fn try_old(&mut self, session: &mut Session) -> Result<(), Failure> {
        if self.old.is_empty() {
            return Ok(());
        }
        let (queue, receipt) = self.old[session.rng.usize(0..self.old.len())];
        let verdict = *session.rng.choice(&VERDICTS).expect("there are some");
        let verdict =
            if verdict == Verdict::Bury && queue != Queue::Mortal { Verdict::Delete } else { verdict };
        let call = Call::Settle { verdict, receipts: vec![receipt], ms: 100 };
        session.once(queue, &call).map(drop)
    }
}

/// Deletes what it has let go of, as who does not know whether that was heard: by then the
/// messages may be leased to others, stand for more, or have been changed.
fn change_mind(session: &mut Session, queue: Queue, let_go: Vec<Receipt>) -> Result<(), Failure> {
    session.pause(150);
    if !matches!(queue, Queue::Mortal | Queue::Keyed) && session.one_in(3) {
        let call = update(session, let_go[0].id, None);
        session.once(queue, &call)?;
    }
    session.once(queue, &Call::Settle { verdict: Verdict::Delete, receipts: let_go, ms: 0 }).map(drop)
}

/// Does nothing that makes others' commits reach the disk, but for a delete now and then.
fn quietly(session: &mut Session, queue: Queue) -> Result<(), Failure> {
    let call = Call::Reserve { max: 1, lease_ms: 1500, lifo: false };
    let held = receipts(&session.once(queue, &call)?);
    if held.is_empty() || !session.one_in(4) {
        session.pause(30);
        return Ok(());
    }
    session.once(queue, &Call::Settle { verdict: Verdict::Delete, receipts: held, ms: 0 }).map(drop)
}

/// Reserves, works and deletes in one transaction.
fn all_at_once(session: &mut Session, queue: Queue) -> Result<(), Failure> {
    let (ending, reserve) = (ending(session), reserve(session));
    session.transaction(ending, |open| {
        let held = receipts(&open.call(queue, &reserve, Manner::Plain)?);
        if held.is_empty() {
            return Ok(());
        }
        let delete = Call::Settle { verdict: Verdict::Delete, receipts: held, ms: 0 };
        let manner = Manner::at_random(&mut open.session.rng);
        open.call(queue, &delete, manner).map(drop)
    })
}

fn pop(session: &mut Session, queue: Queue) -> Result<(), Failure> {
    let call = Call::Pop { max: session.rng.usize(1..4) };
    let ending = ending(session);
    session.transaction(ending, |open| {
        let manner = Manner::at_random(&mut open.session.rng);
        open.call(queue, &call, manner).map(drop)
    })
}

fn on_dead_letters(session: &mut Session) -> Result<(), Failure> {
    let call = match session.rng.u32(0..20) {
        0 => Call::Purge,
        1..8 => Call::DumpDead { max: 3 },
        _ => Call::Redrive,
    };
    session.once(Queue::Mortal, &call).map(drop)
}

fn reserve(session: &mut Session) -> Call {
    let max = if session.one_in(5) { session.rng.usize(2..40) } else { 1 };
    let lease_ms = if session.one_in(20) { 1500 } else { session.rng.i64(30..400) };
    Call::Reserve { max, lease_ms, lifo: session.one_in(20) }
}

fn ending(session: &mut Session) -> Ending {
    match session.rng.u32(0..30) {
        0..2 => Ending::Rollback,
        2 => Ending::Prepare { commit: true },
        3 => Ending::Prepare { commit: false },
        _ => Ending::Commit,
    }
}
