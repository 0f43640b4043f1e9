//! `pgq_reserve`, `pgq_pop`, `pgq_next`, `pgq_peek`, `pgq_get`.

use pgrx::pg_sys::Datum;

use crate::api::call::{Answer, Call, Rows};
use crate::api::settle::{Asked, receipts};
use crate::engine::message::archive;
use crate::engine::message::settle::Verdict;
use crate::engine::reserve::request::{Request, Take, Taken};
use crate::engine::reserve::{look, peek, reserve};
use crate::engine::table::message::{Column, Receipt};
use crate::engine::table::queue::{self, Queue};
use crate::error::{Error, Result};
use crate::pg::session::check_writable;
use crate::value::right::Right;
use crate::worker::start;

crate::export_to_sql!(pgq_reserve, pgq_pop, pgq_next, pgq_peek, pgq_get);

/// States in which `pgq_peek` shows messages.
const STATES: [&str; 5] = ["ready", "delayed", "leased", "blocked", ARCHIVED];
const ARCHIVED: &str = "archived";

fn pgq_reserve(call: &Call) -> Answer {
    let take = Take::Lease(call.span(1, "lease")?);
    hand_out(call, "pgq_reserve", take, request(call, 2)?, &[])
}

fn pgq_pop(call: &Call) -> Answer {
    hand_out(call, "pgq_pop", Take::Remove, request(call, 1)?, &[])
}

fn pgq_next(call: &Call) -> Answer {
    let take = Take::Lease(call.span(3, "lease")?);
    let request = request(call, 4)?;
    // The first call of a loop has no finished messages yet.
    let receipts = if call.is_null(1) { Vec::new() } else { receipts(call, 1, "done", 2)? };
    let done = Asked { receipts, strict: call.required(8, "strict")? };
    let shows_refused: bool = call.required(9, "show_refused")?;
    call.name(0, "queue")?;
    check_writable("pgq_next")?;
    let settled = done.settle(Verdict::Delete)?;
    let refused = if shows_refused { done.refused(&settled) } else { Vec::new() };
    hand_out(call, "pgq_next", take, request, &refused)
}

/// Reads the arguments max, filter, group_key and lifo, which follow each other from `first` on.
fn request(call: &Call, first: usize) -> Result<Request<'_>> {
    Ok(Request {
        max: call.max(first, "max")?,
        filter: call.jsonb(first + 1),
        group_key: call.optional_name(first + 2, "group_key")?,
        lifo: call.optional(first + 3, "lifo")?,
    })
}

fn hand_out(call: &Call, function: &str, take: Take, request: Request, refused: &[Receipt]) -> Answer {
    let name = call.name(0, "queue")?;
    check_writable(function)?;
    let mut rows = call.rows()?;
    refused.iter().for_each(|&receipt| push_refused(&mut rows, receipt));
    if let Some(queue) = queue::find(&name, Right::Consume)? {
        start::ensure_running();
        reserve(&queue, &request, take, |taken| push_row(&mut rows, &queue, &taken));
    }
    rows.done()
}

/// Adds a refused receipt in the place of a message: its queue and lease are null.
fn push_refused(rows: &mut Rows, (id, delivery): Receipt) {
    let mut row = [None; 10];
    row[0] = Some(id.into());
    row[7] = delivery.map(Datum::from);
    rows.push(&row);
}

fn push_row(rows: &mut Rows, queue: &Queue, taken: &Taken) {
    let row = taken.row;
    rows.push(&[
        row.get(Column::Id),
        Some(queue.name.datum()),
        row.whole(Column::Payload),
        row.whole(Column::Body),
        row.whole(Column::Headers),
        Some(i32::from(row.i16(Column::Priority)).into()),
        row.whole(Column::GroupKey),
        Some(i64::from(taken.delivery).into()),
        row.get(Column::EnqueuedAt),
        taken.leased_until.map(Datum::from),
    ]);
}

fn pgq_peek(call: &Call) -> Answer {
    let name = call.name(0, "queue")?;
    let max = call.max(1, "max")?;
    let state: String = call.required(2, "state")?;
    if !STATES.contains(&state.as_str()) {
        return Err(Error::unknown_word("state", &state, &STATES));
    }
    let mut rows = call.rows()?;
    if let Some(queue) = queue::find(&name, Right::Consume)? {
        if state == ARCHIVED {
            archive::peek(&queue, max as i64, |row| rows.push(&row.all()));
        } else {
            peek(&queue, max, &state, |taken| push_row(&mut rows, &queue, &taken));
        }
    }
    rows.done()
}

fn peek(queue: &Queue, max: usize, state: &str, each: impl FnMut(Taken)) {
    match state {
        "leased" => peek::leased(queue, max, each),
        "delayed" => peek::delayed(queue, max, each),
        "blocked" => peek::blocked(queue, max, each),
        _ => look(queue, max, each),
    }
}

fn pgq_get(call: &Call) -> Answer {
    let id: i64 = call.required(0, "id")?;
    let mut rows = call.rows()?;
    peek::one(id, |row| rows.push(row))?;
    rows.done()
}
