//! Deaths in passing: messages that no consumer will get any more become dead letters, or go.
//!
//! A death may cost very much: its event may go to a full queue that has to drop thousands of messages, or
//! wait for a lock. So where messages cannot be buried all at once, each owner's are buried on their own. If
//! that takes longer than a turn, the owner's messages rest.

use std::cell::RefCell;
use std::time::Instant;

use pgrx::pg_sys::Oid;

use crate::engine::message::dead::{self, Buried};
use crate::engine::table::queue;
use crate::pg::rests::Rests;
use crate::pg::timeout::is_worker;
use crate::pg::turn::TURN;
use crate::value::reason::Reason;

/// How long the messages of an owner rest, as a multiple of the time that they took.
const REST: u32 = 50;

thread_local! {
    static RESTING: RefCell<Rests<Oid>> = RefCell::default();
}

/// A message that will not be delivered again.
#[derive(Clone, Copy)]
pub struct Gone {
    pub id: i64,
    pub queue: i32,
    pub reason: Reason,
}

/// Buries messages. By hand it tries all, the worker those of owners that do not rest, for two turns. Returns
/// also the messages that it has not tried.
pub fn bury(mut messages: Vec<Gone>) -> (Buried, Vec<Gone>) {
    if is_worker() {
        messages.retain(|gone| !RESTING.with_borrow(|resting| resting.is_resting(owner_of(gone))));
    }
    if messages.is_empty() {
        return (Buried::default(), messages);
    }
    let all = as_pairs(&messages);
    if let Some(buried) = dead::in_passing(|| dead::bury_exhausted(&all)) {
        return (buried, Vec::new());
    }
    let (begun, mut buried) = (Instant::now(), Buried::default());
    while let Some(first) = messages.first()
        && !(is_worker() && begun.elapsed() >= TURN)
    {
        pgrx::check_for_interrupts!();
        let owner = owner_of(first);
        let (theirs, others) = messages.into_iter().partition::<Vec<_>, _>(|gone| owner_of(gone) == owner);
        let started = Instant::now();
        buried += dead::bury_without_waiting(&as_pairs(&theirs));
        if is_worker() && started.elapsed() >= TURN {
            RESTING.with_borrow_mut(|resting| resting.begin(owner, started.elapsed() * REST));
        }
        messages = others;
    }
    (buried, messages)
}

fn as_pairs(messages: &[Gone]) -> Vec<(i64, Reason)> {
    messages.iter().map(|gone| (gone.id, gone.reason)).collect()
}

/// The owner of a message's queue; none if the queue cannot be read.
fn owner_of(gone: &Gone) -> Oid {
    queue::by_id(gone.queue).ok().flatten().map_or(Oid::INVALID, |queue| queue.owner())
}
