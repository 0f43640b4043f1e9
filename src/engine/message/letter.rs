//! Single dead letters, by their ids.
//!
//! They are locked in the order of their ids, so that two calls never wait for each other in a circle.

use std::collections::BTreeMap;
use std::rc::Rc;

use pgrx::pg_sys;

use crate::engine::queue::counter;
use crate::engine::table::counts::Counts;
use crate::engine::table::message_id;
use crate::engine::table::queue::{self, Queue};
use crate::engine::table::statement::Statement;
use crate::error::Result;
use crate::pg::datum::i64_array;
use crate::pg::memory::{collected, room_for};
use crate::value::right::Right;
use crate::value::timestamp::Timestamp;

static FIND: Statement =
    Statement::by_index(include_str!("../../../sql/query/find_letters.sql"), &[pg_sys::INT8ARRAYOID]);
static LOCK: Statement =
    Statement::by_index(include_str!("../../../sql/query/lock_letters.sql"), &[pg_sys::INT8ARRAYOID]);
static DELETE: Statement =
    Statement::by_index(include_str!("../../../sql/query/delete_letters.sql"), &[pg_sys::INT8ARRAYOID]);
static REDRIVE: Statement = Statement::new(
    concat!(
        include_str!("../../../sql/query/redrive_letters.sql"),
        include_str!("../../../sql/query/redrive.sql"),
        "RETURNING id"
    ),
    &[pg_sys::INT4OID, pg_sys::BOOLOID, pg_sys::INT4OID, pg_sys::INT8ARRAYOID],
);

/// A dead letter that this transaction has locked.
struct Letter {
    id: i64,
    died_at: Timestamp,
}

/// Letters of one queue.
type OfQueue = (Rc<Queue>, Vec<Letter>);

/// Removes dead letters and returns the ids of those that it has removed, rising.
pub fn delete(ids: &[i64]) -> Result<Vec<i64>> {
    let mut gone = Vec::new();
    for (_, letters) in lock(ids)? {
        room_for(&mut gone, letters.len());
        gone.extend(letters.iter().map(|letter| letter.id));
    }
    if !gone.is_empty() {
        DELETE.run(&[Some(i64_array(&gone))], |_| {});
    }
    gone.sort_unstable();
    Ok(gone)
}

/// Makes dead letters messages of their queues again, or of `to`, and returns their ids, old and new, rising by
/// the old.
pub fn redrive(ids: &[i64], to: Option<&Queue>, reset: bool) -> Result<Vec<(i64, i64)>> {
    let queues = lock(ids)?;
    // This right, too, may have changed during the wait.
    if let Some(to) = to.map(|to| queue::by_id(to.id)).transpose()?.flatten() {
        to.check(Right::Push)?;
    }
    if reset {
        message_id::prepare();
    }
    let mut redriven = Vec::new();
    for (from, mut letters) in queues {
        // The statement numbers them in this order.
        letters.sort_unstable_by_key(|letter| (letter.died_at, letter.id));
        let to = to.unwrap_or(&from);
        let old: Vec<i64> = collected(letters.iter().map(|letter| letter.id));
        let new = redrive_locked(&old, to, reset);
        assert_eq!(new.len(), old.len(), "locked letters stay");
        if from.id != to.id {
            counter::add(to.id, Counts { pushed: new.len() as i64, ..Counts::default() });
        }
        room_for(&mut redriven, new.len());
        redriven.extend(if reset { collected(old.into_iter().zip(new)) } else { pairs(&new) });
    }
    redriven.sort_unstable();
    Ok(redriven)
}

fn pairs(ids: &[i64]) -> Vec<(i64, i64)> {
    collected(ids.iter().map(|&id| (id, id)))
}

/// Returns the ids of the messages, rising.
fn redrive_locked(letters: &[i64], to: &Queue, reset: bool) -> Vec<i64> {
    let mut ids = Vec::new();
    let args =
        [Some(to.id.into()), Some(reset.into()), Some(to.max_deliveries().into()), Some(i64_array(letters))];
    REDRIVE.run(&args, |row| {
        room_for(&mut ids, 1);
        ids.push(row.i64(0));
    });
    ids.sort_unstable();
    ids
}

/// Locks the letters that are there and that the caller may manage. Waits for other transactions that hold them.
fn lock(ids: &[i64]) -> Result<Vec<OfQueue>> {
    let mut found: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    FIND.run(&[Some(i64_array(ids))], |row| add(&mut found, row.i32(1), row.i64(0)));
    let mut permitted = Vec::new();
    for (queue, letters) in found {
        if managed(queue)?.is_some() {
            room_for(&mut permitted, letters.len());
            permitted.extend(letters);
        }
    }
    let mut locked: BTreeMap<i32, Vec<Letter>> = BTreeMap::new();
    if !permitted.is_empty() {
        LOCK.run(&[Some(i64_array(&permitted))], |row| {
            add(&mut locked, row.i32(1), Letter { id: row.i64(0), died_at: row.i64(2) });
        });
    }
    // The rights may have changed during the wait.
    let mut queues = Vec::new();
    for (queue, letters) in locked {
        queues.extend(managed(queue)?.map(|queue| (queue, letters)));
    }
    Ok(queues)
}

fn add<T>(letters: &mut BTreeMap<i32, Vec<T>>, queue: i32, letter: T) {
    let letters = letters.entry(queue).or_default();
    room_for(letters, 1);
    letters.push(letter);
}

/// The queue of a letter, if the caller may manage it: an error if the caller sees its letters and may not. For
/// other roles the letter does not exist: an error would tell them that it does.
fn managed(queue: i32) -> Result<Option<Rc<Queue>>> {
    let Some(queue) = queue::by_id(queue)? else { return Ok(None) };
    if queue.allows(Right::Consume) {
        queue.check(Right::Manage)?;
    }
    Ok(Some(queue).filter(|queue| queue.allows(Right::Manage)))
}
