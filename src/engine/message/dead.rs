//! Dead letters, and the failures that lead to them.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::{self, Datum};

use crate::engine::commit::pending;
use crate::engine::message::events::{self, Event};
use crate::engine::message::group;
use crate::engine::message::receipt::lock;
use crate::engine::queue::counter;
use crate::engine::table::counts::Counts;
use crate::engine::table::message::{Column, NOT_LEASED, Receipt, is_exhausted};
use crate::engine::table::message_id;
use crate::engine::table::queue::{self, Queue};
use crate::engine::table::row::TableRow;
use crate::engine::table::statement::{Row, Statement};
use crate::error::Result;
use crate::pg::datum::{i64_array, text_datum, timestamp_array};
use crate::pg::memory::{collected, room_for};
use crate::pg::subtransaction::{self, Problem};
use crate::pg::timeout::{TimeLimit, is_worker};
use crate::pg::turn::TURN;
use crate::pg::{role, session};
use crate::stop::{self, Point};
use crate::value::duration::Millis;
use crate::value::reason::Reason;
use crate::value::settings::OnTimeout;
use crate::value::timestamp::Timestamp;

static RETRY: Statement = Statement::by_index(
    include_str!("../../../sql/query/retry_messages.sql"),
    &[pg_sys::INT8ARRAYOID, pg_sys::TIMESTAMPTZARRAYOID, pg_sys::TEXTOID, pg_sys::TIMESTAMPTZOID],
);
static BURY: Statement = Statement::by_index(
    include_str!("../../../sql/query/bury_messages.sql"),
    &[pg_sys::INT8ARRAYOID, pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::BOOLOID],
);
static DUMP: Statement =
    Statement::new(include_str!("../../../sql/query/dump_dead.sql"), &[pg_sys::INT4OID, pg_sys::INT8OID]);
static PEEK: Statement = Statement::by_index(
    include_str!("../../../sql/query/peek_dead.sql"),
    &[pg_sys::INT4OID, pg_sys::INT8OID],
);
static REDRIVE: Statement = Statement::new(
    concat!(
        include_str!("../../../sql/query/redrive_oldest.sql"),
        include_str!("../../../sql/query/redrive.sql")
    ),
    &[pg_sys::INT4OID, pg_sys::BOOLOID, pg_sys::INT4OID, pg_sys::INT4OID, pg_sys::INT8OID, pg_sys::TEXTOID],
);

/// The longest error kept, in bytes: a message carries its last ten errors wherever it goes.
pub const LONGEST_ERROR: usize = 4_096;

impl Queue {
    /// Why a message of the queue that no consumer holds will never be delivered again.
    pub fn end_of(&self, row: &TableRow, now: Timestamp) -> Option<Reason> {
        if row.has_expired(now) {
            return Some(Reason::Expired);
        }
        let max = row.optional_i32(Column::MaxDeliveries).unwrap_or_else(|| self.max_deliveries());
        let timed_out = row.i64(Column::LeaseUntil) != NOT_LEASED;
        let is_over =
            is_exhausted(row.attempts(), max) || (timed_out && self.settings.on_timeout == OnTimeout::Dead);
        is_over.then_some(if timed_out { Reason::Timeout } else { Reason::Failed })
    }
}

/// How many messages died: kept as dead letters, or dropped where a queue keeps none.
#[derive(Clone, Copy, Default)]
pub struct Buried {
    pub kept: i64,
    pub dropped: i64,
}

impl AddAssign for Buried {
    fn add_assign(&mut self, more: Self) {
        self.kept += more.kept;
        self.dropped += more.dropped;
    }
}

/// Whether leased messages are buried too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leased {
    Too,
    Spare,
}

/// The result for a failed message.
pub struct Failure {
    pub id: i64,
    /// None: the message is dead.
    pub retry_at: Option<Timestamp>,
}

/// Fails leased messages. Those with deliveries left wait for their backoff, or for `delay`; the others die.
pub fn fail(receipts: &[Receipt], error: Datum, delay: Option<Millis>) -> Result<Vec<Failure>> {
    let mut failures = Vec::new();
    let mut retries = Vec::new();
    for message in lock(receipts)?.iter().filter(|message| message.is_leased()) {
        let Some(queue) = queue::by_id(message.queue)? else { continue };
        let max = message.max_deliveries.unwrap_or_else(|| queue.max_deliveries());
        let retry_at = (!is_exhausted(message.attempts(), max)).then(|| {
            let wait = delay.unwrap_or_else(|| backoff(&queue, message.attempts()));
            session::now() + wait.as_micros()
        });
        if retry_at.is_some() {
            room_for(&mut retries, 1);
            retries.push(Event {
                queue: message.queue,
                id: message.id,
                delivery: message.deliveries,
                retry_at,
            });
        }
        room_for(&mut failures, 1);
        failures.push(Failure { id: message.id, retry_at });
    }
    retry(&retries, error);
    let dead: Vec<i64> =
        failures.iter().filter(|failure| failure.retry_at.is_none()).map(|failure| failure.id).collect();
    bury_ids(&dead, Reason::Failed, error, Leased::Too);
    Ok(failures)
}

fn retry(retries: &[Event], error: Datum) {
    let (ids, times): (Vec<i64>, Vec<Timestamp>) =
        retries.iter().filter_map(|event| Some((event.id, event.retry_at?))).unzip();
    if ids.is_empty() {
        return;
    }
    let args =
        [Some(i64_array(&ids)), Some(timestamp_array(&times)), Some(error), Some(session::now().into())];
    RETRY.run(&args, |_| {});
    let queues = retries.iter().map(|event| event.queue);
    counter::add_each(queues, |retried| Counts { retried, ..Counts::default() });
    events::tell(retries, None, error);
}

fn backoff(queue: &Queue, attempts: i32) -> Millis {
    queue.settings.backoff.wait(attempts, fastrand::f64())
}

/// Makes messages dead letters at once, leased or not.
pub fn bury(receipts: &[Receipt], error: Datum) -> Result<Vec<i64>> {
    let ids: Vec<i64> = collected(lock(receipts)?.iter().map(|message| message.id));
    bury_ids(&ids, Reason::Buried, error, Leased::Too);
    Ok(ids)
}

/// How long the worker may work on one message in passing. One that takes longer is left to the consumers of
/// its queue.
const LONGEST_ONE: Duration = Duration::from_secs(2);

/// Does work in passing, if it can be done now. None if it is left for later.
///
/// It is left where it would wait for another transaction (one that is changing the next message of a group,
/// or making the queue that events go to), where an old snapshot shows rows that another transaction has
/// already changed, where a trigger or foreign key from outside pgqueue refuses it, or where it takes the
/// worker longer than a turn.
pub fn in_passing<T>(work: impl FnOnce() -> T) -> Option<T> {
    in_passing_for(TURN, work)
}

fn in_passing_for<T>(limit: Duration, work: impl FnOnce() -> T) -> Option<T> {
    const LEFT_TO_OTHERS: [PgSqlErrorCode; 3] = [
        PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE,
        PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
        PgSqlErrorCode::ERRCODE_QUERY_CANCELED,
    ];
    // A client's cancel is raised.
    let left = if is_worker() { &LEFT_TO_OTHERS[..] } else { &LEFT_TO_OTHERS[..2] };
    /// A missing table or function is not the fault of one message: all fail by it.
    const NOT_OF_A_MESSAGE: [&str; 1] = ["42"];
    let is_refused = |problem: &Problem| {
        if is_worker() {
            pgrx::log!("pgqueue worker: messages cannot be cleared away: {problem}");
        }
    };
    let work = || Ok(role::act_hastily(work));
    let _limit = TimeLimit::in_worker(limit);
    group::without_waiting(|| subtransaction::unless(left, &NOT_OF_A_MESSAGE, is_refused, work))
}

/// Works on messages in passing, all at once, or one by one if that fails: in the worker for a turn.
pub fn each_in_passing<T, R>(messages: &[T], work: impl Fn(&[T]) -> R) -> Vec<R> {
    if messages.is_empty() {
        return Vec::new();
    }
    if let Some(done) = in_passing(|| work(messages)) {
        return vec![done];
    }
    let begun = Instant::now();
    let one_by_one = messages.chunks(1).take_while(|_| !is_worker() || begun.elapsed() < TURN);
    one_by_one.filter_map(|one| in_passing_for(LONGEST_ONE, || work(one))).collect()
}

/// Buries messages in passing, and leaves those for later that cannot be buried now.
pub fn bury_without_waiting(messages: &[(i64, Reason)]) -> Buried {
    let mut all = Buried::default();
    each_in_passing(messages, bury_exhausted).into_iter().for_each(|some| all += some);
    all
}

/// Buries messages that will never be delivered again, except those that another transaction is just burying.
/// An expired message is dropped, unless its queue keeps expired ones.
pub fn bury_exhausted(messages: &[(i64, Reason)]) -> Buried {
    stop::at(Point::DeadAreFound);
    let mut buried = Buried::default();
    for (reason, error) in [
        (Reason::Timeout, "the last lease ran out"),
        (Reason::Failed, "no delivery is left"),
        (Reason::Expired, "its time to live was over"),
    ] {
        let ids: Vec<i64> = messages.iter().filter(|(_, why)| *why == reason).map(|(id, _)| *id).collect();
        buried += bury_ids(&ids, reason, text_datum(error.as_bytes()), Leased::Spare);
    }
    buried
}

fn bury_ids(ids: &[i64], reason: Reason, error: Datum, leased: Leased) -> Buried {
    let (mut kept, mut dropped) = (Vec::new(), Vec::new());
    if !ids.is_empty() {
        let name = text_datum(reason.name().as_bytes());
        let spare = leased == Leased::Spare;
        BURY.run(&[Some(i64_array(ids)), Some(name), Some(error), Some(spare.into())], |row| {
            pending::removed(row.i32(0));
            let event = Event { queue: row.i32(0), id: row.i64(1), delivery: row.i32(2), retry_at: None };
            if row.bool(3) { kept.push(event) } else { dropped.push(event) }
        });
    }
    let buried = Buried { kept: kept.len() as i64, dropped: dropped.len() as i64 };
    let queues = kept.iter().chain(&dropped).map(|event| event.queue);
    if reason == Reason::Expired {
        counter::add_each(queues, |expired| Counts { expired, ..Counts::default() });
    } else {
        kept.append(&mut dropped);
    }
    tell_of_deaths(&kept, reason, error);
    buried
}

/// Counts deaths and pushes their events. A message that expires and is not kept has not died.
fn tell_of_deaths(dead: &[Event], reason: Reason, error: Datum) {
    counter::add_each(dead.iter().map(|event| event.queue), |died| Counts { died, ..Counts::default() });
    events::tell(dead, Some(reason.name()), error);
}

/// Removes up to `max` dead letters, oldest first.
pub fn dump(queue: &Queue, max: i64, each: impl FnMut(&Row)) {
    DUMP.run(&[Some(queue.id.into()), Some(max.into())], each);
}

/// Shows up to `max` dead letters, oldest first.
pub fn peek(queue: &Queue, max: i64, each: impl FnMut(&Row)) {
    PEEK.run(&[Some(queue.id.into()), Some(max.into())], each);
}

/// Makes dead letters messages of `to` again, and returns how many.
pub fn redrive(from: &Queue, to: &Queue, max: Option<i64>, reason: Option<&str>, reset: bool) -> i64 {
    message_id::prepare();
    let redriven = REDRIVE.run(
        &[
            Some(to.id.into()),
            Some(reset.into()),
            Some(to.max_deliveries().into()),
            Some(from.id.into()),
            max.map(Datum::from),
            reason.map(|reason| text_datum(reason.as_bytes())),
        ],
        |_| {},
    ) as i64;
    if from.id != to.id {
        counter::add(to.id, Counts { pushed: redriven, ..Counts::default() });
    }
    redriven
}
