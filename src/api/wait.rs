//! `CALL pgq_wait`: sleeps until messages may be ready.
//!
//! While it sleeps it holds no snapshot, so that it does not hold back vacuum. It is a procedure because only
//! a procedure called by itself can drop the snapshot that Postgres takes for every statement.

use std::cell::RefCell;
use std::time::Instant;

use crate::api::call::{Answer, Call};
use crate::engine::reserve::{self, Outlook};
use crate::engine::shared::sleeper::{NO_QUEUE, Sleeper, check_client};
use crate::engine::table::name::Name;
use crate::engine::table::queue;
use crate::error::{Error, Result};
use crate::pg::memory::Scratch;
use crate::pg::snapshot::{
    let_go_of_snapshot, take_snapshot_again, with_snapshot_for_a_moment, without_leaving_locks,
};
use crate::value::duration::Millis;
use crate::value::right::Right;
use crate::worker::start;

crate::export_to_sql!(pgq_wait);

fn pgq_wait(call: &Call) -> Answer {
    let name = call.name(0, "queue")?;
    let timeout: Millis = call.required(1, "timeout")?;
    let min = call.max(2, "min")?;
    let queue = without_leaving_locks(|| queue::find(&name, Right::Consume))?;
    warn_if_missing(&name, queue.is_none());
    start::ensure_running();
    let deadline = Instant::now() + timeout.as_duration();

    let_go_of_snapshot()?;
    let (mut sleeper, mut scratch) = (None::<Sleeper>, Scratch::default());
    let is_ready = loop {
        let seen = look(&name, sleeper.as_ref().map_or(min, Sleeper::wish), &mut scratch)?;
        if let Some(sleeper) = &mut sleeper {
            sleeper.share(seen.outlook.found);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if seen.outlook.found >= min || left.is_zero() {
            break seen.outlook.found >= min;
        }
        match &mut sleeper {
            Some(sleeper) if sleeper.is_for(seen.queue) => {
                sleeper.sleep(left, seen.outlook.found, seen.outlook.next_change);
                check_client();
            }
            // The sleeper gets signals from now on, and has to look once more before it sleeps.
            _ => {
                drop(sleeper.take());
                sleeper = Some(Sleeper::new(seen.queue, min));
            }
        }
    };
    drop(sleeper);
    take_snapshot_again();
    Ok(Some(call.record(&[Some(is_ready.into())])))
}

thread_local! {
    /// The missing queue of which this session was warned last.
    static WARNED_OF: RefCell<Option<Name>> = const { RefCell::new(None) };
}

/// Warns of a queue that does not exist, once for the waits that follow each other: it may be mistyped, or its
/// first push is still to come.
fn warn_if_missing(name: &Name, is_missing: bool) {
    let was_warned = WARNED_OF.with_borrow_mut(|warned_of| {
        let was_warned = warned_of.as_ref() == Some(name);
        if is_missing != was_warned {
            *warned_of = is_missing.then(|| name.clone());
        }
        was_warned
    });
    if is_missing && !was_warned {
        Error::no_such_queue(&name.to_string()).warn("pgq_wait sleeps until it does.");
    }
}

struct Seen {
    queue: i32,
    outlook: Outlook,
}

/// Looks at the queue for so many messages, with a snapshot of its own.
fn look(name: &Name, wish: usize, scratch: &mut Scratch) -> Result<Seen> {
    without_leaving_locks(|| {
        with_snapshot_for_a_moment(|| {
            let Some(queue) = queue::find(name, Right::Consume)? else {
                return Ok(Seen { queue: NO_QUEUE, outlook: Outlook::default() });
            };
            let (found, next_change) = scratch.with(|| {
                let Outlook { found, next_change } = reserve::outlook(&queue, wish);
                (found, next_change)
            });
            Ok(Seen { queue: queue.id, outlook: Outlook { found, next_change } })
        })
    })
}
