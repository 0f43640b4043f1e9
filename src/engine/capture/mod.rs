//! Change capture: a message for each row that a statement has created, updated or deleted.
//!
//! A row becomes JSON (`json`) with the rights of the role that changed it, as in a trigger of the table:
//! types may bring their own casts to JSON. The message around it is written directly in the format of jsonb
//! (`jsonb`). A statement trigger reads its rows a page at a time, however many there are.
//!
//! Invariant: each change that the table takes is pushed. A value that no jsonb can hold is pushed as its
//! text, or is left out.

mod json;
pub mod jsonb;
mod target;

use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::rc::Rc;

use pgrx::pg_sys::{self, Datum, Oid};
use pgrx::{PgMemoryContexts, check_for_interrupts};

use crate::engine::capture::json::{Doc, Row, Shape};
use crate::engine::capture::jsonb::{Object, Value};
use crate::engine::capture::target::Target;
use crate::engine::push::message::{Content, Options};
use crate::engine::push::push;
use crate::engine::queue::create;
use crate::engine::table::content;
use crate::engine::table::name::Name;
use crate::engine::table::queue::{self, Queue};
use crate::error::{Error, Result};
use crate::pg::datum::bytes_datum;
use crate::pg::role::{act_as, act_plainly};
use crate::pg::subtransaction::unless_refused;
use crate::pg::trigger::{Trigger, TriggerRow};

/// How many changes are read at a time.
const PAGE: i64 = 500;

/// How many bytes of JSON are pushed at a time, unless one change has more.
const PAGE_BYTES: usize = 8 << 20;

/// The longest values of a message: all that a jsonb can hold, or if the message is too large, only those
/// that fit with all the columns that a table can have.
const LONGEST_VALUES: [usize; 3] = [256 << 20, 64 << 10, 1 << 10];

/// The fields of a message, in the order of an object. The last is in messages that lack values.
const FIELDS: [&[u8]; 6] = [b"op", b"key", b"new", b"old", b"table", b"truncated"];

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
    let target = target::of(trigger.0.definition().tgoid, trigger.0.table(), || trigger.target())?;
    let queue = trigger.queue(&target.queue)?;
    let changes = Changes { queue: &queue, target: &target };
    if trigger.0.is_for_each_row() {
        changes.push(&[trigger.rows()])
    } else {
        changes.push_all(&trigger.statement_text(event, &target.keys)?, &trigger)
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

    fn target(&self) -> Result<Target> {
        let (queue, mut keys) = self.arguments()?;
        if keys.is_empty() {
            keys = self.primary_key();
        }
        let relation = self.0.relation();
        // SAFETY: the descriptor of a relation that is open.
        let shape = unsafe { Shape::of(relation.rd_att) };
        Ok(Target::new(relation.rd_id, queue, act_plainly(|| self.table()), shape, keys))
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
    fn queue(&self, name: &Name) -> Result<Rc<Queue>> {
        let owner = self.0.owner_of_table();
        match queue::named(name)?.filter(|queue| queue.is_open_to(owner)) {
            Some(queue) => Ok(queue),
            None => act_as(owner, || create::for_push(name)),
        }
    }

    /// The table's name, quoted as SQL needs it.
    fn table(&self) -> Vec<u8> {
        // SAFETY: look-ups that give C strings, of a relation that is open.
        unsafe {
            let class = self.0.relation().rd_rel;
            let schema = pg_sys::get_namespace_name((*class).relnamespace);
            let name = pg_sys::quote_qualified_identifier(schema, (*class).relname.data.as_ptr());
            CStr::from_ptr(name).to_bytes().to_vec()
        }
    }

    /// The row before and after the change.
    fn rows(&self) -> Change {
        [self.0.old_row(), self.0.new_row()].map(|row| row.map(TriggerRow::values))
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
type Change = [Option<Row>; 2];

/// The same rows as JSON.
type Docs = [Option<Doc>; 2];

/// The destination of a table's changes.
struct Changes<'a> {
    queue: &'a Queue,
    target: &'a Target,
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
                PgMemoryContexts::new("pgqueue capture").switch_to(|_| self.push(&fetched()))?; // raised: all is closed by the abort
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
            let page = if self.target.shape.is_plain() {
                self.page(changes)
            } else {
                act_plainly(|| unless_refused(|| Ok(self.page(changes)))).flatten()
            };
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

    /// The messages of as many changes as a page has room for, and the number of these changes. None if one is
    /// too long.
    fn page(&self, changes: &[Change]) -> Option<(usize, Vec<Datum>)> {
        let (mut messages, mut taken, mut bytes) = (Vec::new(), 0, 0);
        for change in changes {
            let [old, new] =
                change.each_ref().map(|row| row.as_ref().map(|row| self.target.shape.whole(row)));
            let docs = [transposed(old)?, transposed(new)?];
            bytes += docs.iter().flatten().map(|doc| doc.bytes.len()).sum::<usize>();
            messages.extend(self.messages(&docs)?);
            taken += 1;
            if bytes >= PAGE_BYTES {
                break;
            }
        }
        Some((taken, messages))
    }

    /// The messages of a change whose JSON is refused: with texts in it, or without its long values.
    fn odd(&self, change: &Change) -> Vec<Datum> {
        let messages = |longest: usize| {
            let convert =
                |row: &Option<Row>| row.as_ref().map(|row| self.target.shape.by_columns(row, longest));
            let [old, new] = change.each_ref().map(convert);
            self.messages(&[transposed(old)?, transposed(new)?])
        };
        let [first, second, last] = LONGEST_VALUES;
        let try_with = |longest| act_plainly(|| unless_refused(|| Ok(messages(longest)))).flatten();
        let tried = try_with(first).or_else(|| try_with(second));
        tried.unwrap_or_else(|| act_plainly(|| messages(last)).expect("short values fit into a message"))
    }

    /// The messages of a change: one; none if nothing has changed that can be seen; or if the key has changed,
    /// one of a deleted row and one of a created one. None if one is too long.
    fn messages(&self, docs: &Docs) -> Option<Vec<Datum>> {
        let [old, new] = docs.each_ref().map(Option::as_ref);
        let is_cut = docs.iter().flatten().any(|doc| doc.is_cut);
        let parts: &[[Option<&Doc>; 2]] = match (old, new) {
            (Some(before), Some(after)) if !self.has_same_key(before, after)? => &[[old, None], [None, new]],
            (Some(before), Some(after)) if before.bytes == after.bytes && !is_cut => &[],
            _ => &[[old, new]],
        };
        parts.iter().map(|&[old, new]| self.message(old, new, is_cut)).collect()
    }

    fn message(&self, old: Option<&Doc>, new: Option<&Doc>, is_cut: bool) -> Option<Datum> {
        let op: &[u8] = match (old, new) {
            (None, _) => b"create",
            (_, None) => b"delete",
            _ => b"update",
        };
        let key = new.or(old).map(|doc| self.key(doc)).filter(|_| !self.target.key_columns.is_empty());
        let key = transposed(key)?;
        let mut message = Object::begin(&FIELDS[..if is_cut { 6 } else { 5 }]);
        message.add(Value::text(op));
        message.add(key.as_deref().map_or(Value::NULL, Value::of_jsonb));
        message.add(new.map_or(Value::NULL, Doc::container));
        message.add(old.map_or(Value::NULL, Doc::container));
        message.add(Value::text(&self.target.table));
        if is_cut {
            message.add(Value::bool(true));
        }
        let message = message.end().map(|bytes| bytes_datum(&bytes));
        message.filter(|&message| content::check(Some(message), None).is_ok())
    }

    /// The key of a row as an object.
    fn key(&self, doc: &Doc) -> Option<Vec<u8>> {
        let columns = &self.target.key_columns;
        let names: Vec<_> = columns.iter().map(|&column| self.target.shape.name_of(column)).collect();
        let mut key = Object::begin(&names);
        for &column in columns {
            key.add(doc.value(column));
        }
        key.end()
    }

    /// Whether two rows have the same key. Numbers are the same whatever their scale. None if a key is too long.
    fn has_same_key(&self, one: &Doc, other: &Doc) -> Option<bool> {
        if self.target.key_columns.iter().all(|&column| one.value(column) == other.value(column)) {
            return Some(true);
        }
        let args = [self.key(one)?, self.key(other)?].map(|key| Some(bytes_datum(&key)));
        // SAFETY: both are jsonb.
        unsafe { pgrx::direct_function_call(pg_sys::jsonb_eq, &args) }
    }
}

/// None if a part of it is missing.
fn transposed<T>(part: Option<Option<T>>) -> Option<Option<T>> {
    part.map_or(Some(None), |part| part.map(Some))
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
            (!is_null).then(|| json::values_of(value))
        };
        (0..rows).map(|row| [value(row, 1), value(row, 2)]).collect()
    }
}
