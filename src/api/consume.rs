//! `pgq_reserve`, `pgq_pop`, `pgq_next`, `pgq_peek`, `pgq_get`.

use pgrx::pg_sys::Datum;

use crate::api::call::{Answer, Call, Rows};
use crate::api::settle::{Asked, read_receipts, receipts};
use crate::engine::message::archive;
use crate::engine::message::settle::Verdict;
use crate::engine::reserve::request::{Request, Take, Taken};
use crate::engine::reserve::{look, peek, reserve};
use crate::engine::table::message::{Column, Receipt};
use crate::engine::table::queue::{self, Queue};
use crate::error::{Error, Result};
use crate::pg::datum::text_datum;
use crate::pg::session::check_writable;
use crate::value::receipt;
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
    let done = Asked { receipts: done(call)?, strict: call.required(8, "strict")? };
    let shows_refused: bool = call.required(9, "show_refused")?;
    call.name(0, "queue")?;
    check_writable("pgq_next")?;
    let settled = done.settle(Verdict::Delete)?;
    let refused = if shows_refused { done.refused(&settled) } else { Vec::new() };
    hand_out(call, "pgq_next", take, request, &refused)
}

/// Reads the receipts of finished messages. The first call of a loop has none yet.
fn done(call: &Call) -> Result<Vec<Receipt>> {
    let has_ids = !call.is_null(1);
    match call.optional(10, "receipts")? {
        Some(_) if has_ids => Err(Error::invalid(
            "receipts",
            "must not be given together with \"done\"",
            "Give one of the two.",
        )),
        Some(texts) => read_receipts("receipts", texts),
        None if has_ids => receipts(call, 1, "done", 2),
        None => Ok(Vec::new()),
    }
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
        let is_leased = matches!(take, Take::Lease(_));
        reserve(&queue, &request, take, |taken| push_row(&mut rows, &queue, &taken, is_leased));
    }
    rows.done()
}

/// Adds a refused receipt in the place of a message: its queue and lease are null.
fn push_refused(rows: &mut Rows, (id, delivery): Receipt) {
    let mut row = [None; 11];
    row[0] = Some(id.into());
    row[7] = delivery.map(Datum::from);
    row[10] = delivery.map(|delivery| receipt_datum(id, delivery));
    rows.push(&row);
}

fn receipt_datum(id: i64, delivery: i64) -> Datum {
    text_datum(receipt::write(id, delivery).as_bytes())
}

/// Adds a message. Only a consumer that has leased it gets its receipt.
fn push_row(rows: &mut Rows, queue: &Queue, taken: &Taken, is_leased: bool) {
    let (row, delivery) = (taken.row, i64::from(taken.delivery));
    rows.push(&[
        row.get(Column::Id),
        Some(queue.name.datum()),
        row.whole(Column::Payload),
        row.whole(Column::Body),
        row.whole(Column::Headers),
        Some(i64::from(row.i16(Column::Priority)).into()),
        row.whole(Column::GroupKey),
        Some(delivery.into()),
        row.get(Column::EnqueuedAt),
        taken.leased_until.map(Datum::from),
        is_leased.then(|| receipt_datum(row.i64(Column::Id), delivery)),
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
            peek(&queue, max, &state, |taken| push_row(&mut rows, &queue, &taken, false));
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
