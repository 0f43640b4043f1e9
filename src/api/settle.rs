//! `pgq_delete`, `pgq_extend`, `pgq_release`, `pgq_fail`, `pgq_bury`, and the same of batches.
//!
//! Here `…_one` is what SQL calls by the plain name, and the plain name is `…_batch` there: SQL of
//! older versions calls these, to be told to upgrade.

use pgrx::pg_sys::Datum;

use crate::call::{Answer, Call, collected, room_for, text_datum};
use crate::engine::message::Receipt;
use crate::engine::settle::{Settled, Verdict, settle};
use crate::engine::{catalog, check_writable, dead};
use crate::error::{Error, Result};
use crate::value::duration::Millis;

crate::export_to_sql!(
    pgq_delete,
    pgq_delete_one,
    pgq_extend,
    pgq_extend_one,
    pgq_release,
    pgq_release_one,
    pgq_fail,
    pgq_fail_one,
    pgq_bury,
    pgq_bury_one,
);

/// Reads ids and, if they are given, as many deliveries.
pub fn receipts(call: &Call, ids: usize, argument: &str, deliveries: usize) -> Result<Vec<Receipt>> {
    // SQL of another version has other arguments: it is refused before they are read.
    catalog::refresh();
    let ids: Vec<i64> = call.required(ids, argument)?;
    let Some(deliveries) = call.optional::<Vec<i64>>(deliveries, "deliveries")? else {
        return Ok(collected(ids.into_iter().map(|id| (id, None))));
    };
    if deliveries.len() != ids.len() {
        return Err(Error::invalid(
            "deliveries",
            format!("must have as many elements as \"{argument}\": {}, not {}", ids.len(), deliveries.len()),
            "Give the delivery of each message as pgq_reserve returned it.",
        ));
    }
    Ok(collected(ids.into_iter().zip(deliveries.into_iter().map(|delivery| Some(number(delivery))))))
}

fn receipt(call: &Call, delivery: usize) -> Result<Vec<Receipt>> {
    catalog::refresh();
    let id = call.required(0, "id")?;
    Ok(vec![(id, call.optional::<i64>(delivery, "delivery")?.map(number))])
}

/// The number of a delivery; of one that no message can have, one that none has.
fn number(delivery: i64) -> i32 {
    i32::try_from(delivery).unwrap_or(-1)
}

fn ids(call: &Call, ids: impl IntoIterator<Item = i64>) -> Answer {
    let mut rows = call.rows()?;
    for id in ids {
        rows.push(&[Some(id.into())]);
    }
    rows.done()
}

fn any<T>(settled: &[T]) -> Answer {
    Ok(Some((!settled.is_empty()).into()))
}

fn pgq_delete(call: &Call) -> Answer {
    let receipts = receipts(call, 0, "ids", 1)?;
    check_writable("pgq_delete_batch")?;
    ids(call, settle(&receipts, Verdict::Delete)?.iter().map(|message| message.id))
}

fn pgq_delete_one(call: &Call) -> Answer {
    let receipt = receipt(call, 1)?;
    check_writable("pgq_delete")?;
    any(&settle(&receipt, Verdict::Delete)?)
}

fn pgq_extend(call: &Call) -> Answer {
    extend(call, "pgq_extend_batch", receipts(call, 0, "ids", 2)?)
}

fn pgq_extend_one(call: &Call) -> Answer {
    extend(call, "pgq_extend", receipt(call, 2)?)
}

fn extend(call: &Call, function: &str, receipts: Vec<Receipt>) -> Answer {
    let lease = call.span(1, "lease")?.ok_or_else(|| Error::null("lease"))?;
    check_writable(function)?;
    let mut rows = call.rows()?;
    for message in settle(&receipts, Verdict::Extend(lease))? {
        rows.push(&[Some(message.id.into()), Some((message.at + lease.as_micros()).into())]);
    }
    rows.done()
}

fn pgq_release(call: &Call) -> Answer {
    let released = release(call, "pgq_release_batch", receipts(call, 0, "ids", 2)?)?;
    ids(call, released.iter().map(|message| message.id))
}

fn pgq_release_one(call: &Call) -> Answer {
    any(&release(call, "pgq_release", receipt(call, 2)?)?)
}

fn release(call: &Call, function: &str, receipts: Vec<Receipt>) -> Result<Vec<Settled>> {
    let delay: Millis = call.required(1, "delay")?;
    let strict: bool = call.required(3, "strict")?;
    check_writable(function)?;
    let released = settle(&receipts, Verdict::Release(delay))?;
    if strict {
        // They rise by id.
        let is_missing = |id: &i64| released.binary_search_by_key(id, |message| message.id).is_err();
        let mut missing = Vec::new();
        room_for(&mut missing, receipts.len());
        missing.extend(receipts.iter().map(|(id, _)| *id).filter(is_missing));
        if !missing.is_empty() {
            return Err(Error::release_incomplete(&missing));
        }
    }
    Ok(released)
}

fn pgq_fail(call: &Call) -> Answer {
    fail(call, "pgq_fail_batch", receipts(call, 0, "ids", 2)?)
}

fn pgq_fail_one(call: &Call) -> Answer {
    fail(call, "pgq_fail", receipt(call, 2)?)
}

fn fail(call: &Call, function: &str, receipts: Vec<Receipt>) -> Answer {
    let error = call.beginning(1, "error", dead::LONGEST_ERROR)?;
    let delay: Option<Millis> = call.optional(3, "delay")?;
    check_writable(function)?;
    let mut rows = call.rows()?;
    for failure in dead::fail(&receipts, error, delay)? {
        let outcome: &[u8] = if failure.retry_at.is_some() { b"retry" } else { b"dead" };
        rows.push(&[Some(failure.id.into()), Some(text_datum(outcome)), failure.retry_at.map(Datum::from)]);
    }
    rows.done()
}

fn pgq_bury(call: &Call) -> Answer {
    let buried = bury(call, "pgq_bury_batch", receipts(call, 0, "ids", 2)?)?;
    ids(call, buried)
}

fn pgq_bury_one(call: &Call) -> Answer {
    any(&bury(call, "pgq_bury", receipt(call, 2)?)?)
}

fn bury(call: &Call, function: &str, receipts: Vec<Receipt>) -> Result<Vec<i64>> {
    let error = call.beginning(1, "error", dead::LONGEST_ERROR)?;
    check_writable(function)?;
    dead::bury(&receipts, error)
}
