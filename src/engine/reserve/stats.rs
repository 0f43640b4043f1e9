//! How many messages queues have, and in which states.

use std::collections::HashMap;

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
use crate::pg::datum::{i32_array, interval};
use crate::pg::session::now;
use crate::value::right::Right;
use crate::value::timestamp::Timestamp;

static COUNT: Statement =
    Statement::by_index(include_str!("../../../sql/query/count.sql"), &[pg_sys::INT4OID]);
static COUNT_GROUP: Statement = Statement::by_index(
    include_str!("../../../sql/query/count_group.sql"),
    &[pg_sys::INT4OID, pg_sys::TEXTOID],
);
static MONITORED: Statement = Statement::new(include_str!("../../../sql/query/monitored_queues.sql"), &[]);
static STATES: Statement = Statement::by_index(
    include_str!("../../../sql/query/states.sql"),
    &[pg_sys::INT4ARRAYOID, pg_sys::INT8OID],
);
static LIST: Statement = Statement::new(include_str!("../../../sql/query/list_queues.sql"), &[]);

/// Queues with up to this many messages are scanned to be counted. For longer ones the counters are used.
const FEW: i64 = 200;

/// Columns of the statements for the check of rights, before those of the answer.
const HEAD: usize = 3;

/// How many messages could be reserved. If `exact`, or for one group, they are counted in the table.
pub fn count(queue: &Queue, exact: bool, group_key: Option<Datum>) -> i64 {
    let mut count = 0;
    if group_key.is_some() {
        COUNT_GROUP.run(&[Some(queue.id.into()), group_key], |row| count = row.i64(0));
        return count;
    }
    if !exact {
        let Counts { ready, leased, delayed, blocked, .. } = counter::known(queue.id);
        if ready + delayed + blocked > FEW {
            return (ready - leased).max(0);
        }
    }
    COUNT.run(&[Some(queue.id.into())], |row| count = row.i64(0));
    count
}

/// Numbers of messages by state.
#[derive(Clone, Copy, Default)]
struct States {
    ready: i64,
    delayed: i64,
    leased: i64,
    blocked: i64,
    dead: i64,
    /// In every state, dead letters included.
    total: i64,
    oldest_ready: Option<Timestamp>,
}

impl States {
    /// Returns what the counters say.
    fn of_counters(counts: &Counts) -> Self {
        let &Counts { ready, leased, delayed, blocked, dead, .. } = counts;
        let total = counts.length() + dead;
        Self { ready: (ready - leased).max(0), delayed, leased, blocked, dead, total, oldest_ready: None }
    }

    /// Scans the messages of queues. Unless `exact`, the counters say how many dead letters there are if there
    /// are many.
    fn of_tables(queues: &[i32], exact: bool, known: &HashMap<i32, Counts>) -> HashMap<i32, Self> {
        let mut states = HashMap::new();
        let most = (!exact).then_some((FEW + 1).into());
        STATES.run(&[Some(i32_array(queues)), most], |row| {
            let queue = row.i32(0);
            let [ready, delayed, leased, blocked] = std::array::from_fn(|n| row.i64(n + 1));
            let counted = || known.get(&queue).map_or(0, |counts| counts.dead);
            let letters = row.i64(5);
            let dead = if exact || letters <= FEW { letters } else { counted() };
            let oldest_ready = row.get(7).map(|at| at.value() as Timestamp);
            let total = row.i64(6) + dead;
            states.insert(queue, Self { ready, delayed, leased, blocked, dead, total, oldest_ready });
        });
        states
    }

    /// Returns the row of `pgq_queue_stats`.
    fn row(&self, name: &Name, counts: &Counts) -> Vec<Option<Datum>> {
        let Self { ready, delayed, leased, blocked, dead, total, oldest_ready } = *self;
        let age = oldest_ready.map(|at| (now() - at).max(0));
        let mut row = vec![Some(name.datum())];
        row.extend([ready, delayed, leased, blocked, dead, total].map(|count| Some(count.into())));
        row.push(age.map(interval));
        let &Counts { pushed, delivered, deleted, retried, died, expired, .. } = counts;
        let events = [pushed, delivered, deleted, retried, died, expired];
        row.extend(events.map(|count| Some(count.into())));
        row.push(age.and_then(|micros| (micros as f64 / 1e6).into_datum()));
        row
    }
}

/// Shows the rows of `pgq_queue_stats` of one queue or all, as far as the caller has a right on them.
pub fn read(name: Option<&Name>, exact: bool, mut each: impl FnMut(&[Option<Datum>])) -> Result<()> {
    let queues = monitored(name)?;
    let ids: Vec<i32> = queues.iter().map(|(id, _)| *id).collect();
    let known = match ids[..] {
        [id] => HashMap::from([(id, counter::known(id))]),
        _ => counter::known_of(&ids),
    };
    let is_scanned = |id: &i32| exact || known.get(id).is_none_or(|counts| counts.length() <= FEW);
    let few: Vec<i32> = ids.into_iter().filter(is_scanned).collect();
    let scanned = States::of_tables(&few, exact, &known);
    for (id, name) in &queues {
        let counts = known.get(id).copied().unwrap_or_default();
        let mut states = scanned.get(id).copied().unwrap_or_else(|| States::of_counters(&counts));
        if !scanned.contains_key(id)
            && states.ready + states.leased > 0
            && let Some(queue) = queue::by_id(*id)?
        {
            states.oldest_ready = reserve::oldest_ready(&queue);
        }
        each(&states.row(name, &counts));
    }
    Ok(())
}

/// Returns the queue with this name, or all, on which the caller has the right.
fn monitored(name: Option<&Name>) -> Result<Vec<(i32, Name)>> {
    let Some(name) = name else { return Ok(all_monitored()) };
    let queue = queue::named(name)?.filter(|queue| queue.allows(Right::Monitor));
    Ok(queue.iter().map(|queue| (queue.id, queue.name.clone())).collect())
}

fn all_monitored() -> Vec<(i32, Name)> {
    let mut queues = Vec::new();
    each_allowed(&MONITORED, |row| {
        queues.push((row.i32(0), Name::known(row.text(HEAD).unwrap_or_default())));
    });
    queues
}

/// Shows all queues on which the caller has a right.
pub fn list(mut each: impl FnMut(&[Option<Datum>])) {
    each_allowed(&LIST, |row| each(&row.all()[HEAD..]));
}

/// Runs a statement whose first columns are those of `Access`, and shows the rows of queues on which the
/// caller has the right.
fn each_allowed(statement: &'static Statement, mut each: impl FnMut(&Row)) {
    statement.run(&[], |row| {
        if Access::from_row(row, 0).allows_caller(Right::Monitor) {
            each(row);
        }
    });
}
