//! Change capture: a message for each row that a statement has created, updated or deleted.
//!
//! A row becomes JSON with the rights of the role that changed it (`json`), as in a trigger of the table:
//! types may bring their own casts to JSON. `capture_messages.sql` makes the message around it. A statement trigger reads its rows a page at a time, however many
//! there are.
//!
//! Invariant: each change that the table takes is pushed. A value that no jsonb can hold is pushed as its
//! text, or is left out.

pub mod json;

use std::ffi::{CStr, CString, c_char};
use std::ptr;

use pgrx::pg_sys::{self, Datum, Oid};
use pgrx::{PgMemoryContexts, check_for_interrupts};

use crate::engine::capture::json::Doc;
use crate::engine::push::message::{Content, Options};
use crate::engine::push::push;
use crate::engine::queue::create;
use crate::engine::table::name::Name;
use crate::engine::table::queue::Queue;
use crate::engine::table::statement::Statement;
use crate::error::{Error, Result};
use crate::pg::datum::{array_with_nulls, text_datum};
use crate::pg::role::{act_as, act_plainly};
use crate::pg::subtransaction::unless_refused;
use crate::pg::trigger::{Trigger, TriggerRow};

/// How many changes are read at a time.
const PAGE: i64 = 500;

/// How many bytes of JSON are pushed at a time, unless one change has more.
const PAGE_BYTES: usize = 8 << 20;

/// The longest values of a row that is too large for a message: longer ones are left out. If the first limit
/// is not enough, the second is, with all the columns that a table can have.
const LONGEST_VALUES: [usize; 2] = [64 << 10, 1 << 10];

/// The field in a message that lacks values of its row.
const TRUNCATED: &str = r#"{"truncated": true}"#;

static MESSAGES: Statement = Statement::new(
    include_str!("../../../sql/query/capture_messages.sql"),
    &[pg_sys::TEXTOID, pg_sys::TEXTARRAYOID, pg_sys::JSONBARRAYOID, pg_sys::JSONBARRAYOID, pg_sys::BOOLOID],
);

/// Types whose values are equal exactly when their JSON is.
const COMPARED_AS_THEY_ARE: [Oid; 9] = [
    pg_sys::BOOLOID,
    pg_sys::INT2OID,
    pg_sys::INT4OID,
    pg_sys::INT8OID,
    pg_sys::OIDOID,
    pg_sys::FLOAT4OID,
    pg_sys::FLOAT8OID,
    pg_sys::NUMERICOID,
    pg_sys::JSONBOID,
];

/// The change for which a trigger is called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Event {
    Insert,
    Update,
    Delete,
}

/// Pushes the changes for which a trigger is called.
pub fn capture(trigger: Trigger) -> Result<()> {
    let trigger = Capture(trigger);
    let event = trigger.event()?;
    let (queue, mut keys) = trigger.arguments()?;
    if keys.is_empty() {
        keys = trigger.primary_key();
    }
    let queue = trigger.queue(&queue)?;
    let key_names = keys.iter().map(|name| text_datum(name)).collect();
    let changes = Changes { queue: &queue, table: act_plainly(|| trigger.table()), keys: key_names };
    if trigger.0.is_for_each_row() {
        changes.push(&[trigger.rows()])
    } else {
        changes.push_all(&trigger.statement_text(event, &keys)?, &trigger)
    }
}

/// The trigger that captures changes.
struct Capture<'a>(Trigger<'a>);

impl Capture<'_> {
    fn event(&self) -> Result<Event> {
        if !self.0.is_after() {
            return Err(Error::bad_capture("must be called AFTER the change"));
        }
        match self.0.event() {
            pg_sys::TRIGGER_EVENT_INSERT => Ok(Event::Insert),
            pg_sys::TRIGGER_EVENT_UPDATE => Ok(Event::Update),
            pg_sys::TRIGGER_EVENT_DELETE => Ok(Event::Delete),
            _ => Err(Error::bad_capture("cannot tell which rows a TRUNCATE removes")),
        }
    }

    /// The name of the queue and those of the key columns.
    fn arguments(&self) -> Result<(Name, Vec<Vec<u8>>)> {
        let mut arguments = self.0.arguments();
        let queue = arguments
            .next()
            .ok_or_else(|| Error::bad_capture("needs the name of a queue as its first argument"))?;
        let keys = arguments.map(|column| self.column(column)).collect::<Result<_>>()?;
        Ok((Name::check(queue.to_bytes().to_vec(), "queue")?, keys))
    }

    fn column(&self, name: &CStr) -> Result<Vec<u8>> {
        // SAFETY: a cached look-up by a C string; dropped columns are not found.
        let number = unsafe { pg_sys::get_attnum(self.0.relation().rd_id, name.as_ptr()) };
        if number <= 0 {
            return Err(Error::no_such_column(&name.to_string_lossy()));
        }
        Ok(name.to_bytes().to_vec())
    }

    /// The names of the primary key's columns; empty if there is none.
    fn primary_key(&self) -> Vec<Vec<u8>> {
        let table = self.0.relation().rd_id;
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

    /// The queue, if the table's owner may push into it: a role that writes rows need not have that right.
    fn queue(&self, name: &Name) -> Result<std::rc::Rc<Queue>> {
        act_as(self.0.owner_of_table(), || create::for_push(name))
    }

    /// The table's name, quoted as SQL needs it.
    fn table(&self) -> Datum {
        // SAFETY: look-ups that give C strings, of a relation that is open.
        unsafe {
            let class = self.0.relation().rd_rel;
            let schema = pg_sys::get_namespace_name((*class).relnamespace);
            let name = pg_sys::quote_qualified_identifier(schema, (*class).relname.data.as_ptr());
            text_datum(CStr::from_ptr(name).to_bytes())
        }
    }

    /// The row before and after the change.
    fn rows(&self) -> Change {
        [self.0.old_row(), self.0.new_row()].map(|row| row.map(TriggerRow::record))
    }

    /// The query over the transition tables: each row before and after the change.
    fn statement_text(&self, event: Event, keys: &[Vec<u8>]) -> Result<CString> {
        let (old, new) = (self.0.definition().tgoldtable, self.0.definition().tgnewtable);
        let (old, new) = (transition_table(old), transition_table(new));
        let text = match event {
            Event::Insert => format!("SELECT NULL AS old, coalesce(t.*) AS new FROM {} AS t", new?),
            Event::Delete => format!("SELECT coalesce(t.*) AS old, NULL AS new FROM {} AS t", old?),
            Event::Update if keys.is_empty() => return Err(Error::capture_needs_key()),
            Event::Update => {
                let key = self.key_of_row(keys);
                let keyed = |table| {
                    format!(include_str!("../../../sql/query/capture_keyed.sql"), table = table, key = key)
                };
                format!(
                    include_str!("../../../sql/query/capture_pairs.sql"),
                    old = keyed(old?),
                    new = keyed(new?)
                )
            }
        };
        // Names are in the server's encoding, each byte as one character until here.
        let bytes: Vec<u8> = text.chars().map(|letter| letter as u8).collect();
        Ok(CString::new(bytes).expect("names have no NUL byte"))
    }

    /// The key columns of a row t, equal when their JSON is. No value raises an error here.
    fn key_of_row(&self, keys: &[Vec<u8>]) -> String {
        let columns = keys.iter().map(|name| {
            let name = CString::new(&name[..]).expect("a name has no NUL byte");
            let column = format!("t.{}", quoted(name.as_ptr()));
            if COMPARED_AS_THEY_ARE.contains(&self.type_of(&name)) {
                column
            } else {
                format!("CASE num_nulls({column}) WHEN 0 THEN concat({column}) END COLLATE \"C\"")
            }
        });
        format!("ROW({})", columns.collect::<Vec<_>>().join(", "))
    }

    /// The type of a column that exists, or the base type of its domain.
    fn type_of(&self, column: &CStr) -> Oid {
        let table = self.0.relation().rd_id;
        // SAFETY: cached look-ups.
        unsafe { pg_sys::getBaseType(pg_sys::get_atttype(table, pg_sys::get_attnum(table, column.as_ptr()))) }
    }

    /// Begins to read the result of a query over the transition tables.
    fn read(&self, text: &CStr) -> pg_sys::Portal {
        // SAFETY: called between SPI_connect and SPI_finish, with the data of the call.
        unsafe {
            let registered = pg_sys::SPI_register_trigger_data(self.0.data());
            assert!(registered >= 0, "SPI_register_trigger_data: {registered}");
            let plan = pg_sys::SPI_prepare(text.as_ptr(), 0, ptr::null_mut());
            assert!(!plan.is_null(), "SPI_prepare: {text:?}");
            pg_sys::SPI_cursor_open(ptr::null(), plan, ptr::null_mut(), ptr::null(), true)
        }
    }
}

/// The columns of a table's primary key, even of a deferrable one.
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

fn transition_table(name: *const c_char) -> Result<String> {
    if name.is_null() {
        return Err(Error::bad_capture("needs transition tables to be called FOR EACH STATEMENT"));
    }
    Ok(quoted(name))
}

/// A name, quoted as SQL needs it, each byte as one character.
fn quoted(name: *const c_char) -> String {
    // SAFETY: the caller gives a C string, and what quotes it gives another.
    let name = unsafe { CStr::from_ptr(pg_sys::quote_identifier(name)) };
    name.to_bytes().iter().map(|&byte| char::from(byte)).collect()
}

/// A row before and after a change.
type Change = [Option<Datum>; 2];

/// The same rows as JSON.
type Docs = [Option<Doc>; 2];

/// The destination of a table's changes.
struct Changes<'a> {
    queue: &'a Queue,
    table: Datum,
    /// The names of the key columns.
    keys: Vec<Datum>,
}

impl Changes<'_> {
    /// Pushes all changes of a statement, a page at a time.
    fn push_all(&self, text: &CStr, trigger: &Capture) -> Result<()> {
        // SAFETY: connect and finish are paired, or closed by the abort if something between
        // them raises.
        unsafe {
            assert!(pg_sys::SPI_connect() >= 0, "SPI_connect");
            let cursor = act_plainly(|| trigger.read(text));
            loop {
                check_for_interrupts!();
                act_plainly(|| pg_sys::SPI_cursor_fetch(cursor, true, PAGE));
                if pg_sys::SPI_processed == 0 {
                    break;
                }
                let table = pg_sys::SPI_tuptable;
                let page = fetched();
                PgMemoryContexts::new("pgqueue capture").switch_to(|_| self.push(&page))?; // raised: all is closed by the abort
                pg_sys::SPI_freetuptable(table);
            }
            pg_sys::SPI_cursor_close(cursor);
            assert!(pg_sys::SPI_finish() >= 0, "SPI_finish");
        }
        Ok(())
    }

    /// Pushes changes, one by one if the JSON of one of them is refused.
    fn push(&self, mut changes: &[Change]) -> Result<()> {
        while !changes.is_empty() {
            check_for_interrupts!();
            let page = act_plainly(|| unless_refused(|| Ok(self.page(changes))));
            let Some((taken, messages)) = page else {
                return changes.iter().try_for_each(|change| self.push_messages(self.odd(change)));
            };
            self.push_messages(messages)?;
            changes = &changes[taken..];
        }
        Ok(())
    }

    fn push_messages(&self, messages: Vec<Datum>) -> Result<()> {
        let messages: Vec<_> =
            messages.into_iter().map(|message| (Content::Payload(message), None)).collect();
        push(self.queue, &messages, &Options::default()).map(|_| ())
    }

    /// The messages of as many changes as a page has room for, and the number of these changes.
    fn page(&self, changes: &[Change]) -> (usize, Vec<Datum>) {
        let (mut docs, mut taken, mut bytes) = (Vec::new(), 0, 0);
        for change in changes {
            let rows = change.map(|row| row.map(json::whole));
            bytes += rows.iter().flatten().map(Doc::len).sum::<usize>();
            docs.extend(self.parts(rows));
            taken += 1;
            if bytes >= PAGE_BYTES {
                break;
            }
        }
        (taken, self.messages(&docs, false))
    }

    /// The messages of a change whose JSON is refused: with texts in it, or without its long values.
    fn odd(&self, change: &Change) -> Vec<Datum> {
        let messages = |convert: &dyn Fn(Datum) -> Doc| {
            act_plainly(|| {
                let docs = change.map(|row| row.map(convert));
                let is_cut = docs.iter().flatten().any(|doc| doc.is_cut);
                let mut messages = self.messages(&self.parts(docs).collect::<Vec<_>>(), is_cut);
                if is_cut {
                    messages.iter_mut().for_each(|message| *message = json::joined(*message, TRUNCATED));
                }
                messages
            })
        };
        let cut = LONGEST_VALUES.map(|longest| move |row| json::by_columns(row, longest));
        unless_refused(|| Ok(messages(&json::by_columns_if_refused)))
            .or_else(|| unless_refused(|| Ok(messages(&cut[0]))))
            .unwrap_or_else(|| messages(&cut[1]))
    }

    /// The parts of a change: one; or if the key has changed, a deleted row and a created one.
    fn parts(&self, docs: Docs) -> impl Iterator<Item = Docs> {
        let [old, new] = docs;
        let is_another = matches!((&old, &new), (Some(old), Some(new)) if !old.has_same(new, &self.keys));
        let parts = if is_another { [Some([old, None]), Some([None, new])] } else { [Some(docs), None] };
        parts.into_iter().flatten()
    }

    fn messages(&self, docs: &[Docs], also_if_same: bool) -> Vec<Datum> {
        let side = |n: usize| {
            let docs = docs.iter().map(move |docs| docs[n].as_ref().map(|doc| doc.json));
            array_with_nulls(docs, pg_sys::JSONBOID)
        };
        let keys = array_with_nulls(self.keys.iter().map(|&name| Some(name)), pg_sys::TEXTOID);
        let args = [self.table, keys, side(0), side(1), also_if_same.into()];
        json::results(&MESSAGES, &args.map(Some))
    }
}

/// The two columns of the rows fetched last.
unsafe fn fetched() -> Vec<Change> {
    // SAFETY: the caller has fetched rows, and keeps them for as long as it looks at them.
    unsafe {
        let (table, rows) = (pg_sys::SPI_tuptable, pg_sys::SPI_processed as usize);
        let value = |row: usize, column| {
            let mut is_null = false;
            let value =
                pg_sys::SPI_getbinval(*(*table).vals.add(row), (*table).tupdesc, column, &mut is_null);
            (!is_null).then_some(value)
        };
        (0..rows).map(|row| [value(row, 1), value(row, 2)]).collect()
    }
}
