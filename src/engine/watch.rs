//! Watches: what a query gives is compared with what it gave before.
//!
//! The query is its owner's: it runs with his rights, may not write, and finds tables
//! where he found them when he put the watch. What it gives is compared with
//! `pgqueue.watch_seen`, which is ours; changes are remembered there in the transaction
//! that pushes them.

use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::ptr;

use pgrx::pg_sys::{self, CmdType, Datum, Query};

use super::owner::{act_plainly, act_restricted};
use super::push::{Content, Options, push};
use super::queue::Queue;
use super::statement::{Row, Statement, text_array};
use super::time_limit::TimeLimit;
use crate::call::{Argument, JsonbArray, Name, varlena_bytes};
use crate::error::{Error, Result};
use crate::setting;

static CHANGES: Statement = Statement::new(
    include_str!("../../sql/query/watch_changes.sql"),
    &[pg_sys::TEXTOID, pg_sys::TEXTARRAYOID, pg_sys::TEXTARRAYOID, pg_sys::INT4OID, pg_sys::TEXTOID],
);
static FORGET: Statement =
    Statement::new(include_str!("../../sql/query/forget_watch.sql"), &[pg_sys::TEXTOID]);

/// A query and where it finds its tables.
pub struct Watch {
    pub query: Vec<u8>,
    pub search_path: Vec<u8>,
    pub max: i32,
}

/// What a query has given: ids, and the hash of each.
#[derive(Default)]
struct Found {
    ids: Vec<Vec<u8>>,
    hashes: Vec<Vec<u8>>,
}

/// Checks a query that the caller wants to have watched; it is not run.
pub fn check(query: &[u8]) -> Result<()> {
    connected(|| prepare(query).map(|_| ()))
}

/// Where the caller's queries find their tables.
pub fn search_path() -> Vec<u8> {
    // SAFETY: the setting exists; its value is a C string that is copied.
    unsafe { CStr::from_ptr(pg_sys::GetConfigOption(c"search_path".as_ptr(), false, false)) }
        .to_bytes()
        .to_vec()
}

/// Runs a watch as the current user and pushes what has changed, of the objects behind
/// `seen_to`. If there may be more, the last of the objects.
pub fn look(name: &Name, watch: &Watch, seen_to: Option<Datum>, queue: &Queue) -> Result<Option<Vec<u8>>> {
    let found = run(watch)?;
    let args = [
        Some(name.datum()),
        Some(text_array(&found.ids)),
        Some(text_array(&found.hashes)),
        Some(watch.max.into()),
        seen_to,
    ];
    let (mut last, mut pushed) = (None, Ok(()));
    CHANGES.run(&args, |row| {
        if row.i64(1) >= i64::from(watch.max) {
            // SAFETY: the column is a text.
            last = row.get(2).map(|id| unsafe { varlena_bytes(id) });
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

thread_local! {
    static HAS_RUN: Cell<bool> = const { Cell::new(false) };
}

/// Whether a query has run in this process since this was asked last.
pub fn has_run() -> bool {
    HAS_RUN.take()
}

/// Forgets what a watch has seen.
pub fn forget(name: &Name) {
    FORGET.run(&[Some(name.datum())], |_| {});
}

/// Runs the query. Its snapshot is taken after the watch was locked: what
/// another session has pushed is not found to be different again.
fn run(watch: &Watch) -> Result<Found> {
    let search_path = CString::new(&watch.search_path[..]).expect("text has no NUL byte");
    HAS_RUN.set(true);
    let _limit = TimeLimit::in_worker(setting::watch_timeout());
    connected(|| {
        // SAFETY: snapshot and mode are set back here, or by the end of the subtransaction
        // if the query raises.
        act_restricted(&search_path, || unsafe {
            let plan = prepare(&watch.query)?;
            let could_write = !pg_sys::XactReadOnly;
            pg_sys::XactReadOnly = true;
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            pg_sys::SPI_execute_plan(plan, ptr::null_mut(), ptr::null(), true, 0);
            let found = act_plainly(|| read_result());
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

/// The element of a list that has one.
unsafe fn only<'a, T>(list: *const pg_sys::List) -> Option<&'a T> {
    // SAFETY: the caller gives a list of pointers to T.
    unsafe { (!list.is_null() && (*list).length == 1).then(|| &*pg_sys::list_nth(list, 0).cast::<T>()) }
}

/// Reads what the query has given, as text.
unsafe fn read_result() -> Result<Found> {
    let (mut found, mut ids) = (Found::default(), HashSet::new());
    // SAFETY: the caller has just executed a query of two columns.
    unsafe {
        let (table, rows) = (pg_sys::SPI_tuptable, pg_sys::SPI_processed as usize);
        for n in 0..rows {
            let value = |column| {
                let text = pg_sys::SPI_getvalue(*(*table).vals.add(n), (*table).tupdesc, column);
                (!text.is_null()).then(|| CStr::from_ptr(text).to_bytes().to_vec())
            };
            let id = value(1).ok_or_else(|| bad_query("must not give a null as object_id"))?;
            let hash = value(2)
                .ok_or_else(|| bad_query(&format!("must not give a null as hash, of {}", quoted(&id))))?;
            if !ids.insert(id.clone()) {
                return Err(bad_query(&format!("must not give the object_id {} twice", quoted(&id))));
            }
            found.ids.push(id);
            found.hashes.push(hash);
        }
    }
    Ok(found)
}

fn quoted(id: &[u8]) -> String {
    format!("\"{}\"", String::from_utf8_lossy(id))
}

fn not_a_select() -> Error {
    bad_query("must be a single SELECT that changes and locks nothing")
}

fn bad_query(problem: &str) -> Error {
    Error::invalid("query", problem, "It gives (object_id, hash), such as SELECT id, md5(t::text) FROM t.")
}
