//! The extension's own SQL statements, planned once a session and run as the tables' owner.
//!
//! They do rare work. Their texts lie in `sql/query`. All names in them are qualified, and the search path
//! holds only pg_catalog.

use std::ffi::{CStr, c_char};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use pgrx::pg_sys::{self, Datum, Oid};

use crate::engine::table::catalog;
use crate::pg::datum::{Jsonb, varlena_bytes};
use crate::pg::role;
use crate::pg::trigger::Trigger;

/// A statement and the types of its parameters.
pub struct Statement {
    text: &'static str,
    types: &'static [Oid],
    by_index: bool,
    /// A statement by index has had a plan.
    is_planned: AtomicBool,
    plan: AtomicPtr<pg_sys::_SPI_plan>,
}

/// Rows that a statement sees.
#[derive(Clone, Copy, PartialEq)]
pub enum Sees {
    /// Those that the transaction sees; the statement may write.
    Transaction,
    /// Those committed now, at every isolation level; the statement only reads.
    Latest,
    /// Those of the snapshot that was taken last and is in use; the statement only reads.
    Snapshot,
}

/// A row of a result, valid only during the call of `each`.
pub struct Row {
    tuple: pg_sys::HeapTuple,
    descriptor: pg_sys::TupleDesc,
}

impl Row {
    /// Returns the value of a column, counted from 0.
    pub fn get(&self, column: usize) -> Option<Datum> {
        let mut null = false;
        // SAFETY: tuple and descriptor are of one result that SPI keeps alive.
        let value =
            unsafe { pg_sys::SPI_getbinval(self.tuple, self.descriptor, column as i32 + 1, &mut null) };
        (!null).then_some(value)
    }

    /// Returns the value of a column that is never null.
    pub fn value(&self, column: usize) -> Datum {
        self.get(column).expect("the statement gives no null here")
    }

    pub fn i64(&self, column: usize) -> i64 {
        self.value(column).value() as i64
    }

    pub fn i32(&self, column: usize) -> i32 {
        self.value(column).value() as i32
    }

    pub fn bool(&self, column: usize) -> bool {
        self.value(column).value() & 0xff != 0
    }

    /// Returns the value of a column that has one of these types.
    fn typed(&self, column: usize, kinds: &[Oid]) -> Option<Datum> {
        // SAFETY: the descriptor is of a result that SPI keeps alive.
        let kind = unsafe { pg_sys::SPI_gettypeid(self.descriptor, column as i32 + 1) };
        assert!(kinds.contains(&kind), "column {column} of a statement has type {}", kind.to_u32());
        self.get(column)
    }

    /// Returns a text or bytea.
    pub fn text(&self, column: usize) -> Option<Vec<u8>> {
        let value = self.typed(column, &[pg_sys::TEXTOID, pg_sys::BYTEAOID]);
        // SAFETY: the column is a varlena.
        value.map(|value| unsafe { varlena_bytes(value) })
    }

    pub fn jsonb(&self, column: usize) -> Option<Jsonb<'_>> {
        // SAFETY: the column is a jsonb, which lives as long as its row.
        self.typed(column, &[pg_sys::JSONBOID]).map(|value| unsafe { Jsonb::new(value) })
    }

    /// Returns a row's place in its table (ctid).
    pub fn tid(&self, column: usize) -> Option<pg_sys::ItemPointerData> {
        let place = self.typed(column, &[pg_sys::TIDOID]);
        // SAFETY: a tid is passed by reference, and is there as long as its row is.
        place.map(|place| unsafe { *place.cast_mut_ptr() })
    }

    /// Returns all values, in the form of a function's result row.
    pub fn all(&self) -> Vec<Option<Datum>> {
        // SAFETY: the descriptor is of the result that SPI keeps alive.
        let columns = unsafe { (*self.descriptor).natts } as usize;
        (0..columns).map(|column| self.get(column)).collect()
    }
}

impl Statement {
    pub const fn new(text: &'static str, types: &'static [Oid]) -> Self {
        let (is_planned, plan) = (AtomicBool::new(false), AtomicPtr::new(ptr::null_mut()));
        Self { text, types, by_index: false, is_planned, plan }
    }

    /// Makes a statement that reads tables by their indexes, with one plan for all arguments, whatever the
    /// statistics say: a plan that was made while a table was small would read it from its beginning to its end
    /// when it has grown.
    pub const fn by_index(text: &'static str, types: &'static [Oid]) -> Self {
        Self { by_index: true, ..Self::new(text, types) }
    }

    /// Runs the statement, calls `each` with every row and returns the number of rows.
    pub fn run(&'static self, args: &[Option<Datum>], each: impl FnMut(&Row)) -> u64 {
        self.run_seeing(Sees::Transaction, args, each)
    }

    pub fn run_seeing(&'static self, sees: Sees, args: &[Option<Datum>], each: impl FnMut(&Row)) -> u64 {
        self.run_for(ptr::null_mut(), sees, args, each)
    }

    /// Runs the statement for a trigger, whose transition tables it sees.
    pub fn run_in_trigger(&'static self, trigger: Trigger, each: impl FnMut(&Row)) {
        self.run_for(trigger.data(), Sees::Transaction, &[], each);
    }

    fn run_for(
        &'static self,
        trigger: *mut pg_sys::TriggerData,
        sees: Sees,
        args: &[Option<Datum>],
        mut each: impl FnMut(&Row),
    ) -> u64 {
        assert_eq!(args.len(), self.types.len(), "as many arguments as parameters: {}", self.text);
        let mut values: Vec<Datum> = args.iter().map(|arg| arg.unwrap_or(Datum::null())).collect();
        let nulls = nulls_of(args);
        // SAFETY: connect and finish are paired, or closed by the abort if something
        // between them raises; the result is only looked at in between.
        unsafe {
            check(pg_sys::SPI_connect(), "SPI_connect");
            if !trigger.is_null() {
                check(pg_sys::SPI_register_trigger_data(trigger), "SPI_register_trigger_data");
            }
            let execute = || self.execute(sees, values.as_mut_ptr(), nulls.as_ptr());
            check(role::act_as(catalog::refresh().owner, execute), self.text);
            let (touched, table) = (pg_sys::SPI_processed, pg_sys::SPI_tuptable);
            if !table.is_null() {
                for n in 0..touched as usize {
                    // `each` runs as the caller again: it may check the caller's rights.
                    each(&Row { tuple: *(*table).vals.add(n), descriptor: (*table).tupdesc });
                }
            }
            check(pg_sys::SPI_finish(), "SPI_finish");
            touched
        }
    }

    /// Runs a statement that only reads, and calls `each` with every row. Holds `page` rows at a time.
    pub fn run_by_page(&'static self, args: &[Option<Datum>], page: i64, mut each: impl FnMut(&Row)) {
        let mut values: Vec<Datum> = args.iter().map(|arg| arg.unwrap_or(Datum::null())).collect();
        let nulls = nulls_of(args);
        let owner = catalog::refresh().owner;
        // SAFETY: connect and finish are paired, or closed by the abort if something between them raises;
        // a page is only looked at until it is freed.
        unsafe {
            check(pg_sys::SPI_connect(), "SPI_connect");
            let open = || {
                pg_sys::SPI_cursor_open(ptr::null(), self.plan(), values.as_mut_ptr(), nulls.as_ptr(), true)
            };
            let cursor = role::act_as(owner, open);
            loop {
                pg_sys::check_for_interrupts!();
                role::act_as(owner, || pg_sys::SPI_cursor_fetch(cursor, true, page as std::ffi::c_long));
                let (rows, table) = (pg_sys::SPI_processed as usize, pg_sys::SPI_tuptable);
                if rows == 0 {
                    break;
                }
                for n in 0..rows {
                    each(&Row { tuple: *(*table).vals.add(n), descriptor: (*table).tupdesc });
                }
                pg_sys::SPI_freetuptable(table);
            }
            pg_sys::SPI_cursor_close(cursor);
            check(pg_sys::SPI_finish(), "SPI_finish");
        }
    }

    unsafe fn execute(&self, sees: Sees, values: *mut Datum, nulls: *const c_char) -> i32 {
        // SAFETY: called while connected, with as many values as the plan has parameters.
        unsafe {
            let plan = self.plan();
            match sees {
                Sees::Transaction => pg_sys::SPI_execute_plan(plan, values, nulls, false, 0),
                Sees::Latest | Sees::Snapshot => {
                    let snapshot = match sees {
                        Sees::Snapshot => pg_sys::GetActiveSnapshot(),
                        _ => pg_sys::GetLatestSnapshot(),
                    };
                    let snapshot = pg_sys::RegisterSnapshot(snapshot);
                    let nothing = ptr::null_mut();
                    let code =
                        pg_sys::SPI_execute_snapshot(plan, values, nulls, snapshot, nothing, true, false, 0);
                    pg_sys::UnregisterSnapshot(snapshot);
                    code
                }
            }
        }
    }

    /// Returns the saved plan. Postgres makes a new plan itself when tables change, but not by index.
    unsafe fn plan(&self) -> pg_sys::SPIPlanPtr {
        // SAFETY: called between SPI_connect and SPI_finish.
        unsafe {
            let plan = self.prepared();
            if self.by_index && !(self.is_planned.load(Ordering::Relaxed) && pg_sys::SPI_plan_is_valid(plan))
            {
                role::act_by_index(catalog::known().owner, || {
                    let planned = pg_sys::SPI_plan_get_cached_plan(plan);
                    pg_sys::ReleaseCachedPlan(planned, pg_sys::CurrentResourceOwner);
                });
                self.is_planned.store(true, Ordering::Relaxed);
            }
            plan
        }
    }

    /// Returns the saved statement.
    unsafe fn prepared(&self) -> pg_sys::SPIPlanPtr {
        let saved = self.plan.load(Ordering::Relaxed);
        if !saved.is_null() {
            return saved;
        }
        let text = std::ffi::CString::new(self.text).expect("statements have no NUL byte");
        let mut types = self.types.to_vec();
        // SAFETY: called between SPI_connect and SPI_finish; the plan is kept for the session.
        unsafe {
            let options = if self.by_index { pg_sys::CURSOR_OPT_GENERIC_PLAN } else { 0 };
            let count = types.len() as i32;
            let plan = pg_sys::SPI_prepare_cursor(text.as_ptr(), count, types.as_mut_ptr(), options as i32);
            if plan.is_null() {
                check(pg_sys::SPI_result, self.text);
            }
            check(pg_sys::SPI_keepplan(plan), "SPI_keepplan");
            self.plan.store(plan, Ordering::Relaxed);
            plan
        }
    }
}

/// The marks of null arguments, as SPI takes them.
fn nulls_of(args: &[Option<Datum>]) -> Vec<c_char> {
    args.iter().map(|arg| if arg.is_some() { b' ' } else { b'n' } as c_char).collect()
}

/// Checks a result of SPI. Our statements raise errors and never return such a code.
fn check(code: i32, what: &str) {
    assert!(code >= 0, "SPI error {code}: {what}");
}

/// Runs a command as the tables' owner, with a short lock timeout.
pub fn run_impatiently(command: &CStr) {
    // SAFETY: connect and finish are paired, or closed by the abort if something between them raises.
    unsafe {
        pg_sys::SPI_connect();
        role::act_impatiently(catalog::refresh().owner, || pg_sys::SPI_execute(command.as_ptr(), false, 0));
        pg_sys::SPI_finish();
    }
}
