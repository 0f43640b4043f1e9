//! Schedules: messages that are pushed when their time comes. A watch is a schedule with
//! a query (`watch`) instead of a message.
//!
//! Invariant: a schedule runs once for each of its times, whoever runs it. Its row is
//! locked meanwhile, and what it pushes commits together with its next time, which is
//! later than now: of times that were missed one is made up for. What another transaction was in
//! the way of, a lock that could not be had in time, is tried again after a few seconds.

use std::cell::Cell;
use std::time::{Duration, Instant};

use pgrx::pg_sys::{self, Datum, Oid};

use super::access::has_rights_of;
use super::attempt::{IN_THE_WAY, Problem, attempt};
use super::owner::{self, act_as};
use super::push::{Content, Keys, OnDuplicate, Options, push};
use super::statement::{Row, Statement};
use super::time_limit::is_worker;
use super::watch::{self, Watch};
use super::{now, queue};
use crate::call::{Name, Timestamp, text_datum, varlena_bytes};
use crate::error::{Error, Result};
use crate::setting;
use crate::value::duration::Millis;
use crate::value::right::Right;
use crate::value::schedule::{BadSchedule, Every};

static PUT: Statement = Statement::new(
    include_str!("../../sql/query/put_schedule.sql"),
    &[
        pg_sys::TEXTOID,
        pg_sys::TEXTOID,
        pg_sys::TEXTOID,
        pg_sys::TEXTOID,
        pg_sys::TEXTOID,
        pg_sys::JSONBOID,
        pg_sys::JSONBOID,
        pg_sys::INT2OID,
        pg_sys::INT8OID,
        pg_sys::TEXTOID,
        pg_sys::TEXTOID,
        pg_sys::TEXTOID,
        pg_sys::INT8OID,
        pg_sys::INT4OID,
        pg_sys::TEXTOID,
        pg_sys::TEXTOID,
        pg_sys::INT4OID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::TIMESTAMPTZOID,
    ],
);
static REMOVE: Statement =
    Statement::new(include_str!("../../sql/query/remove_schedule.sql"), &[pg_sys::TEXTOID]);
static LIST: Statement = Statement::new(include_str!("../../sql/query/list_schedules.sql"), &[]);
static LIST_WATCHES: Statement = Statement::new(include_str!("../../sql/query/list_watches.sql"), &[]);
static DUE: Statement = Statement::new(
    include_str!("../../sql/query/due_schedule.sql"),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::TEXTOID, pg_sys::BOOLOID, pg_sys::OIDOID],
);
static RESTORING: Statement = Statement::new(include_str!("../../sql/query/restoring.sql"), &[]);
static NOTE: Statement = Statement::new(
    include_str!("../../sql/query/note_run.sql"),
    &[pg_sys::TEXTOID, pg_sys::TIMESTAMPTZOID, pg_sys::TEXTOID, pg_sys::TEXTOID],
);
static NEXT: Statement =
    Statement::new(include_str!("../../sql/query/next_run.sql"), &[pg_sys::TIMESTAMPTZOID]);

/// How often a process looks for schedules that others have put.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How many schedules a transaction runs: with more than 64 subtransactions it would slow
/// down every snapshot of the server.
const BATCH: usize = 50;

/// A transaction that has run schedules for so long leaves the others to the next.
const PATIENCE: Duration = Duration::from_secs(1);

/// When a schedule is tried again whose next time cannot be told any more.
const RETRY: Millis = Millis::from_secs(60);

/// A schedule as its owner wants it.
pub struct Wish {
    pub name: Name,
    pub queue: Name,
    pub every: String,
    pub time_zone: String,
    pub work: Work,
}

/// What a schedule does.
pub enum Work {
    Push(Message),
    Watch(Watch),
}

/// What is pushed.
pub struct Message {
    pub payload: Datum,
    pub headers: Option<Datum>,
    pub priority: i16,
    pub ttl: Option<Millis>,
    pub group_key: Option<Name>,
    pub dedup_key: Option<Name>,
    pub on_duplicate: OnDuplicate,
    pub lease: Option<Millis>,
    pub max_deliveries: Option<i32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Schedule,
    Watch,
}

impl Work {
    fn kind(&self) -> Kind {
        match self {
            Self::Push(_) => Kind::Schedule,
            Self::Watch(_) => Kind::Watch,
        }
    }

    fn columns(&self) -> Vec<Option<Datum>> {
        match self {
            Self::Push(message) => [&message.columns()[..], &[None; 3]].concat(),
            Self::Watch(watch) => [&[None; 9], &watch.columns()[..]].concat(),
        }
    }
}

impl Message {
    fn columns(&self) -> [Option<Datum>; 9] {
        let millis = |span: Option<Millis>| span.map(|span| span.as_millis().into());
        [
            Some(self.payload),
            self.headers,
            Some(self.priority.into()),
            millis(self.ttl),
            self.group_key.as_ref().map(Name::datum),
            self.dedup_key.as_ref().map(Name::datum),
            Some(text_datum(self.on_duplicate.word().as_bytes())),
            millis(self.lease),
            self.max_deliveries.map(Datum::from),
        ]
    }
}

impl Watch {
    fn columns(&self) -> [Option<Datum>; 3] {
        [Some(text_datum(&self.query)), Some(text_datum(&self.search_path)), Some(self.max.into())]
    }
}

/// When a schedule ran and will run.
struct Times {
    every: String,
    time_zone: String,
    next_run: Timestamp,
    last_run: Option<Datum>,
}

/// Puts a schedule in the place of the one with its name, if there is one, and returns
/// its next time.
///
/// One that is put again with the same times goes on with them: a service may put its
/// schedules whenever it starts.
pub fn put(wish: &Wish) -> Result<Timestamp> {
    let every = Every::parse(&wish.every, &wish.time_zone).map_err(bad_schedule)?;
    if let Work::Watch(watch) = &wish.work {
        watch::check(&watch.query)?;
    }
    loop {
        let now = now();
        let first = every.next(now, now).map_err(bad_schedule)?;
        let before = take_out(&wish.name, wish.work.kind())?
            .filter(|before| before.every == wish.every && before.time_zone == wish.time_zone);
        let (next_run, last_run) = before.map_or((first, None), |before| (before.next_run, before.last_run));
        // None is put if somebody else has put one since we looked.
        if insert(wish, next_run, last_run) > 0 {
            return Ok(next_run);
        }
    }
}

fn insert(wish: &Wish, next_run: Timestamp, last_run: Option<Datum>) -> u64 {
    let mut columns = vec![
        Some(wish.name.datum()),
        owner::role_name(owner::caller()).map(|name| text_datum(&name)),
        Some(wish.queue.datum()),
        Some(text_datum(wish.every.as_bytes())),
        Some(text_datum(wish.time_zone.as_bytes())),
    ];
    columns.extend(wish.work.columns());
    columns.extend([Some(next_run.into()), last_run]);
    PUT.run(&columns, |_| {})
}

/// Removes a schedule; false if there was none.
pub fn remove(name: &Name, kind: Kind) -> Result<bool> {
    take_out(name, kind).map(|times| times.is_some())
}

/// Removes a schedule and returns its times. The error of a caller who may not undoes it.
fn take_out(name: &Name, kind: Kind) -> Result<Option<Times>> {
    let mut found = None;
    REMOVE.run(&[Some(name.datum())], |row| found = Some(removed(row, name, kind)));
    found.transpose()
}

fn removed(row: &Row, name: &Name, kind: Kind) -> Result<Times> {
    if !is_allowed(row, 1) {
        return Err(Error::not_your_schedule(&name.to_string()));
    }
    if row.bool(6) != (kind == Kind::Watch) {
        return Err(Error::other_kind_of_schedule(&name.to_string(), row.bool(6)));
    }
    Ok(Times { every: text(row, 2), time_zone: text(row, 3), next_run: row.i64(4), last_run: row.get(5) })
}

/// Shows the schedules that the caller may remove.
pub fn list(kind: Kind, mut each: impl FnMut(Vec<Option<Datum>>)) {
    let statement = match kind {
        Kind::Schedule => &LIST,
        Kind::Watch => &LIST_WATCHES,
    };
    statement.run(&[], |row| {
        if is_allowed(row, 2) {
            each(row.all().split_off(1));
        }
    });
}

/// Whether the caller has the rights of a schedule's owner, the first column, or may
/// manage its queue.
fn is_allowed(row: &Row, queue: usize) -> bool {
    has_rights_of(owner::caller(), oid(row, 0))
        || matches!(queue::find(&Name::known(bytes(row, queue)), Right::Manage), Ok(Some(_)))
}

/// When this process should look for schedules that are due.
#[derive(Clone, Copy)]
struct Outlook {
    looked: Instant,
    next: Option<Timestamp>,
}

thread_local! {
    static OUTLOOK: Cell<Option<Outlook>> = const { Cell::new(None) };
}

/// Whether a schedule may be due; costs no statement.
pub fn may_be_due() -> bool {
    OUTLOOK.get().is_none_or(|outlook| {
        outlook.looked.elapsed() >= LOOK_EVERY || outlook.next.is_some_and(|next| next <= now())
    })
}

/// Runs schedules that are due, or a watch if there is none; true if there may be more. None
/// while a dump is being restored, which brings the tables that they need one by one.
pub fn run_due() -> bool {
    let (looked, begun) = (Instant::now(), now());
    OUTLOOK.set(Some(Outlook { looked, next: None }));
    if is_being_restored() {
        return false;
    }
    if is_worker() {
        setting::wait_for_own_disk();
    }
    let mut ran = 0;
    while ran < BATCH && looked.elapsed() < PATIENCE && run_one(Kind::Schedule, begun) {
        ran += 1;
    }
    // In the worker a watch by itself: should it never end, it takes nothing else along.
    let most_watches = if !is_worker() { BATCH } else { usize::from(ran == 0) };
    let watched = (0..most_watches).take_while(|_| run_one(Kind::Watch, begun)).count();
    let mut next = (ran + watched > 0).then_some(begun);
    NEXT.run(&[Some(begun.into())], |row| next = next.or(Some(row.i64(0))));
    OUTLOOK.set(Some(Outlook { looked, next }));
    ran == BATCH || looked.elapsed() >= PATIENCE
}

/// Whether a dump is being loaded: what is pushed now would be given ids that are in use. Sequences
/// come last in a dump.
pub fn is_being_restored() -> bool {
    let mut is_behind = false;
    RESTORING.run(&[], |row| is_behind = row.bool(0));
    is_behind
}

/// Runs a schedule that was due at `moment`; false if there is none, or each is being run.
fn run_one(kind: Kind, moment: Timestamp) -> bool {
    let in_the_way = text_datum(IN_THE_WAY.join(" ").as_bytes());
    let whose = (!is_worker()).then(|| owner::caller().into());
    DUE.run(&[Some(moment.into()), Some(in_the_way), Some((kind == Kind::Watch).into()), whose], |row| {
        // One that has more to do stays due.
        let outcome = attempt(|| match run_as_owner(row)? {
            Some(seen_to) => Ok((row.i64(5), Some(seen_to))),
            None => Ok((next_run(row)?, None)),
        });
        let (next, seen_to, problem) = match outcome {
            Ok((next, seen_to)) => (next, seen_to, None),
            Err(problem) => {
                (next_try(row, &problem), row.get(18).map(|_| bytes(row, 18)), Some(problem.to_string()))
            }
        };
        let problem = problem.map(|problem| text_datum(problem.as_bytes()));
        let seen_to = seen_to.map(|id| text_datum(&id));
        NOTE.run(&[Some(row.value(0)), Some(next.into()), problem, seen_to], |_| {});
    }) > 0
}

/// Does what a schedule is for; where it goes on if it has more to do at once.
fn run_as_owner(row: &Row) -> Result<Option<Vec<u8>>> {
    let owner = oid(row, 1);
    if owner::role_name(owner).is_none() {
        return Err(Error::owner_is_gone(&text(row, 0)));
    }
    act_as(owner, || {
        let queue = queue::existing(&Name::known(bytes(row, 2)), Right::Push)?;
        if row.get(12).is_some() {
            return watch::look(&Name::known(bytes(row, 0)), &watch_of(row), row.get(18), &queue);
        }
        push(&queue, &[(Content::Payload(row.value(6)), row.get(7))], &options(row))?;
        Ok(None)
    })
}

fn watch_of(row: &Row) -> Watch {
    Watch { query: bytes(row, 12), search_path: bytes(row, 13), max: row.i32(14) }
}

fn next_run(row: &Row) -> Result<Timestamp> {
    let every = Every::parse(&text(row, 3), &text(row, 4)).map_err(bad_schedule)?;
    every.next(row.i64(5), now()).map_err(bad_schedule)
}

/// The next time of a schedule that failed. One that somebody was in the way of stays due.
fn next_try(row: &Row, problem: &Problem) -> Timestamp {
    if problem.was_in_the_way() {
        return row.i64(5);
    }
    next_run(row).unwrap_or(now() + RETRY.as_micros())
}

fn options(row: &Row) -> Options {
    let span = |column| row.get(column).map(|millis: Datum| Millis::from_millis(millis.value() as i64));
    let name = |column| row.get(column).map(|_| Name::known(bytes(row, column)));
    let on_duplicate = row.get(17).and_then(|_| OnDuplicate::of(&text(row, 17)));
    Options {
        priority: row.value(8).value() as i16,
        ttl: span(9),
        lease: span(10),
        max_deliveries: row.get(11).map(|max| max.value() as i32),
        group_key: name(15),
        keys: name(16).map(Keys::One),
        on_duplicate: on_duplicate.unwrap_or_default(),
        ..Options::default()
    }
}

/// A role; none has the number 0.
fn oid(row: &Row, column: usize) -> Oid {
    row.get(column).map_or(Oid::INVALID, |role| Oid::from(role.value() as u32))
}

fn bytes(row: &Row, column: usize) -> Vec<u8> {
    // SAFETY: called for columns that are text and not null.
    unsafe { varlena_bytes(row.value(column)) }
}

fn text(row: &Row, column: usize) -> String {
    String::from_utf8_lossy(&bytes(row, column)).into_owned()
}

fn bad_schedule(bad: BadSchedule) -> Error {
    Error::invalid(
        bad.argument,
        bad.problem,
        "\"every\" is a cron line such as '*/5 * * * *' or '@daily', or a span such as '15 min'; time zones are named as in 'Europe/Berlin'.",
    )
}
