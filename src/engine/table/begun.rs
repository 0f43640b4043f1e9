//! Queues that are begun: those whose rows open transactions are adding to `pgqueue.queue`.
//!
//! A push to such a queue does not wait for that transaction. It uses the number that the queue will have, and
//! notes it in `pgqueue.begun_queue`, in its own transaction. Whichever of the two commits, the queue is there:
//! by its row, or by the note, of which the next push or round of the worker makes the row.
//!
//! Invariant: a name has one number until its queue is dropped. Whatever begins a queue decides on the number
//! and writes it under the lock of the name, having seen what other transactions have begun.

use pgrx::pg_sys::{self, Datum, Oid, TransactionId};

use crate::engine::table::access::has_rights_of;
use crate::engine::table::catalog;
use crate::engine::table::heap::Table;
use crate::engine::table::index::Index;
use crate::engine::table::name::Name;
use crate::engine::table::row::TableRow;
use crate::engine::table::scan::{Condition, Scan};
use crate::engine::table::short_lock::{Kind, ShortLock};
use crate::engine::table::statement::{Row, Sees, Statement};
use crate::pg::datum::{Jsonb, text_datum};
use crate::pg::role;
use crate::pg::snapshot::Dirty;
use crate::pg::transaction::wait_for;

static FIND: Statement = Statement::by_index(
    include_str!("../../../sql/query/begun_queue.sql"),
    &[pg_sys::TEXTOID, pg_sys::INT4OID],
);
static IS_DROPPED: Statement =
    Statement::by_index(include_str!("../../../sql/query/is_dropped.sql"), &[pg_sys::INT4OID]);
static NOTE: Statement = Statement::new(
    include_str!("../../../sql/query/note_begun.sql"),
    &[pg_sys::INT4OID, pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::TEXTOID],
);

/// The row of a queue that another open transaction is adding.
struct Added {
    queue: i32,
    owner: Oid,
    /// As a push makes it: without settings, not paused.
    is_plain: bool,
    maker: TransactionId,
}

/// The number that a transaction has noted for a queue of an owner.
struct Noted {
    queue: i32,
    owner: Oid,
    /// None if it is committed, or our own.
    writer: Option<TransactionId>,
}

/// The outcome of a try to add the row of a queue.
enum Turn {
    Taken,
    Added,
    WaitFor(TransactionId),
}

/// Finds a note by the name or the number of its queue, committed or our own. The row has the columns of a queue's,
/// and then the grants that the transaction has set.
pub fn find(key: &[Option<Datum>], each: impl FnMut(&Row)) {
    FIND.run_seeing(Sees::Latest, key, each);
}

/// Notes that this transaction pushes to a queue that another open one is making. False if none is, or if its
/// owner's rights are not those of `role`.
pub fn join(name: &Name, role: Oid, grants: Option<&str>) -> bool {
    let is_open = |row: &Added| row.is_plain && has_rights_of(role, row.owner);
    lock_of(name).hold(|| {
        let Some(row) = added(name).filter(is_open) else { return false };
        let Some(owner) = role::role_name(row.owner) else { return false };
        let grants = grants.map(|grants| text_datum(grants.as_bytes()));
        NOTE.run(&[Some(row.queue.into()), Some(name.datum()), Some(text_datum(&owner)), grants], |_| {});
        true
    })
}

/// Has `add` add the row of a queue, with the number that other transactions use for it already. Waits for
/// those that have begun it for another owner, or are adding its row. False if the name is taken.
pub fn add(name: &Name, owner: Oid, is_taken: impl Fn() -> bool, mut add: impl FnMut(Option<i32>)) -> bool {
    loop {
        let turn = lock_of(name).hold(|| match (added(name), noted(name)) {
            (Some(row), _) => Turn::WaitFor(row.maker),
            (None, Some(Noted { owner: other, writer, .. })) if other != owner => {
                writer.map_or(Turn::Taken, Turn::WaitFor)
            }
            (None, _) if is_taken() => Turn::Taken,
            (None, note) => {
                add(note.map(|note| note.queue));
                Turn::Added
            }
        });
        match turn {
            Turn::Taken => return false,
            Turn::Added => return true,
            Turn::WaitFor(transaction) => wait_for(transaction),
        }
    }
}

/// True if another open transaction is adding the row of a queue.
pub fn is_being_added(name: &Name) -> bool {
    added(name).is_some()
}

fn added(name: &Name) -> Option<Added> {
    let known = catalog::known();
    let rows = begun(known.queue, known.queue_by_name, name, |row, maker| {
        // SAFETY: the column is a jsonb, in the row that the scan shows.
        let settings = row.at(3).map(|settings| unsafe { Jsonb::new(settings) }.text());
        Some(Added {
            queue: number(row, 0) as i32,
            owner: Oid::from(number(row, 6)),
            is_plain: settings.as_deref() == Some("{}") && number(row, 4) & 0xff == 0,
            maker: maker?,
        })
    });
    rows.into_iter().flatten().next()
}

/// A note of a queue that was not dropped since.
fn noted(name: &Name) -> Option<Noted> {
    let known = catalog::known();
    let notes = begun(known.begun_queue, known.begun_queue_by_name, name, |row, writer| Noted {
        queue: number(row, 0) as i32,
        owner: Oid::from(number(row, 3)),
        writer,
    });
    notes.into_iter().find(|note| IS_DROPPED.run(&[Some(note.queue.into())], |_| {}) == 0)
}

/// Reads the rows of a name, those of open transactions too, each with the other one that is writing it.
fn begun<R>(
    table: Oid,
    by_name: Index,
    name: &Name,
    read: impl Fn(&TableRow, Option<TransactionId>) -> R,
) -> Vec<R> {
    let (table, dirty) = (Table::open_to_read(table), Dirty::new());
    let has_name = Condition::equals(1, pg_sys::F_TEXTEQ, name.datum());
    let mut scan = Scan::begin_dirty(&table, by_name, &dirty, &[has_name]);
    let mut rows = Vec::new();
    while let Some(row) = scan.next() {
        rows.push(read(&row, dirty.is_being_made().then(|| dirty.seen().0)));
    }
    rows
}

/// The value of a column of numbers; 0 for none.
fn number(row: &TableRow, column: usize) -> u32 {
    row.at(column).map_or(0, |value| value.value() as u32)
}

fn lock_of(name: &Name) -> ShortLock {
    ShortLock::of_text(Kind::Name, 0, name.bytes())
}
