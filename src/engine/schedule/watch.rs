//! Watches: the result of a query is compared with its earlier result.
//!
//! The query is its owner's: it runs with the owner's rights, may not write, and finds its tables as it did
//! when the owner put the watch. Its result is compared with `pgqueue.watch_seen`, which belongs to pgqueue.
//! Changes are remembered there in the transaction that pushes them.

use std::ffi::{CStr, CString};
use std::ptr;

use pgrx::pg_sys::{self, CmdType, Datum, Query};

use crate::engine::push::message::{Content, Options};
use crate::engine::push::push;
use crate::engine::table::name::Name;
use crate::engine::table::queue::Queue;
use crate::engine::table::statement::{Row, Statement};
use crate::error::{Error, Result};
use crate::pg::argument::{Argument, JsonbArray};
use crate::pg::datum::text_array;
use crate::pg::memory::room_for;
use crate::pg::role::{act_plainly, act_restricted};

static CHANGES: Statement = Statement::new(
    include_str!("../../../sql/query/watch_changes.sql"),
    &[pg_sys::TEXTOID, pg_sys::TEXTARRAYOID, pg_sys::TEXTARRAYOID, pg_sys::INT4OID, pg_sys::TEXTOID],
);
static FORGET: Statement =
    Statement::new(include_str!("../../../sql/query/forget_watch.sql"), &[pg_sys::TEXTOID]);

/// How many changes one run of a watch may push.
pub const MOST_CHANGES: i32 = 10_000;

/// How many objects the query of a watch may return.
const MOST_ROWS: usize = 1_000_000;

/// How many bytes their ids and hashes may have together.
const MOST_BYTES: usize = 128 << 20;

/// How many rows are held at a time, beside what was read of them.
const PAGE: i64 = 16;

/// A query, and the search path by which it finds its tables.
pub struct Watch {
    pub query: Vec<u8>,
    pub search_path: Vec<u8>,
    pub max: i32,
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

    fn all(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|n| self.get(n))
    }

    /// A text that is there twice.
    fn repeated(&self) -> Option<&[u8]> {
        let mut order = Vec::new();
        room_for(&mut order, self.len());
        order.extend(0..self.len() as u32);
        order.sort_unstable_by_key(|&n| self.get(n as usize));
        let same =
            order.array_windows().find(|[one, next]| self.get(*one as usize) == self.get(*next as usize));
        same.map(|[one, _]| self.get(*one as usize))
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

/// Runs a watch as the current user, and pushes the changes of objects behind `seen_to`. Returns the last of
/// these objects if there may be more changes.
pub fn look(name: &Name, watch: &Watch, seen_to: Option<Datum>, queue: &Queue) -> Result<Option<Vec<u8>>> {
    let found = run(watch)?;
    let args = [
        Some(name.datum()),
        Some(text_array(found.ids.all())),
        Some(text_array(found.hashes.all())),
        Some(watch.max.into()),
        seen_to,
    ];
    let (mut last, mut pushed) = (None, Ok(()));
    CHANGES.run(&args, |row| {
        if row.i64(1) >= i64::from(watch.max) {
            last = row.text(2);
        }
        pushed = push_changes(queue, row);
    });
    pushed.map(|()| last)
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
    match found.ids.repeated() {
        Some(id) => Err(bad_query(&format!("must not give the object_id {} twice", quoted(id)))),
        None => Ok(found),
    }
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
