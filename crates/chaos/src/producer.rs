//! Producers: push to all queues, commit late, roll back, prepare; change or move what they pushed.

use std::sync::atomic::Ordering;
use std::time::Duration;

use pgqueue_history::{Id, Length, Order};

use crate::call::{Call, ids};
use crate::queue::Queue;
use crate::session::{Ending, Failure, Manner, Session};

/// How long messages live that do not live for ever.
const TTL: Duration = Duration::from_millis(300);

pub fn work(session: &mut Session) -> Result<(), Failure> {
    if session.stage.is_quiet.load(Ordering::Relaxed) {
        session.pause(20);
        return Ok(());
    }
    let queue = *session.rng.choice(&Queue::ALL).expect("there are queues");
    if session.one_in(3) {
        let call = push(session, queue);
        let pushed = ids(&session.once(queue, &call)?);
        if session.one_in(2) {
            think_again(session, queue, &call, pushed)?;
        }
    } else {
        push_some(session, queue)?;
    }
    session.pause(15);
    Ok(())
}

/// Lays in as many messages of each queue as a quiet time may need.
pub fn stock(session: &mut Session) {
    for queue in Queue::ALL {
        let tokens = session.stage.next_tokens(100);
        let call = Call::Push { tokens, order: Order::default(), delay: None, ttl: None, padding: 0 };
        // What went wrong is in the history.
        let _ = session.once(queue, &call);
    }
}

fn push_some(session: &mut Session, queue: Queue) -> Result<(), Failure> {
    let ending = match session.rng.u32(0..20) {
        0..2 => Ending::Rollback,
        2 => Ending::Prepare { commit: true },
        3 => Ending::Prepare { commit: false },
        _ => Ending::Commit,
    };
    session.transaction(ending, |open| {
        for _ in 0..open.session.rng.u32(1..4) {
            let call = push(open.session, queue);
            let manner = Manner::at_random(&mut open.session.rng);
            open.call(queue, &call, manner)?;
        }
        if open.session.one_in(10) {
            open.session.pause(100);
        }
        Ok(())
    })
}

fn push(session: &mut Session, queue: Queue) -> Call {
    if queue == Queue::Keyed {
        return push_key(session);
    }
    let count = if session.one_in(20) { session.rng.usize(10..60) } else { session.rng.usize(1..4) };
    let group = (queue == Queue::Ordered).then(|| of_this_round(session, 12));
    Call::Push {
        tokens: session.stage.next_tokens(count),
        order: Order { group, priority: session.rng.i32(-1..=1) },
        delay: session.one_in(10).then_some(20),
        ttl: (queue == Queue::Mortal && session.one_in(5)).then_some(TTL.as_micros() as Length),
        padding: if session.one_in(4) { session.rng.usize(0..3000) } else { 0 },
    }
}

fn push_key(session: &mut Session) -> Call {
    let [token] = session.stage.next_tokens(1)[..] else { unreachable!("one was asked for") };
    Call::PushKey { token, key: of_this_round(session, 4), replace: session.rng.bool() }
}

/// Changes or moves what it has pushed, which others may have been given by then.
fn think_again(session: &mut Session, queue: Queue, push: &Call, mut pushed: Vec<Id>) -> Result<(), Failure> {
    session.pause(50);
    let call = match push {
        Call::PushKey { key, .. } => update(session, pushed[0], Some(key.clone())),
        _ if queue == Queue::Mortal => return Ok(()), // it may die
        _ if session.rng.bool() => update(session, pushed[0], None),
        _ => {
            pushed.truncate(5);
            let to = *session.rng.choice(&Queue::FOR_ALL).expect("there are some");
            Call::Move { ids: pushed, to }
        }
    };
    session.once(queue, &call).map(drop)
}

pub fn update(session: &Session, id: Id, key: Option<String>) -> Call {
    let [token] = session.stage.next_tokens(1)[..] else { unreachable!("one was asked for") };
    Call::Update { id, token, key }
}

/// One of so many names that no other round has.
fn of_this_round(session: &mut Session, of: u32) -> String {
    let round = session.stage.round.load(Ordering::Relaxed);
    format!("{round}.{}", session.rng.u32(0..of))
}
