//! How many messages queues have, and in which states.

use pgrx::IntoDatum;
use pgrx::pg_sys::{self, Datum};

use crate::engine::queue::counter;
use crate::engine::reserve;
use crate::engine::table::access::Access;
use crate::engine::table::counts::Counts;
use crate::engine::table::name::Name;
use crate::engine::table::queue::{self, Queue};
use crate::engine::table::statement::{Row, Statement};
use crate::error::Result;
use crate::pg::datum::interval;
use crate::pg::session::now;
use crate::value::right::Right;

static COUNT: Statement =
    Statement::new(include_str!("../../../sql/query/count.sql"), &[pg_sys::INT4OID, pg_sys::TEXTOID]);
static STATS: Statement = Statement::new(include_str!("../../../sql/query/stats.sql"), &[pg_sys::TEXTOID]);
static STATES: Statement = Statement::new(include_str!("../../../sql/query/states.sql"), &[pg_sys::INT4OID]);
static LIST: Statement = Statement::new(include_str!("../../../sql/query/list_queues.sql"), &[]);

/// Queues with up to this many messages are scanned to be counted. For longer ones the counters are used.
const FEW: i64 = 200;

/// Columns of the statements for the check of rights, before those of the answer.
const HEAD: usize = 3;

/// The columns of `pgq_queue_stats` that count messages by state (ready to total), and the age of the oldest.
const STATES_COLUMNS: std::ops::Range<usize> = 1..8;
const OLDEST_READY_AGE: usize = 6;

/// How many messages could be reserved. If `exact`, or for one group, they are counted in the table.
pub fn count(queue: &Queue, exact: bool, group_key: Option<Datum>) -> i64 {
    if !exact && group_key.is_none() {
        let Counts { ready, leased, delayed, blocked, .. } = counter::known(queue.id);
        if ready + delayed + blocked > FEW {
            return (ready - leased).max(0);
        }
    }
    let mut count = 0;
    COUNT.run(&[Some(queue.id.into()), group_key], |row| count = row.i64(0));
    count
}

/// Shows the rows of `pgq_queue_stats` of one queue or all, as far as the caller has a right on them.
pub fn read(name: Option<&Name>, exact: bool, mut each: impl FnMut(&[Option<Datum>])) -> Result<()> {
    let mut problem = Ok(());
    counter::read(&STATS, &[name.map(Name::datum)], |row| match stats(row, exact) {
        Ok(Some(stats)) => each(&stats),
        Ok(None) => {}
        Err(error) => problem = Err(error),
    });
    problem
}

/// A queue's row, if the caller has a right on it.
fn stats(row: &Row, exact: bool) -> Result<Option<Vec<Option<Datum>>>> {
    if !Access::from_row(row, 0).allows_caller(Right::Monitor) {
        return Ok(None);
    }
    let mut stats = row.all().split_off(HEAD);
    let states = &mut stats[STATES_COLUMNS];
    let value = |n: usize| states[n].map_or(0, |datum| datum.value() as i64);
    let [ready, leased, dead, total] = [0, 2, 4, 5].map(value);
    let mut oldest = None;
    if exact || total - dead <= FEW {
        STATES.run(&[row.get(0)], |counted| {
            let mut counted = counted.all();
            oldest = counted.pop().flatten().map(|at| at.value() as i64);
            states[..counted.len()].copy_from_slice(&counted);
        });
    } else if ready + leased > 0
        && let Some(queue) = queue::by_id(row.i32(0))?
    {
        oldest = reserve::oldest_ready(&queue);
    }
    let age = oldest.map(|at| (now() - at).max(0));
    states[OLDEST_READY_AGE] = age.map(interval);
    stats.push(age.and_then(|micros| (micros as f64 / 1e6).into_datum()));
    Ok(Some(stats))
}

/// Shows all queues on which the caller has a right.
pub fn list(mut each: impl FnMut(&[Option<Datum>])) {
    LIST.run(&[], |row| {
        if Access::from_row(row, 0).allows_caller(Right::Monitor) {
            each(&row.all()[HEAD..]);
        }
    });
}
