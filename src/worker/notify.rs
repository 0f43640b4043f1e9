//! NOTIFY for clients that LISTEN. The worker sends one a queue and round, however many messages became
//! ready, so that a producer's commit never waits for the lock that NOTIFY takes.
//!
//! A listener is sometimes notified without need: when a worker begins, after a time in which the worker may
//! have missed a commit, and when another queue that shares its counter has news
//! (`engine::shared::listen_counter`).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char};
use std::time::Instant;

use pgrx::pg_sys;

use crate::engine::queue::channel;
use crate::engine::reserve::prepared;
use crate::engine::shared::{listen_counter, listeners};
use crate::engine::table::catalog;
use crate::engine::table::statement::Statement;
use crate::pg::datum::text_datum;
use crate::pg::session::now;
use crate::pg::turn::{Parts, TURN};
use crate::value::timestamp::Timestamp;
use crate::worker::step::logged;

static QUEUES: Statement = Statement::new(
    include_str!("../../sql/query/listened_queues.sql"),
    &[pg_sys::TEXTOID, pg_sys::INT8OID, pg_sys::INT8OID],
);
static LAST_ID: Statement = Statement::new(include_str!("../../sql/query/last_queue_id.sql"), &[]);

/// Of how many numbers queues are first read at a time.
const PAGE: i64 = 1_000;

/// Time for which commits wake the worker, after the worker has noted that it listens.
const LISTENS: Timestamp = 60_000_000;

/// Interval at which the worker notes that it listens.
const OFTEN: Timestamp = 10_000_000;

/// Time between two notes of all counters. An invalidation comes much sooner after its commit.
const APART: Timestamp = 100_000;

/// Rest before queues are read again, as a multiple of the time that reading took.
const REST: Timestamp = 20;

/// Queues that share a counter of news.
#[derive(Default)]
struct Shared {
    channels: Vec<CString>,
    /// Counter when their listeners were last notified.
    told: Option<u64>,
    /// The same, once the running transaction commits, which notifies them.
    tells: Option<u64>,
}

impl Shared {
    /// The counter when all of these channels were last notified. To a new channel the news since it was `noted`
    /// may not have been told.
    fn told_to(&self, channels: &[CString], noted: Option<u64>) -> Option<u64> {
        let has_all = channels.iter().all(|channel| self.channels.contains(channel));
        if has_all { self.told } else { self.told.min(noted) }
    }
}

/// A reading of the queues that is under way. It goes on each time for a turn.
struct Reading {
    /// The changes of queues that were known when it began.
    changes: u64,
    begun: Timestamp,
    /// Up to this number the queues are read.
    behind: i64,
    channels: BTreeMap<usize, Vec<CString>>,
}

/// The worker's knowledge of queues with listeners.
#[derive(Default)]
struct Ear {
    changes: Option<u64>,
    /// Queues are not read again before.
    rests_until: Timestamp,
    reading: Option<Reading>,
    listens_since: Option<Timestamp>,
    by_counter: BTreeMap<usize, Shared>,
    /// All counters as they were noted the time before last, and last time: a queue that was just created may
    /// have had news since.
    counters: [Vec<Option<u64>>; 2],
    noted_at: Timestamp,
    prepared: Vec<i64>,
}

thread_local! {
    static EAR: RefCell<Ear> = RefCell::default();
    static PARTS: Parts = const { Parts::of(PAGE) };
}

/// Sends NOTIFY for the queues that have news and a channel. False if that failed.
pub fn tell() -> bool {
    EAR.with_borrow_mut(Ear::hear_of_prepared);
    let told = logged("notify", || EAR.with_borrow_mut(Ear::tell));
    if told {
        EAR.with_borrow_mut(|ear| ear.by_counter.values_mut().for_each(|shared| shared.told = shared.tells));
    }
    told
}

impl Ear {
    /// Has all listeners notified when a prepared transaction has ended: its ready messages are not
    /// announced.
    fn hear_of_prepared(&mut self) {
        let left = prepared::left_prepared();
        if self.prepared.iter().any(|before| !left.contains(before)) {
            self.by_counter.values_mut().for_each(|shared| shared.told = None);
        }
        self.prepared = left;
    }

    fn tell(&mut self) {
        let counters = (0..listen_counter::MANY).map(listeners::news).collect();
        let (changes, begun) = (catalog::heard(), now());
        let is_outdated =
            self.changes != Some(changes) && !(begun..begun + OFTEN).contains(&self.rests_until);
        let has_read = (is_outdated || self.reading.is_some()) && self.read_queues(changes);
        self.listen(has_read);
        for (&counter, shared) in &mut self.by_counter {
            shared.tells = listeners::news(counter); // read before listeners look
            if shared.told != shared.tells {
                shared.channels.iter().for_each(|channel| send(channel));
            }
        }
        // A queue that has yet to be read, or of which no invalidation has come yet, had its news after these.
        if self.changes == Some(changes) && !(self.noted_at..self.noted_at + APART).contains(&begun) {
            self.counters.rotate_left(1);
            self.counters[1] = counters;
            self.noted_at = begun;
        }
    }

    /// Goes on with the reading of the queues, or begins one. True if all of them are read.
    fn read_queues(&mut self, changes: u64) -> bool {
        let anew = || Reading { changes, begun: now(), behind: 0, channels: BTreeMap::new() };
        let mut reading = self.reading.take().unwrap_or_else(anew);
        if !reading.go_on() {
            self.reading = Some(reading);
            return false;
        }
        self.changes = Some(reading.changes);
        self.rests_until = now() + ((now() - reading.begun) * REST).clamp(0, OFTEN - 1);
        let mut before = std::mem::take(&mut self.by_counter);
        for (counter, channels) in reading.channels {
            let noted = self.counters[0].get(counter).copied().unwrap_or(Some(0));
            let told = before.remove(&counter).map_or(noted, |known| known.told_to(&channels, noted));
            self.by_counter.insert(counter, Shared { channels, told, tells: None });
        }
        true
    }

    fn listen(&mut self, has_new_queues: bool) {
        let now = now();
        let since = self.listens_since.map_or(Timestamp::MAX, |since| now.saturating_sub(since));
        if !has_new_queues && (0..OFTEN).contains(&since) {
            return;
        }
        for (&counter, shared) in &mut self.by_counter {
            listeners::listen(counter, now + LISTENS);
            if self.listens_since.is_some() && since >= LISTENS {
                shared.told = None; // for some time no commit would have woken the worker
            }
        }
        self.listens_since = Some(now);
    }
}

impl Reading {
    /// Reads queues for a turn. True if that were all.
    fn go_on(&mut self) -> bool {
        let (begun, mut last) = (Instant::now(), 0);
        LAST_ID.run(&[], |row| last = row.i64(0));
        while self.behind < last && begun.elapsed() < TURN {
            let part = |numbers: i64| (numbers, listened(self.behind, numbers));
            match PARTS.with(|parts| parts.work(last - self.behind, part)) {
                Ok((numbers, queues)) => {
                    self.behind += numbers;
                    for (queue, channel) in queues {
                        self.channels.entry(listen_counter::counter_of(queue)).or_default().extend(channel);
                    }
                }
                Err(took_long) => self.behind += i64::from(took_long.is_smallest()),
            }
        }
        self.behind >= last
    }
}

/// The queues that have a channel, among so many numbers, and that channel.
fn listened(behind: i64, numbers: i64) -> Vec<(i32, Option<CString>)> {
    let (mut queues, prefix) = (Vec::new(), text_datum(channel::PREFIX));
    QUEUES.run(&[Some(prefix), Some(behind.into()), Some(numbers.into())], |row| {
        queues.push((row.i32(0), CString::new(row.text(1).unwrap_or_default()).ok()));
    });
    queues
}

/// Sends NOTIFY with an empty payload when the transaction commits.
fn send(channel: &CStr) {
    // From commands/async.h; pgrx lacks it.
    unsafe extern "C-unwind" {
        fn Async_Notify(channel: *const c_char, payload: *const c_char);
    }
    // SAFETY: both are C strings; the boundary turns an error into a panic.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| Async_Notify(channel.as_ptr(), c"".as_ptr())) }
}
