//! `pgq_dump_dead`, `pgq_peek_dead`, `pgq_redrive`; `pgq_redrive_dead` and `pgq_delete_dead` for one letter and a batch.

use std::rc::Rc;

use crate::api::call::{Answer, Call};
use crate::engine::message::{dead, letter};
use crate::engine::table::queue::{self, Queue};
use crate::error::{Error, Result};
use crate::pg::session::check_writable;
use crate::value::reason::Reason;
use crate::value::right::Right;

crate::export_to_sql!(
    pgq_dump_dead,
    pgq_peek_dead,
    pgq_redrive,
    pgq_redrive_dead,
    pgq_redrive_dead_batch,
    pgq_delete_dead,
    pgq_delete_dead_batch,
);

fn pgq_dump_dead(call: &Call) -> Answer {
    let max = call.max(1, "max")? as i64;
    let queue = queue_with_dead_letters(call, Right::Manage)?;
    check_writable("pgq_dump_dead")?;
    let mut rows = call.rows()?;
    dead::dump(&queue, max, |row| rows.push(&row.all()));
    rows.done()
}

fn pgq_peek_dead(call: &Call) -> Answer {
    let max = call.max(1, "max")? as i64;
    let queue = queue_with_dead_letters(call, Right::Consume)?;
    let mut rows = call.rows()?;
    dead::peek(&queue, max, |row| rows.push(&row.all()));
    rows.done()
}

fn queue_with_dead_letters(call: &Call, right: Right) -> Result<Rc<Queue>> {
    let name = call.name(0, "queue")?;
    let queue = queue::existing(&name, right)?;
    if queue.keeps_dead_letters() { Ok(queue) } else { Err(Error::dead_letters_off(&name.to_string())) }
}

fn pgq_redrive(call: &Call) -> Answer {
    let from = queue::existing(&call.name(0, "queue")?, Right::Manage)?;
    let max = match call.optional::<i64>(1, "max")? {
        Some(_) => Some(call.max(1, "max")? as i64),
        None => None,
    };
    let to = target(call, 2)?.unwrap_or_else(|| from.clone());
    let reason = call.optional::<String>(3, "reason")?;
    if let Some(reason) = reason.as_deref().filter(|reason| !Reason::NAMES.contains(reason)) {
        return Err(Error::unknown_word("reason", reason, &Reason::NAMES));
    }
    let reset = call.required(4, "reset")?;
    check_writable("pgq_redrive")?;
    Ok(Some(dead::redrive(&from, &to, max, reason.as_deref(), reset).into()))
}

/// Reads the queue that letters go to, if it is not their own.
fn target(call: &Call, n: usize) -> Result<Option<Rc<Queue>>> {
    let name = call.optional_name(n, "to_queue")?;
    name.map(|name| queue::existing(&name, Right::Push)).transpose()
}

fn pgq_redrive_dead(call: &Call) -> Answer {
    let id = call.required(0, "id")?;
    let redriven = redrive_letters(call, "pgq_redrive_dead", &[id])?;
    Ok(redriven.first().map(|&(_, new_id)| new_id.into()))
}

fn pgq_redrive_dead_batch(call: &Call) -> Answer {
    let ids: Vec<i64> = call.required(0, "ids")?;
    let mut rows = call.rows()?;
    for (id, new_id) in redrive_letters(call, "pgq_redrive_dead_batch", &ids)? {
        rows.push(&[Some(id.into()), Some(new_id.into())]);
    }
    rows.done()
}

fn redrive_letters(call: &Call, function: &str, ids: &[i64]) -> Result<Vec<(i64, i64)>> {
    let to = target(call, 1)?;
    let reset = call.required(2, "reset")?;
    check_writable(function)?;
    letter::redrive(ids, to.as_deref(), reset)
}

fn pgq_delete_dead(call: &Call) -> Answer {
    let id = call.required(0, "id")?;
    check_writable("pgq_delete_dead")?;
    Ok(Some((!letter::delete(&[id])?.is_empty()).into()))
}

fn pgq_delete_dead_batch(call: &Call) -> Answer {
    let ids: Vec<i64> = call.required(0, "ids")?;
    check_writable("pgq_delete_dead_batch")?;
    let mut rows = call.rows()?;
    for id in letter::delete(&ids)? {
        rows.push(&[Some(id.into())]);
    }
    rows.done()
}
