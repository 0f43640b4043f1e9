//! Fields of a Postgres error that pgrx loses: its context, the query inside a function, the names of table,
//! column and constraint, a user-defined SQLSTATE.
//!
//! pgrx turns an error of Postgres into a panic, and back into an error where the call ends. The message,
//! detail, hint and the SQLSTATEs that Postgres knows survive that; other fields do not. So each call from
//! SQL has an entry in Postgres's stack of error contexts, below all entries that Postgres adds for what the
//! call runs. An error passes the entry twice. The first time the entry keeps the fields; the second time,
//! when the error has none yet, it adds them again.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, c_char, c_int, c_void};

use pgrx::pg_sys::{self, Datum, ErrorContextCallback, ErrorData, FunctionCallInfo};
use pgrx::{PgLogLevel, PgSqlErrorCode};

use crate::error::{argument_of, printable};

/// A function that Postgres calls.
pub type Exported = unsafe extern "C-unwind" fn(FunctionCallInfo) -> Datum;

// From utils/elog.h and utils/memutils.h, without pgrx's guards: these run while Postgres reports an error.
unsafe extern "C-unwind" {
    fn geterrcode() -> c_int;
    fn CopyErrorData() -> *mut ErrorData;
    fn AllocSetContextCreateInternal(
        parent: pg_sys::MemoryContext,
        name: *const c_char,
        min_size: usize,
        first_block: usize,
        largest_block: usize,
    ) -> pg_sys::MemoryContext;
    fn MemoryContextReset(context: pg_sys::MemoryContext);
    fn errcode(sqlstate: c_int) -> c_int;
    fn set_errcontext_domain(domain: *const c_char) -> c_int;
    fn errcontext_msg(format: *const c_char, ...) -> c_int;
    fn errdetail_log(format: *const c_char, ...) -> c_int;
    fn internalerrquery(query: *const c_char) -> c_int;
    fn internalerrposition(position: c_int) -> c_int;
    fn err_generic_string(field: c_int, value: *const c_char) -> c_int;
}

const NAMES: usize = 5;
/// Which of the names is that of the column.
const COLUMN: usize = 2;

#[derive(Clone)]
struct Details {
    code: c_int,
    message: String,
    context: Option<CString>,
    detail_log: Option<CString>,
    query: Option<CString>,
    position: c_int,
    /// Names, each with its field in the protocol.
    names: [(c_int, Option<CString>); NAMES],
}

thread_local! {
    /// Details of the last error that passed each call, with the address of the call's entry on the stack.
    static KEPT: RefCell<Vec<(usize, Details)>> = const { RefCell::new(Vec::new()) };
    static SCRATCH: Cell<Option<pg_sys::MemoryContext>> = const { Cell::new(None) };
}

/// Calls a function whose own boundary turns panics into errors.
///
/// # Safety
/// `fcinfo` must be the call Postgres made. An error leaves this frame without running destructors: it has
/// none.
pub unsafe fn keeping(function: Exported, fcinfo: FunctionCallInfo) -> Datum {
    // SAFETY: the entry is on the stack of contexts as long as this frame is there. An error that
    // leaves the frame has Postgres set the stack back to where it is caught.
    unsafe {
        let mut entry = ErrorContextCallback {
            previous: pg_sys::error_context_stack,
            callback: Some(on_error),
            arg: std::ptr::null_mut(),
        };
        entry.arg = (&raw mut entry).cast();
        forget_ended(entry.arg as usize);
        pg_sys::error_context_stack = &raw mut entry;
        let answer = function(fcinfo);
        pg_sys::error_context_stack = entry.previous;
        answer
    }
}

/// Takes an entry, and all above it, off the stack of contexts when dropped.
struct Unlink(*mut ErrorContextCallback);

impl Drop for Unlink {
    fn drop(&mut self) {
        // SAFETY: it belongs to a frame that is still there.
        unsafe { pg_sys::error_context_stack = self.0 }
    }
}

/// Runs `work`, which catches its own errors. Returns also the SQLSTATE of the last error, if pgrx replaces
/// it.
pub fn with_own_code<T>(work: impl FnOnce() -> T) -> (T, Option<c_int>) {
    // SAFETY: the entry is on the stack of contexts as long as this frame is there.
    unsafe {
        let previous = pg_sys::error_context_stack;
        let mut entry =
            ErrorContextCallback { previous, callback: Some(on_error), arg: std::ptr::null_mut() };
        entry.arg = (&raw mut entry).cast();
        let place = entry.arg as usize;
        forget_ended(place);
        let unlink = Unlink(previous);
        pg_sys::error_context_stack = &raw mut entry;
        let done = work();
        drop(unlink);
        let code = KEPT.with_borrow(|kept| Some(kept.iter().find(|(other, _)| *other == place)?.1.code));
        (done, code.filter(|code| !is_known(*code)))
    }
}

/// True if pgrx has a name for the SQLSTATE.
fn is_known(code: c_int) -> bool {
    PgSqlErrorCode::from(code) as c_int == code
}

/// Forgets the details of calls at or above an entry: they have ended.
fn forget_ended(entry: usize) {
    KEPT.with_borrow_mut(|kept| kept.retain(|(other, _)| *other > entry));
}

unsafe extern "C-unwind" fn on_error(entry: *mut c_void) {
    // SAFETY: Postgres calls this while it reports an error. Only this function uses the copy, until its
    // memory is reset.
    unsafe {
        if geterrcode() == PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY as c_int {
            return;
        }
        let (context, scratch) = (pg_sys::CurrentMemoryContext, scratch());
        pg_sys::CurrentMemoryContext = scratch;
        let error = CopyErrorData();
        pg_sys::CurrentMemoryContext = context;
        let again = pass(entry as usize, &*error);
        MemoryContextReset(scratch);
        if let Some(details) = again {
            tell(Box::into_raw(details));
        }
    }
}

/// Returns the memory context for copies of errors. Postgres does not free all parts of a copy by itself.
///
/// # Safety
/// Postgres is reporting an error.
unsafe fn scratch() -> pg_sys::MemoryContext {
    SCRATCH.get().unwrap_or_else(|| {
        // SAFETY: it is made once and stays as long as the process.
        let made = unsafe {
            AllocSetContextCreateInternal(
                pg_sys::TopMemoryContext,
                c"pgqueue error details".as_ptr(),
                pg_sys::ALLOCSET_SMALL_MINSIZE as usize,
                pg_sys::ALLOCSET_SMALL_INITSIZE as usize,
                pg_sys::ALLOCSET_SMALL_MAXSIZE as usize,
            )
        };
        SCRATCH.set(Some(made));
        made
    })
}

/// Keeps the details of an error; if the error passes for the second time, returns the kept ones.
fn pass(entry: usize, error: &ErrorData) -> Option<Box<Details>> {
    if error.elevel != PgLogLevel::ERROR as c_int {
        return None;
    }
    KEPT.with_borrow_mut(|all| {
        let place = all.iter().position(|(other, _)| *other == entry);
        let kept = place.map(|n| &all[n].1).filter(|kept| kept.are_missing_in(error));
        if let Some(kept) = kept {
            return Some(Box::new(kept.clone()));
        }
        place.map(|n| all.swap_remove(n));
        if let Some(argument) = argument_of(error.sqlerrcode, &message(error)) {
            return Some(Box::new(Details::with_column(error, argument)));
        }
        let details = Details::of(error);
        if details.has_any() {
            all.push((entry, details));
        }
        None
    })
}

/// Adds details to the error that is being reported.
///
/// # Safety
/// `details` come from a box. Postgres is reporting an error.
unsafe fn tell(details: *mut Details) {
    // SAFETY: Postgres copies the texts. If memory runs out, the box is not freed.
    unsafe {
        let text = |text: &Option<CString>| text.as_ref().map(|text| text.as_ptr());
        errcode((*details).code);
        if let Some(context) = text(&(*details).context) {
            set_errcontext_domain(std::ptr::null());
            errcontext_msg(c"%s".as_ptr(), context);
        }
        if let Some(detail) = text(&(*details).detail_log) {
            errdetail_log(c"%s".as_ptr(), detail);
        }
        if let Some(query) = text(&(*details).query) {
            internalerrquery(query);
            internalerrposition((*details).position);
        }
        for (field, name) in &(*details).names {
            if let Some(name) = text(name) {
                err_generic_string(*field, name);
            }
        }
        drop(Box::from_raw(details));
    }
}

impl Details {
    /// The details of an error of our own: the argument that it is about, as the name of a column.
    fn with_column(error: &ErrorData, column: String) -> Self {
        let mut details = Self::of(error);
        details.names[COLUMN].1 = CString::new(column).ok();
        details
    }

    fn of(error: &ErrorData) -> Self {
        let names = [
            (pg_sys::PG_DIAG_SCHEMA_NAME, error.schema_name),
            (pg_sys::PG_DIAG_TABLE_NAME, error.table_name),
            (pg_sys::PG_DIAG_COLUMN_NAME, error.column_name),
            (pg_sys::PG_DIAG_DATATYPE_NAME, error.datatype_name),
            (pg_sys::PG_DIAG_CONSTRAINT_NAME, error.constraint_name),
        ];
        Self {
            code: error.sqlerrcode,
            message: message(error),
            context: owned(error.context),
            detail_log: owned(error.detail_log),
            query: owned(error.internalquery),
            position: error.internalpos,
            names: names.map(|(field, name)| (field as c_int, owned(name))),
        }
    }

    fn has_any(&self) -> bool {
        let texts = [&self.context, &self.detail_log, &self.query];
        texts.into_iter().chain(self.names.iter().map(|(_, name)| name)).any(Option::is_some)
            || !is_known(self.code)
    }

    /// True if it is the same error, without any details.
    fn are_missing_in(&self, error: &ErrorData) -> bool {
        let code = PgSqlErrorCode::from(self.code) as c_int; // as it comes back from Rust
        error.context.is_null()
            && [self.code, code].contains(&error.sqlerrcode)
            && self.message == message(error)
    }
}

fn owned(text: *const c_char) -> Option<CString> {
    // SAFETY: a text of Postgres, or null.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_owned())
}

/// Returns the message as it comes back from Rust.
fn message(error: &ErrorData) -> String {
    owned(error.message).map_or_else(String::new, |message| printable(message.to_string_lossy().into_owned()))
}
