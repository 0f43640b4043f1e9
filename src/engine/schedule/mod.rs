//! Schedules: messages pushed at set times (`run`). A watch is a schedule with a query (`watch`) instead of a
//! message.

pub mod due;
pub mod run;
pub mod watch;

use pgrx::pg_sys::{self, Datum, Oid};

use crate::engine::push::message::OnDuplicate;
use crate::engine::schedule::watch::Watch;
use crate::engine::table::access::has_rights_of;
use crate::engine::table::catalog;
use crate::engine::table::name::Name;
use crate::engine::table::queue;
use crate::engine::table::statement::{Row, Sees, Statement};
use crate::error::{Error, Result};
use crate::pg::datum::text_datum;
use crate::pg::role;
use crate::pg::session::now;
use crate::value::cron::{BadSchedule, Every};
use crate::value::duration::Millis;
use crate::value::right::Right;
use crate::value::timestamp::Timestamp;

static PUT: Statement = Statement::new(
    include_str!("../../../sql/query/put_schedule.sql"),
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
static FIND: Statement =
    Statement::by_index(include_str!("../../../sql/query/find_schedule.sql"), &[pg_sys::TEXTOID]);
static REMOVE: Statement = Statement::new(
    include_str!("../../../sql/query/remove_schedule.sql"),
    &[pg_sys::TEXTOID, pg_sys::OIDOID, pg_sys::TEXTOID],
);
static LIST: Statement = Statement::new(include_str!("../../../sql/query/list_schedules.sql"), &[]);
static LIST_WATCHES: Statement = Statement::new(include_str!("../../../sql/query/list_watches.sql"), &[]);

/// A schedule as its owner asks for it.
pub struct Wish {
    pub name: Name,
    pub queue: Name,
    pub every: String,
    pub time_zone: String,
    pub work: Work,
}

/// The work of a schedule.
pub enum Work {
    Push(Message),
    Watch(Watch),
}

/// The message that a schedule pushes.
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
        [Some(text_datum(&self.query)), Some(text_datum(&self.search_path)), Some(self.page_size.into())]
    }
}

/// The plan of a schedule, its next run and its last.
struct Times {
    every: String,
    time_zone: String,
    next_run: Timestamp,
    last_run: Option<Datum>,
}

/// Puts a schedule in the place of one with its name, if there is one, and returns its next time.
///
/// A schedule that is put again with the same plan keeps its times: a service may put its schedules whenever
/// it starts.
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
        let (next_run, last_run) = match before {
            Some(before) => (every.planned(before.next_run, now).map_err(bad_schedule)?, before.last_run),
            None => (first, None),
        };
        // Inserts nothing if another transaction has put one since the last was taken out.
        if insert(wish, next_run, last_run) > 0 {
            return Ok(next_run);
        }
    }
}

fn insert(wish: &Wish, next_run: Timestamp, last_run: Option<Datum>) -> u64 {
    let mut columns = vec![
        Some(wish.name.datum()),
        role::role_name(role::caller()).map(|name| text_datum(&name)),
        Some(wish.queue.datum()),
        Some(text_datum(wish.every.as_bytes())),
        Some(text_datum(wish.time_zone.as_bytes())),
    ];
    columns.extend(wish.work.columns());
    columns.extend([Some(next_run.into()), last_run]);
    PUT.run(&columns, |_| {})
}

/// Removes a schedule. False if there was none.
pub fn remove(name: &Name, kind: Kind) -> Result<bool> {
    take_out(name, kind).map(|times| times.is_some())
}

/// Removes a schedule and returns its times. If the caller has no right to, the error undoes that.
fn take_out(name: &Name, kind: Kind) -> Result<Option<Times>> {
    loop {
        pgrx::check_for_interrupts!();
        let mut found = None;
        FIND.run_seeing(Sees::Latest, &[Some(name.datum())], |row| {
            found = Some(removed(row, name, kind).map(|_| (row.get(0), bytes(row, 1))));
        });
        let Some((owner, queue)) = found.transpose()? else { return Ok(None) };
        let mut times = None;
        REMOVE.run(&[Some(name.datum()), owner, Some(text_datum(&queue))], |row| {
            catalog::refresh(); // it may have waited: memberships are as they are now
            times = Some(removed(row, name, kind));
        });
        // It may have been put anew since, by another owner.
        if times.is_some() {
            return times.transpose();
        }
    }
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

/// Whether the caller has the rights of a schedule's owner, the first column, or may manage its queue.
fn is_allowed(row: &Row, queue: usize) -> bool {
    has_rights_of(role::caller(), oid(row, 0))
        || matches!(queue::find(&Name::known(bytes(row, queue)), Right::Manage), Ok(Some(_)))
}

/// The role in a column. A null becomes 0, which is no role's number.
pub fn oid(row: &Row, column: usize) -> Oid {
    row.get(column).map_or(Oid::INVALID, |role| Oid::from(role.value() as u32))
}

pub fn bytes(row: &Row, column: usize) -> Vec<u8> {
    row.text(column).unwrap_or_default()
}

pub fn text(row: &Row, column: usize) -> String {
    String::from_utf8_lossy(&bytes(row, column)).into_owned()
}

pub fn bad_schedule(bad: BadSchedule) -> Error {
    Error::invalid(
        bad.argument,
        bad.problem,
        "\"every\" is a cron line such as '*/5 * * * *' or '@daily', or a span such as '15 min'; time zones are named as in 'Europe/Berlin'.",
    )
}
