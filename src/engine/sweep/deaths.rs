//! Deaths in passing: messages that no consumer will get any more become dead letters, or go.
//!
//! A death may cost very much: its event may go to a full queue that has to drop thousands of messages, or
//! wait for a lock. So where messages cannot be buried all at once, each queue's are buried on their own. If
//! an owner's take longer than a turn, the owner's messages rest; those of a queue that alone took so long
//! rest longer, so that the owner's other queues come first.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use pgrx::pg_sys::Oid;

use crate::engine::message::dead::{self, Buried};
use crate::engine::table::queue;
use crate::pg::rests::Rests;
use crate::pg::timeout::is_worker;
use crate::pg::turn::TURN;
use crate::value::reason::Reason;

/// How long the messages of an owner rest, as a multiple of the time that they took.
const OWNER_REST: u32 = 50;

/// The same for a queue: the owner has three turns without it.
const QUEUE_REST: u32 = 4 * OWNER_REST;

thread_local! {
    static RESTING: RefCell<Resting> = RefCell::default();
}

/// Owners and queues whose messages rest.
#[derive(Default)]
struct Resting {
    owners: Rests<Oid>,
    queues: Rests<i32>,
}

impl Resting {
    fn contains(&self, gone: &Gone) -> bool {
        self.queues.is_resting(gone.queue) || self.owners.is_resting(owner_of(gone))
    }
}

/// A message that will not be delivered again.
#[derive(Clone, Copy)]
pub struct Gone {
    pub id: i64,
    pub queue: i32,
    pub reason: Reason,
}

/// Buries messages. By hand it tries all, the worker those that do not rest, for two turns. Returns also the
/// messages that it has not tried.
pub fn bury(mut messages: Vec<Gone>) -> (Buried, Vec<Gone>) {
    leave_out_resting(&mut messages);
    if messages.is_empty() {
        return (Buried::default(), messages);
    }
    let all = as_pairs(&messages);
    if let Some(buried) = dead::in_passing(|| dead::bury_exhausted(&all)) {
        return (buried, Vec::new());
    }
    let (begun, mut buried, mut spent) = (Instant::now(), Buried::default(), HashMap::new());
    while let Some(first) = messages.first().copied()
        && !(is_worker() && begun.elapsed() >= TURN)
    {
        pgrx::check_for_interrupts!();
        let of_queue = messages.extract_if(.., |gone| gone.queue == first.queue).collect::<Vec<_>>();
        let started = Instant::now();
        buried += dead::bury_without_waiting(&as_pairs(&of_queue));
        let (took, by_owner) = (started.elapsed(), spent.entry(owner_of(&first)).or_default());
        *by_owner += took;
        if is_worker() {
            rest(&first, took, *by_owner);
        }
        leave_out_resting(&mut messages);
    }
    (buried, messages)
}

/// Lets the queue and the owner of a message rest if they took too long.
fn rest(gone: &Gone, by_queue: Duration, by_owner: Duration) {
    RESTING.with_borrow_mut(|resting| {
        if by_queue >= TURN {
            resting.queues.begin(gone.queue, by_queue * QUEUE_REST);
        }
        if by_owner >= TURN {
            resting.owners.begin(owner_of(gone), by_owner * OWNER_REST);
        }
    });
}

fn leave_out_resting(messages: &mut Vec<Gone>) {
    if is_worker() {
        RESTING.with_borrow(|resting| messages.retain(|gone| !resting.contains(gone)));
    }
}

fn as_pairs(messages: &[Gone]) -> Vec<(i64, Reason)> {
    messages.iter().map(|gone| (gone.id, gone.reason)).collect()
}

/// The owner of a message's queue; none if the queue cannot be read.
fn owner_of(gone: &Gone) -> Oid {
    queue::by_id(gone.queue).ok().flatten().map_or(Oid::INVALID, |queue| queue.owner())
}
