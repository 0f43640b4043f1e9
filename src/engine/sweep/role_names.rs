//! Role names: the tables keep roles by number and by name, and the names follow the roles.
//!
//! A role that is renamed or dropped is announced to every session, and the worker goes through the queues,
//! their grants and the schedules. A transaction that was open at that moment may commit the old name later:
//! when it has ended, the worker goes through them again.

use std::cell::RefCell;
use std::collections::HashSet;
use std::time::Instant;

use pgrx::pg_sys;

use crate::engine::sweep::report::Report;
use crate::engine::sweep::tour;
use crate::engine::table::statement::Statement;
use crate::pg::datum::{i32_array, text_array, text_datum};
use crate::pg::role;
use crate::pg::session::has_one_snapshot;
use crate::pg::timeout::is_worker;
use crate::pg::turn::{Parts, TURN};

static NEXT_QUEUES: Statement =
    Statement::new(include_str!("../../../sql/query/next_queues.sql"), &[pg_sys::INT4OID, pg_sys::INT8OID]);
static NEXT_SCHEDULES: Statement = Statement::new(
    include_str!("../../../sql/query/next_schedules.sql"),
    &[pg_sys::TEXTOID, pg_sys::INT8OID],
);
static QUEUES: Statement = Statement::new(
    include_str!("../../../sql/query/follow_queue_roles.sql"),
    &[pg_sys::INT4ARRAYOID, pg_sys::INT8OID],
);
static SCHEDULES: Statement =
    Statement::new(include_str!("../../../sql/query/follow_schedule_roles.sql"), &[pg_sys::TEXTARRAYOID]);
static WRITERS: Statement = Statement::new(include_str!("../../../sql/query/role_writers.sql"), &[]);

/// How many queues or schedules are read at a time.
const PAGE: i64 = 1_000;

/// How many grants a part corrects at most, however few queues it has.
const GRANTS: usize = 100;

/// The last row that was looked at.
enum Place {
    Queue(i32),
    Schedule(Vec<u8>),
    End,
}

/// How far a session has followed the roles.
#[derive(Default)]
struct Followed {
    /// The number of changes of roles that the names are to follow; none before the first pass.
    changes: Option<u64>,
    /// How far the pass has come; none: it is over.
    pass: Option<Place>,
    /// The pass has left rows: another transaction had locked them, or they took too long.
    left: bool,
    /// Those of the transactions that were open at the last change that have not ended yet.
    writers: HashSet<Vec<u8>>,
}

thread_local! {
    static FOLLOWED: RefCell<Followed> = RefCell::default();
    static PARTS: Parts = const { Parts::of(PAGE) };
}

/// Corrects the names of roles in the tables, and removes what belonged to dropped roles: in the worker for a
/// turn, the next time from there on. By hand all, each time: the caller's transaction may be rolled back. One
/// that sees the roles of an earlier moment corrects nothing.
pub fn follow(report: &mut Report) {
    if has_one_snapshot() {
        return;
    }
    // An error leaves nothing here, and the next call begins anew.
    let mut followed = FOLLOWED.take();
    followed.begin_if_needed();
    let begun = Instant::now();
    while let Some(place) = followed.pass.take() {
        pgrx::check_for_interrupts!();
        let next = match place {
            Place::Queue(last) => followed.correct_queues(last),
            Place::Schedule(last) => followed.correct_schedules(&last),
            Place::End => break,
        };
        followed.pass = Some(next);
        if is_worker() && begun.elapsed() >= TURN {
            break;
        }
    }
    report.left_work |= followed.pass.is_some();
    if is_worker() {
        FOLLOWED.set(followed);
    }
}

impl Followed {
    fn begin_if_needed(&mut self) {
        if self.pass.is_some() {
            return;
        }
        let (changes, some_ended) = (role::times_changed(), self.some_writer_has_ended());
        if self.changes != Some(changes) {
            (self.changes, self.writers) = (Some(changes), writers());
        } else if !(some_ended || self.left) {
            return;
        }
        (self.pass, self.left) = (Some(Place::Queue(0)), false);
    }

    fn some_writer_has_ended(&mut self) -> bool {
        if self.writers.is_empty() {
            return false;
        }
        let (open, before) = (writers(), self.writers.len());
        self.writers.retain(|writer| open.contains(writer));
        self.writers.len() < before
    }

    fn correct_queues(&mut self, behind: i32) -> Place {
        let ids = tour::next(&NEXT_QUEUES, behind, PAGE);
        if ids.is_empty() {
            return Place::Schedule(Vec::new());
        }
        // Their grants are corrected as long as there are more.
        self.correct(&ids, correct_queues).map_or(Place::Queue(behind), Place::Queue)
    }

    fn correct_schedules(&mut self, behind: &[u8]) -> Place {
        let mut names = Vec::new();
        NEXT_SCHEDULES.run(&[Some(text_datum(behind)), Some(PAGE.into())], |row| names.extend(row.text(0)));
        if names.is_empty() {
            return Place::End;
        }
        let last = self.correct(&names, |names| (correct_schedules(names), true));
        Place::Schedule(last.unwrap_or_else(|| behind.to_vec()))
    }

    /// Corrects a part of some rows. `work` returns how many rows it has left, and whether it is done with
    /// the others. Returns the last of the part; none if there is more to do. A row that alone takes longer
    /// than a turn is left.
    fn correct<T: Clone>(&mut self, rows: &[T], work: impl Fn(&[T]) -> (i64, bool)) -> Option<T> {
        let part = |size: i64| (size as usize, work(&rows[..size as usize]));
        match PARTS.with(|parts| parts.work(rows.len() as i64, part)) {
            Ok((size, (left, is_done))) => {
                self.left |= left > 0;
                is_done.then(|| rows[size - 1].clone())
            }
            Err(took_long) => {
                self.left |= took_long.is_smallest();
                took_long.is_smallest().then(|| rows[0].clone())
            }
        }
    }
}

/// Returns how many rows were left, and whether no grants remain but those.
fn correct_queues(ids: &[i32]) -> (i64, bool) {
    let most = ids.len().max(GRANTS) as i64;
    let (mut corrected, mut left) = (0, 0);
    QUEUES
        .run(&[Some(i32_array(ids)), Some(most.into())], |row| (corrected, left) = (row.i64(0), row.i64(1)));
    (left, corrected == 0 || corrected + left < most)
}

/// Returns how many schedules were left.
fn correct_schedules(names: &[Vec<u8>]) -> i64 {
    let mut left = 0;
    SCHEDULES.run(&[Some(text_array(names.iter().map(Vec::as_slice)))], |row| left = row.i64(0));
    left
}

/// The transactions that may have written names of roles.
fn writers() -> HashSet<Vec<u8>> {
    let mut writers = HashSet::new();
    WRITERS.run(&[], |row| writers.extend(row.text(0)));
    writers
}
