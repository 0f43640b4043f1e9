//! Looking at messages of one state, in the order in which they will come, without scanning many others.

use pgrx::pg_sys::{self, Datum};

use crate::engine::message::group::{self, Group, Turn};
use crate::engine::queue::counter;
use crate::engine::reserve::request::Taken;
use crate::engine::table::heap::Table;
use crate::engine::table::message::{Column, Lane, is_leased};
use crate::engine::table::queue::{self, Queue};
use crate::engine::table::row::TableRow;
use crate::engine::table::scan::{Condition, Scan};
use crate::engine::table::statement::Statement;
use crate::engine::table::{catalog, message_index};
use crate::error::Result;
use crate::hint::address::Address;
use crate::hint::{Direction, START};
use crate::pg::memory::Scratch;
use crate::pg::session::{is_standby, now};
use crate::pg::snapshot::Snapshot;
use crate::value::right::Right;

/// A look passes at most so many messages in other states. More of them are seldom in a row, and a look is
/// not to cost more the longer a queue is.
const MOST_PASSED: usize = 10_000;

/// Shows leased messages. They lie in the ready lane, mostly at its beginning. The scan ends when it has seen
/// as many as are counted. A standby does not know what its primary has counted lately.
pub fn leased(queue: &Queue, max: usize, each: impl FnMut(Taken)) {
    let counted = || usize::try_from(counter::known(queue.id).leased).unwrap_or(0);
    let mut show = Show::new(if is_standby() { max } else { max.min(counted()) }, each);
    let (table, snapshot) = (Table::open_to_read(catalog::refresh().message), Snapshot::take());
    let (now, mut last) = (now(), None);
    while !show.is_full()
        && let Some(priority) = message_index::next_priority(&table, Some(&snapshot), queue.id, last)
    {
        last = Some(priority);
        let at = Address { queue: queue.id, direction: Direction::OldestFirst, priority };
        show.those(at.rows(&table, &snapshot, START), |row| is_leased(row.i64(Column::LeaseUntil), now));
    }
}

/// Shows messages that are not due yet.
pub fn delayed(queue: &Queue, max: usize, each: impl FnMut(Taken)) {
    let (table, snapshot) = (Table::open_to_read(catalog::refresh().message), Snapshot::take());
    let now = now();
    let rows = message_index::delayed(&table, &snapshot, queue.id, now + 1);
    Show::new(max, each).those(rows, |row| !row.has_expired(now));
}

/// Shows messages that wait behind others of their group, group by group.
pub fn blocked(queue: &Queue, max: usize, each: impl FnMut(Taken)) {
    let (table, snapshot) = (Table::open_to_read(catalog::refresh().message), Snapshot::take());
    let is_it = Condition::equals(1, pg_sys::F_INT4EQ, queue.id.into());
    let rows = Scan::begin(&table, catalog::known().message_group, &snapshot, &[is_it], false);
    let now = now();
    let waits = |row: &TableRow| {
        Group::of(row, queue).is_some_and(|group| {
            let is_gone = |other: &TableRow| group::has_outlived(other, now);
            group.turn(&table, row.i64(Column::Id), is_gone) != Turn::Now
        })
    };
    Show::new(max, each).those(rows, |row| match row.lane() {
        Lane::Blocked => true,
        Lane::Delayed => false,
        Lane::Ready => !row.bool(Column::InTurn) && waits(row),
    });
}

/// Shows rows until it has shown enough.
struct Show<F> {
    left: usize,
    passed: usize,
    each: F,
    scratch: Scratch,
}

impl<F: FnMut(Taken)> Show<F> {
    fn new(max: usize, each: F) -> Self {
        Self { left: max, passed: 0, each, scratch: Scratch::default() }
    }

    fn is_full(&self) -> bool {
        self.left == 0 || self.passed > MOST_PASSED
    }

    fn those(&mut self, mut rows: Scan, wanted: impl Fn(&TableRow) -> bool) {
        let now = now();
        while !self.is_full()
            && let Some(row) = rows.next()
        {
            if wanted(&row) {
                let until = row.i64(Column::LeaseUntil);
                let leased_until = is_leased(until, now).then_some(until);
                let taken = Taken { row: &row, delivery: row.i32(Column::Deliveries), leased_until };
                self.scratch.with(|| (self.each)(taken));
                self.left -= 1;
            } else {
                self.passed += 1;
            }
        }
    }
}

/// Shows one message, if the caller may consume it: for another role it does not exist.
pub fn one(id: i64, mut each: impl FnMut(&[Option<Datum>])) -> Result<()> {
    static GET: Statement =
        Statement::by_index(include_str!("../../../sql/query/get.sql"), &[pg_sys::INT8OID]);
    let mut problem = Ok(());
    GET.run(&[Some(id.into())], |row| match queue::by_id(row.i32(0)) {
        Ok(queue) if queue.as_ref().is_some_and(|queue| queue.allows(Right::Consume)) => {
            each(&row.all()[1..])
        }
        Ok(_) => {}
        Err(error) => problem = Err(error),
    });
    problem
}
