//! NOTIFY for clients that LISTEN: one a queue and round, however many messages became
//! ready, so that a producer's commit never waits for the lock that NOTIFY takes.
//!
//! A listener hears of a queue once more than it has to when the worker begins, and after a time
//! in which the worker may have missed something.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};

use pgrx::pg_sys;

use super::sweep::logged;
use crate::engine::listened::Listened;
use crate::engine::statement::Statement;
use crate::engine::{board, catalog, now, queue};
use crate::hint::Timestamp;

static QUEUES: Statement = Statement::new(include_str!("../../sql/query/listened_queues.sql"), &[]);

/// For so long a commit wakes the worker, after the worker has said that it listens.
const LISTENS: Timestamp = 60_000_000;

/// How often the worker says so.
const OFTEN: Timestamp = 10_000_000;

/// A queue that is listened to.
#[derive(Clone)]
struct Queue {
    number: i32,
    channel: CString,
    /// How often it had had news when its listeners were told last.
    told: Option<u64>,
}

impl Queue {
    fn news(&self) -> Option<u64> {
        board::listened(self.number).map(Listened::news)
    }
}

/// What the worker knows of queues that are listened to.
#[derive(Clone, Default)]
struct Ear {
    generation: Option<u64>,
    listens_since: Option<Timestamp>,
    queues: Vec<Queue>,
}

thread_local! {
    static EAR: RefCell<Ear> = RefCell::default();
}

/// Sends NOTIFY on the channels of queues that have news and want it. False if that
/// failed.
pub fn tell() -> bool {
    let mut ear = EAR.with_borrow(Clone::clone);
    let told = logged("notify", || ear.tell());
    if told {
        EAR.set(ear);
    }
    told
}

impl Ear {
    fn tell(&mut self) {
        let generation = catalog::heard();
        let is_outdated = self.generation != Some(generation);
        if is_outdated {
            self.read_queues();
            self.generation = Some(generation);
        }
        self.listen(is_outdated);
        for queue in &mut self.queues {
            let news = queue.news(); // read before listeners look
            if queue.told != news {
                send(&queue.channel);
                queue.told = news;
            }
        }
    }

    fn read_queues(&mut self) {
        let mut numbers = Vec::new();
        QUEUES.run(&[], |row| numbers.push(row.i32(0)));
        let before = std::mem::take(&mut self.queues);
        self.queues = numbers.into_iter().filter_map(|number| found(number, &before)).collect();
    }

    fn listen(&mut self, has_new_queues: bool) {
        let now = now();
        let since = self.listens_since.map_or(Timestamp::MAX, |since| now.saturating_sub(since));
        if !has_new_queues && (0..OFTEN).contains(&since) {
            return;
        }
        for queue in &mut self.queues {
            if let Some(listened) = board::listened(queue.number) {
                listened.listen(now + LISTENS);
            }
            if since >= LISTENS {
                queue.told = None; // there was a time in which nobody would have told
            }
        }
        self.listens_since = Some(now);
    }
}

/// A queue with what was known of it before, if it has a channel.
fn found(number: i32, before: &[Queue]) -> Option<Queue> {
    let queue = queue::by_id(number).ok().flatten()?;
    let channel = queue::channel(&queue.name, &queue.settings).ok().flatten()?;
    let channel = CString::new(channel).ok()?;
    let known = before.iter().find(|known| known.number == number && known.channel == channel);
    Some(Queue { number, channel, told: known.and_then(|known| known.told) })
}

/// NOTIFY with an empty payload, when the transaction commits.
fn send(channel: &CStr) {
    // commands/async.h, which pgrx leaves out
    unsafe extern "C-unwind" {
        fn Async_Notify(channel: *const c_char, payload: *const c_char);
    }
    // SAFETY: both are C strings; the boundary turns an error into a panic.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| Async_Notify(channel.as_ptr(), c"".as_ptr())) }
}
