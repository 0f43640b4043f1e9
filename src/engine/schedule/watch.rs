//! Watches: the result of a query is compared with its earlier result.
//!
//! The query is its owner's: it runs with the owner's rights, may not write, and finds its tables as it did
//! when the owner put the watch. Its result is compared with `pgqueue.watch_seen`, which belongs to pgqueue.
//! Changes are remembered there in the transaction that pushes them.
//!
//! The query runs once for all its changes. They are pushed in parts of `page_size`, each in a transaction of its own,
//! and this process keeps the rest of them until all are pushed (`Run`). If the process ends before, or another
//! session has run the watch meanwhile, the query runs again, and the watch goes on behind the last object that
//! was pushed (`seen_to`).

use std::cell::RefCell;
use std::cmp::Ordering;
use std::ffi::{CStr, CString};
use std::ptr;
use std::time::{Duration, Instant};

use pgrx::pg_sys::{self, CmdType, Query};

use crate::engine::push::message::{Content, Options};
use crate::engine::push::push;
use crate::engine::table::name::Name;
use crate::engine::table::queue::Queue;
use crate::engine::table::statement::{Row, Statement};
use crate::error::{Error, Result};
use crate::pg::argument::{Argument, JsonbArray};
use crate::pg::datum::{text_array, text_array_with_nulls};
use crate::pg::memory::room_for;
use crate::pg::role::{act_plainly, act_restricted};
use crate::value::timestamp::Timestamp;

static SEEN: Statement =
    Statement::by_index(include_str!("../../../sql/query/watch_seen.sql"), &[pg_sys::TEXTOID]);
static REMEMBER: Statement = Statement::new(
    include_str!("../../../sql/query/watch_remember.sql"),
    &[pg_sys::TEXTOID, pg_sys::TEXTARRAYOID, pg_sys::TEXTARRAYOID, pg_sys::TEXTARRAYOID],
);
static FORGET_OBJECTS: Statement = Statement::new(
    include_str!("../../../sql/query/forget_objects.sql"),
    &[pg_sys::TEXTOID, pg_sys::TEXTARRAYOID],
);
static FORGET: Statement =
    Statement::new(include_str!("../../../sql/query/forget_watch.sql"), &[pg_sys::TEXTOID]);

/// The largest page of a watch: how many changes it pushes in a transaction.
pub const MOST_CHANGES: i32 = 10_000;

/// How many objects the query of a watch may return.
const MOST_ROWS: usize = 1_000_000;

/// How many bytes their ids and hashes may have together.
const MOST_BYTES: usize = 128 << 20;

/// How many rows are held at a time, beside what was read of them.
const PAGE: i64 = 16;

/// How many objects that were seen are read at a time.
const SEEN_PAGE: i64 = 500;

/// A query, and the search path by which it finds its tables.
#[derive(Clone, PartialEq, Eq)]
pub struct Watch {
    pub query: Vec<u8>,
    pub search_path: Vec<u8>,
    pub page_size: i32,
}

/// The result of a query: ids, and the hash of each.
#[derive(Default)]
struct Found {
    ids: Texts,
    hashes: Texts,
}

/// Texts one after the other, and the end of each.
#[derive(Default)]
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Texts {
    fn add(&mut self, text: &[u8]) {
        room_for(&mut self.bytes, text.len());
        self.bytes.extend_from_slice(text);
        room_for(&mut self.ends, 1);
        self.ends.push(self.bytes.len() as u32);
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, n: usize) -> &[u8] {
        let begin = n.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[begin as usize..self.ends[n] as usize]
    }

    /// The numbers of the texts, by their bytes. That is the order of `object_id`, whose collation is "C".
    fn in_order(&self) -> Vec<u32> {
        let mut order = Vec::new();
        room_for(&mut order, self.len());
        order.extend(0..self.len() as u32);
        order.sort_unstable_by_key(|&n| self.get(n as usize));
        order
    }
}

/// An object that has changed.
#[derive(Clone, Copy)]
enum Change {
    /// It is new: its number in the result of the query.
    Created(u32),
    /// That number, and that of its old hash.
    Updated(u32, u32),
    /// The number of its id, and that of its old hash.
    Gone(u32, u32),
}

/// The changes of a run by `object_id`, and the texts that they refer to.
struct Changes {
    found: Found,
    gone: Texts,
    old_hashes: Texts,
    all: Vec<Change>,
}

/// A change as it is pushed: the object, its new hash and its old one.
type Texted<'a> = (&'a [u8], Option<&'a [u8]>, Option<&'a [u8]>);

impl Changes {
    fn text(&self, change: Change) -> Texted<'_> {
        let found = |n: u32| (self.found.ids.get(n as usize), Some(self.found.hashes.get(n as usize)));
        match change {
            Change::Created(n) => (found(n).0, found(n).1, None),
            Change::Updated(n, old) => (found(n).0, found(n).1, Some(self.old_hashes.get(old as usize))),
            Change::Gone(n, old) => {
                (self.gone.get(n as usize), None, Some(self.old_hashes.get(old as usize)))
            }
        }
    }

    fn add(&mut self, change: Change) {
        room_for(&mut self.all, 1);
        self.all.push(change);
    }

    /// Merges what a query has found, in `order`, with what its watch has seen: both are sorted by object.
    fn of(name: &Name, found: Found, order: &[u32]) -> Self {
        let mut changes =
            Self { found, gone: Texts::default(), old_hashes: Texts::default(), all: Vec::new() };
        let mut next = order.iter().copied().peekable();
        SEEN.run_by_page(&[Some(name.datum())], SEEN_PAGE, |row| {
            let (id, hash) = (row.text(0).unwrap_or_default(), row.text(1).unwrap_or_default());
            let order_of = |changes: &Self, n: u32| changes.found.ids.get(n as usize).cmp(&id);
            while let Some(n) = next.next_if(|&n| order_of(&changes, n) == Ordering::Less) {
                changes.add(Change::Created(n));
            }
            match next.next_if(|&n| order_of(&changes, n) == Ordering::Equal) {
                Some(n) => changes.meets(n, &hash),
                None => changes.misses(&id, &hash),
            }
        });
        next.for_each(|n| changes.add(Change::Created(n)));
        changes
    }

    fn meets(&mut self, n: u32, old_hash: &[u8]) {
        if self.found.hashes.get(n as usize) != old_hash {
            self.add(Change::Updated(n, self.old_hashes.len() as u32));
            self.old_hashes.add(old_hash);
        }
    }

    fn misses(&mut self, id: &[u8], old_hash: &[u8]) {
        self.add(Change::Gone(self.gone.len() as u32, self.old_hashes.len() as u32));
        self.gone.add(id);
        self.old_hashes.add(old_hash);
    }
}

/// A run of a watch whose query is over, and the changes that are still to be pushed.
struct Run {
    name: Name,
    watch: Watch,
    changes: Changes,
    /// How many of the changes are pushed.
    pushed: usize,
    /// How long the query and the comparison took.
    took: Duration,
    over: Instant,
    /// When the last part was noted. Another run of the watch notes another time.
    noted: Option<Timestamp>,
}

thread_local! {
    /// The run that this process has begun and not finished.
    static UNFINISHED: RefCell<Option<Run>> = const { RefCell::new(None) };
}

/// The outcome of a part of a run.
pub struct Part {
    /// The last object whose change was pushed, if there are more changes.
    pub seen_to: Option<Vec<u8>>,
    /// How long the query took.
    pub query_took: Duration,
    /// The query ran in this part.
    pub is_first: bool,
}

/// A moment between two parts of a run, as the table of schedules has it.
#[derive(Clone, Copy)]
pub struct Noted<'a> {
    pub seen_to: Option<&'a [u8]>,
    pub last_run: Option<Timestamp>,
}

impl Run {
    fn begin(name: &Name, watch: &Watch, seen_to: Option<&[u8]>) -> Result<Self> {
        let begun = Instant::now();
        let found = run(watch)?;
        let order = found.ids.in_order();
        let id = |n: u32| found.ids.get(n as usize);
        if let Some([one, _]) = order.array_windows().find(|[one, next]| id(*one) == id(*next)) {
            return Err(bad_query(&format!("must not give the object_id {} twice", quoted(id(*one)))));
        }
        let changes = Changes::of(name, found, &order);
        let is_seen = |change: &Change| seen_to.is_some_and(|seen_to| changes.text(*change).0 <= seen_to);
        let pushed = changes.all.partition_point(is_seen);
        let (name, watch) = (name.clone(), watch.clone());
        let took = begun.elapsed();
        Ok(Self { name, watch, changes, pushed, took, over: Instant::now(), noted: None })
    }

    /// Takes the run that this process has not finished, if it is of this watch and no other session has run
    /// or put the watch since.
    fn take_unfinished(name: &Name, watch: &Watch, noted: Noted) -> Option<Self> {
        UNFINISHED.take().filter(|run| {
            run.name == *name
                && run.watch == *watch
                && run.noted.is_some_and(|at| noted.last_run == Some(at))
                && run.last() == noted.seen_to
        })
    }

    /// The last object whose change was pushed.
    fn last(&self) -> Option<&[u8]> {
        let last = self.pushed.checked_sub(1)?;
        Some(self.changes.text(self.changes.all[last]).0)
    }

    /// Pushes the next changes, as many as the watch allows at a time, and remembers them.
    fn push_part(&mut self, queue: &Queue) -> Result<()> {
        let rest = &self.changes.all[self.pushed..];
        let part = &rest[..rest.len().min(self.watch.page_size as usize)];
        if part.is_empty() {
            return Ok(());
        }
        let texts = || part.iter().map(|&change| self.changes.text(change));
        let gone: Vec<_> = texts().filter(|text| text.1.is_none()).map(|text| text.0).collect();
        if !gone.is_empty() {
            FORGET_OBJECTS.run(&[Some(self.name.datum()), Some(text_array(gone.into_iter()))], |_| {});
        }
        let args = [
            Some(self.name.datum()),
            Some(text_array(texts().map(|text| text.0))),
            Some(text_array_with_nulls(texts().map(|text| text.1))),
            Some(text_array_with_nulls(texts().map(|text| text.2))),
        ];
        let mut pushed = Ok(());
        REMEMBER.run(&args, |row| pushed = push_changes(queue, row));
        self.pushed += part.len();
        pushed
    }

    fn has_more(&self) -> bool {
        self.pushed < self.changes.all.len()
    }
}

/// Checks a query that the caller wants to watch, without running it.
pub fn check(query: &[u8]) -> Result<()> {
    connected(|| prepare(query).map(|_| ()))
}

/// The search path of the caller's queries.
pub fn search_path() -> Vec<u8> {
    // SAFETY: the setting exists; its value is a C string that is copied.
    unsafe { CStr::from_ptr(pg_sys::GetConfigOption(c"search_path".as_ptr(), false, false)) }
        .to_bytes()
        .to_vec()
}

/// Runs a watch as the current user: pushes the first part of the changes of objects behind `noted.seen_to`, or
/// the next part of a run that this process has begun.
pub fn look(name: &Name, watch: &Watch, noted: Noted, queue: &Queue) -> Result<Part> {
    let unfinished = Run::take_unfinished(name, watch, noted);
    let is_first = unfinished.is_none();
    let mut run = match unfinished {
        Some(run) => run,
        None => Run::begin(name, watch, noted.seen_to)?,
    };
    run.push_part(queue)?;
    let seen_to = run.last().filter(|_| run.has_more()).map(<[u8]>::to_vec);
    let part = Part { seen_to, query_took: run.took, is_first };
    UNFINISHED.set(Some(run).filter(Run::has_more));
    Ok(part)
}

/// Notes when the last part of the unfinished run was noted in the table.
pub fn noted(at: Timestamp) {
    UNFINISHED.with_borrow_mut(|run| run.iter_mut().for_each(|run| run.noted = Some(at)));
}

/// The watch whose run this process has not finished.
pub fn unfinished() -> Option<Name> {
    UNFINISHED.with_borrow(|run| run.as_ref().map(|run| run.name.clone()))
}

/// Whether this process should go on with a run before it ends: has pushed for less time than the query took,
/// which would run again.
pub fn is_worth_finishing() -> bool {
    UNFINISHED.with_borrow(|run| run.as_ref().is_some_and(|run| run.over.elapsed() < run.took))
}

/// Drops the rest of the unfinished run.
pub fn leave_unfinished() {
    UNFINISHED.take();
}

fn push_changes(queue: &Queue, row: &Row) -> Result<()> {
    let Some(payloads) = row.get(0) else { return Ok(()) };
    // SAFETY: the statement gives a jsonb[] with neither null nor an empty array.
    let payloads =
        unsafe { JsonbArray::read(payloads, "payloads") }.map_or(Vec::new(), |JsonbArray(all)| all);
    let messages: Vec<_> =
        payloads.into_iter().flatten().map(|payload| (Content::Payload(payload), None)).collect();
    push(queue, &messages, &Options::default()).map(|_| ())
}

/// Forgets the objects that a watch has seen.
pub fn forget(name: &Name) {
    FORGET.run(&[Some(name.datum())], |_| {});
}

/// Runs the query. Its snapshot is taken after the watch was locked: a change that another session has pushed
/// is not found again.
fn run(watch: &Watch) -> Result<Found> {
    let search_path = CString::new(&watch.search_path[..]).expect("text has no NUL byte");
    connected(|| {
        // SAFETY: snapshot and mode are set back here, or by the end of the subtransaction
        // if the query raises.
        act_restricted(&search_path, || unsafe {
            let plan = prepare(&watch.query)?;
            let could_write = !pg_sys::XactReadOnly;
            pg_sys::XactReadOnly = true;
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            let cursor = pg_sys::SPI_cursor_open(ptr::null(), plan, ptr::null_mut(), ptr::null(), true);
            let found = read_all(cursor, has_plain_text(plan));
            pg_sys::SPI_cursor_close(cursor);
            pg_sys::PopActiveSnapshot();
            pg_sys::XactReadOnly = !could_write;
            found
        })
    })
}

fn connected<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: connect and finish are paired, or closed by the abort if `work` raises.
    unsafe {
        assert!(pg_sys::SPI_connect() >= 0, "SPI_connect");
        let result = work();
        assert!(pg_sys::SPI_finish() >= 0, "SPI_finish");
        result
    }
}

/// Plans a query, if it is a single SELECT of two columns that only reads.
fn prepare(query: &[u8]) -> Result<pg_sys::SPIPlanPtr> {
    let query = CString::new(query).expect("text has no NUL byte");
    // SAFETY: the callers are connected; what a plan is made of lives as long as it.
    unsafe {
        let plan = pg_sys::SPI_prepare(query.as_ptr(), 0, ptr::null_mut());
        assert!(!plan.is_null(), "SPI_prepare");
        let source: &pg_sys::CachedPlanSource =
            only(pg_sys::SPI_plan_get_plan_sources(plan)).ok_or_else(not_a_select)?;
        let query: &Query = only(source.query_list).ok_or_else(not_a_select)?;
        if query.commandType != CmdType::CMD_SELECT || query.hasModifyingCTE || !query.rowMarks.is_null() {
            return Err(not_a_select());
        }
        match (*source.resultDesc).natts {
            2 => Ok(plan),
            columns => Err(bad_query(&format!("must give two columns, not {columns}"))),
        }
    }
}

/// The element of a list that has exactly one.
unsafe fn only<'a, T>(list: *const pg_sys::List) -> Option<&'a T> {
    // SAFETY: the caller gives a list of pointers to T.
    unsafe { (!list.is_null() && (*list).length == 1).then(|| &*pg_sys::list_nth(list, 0).cast::<T>()) }
}

/// Whether both columns of a plan are of types whose text no setting changes.
unsafe fn has_plain_text(plan: pg_sys::SPIPlanPtr) -> bool {
    const PLAIN: [pg_sys::Oid; 8] = [
        pg_sys::TEXTOID,
        pg_sys::VARCHAROID,
        pg_sys::INT2OID,
        pg_sys::INT4OID,
        pg_sys::INT8OID,
        pg_sys::NUMERICOID,
        pg_sys::UUIDOID,
        pg_sys::BOOLOID,
    ];
    // SAFETY: a plan that `prepare` has made, of one query with two columns.
    unsafe {
        let source = only::<pg_sys::CachedPlanSource>(pg_sys::SPI_plan_get_plan_sources(plan));
        let columns = source.map(|source| pgrx::PgTupleDesc::from_pg_copy(source.resultDesc));
        columns.is_some_and(|columns| columns.iter().all(|column| PLAIN.contains(&column.atttypid)))
    }
}

/// Reads the result of the query, as text that no setting changes.
unsafe fn read_all(cursor: pg_sys::Portal, is_plain: bool) -> Result<Found> {
    let mut found = Found::default();
    loop {
        // SAFETY: the caller has just opened the cursor; each page is freed when it was read.
        unsafe {
            pg_sys::SPI_cursor_fetch(cursor, true, PAGE as std::ffi::c_long);
            let (table, rows) = (pg_sys::SPI_tuptable, pg_sys::SPI_processed as usize);
            if rows == 0 {
                break;
            }
            let mut read = || (0..rows).try_for_each(|n| read_row(table, n, &mut found));
            if is_plain { read() } else { act_plainly(read) }?;
            pg_sys::SPI_freetuptable(table);
        }
        pg_sys::check_for_interrupts!();
    }
    Ok(found)
}

unsafe fn read_row(table: *mut pg_sys::SPITupleTable, n: usize, found: &mut Found) -> Result<()> {
    let value = |column| {
        // SAFETY: the caller gives a page of a query of two columns, and the number of a row in it.
        unsafe {
            let text = pg_sys::SPI_getvalue(*(*table).vals.add(n), (*table).tupdesc, column);
            (!text.is_null()).then(|| CStr::from_ptr(text).to_bytes())
        }
    };
    let id = value(1).ok_or_else(|| bad_query("must not give a null as object_id"))?;
    let hash =
        value(2).ok_or_else(|| bad_query(&format!("must not give a null as hash, of {}", quoted(id))))?;
    let bytes = found.ids.bytes.len() + found.hashes.bytes.len() + id.len() + hash.len();
    if found.ids.len() == MOST_ROWS || bytes > MOST_BYTES {
        return Err(Error::watch_gives_too_much(MOST_ROWS, MOST_BYTES));
    }
    found.ids.add(id);
    found.hashes.add(hash);
    // SAFETY: both are copied, and were allocated for this call.
    unsafe {
        pg_sys::pfree(id.as_ptr().cast_mut().cast());
        pg_sys::pfree(hash.as_ptr().cast_mut().cast());
    }
    Ok(())
}

/// The beginning of an id, for an error message.
fn quoted(id: &[u8]) -> String {
    const MOST: usize = 200;
    format!("\"{}\"", String::from_utf8_lossy(&id[..id.len().min(MOST)]))
}

fn not_a_select() -> Error {
    bad_query("must be a single SELECT that changes and locks nothing")
}

fn bad_query(problem: &str) -> Error {
    Error::invalid("query", problem, "It gives (object_id, hash), such as SELECT id, md5(t::text) FROM t.")
}
