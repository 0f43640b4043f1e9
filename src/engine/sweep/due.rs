//! Promotion: due messages move from the delayed to the ready lane.
//!
//! A queue whose due messages take longer than a turn to pass, because other transactions have locked very
//! many or very many are dead, rests for a while. Its consumers find due messages without the worker.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use crate::engine::reserve::due_scan;
use crate::engine::sweep::report::{Report, page};
use crate::engine::table::catalog;
use crate::engine::table::heap::Table;
use crate::engine::table::message_index::next_delayed_queue;
use crate::engine::table::statement::Statement;
use crate::pg::datum::i32_array;
use crate::pg::rests::Rests;
use crate::pg::session::now;
use crate::pg::timeout::is_worker;
use crate::pg::turn::{Parts, TURN};

static PROMOTE: Statement = Statement::new(
    include_str!("../../../sql/query/sweep_promote.sql"),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INT8OID, pg_sys::INT4ARRAYOID],
);

/// How many queues are looked at at a time.
const QUEUES: usize = 1_000;

/// How long a queue rests that took longer than a turn.
const REST: Duration = Duration::from_secs(20);

thread_local! {
    /// The last queue of the last round; 0 to begin anew.
    static BEHIND: Cell<i32> = const { Cell::new(0) };
    static PARTS: Parts = const { Parts::of(QUEUES as i64) };
    static RESTING: RefCell<Rests<i32>> = RefCell::default();
}

/// Promotes messages of the next queues that have delayed ones. The worker goes on there in its next round.
pub fn promote_next(report: &mut Report) {
    let (begun, mut promoted) = (Instant::now(), 0);
    let mut behind = if is_worker() { BEHIND.get() } else { 0 };
    loop {
        pgrx::check_for_interrupts!();
        let queues = delayed_queues(behind);
        behind = queues.last().copied().filter(|_| queues.len() == QUEUES).unwrap_or(0);
        promoted += promote(&queues, page() - promoted).0;
        if behind == 0 || promoted >= page() || is_worker() && begun.elapsed() >= TURN {
            break;
        }
    }
    if is_worker() {
        BEHIND.set(behind);
    }
    report.left_work |= promoted >= page() || behind != 0;
}

/// Promotes messages of the queues whose hints say that some are due. The hints forget that when it is done.
pub fn promote_known(report: &mut Report) {
    let queues = due_queues();
    let (promoted, is_done) = promote(&queues, page());
    report.left_work |= promoted >= page();
    if is_done {
        queues.iter().filter(|&&queue| !is_resting(queue)).for_each(|&queue| due_scan::forget_due(queue));
    }
}

/// Whether there are queues to promote messages of, as far as their hints know. A lane whose due times no
/// hint knows is left to the rounds.
pub fn a_message_is_due() -> bool {
    !due_queues().is_empty()
}

fn due_queues() -> Vec<i32> {
    let mut queues = due_scan::due_queues();
    queues.retain(|&queue| !is_resting(queue));
    queues.truncate(QUEUES);
    queues
}

/// The next queues after one that have entries in the delayed lane.
fn delayed_queues(mut behind: i32) -> Vec<i32> {
    let table = Table::open(catalog::refresh().message);
    let mut queues = Vec::new();
    while queues.len() < QUEUES
        && let Some(queue) = next_delayed_queue(&table, behind)
    {
        queues.push(queue);
        behind = queue;
    }
    queues
}

/// Promotes up to `most` due messages of some queues, for a turn. Returns how many, and whether no more are due.
fn promote(queues: &[i32], most: i64) -> (i64, bool) {
    let (begun, mut promoted) = (Instant::now(), 0);
    let mut left: Vec<i32> = queues.iter().copied().filter(|&queue| !is_resting(queue)).collect();
    while !left.is_empty() && promoted < most && !(is_worker() && begun.elapsed() >= TURN) {
        let part = |size: i64| {
            let queues = i32_array(&left[..size as usize]);
            let args = [Some(now().into()), Some((most - promoted).into()), Some(queues)];
            (size, PROMOTE.run(&args, |_| {}) as i64)
        };
        match PARTS.with(|parts| parts.work(left.len() as i64, part)) {
            Ok((size, some)) => {
                left.drain(..size as usize);
                promoted += some;
            }
            Err(took_long) if took_long.is_smallest() => rest(left.remove(0)),
            Err(_) => {}
        }
    }
    (promoted, left.is_empty() && promoted < most)
}

fn rest(queue: i32) {
    RESTING.with_borrow_mut(|resting| resting.begin(queue, REST));
}

fn is_resting(queue: i32) -> bool {
    RESTING.with_borrow(|resting| resting.is_resting(queue))
}
