//! `pgq_dump_dead`, `pgq_peek_dead`, `pgq_redrive`.

use std::rc::Rc;

use crate::api::call::{Answer, Call};
use crate::engine::message::dead;
use crate::engine::table::queue::{self, Queue};
use crate::error::{Error, Result};
use crate::pg::session::check_writable;
use crate::value::reason::Reason;
use crate::value::right::Right;

crate::export_to_sql!(pgq_dump_dead, pgq_peek_dead, pgq_redrive);

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
    let to = match call.optional::<Vec<u8>>(2, "to_queue")? {
        Some(_) => queue::existing(&call.name(2, "to_queue")?, Right::Push)?,
        None => from.clone(),
    };
    let reason = call.optional::<String>(3, "reason")?;
    if let Some(reason) = reason.as_deref().filter(|reason| !Reason::NAMES.contains(reason)) {
        return Err(Error::unknown_word("reason", reason, &Reason::NAMES));
    }
    let reset = call.required(4, "reset")?;
    check_writable("pgq_redrive")?;
    Ok(Some(dead::redrive(&from, &to, max, reason.as_deref(), reset).into()))
}
