//! Change capture: a message for each row that a statement has created, updated or
//! deleted.
//!
//! Rows become JSON in SQL, which runs as whoever changed them, as a trigger of the
//! table would: types may bring casts to JSON of their own. Of a statement trigger the
//! rows come a page at a time, however many there are.

use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pgrx::pg_sys::{self, Datum, Oid, TriggerData};
use pgrx::{PgMemoryContexts, check_for_interrupts};

use super::owner::{act_as, act_plainly};
use super::push::{Content, Options, push};
use super::queue::{self, Queue};
use super::statement::text_array;
use crate::call::{Name, text_datum};
use crate::error::{Error, Result};

/// How many changes are pushed at a time.
const PAGE: i64 = 500;

const MESSAGE: &str = include_str!("../../sql/query/capture_message.sql");

/// What a trigger is called for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Event {
    Insert,
    Update,
    Delete,
}

/// Pushes the changes for which a trigger is called.
///
/// # Safety
/// The data must be those of the trigger that is being called.
pub unsafe fn capture(trigger: *mut TriggerData) -> Result<()> {
    // SAFETY: the caller vouches for the data.
    let trigger = unsafe { Trigger { data: &*trigger } };
    let event = trigger.event()?;
    let (queue, mut keys) = trigger.arguments()?;
    if keys.is_empty() {
        keys = trigger.primary_key();
    }
    let queue = trigger.queue(&queue)?;
    let named = [Some(act_plainly(|| trigger.table())), Some(text_array(keys.iter().map(Vec::as_slice)))];
    if trigger.is_for_a_row() {
        let [old, new] = trigger.rows(event);
        push_changes(&queue, row_plan, &[named[0], named[1], old, new])
    } else {
        let text = trigger.statement_text(event, !keys.is_empty())?;
        push_changes(&queue, || trigger.statement_plan(&text), &named)
    }
}

/// The trigger that is being called.
struct Trigger<'a> {
    data: &'a TriggerData,
}

impl Trigger<'_> {
    fn definition(&self) -> &pg_sys::Trigger {
        // SAFETY: a trigger that is being called has its definition.
        unsafe { &*self.data.tg_trigger }
    }

    fn relation(&self) -> &pg_sys::RelationData {
        // SAFETY: open for as long as the trigger is being called.
        unsafe { &*self.data.tg_relation }
    }

    fn is_for_a_row(&self) -> bool {
        self.data.tg_event & pg_sys::TRIGGER_EVENT_ROW != 0
    }

    fn event(&self) -> Result<Event> {
        if self.data.tg_event & pg_sys::TRIGGER_EVENT_TIMINGMASK != pg_sys::TRIGGER_EVENT_AFTER {
            return Err(Error::bad_capture("must be called AFTER the change"));
        }
        match self.data.tg_event & pg_sys::TRIGGER_EVENT_OPMASK {
            pg_sys::TRIGGER_EVENT_INSERT => Ok(Event::Insert),
            pg_sys::TRIGGER_EVENT_UPDATE => Ok(Event::Update),
            pg_sys::TRIGGER_EVENT_DELETE => Ok(Event::Delete),
            _ => Err(Error::bad_capture("cannot tell which rows a TRUNCATE removes")),
        }
    }

    /// The name of the queue and those of the key columns.
    fn arguments(&self) -> Result<(Name, Vec<Vec<u8>>)> {
        let definition = self.definition();
        let mut arguments = (0..definition.tgnargs as usize)
            // SAFETY: there are tgnargs C strings.
            .map(|n| unsafe { CStr::from_ptr(*definition.tgargs.add(n)) });
        let queue = arguments
            .next()
            .ok_or_else(|| Error::bad_capture("needs the name of a queue as its first argument"))?;
        let keys = arguments.map(|column| self.column(column)).collect::<Result<_>>()?;
        Ok((Name::check(queue.to_bytes().to_vec(), "queue")?, keys))
    }

    fn column(&self, name: &CStr) -> Result<Vec<u8>> {
        // SAFETY: a cached look-up by a C string; dropped columns are not found.
        let number = unsafe { pg_sys::get_attnum(self.relation().rd_id, name.as_ptr()) };
        if number <= 0 {
            return Err(Error::no_such_column(&name.to_string_lossy()));
        }
        Ok(name.to_bytes().to_vec())
    }

    /// The names of the primary key's columns; empty if there is none.
    fn primary_key(&self) -> Vec<Vec<u8>> {
        let table = self.relation().rd_id;
        let mut names = Vec::new();
        // SAFETY: the set holds the numbers of columns that exist, shifted so that none
        // is negative; the names are copied.
        unsafe {
            let columns = primary_key_columns(table);
            let mut member = pg_sys::bms_next_member(columns, -1);
            while member >= 0 {
                let number = member + pg_sys::FirstLowInvalidHeapAttributeNumber;
                let name = pg_sys::get_attname(table, number as i16, false);
                names.push(CStr::from_ptr(name).to_bytes().to_vec());
                member = pg_sys::bms_next_member(columns, member);
            }
        }
        names
    }

    /// The queue, if the table's owner may push into it: whoever writes a row need not.
    fn queue(&self, name: &Name) -> Result<std::rc::Rc<Queue>> {
        // SAFETY: the relation's entry is there while it is open.
        let owner = unsafe { (*self.relation().rd_rel).relowner };
        act_as(owner, || queue::for_push(name))
    }

    /// The table's name as SQL takes it.
    fn table(&self) -> Datum {
        // SAFETY: look-ups that give C strings, of a relation that is open.
        unsafe {
            let class = self.relation().rd_rel;
            let schema = pg_sys::get_namespace_name((*class).relnamespace);
            let name = pg_sys::quote_qualified_identifier(schema, (*class).relname.data.as_ptr());
            text_datum(CStr::from_ptr(name).to_bytes())
        }
    }

    /// The row as it was and as it is.
    fn rows(&self, event: Event) -> [Option<Datum>; 2] {
        let (before, after) = (self.data.tg_trigtuple, self.data.tg_newtuple);
        match event {
            Event::Insert => [None, Some(self.record(before))],
            Event::Update => [Some(self.record(before)), Some(self.record(after))],
            Event::Delete => [Some(self.record(before)), None],
        }
    }

    fn record(&self, tuple: pg_sys::HeapTuple) -> Datum {
        // SAFETY: a row of this relation.
        unsafe { pg_sys::heap_copy_tuple_as_datum(tuple, self.relation().rd_att) }
    }

    /// The query over the transition tables.
    fn statement_text(&self, event: Event, has_keys: bool) -> Result<CString> {
        let (old, new) = (self.definition().tgoldtable, self.definition().tgnewtable);
        let (old, new) = (rows_of(old), rows_of(new));
        let changes = match event {
            Event::Insert => format!("SELECT NULL::jsonb AS old, doc AS new FROM ({}) AS r", new?),
            Event::Delete => format!("SELECT doc AS old, NULL::jsonb AS new FROM ({}) AS r", old?),
            Event::Update if !has_keys => return Err(Error::capture_needs_key()),
            Event::Update => {
                format!(
                    include_str!("../../sql/query/capture_pairs.sql"),
                    old = keyed(&old?),
                    new = keyed(&new?)
                )
            }
        };
        Ok(with_message(&changes))
    }

    fn statement_plan(&self, text: &CStr) -> pg_sys::SPIPlanPtr {
        // SAFETY: called between SPI_connect and SPI_finish, with the data of the call.
        unsafe {
            let registered = pg_sys::SPI_register_trigger_data(ptr::from_ref(self.data).cast_mut());
            assert!(registered >= 0, "SPI_register_trigger_data: {registered}");
            prepare(text, &[pg_sys::TEXTOID, pg_sys::TEXTARRAYOID])
        }
    }
}

/// The columns of a table's primary key, also one that is deferrable.
fn primary_key_columns(table: Oid) -> *mut pg_sys::Bitmapset {
    // catalog/pg_constraint.h, which pgrx leaves out
    unsafe extern "C-unwind" {
        fn get_primary_key_attnos(
            table: Oid,
            deferrable: bool,
            constraint: *mut Oid,
        ) -> *mut pg_sys::Bitmapset;
    }
    let mut constraint = Oid::INVALID;
    // SAFETY: reads the catalog; the boundary turns an error into a panic.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| get_primary_key_attnos(table, true, &mut constraint)) }
}

fn rows_of(table: *const c_char) -> Result<String> {
    if table.is_null() {
        return Err(Error::bad_capture("needs transition tables to be called FOR EACH STATEMENT"));
    }
    // SAFETY: a C string, and what quotes it gives another.
    let table = unsafe { CStr::from_ptr(pg_sys::quote_identifier(table)) };
    // A name in the server's encoding, each byte as one character until `with_message`.
    let table: String = table.to_bytes().iter().map(|&byte| char::from(byte)).collect();
    Ok(format!(include_str!("../../sql/query/capture_table.sql"), table = table))
}

fn keyed(rows: &str) -> String {
    format!(include_str!("../../sql/query/capture_keyed.sql"), rows = rows)
}

fn with_message(changes: &str) -> CString {
    let text = format!("WITH change AS ({changes})\n{MESSAGE}");
    let bytes: Vec<u8> = text.chars().map(|letter| letter as u8).collect();
    CString::new(bytes).expect("names have no NUL byte")
}

/// The plan for the change of one row, made once a session.
fn row_plan() -> pg_sys::SPIPlanPtr {
    static PLAN: AtomicPtr<pg_sys::_SPI_plan> = AtomicPtr::new(ptr::null_mut());
    if PLAN.load(Ordering::Relaxed).is_null() {
        let text = with_message(include_str!("../../sql/query/capture_row.sql"));
        let types = [pg_sys::TEXTOID, pg_sys::TEXTARRAYOID, pg_sys::RECORDOID, pg_sys::RECORDOID];
        // SAFETY: called between SPI_connect and SPI_finish; the plan is kept.
        unsafe {
            let plan = prepare(&text, &types);
            pg_sys::SPI_keepplan(plan);
            PLAN.store(plan, Ordering::Relaxed);
        }
    }
    PLAN.load(Ordering::Relaxed)
}

unsafe fn prepare(text: &CStr, types: &[Oid]) -> pg_sys::SPIPlanPtr {
    let mut types = types.to_vec();
    // SAFETY: the caller is connected.
    let plan = unsafe { pg_sys::SPI_prepare(text.as_ptr(), types.len() as i32, types.as_mut_ptr()) };
    assert!(!plan.is_null(), "SPI_prepare: {text:?}");
    plan
}

/// Runs a query that gives messages and pushes them, a page at a time.
fn push_changes(
    queue: &Queue,
    plan: impl FnOnce() -> pg_sys::SPIPlanPtr,
    args: &[Option<Datum>],
) -> Result<()> {
    let mut values: Vec<Datum> = args.iter().map(|arg| arg.unwrap_or(Datum::null())).collect();
    let nulls: Vec<c_char> =
        args.iter().map(|arg| if arg.is_some() { b' ' } else { b'n' } as c_char).collect();
    // SAFETY: connect and finish are paired, or closed by the abort if something between
    // them raises; as many values as the plan has parameters.
    unsafe {
        assert!(pg_sys::SPI_connect() >= 0, "SPI_connect");
        let cursor = act_plainly(|| {
            pg_sys::SPI_cursor_open(ptr::null(), plan(), values.as_mut_ptr(), nulls.as_ptr(), true)
        });
        loop {
            check_for_interrupts!();
            act_plainly(|| pg_sys::SPI_cursor_fetch(cursor, true, PAGE));
            if pg_sys::SPI_processed == 0 {
                break;
            }
            PgMemoryContexts::new("pgqueue capture").switch_to(|_| push_page(queue))?; // raised: all is closed by the abort
            pg_sys::SPI_freetuptable(pg_sys::SPI_tuptable);
        }
        pg_sys::SPI_cursor_close(cursor);
        assert!(pg_sys::SPI_finish() >= 0, "SPI_finish");
    }
    Ok(())
}

/// Pushes the messages that were fetched last.
unsafe fn push_page(queue: &Queue) -> Result<()> {
    // SAFETY: the caller has fetched rows, whose only column is never null.
    let messages: Vec<_> = unsafe {
        let (table, rows) = (pg_sys::SPI_tuptable, pg_sys::SPI_processed as usize);
        let payload = |n| pg_sys::SPI_getbinval(*(*table).vals.add(n), (*table).tupdesc, 1, &mut false);
        (0..rows).map(|n| (Content::Payload(payload(n)), None)).collect()
    };
    push(queue, &messages, &Options::default()).map(|_| ())
}
