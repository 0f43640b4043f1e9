//! `pgq_delete`, `pgq_extend`, `pgq_release`, `pgq_fail`, `pgq_bury`, each for one message and for a batch, by id and
//! delivery or by receipt.
//!
//! The Rust function `pgq_delete_one` is `pgq_delete` in SQL, and `pgq_delete` is `pgq_delete_batch`. The SQL
//! of older versions calls the Rust functions by the plain names, and gets an error that asks for an upgrade.

use pgrx::pg_sys::Datum;

use crate::api::call::{Answer, Call};
use crate::engine::message::dead;
use crate::engine::message::receipt::in_order;
use crate::engine::message::settle::{Settled, Verdict, settle};
use crate::engine::table::catalog;
use crate::engine::table::message::Receipt;
use crate::error::{Error, Result};
use crate::pg::argument::TextArray;
use crate::pg::datum::text_datum;
use crate::pg::memory::{collected, room_for};
use crate::pg::session::check_writable;
use crate::value::duration::Millis;
use crate::value::receipt;

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
    pgq_delete_by_receipt,
    pgq_delete_by_receipts,
    pgq_extend_by_receipt,
    pgq_extend_by_receipts,
    pgq_release_by_receipt,
    pgq_release_by_receipts,
    pgq_fail_by_receipt,
    pgq_fail_by_receipts,
    pgq_bury_by_receipt,
    pgq_bury_by_receipts,
);

/// Receipts of a call, and whether the call fails if one of them is refused.
pub struct Asked {
    pub receipts: Vec<Receipt>,
    pub strict: bool,
}

impl Asked {
    /// Reads ids and, if given, as many deliveries.
    fn batch(call: &Call, deliveries: usize, strict: usize) -> Result<Self> {
        Ok(Self { receipts: receipts(call, 0, "ids", deliveries)?, strict: call.required(strict, "strict")? })
    }

    /// Reads an id and, if given, a delivery.
    fn one(call: &Call, delivery: usize, strict: usize) -> Result<Self> {
        // SQL of another version has other arguments: the call is refused before they are read.
        catalog::refresh();
        let id = call.required(0, "id")?;
        let delivery = call.optional::<i64>(delivery, "delivery")?;
        Ok(Self { receipts: vec![(id, delivery)], strict: call.required(strict, "strict")? })
    }

    /// Reads a receipt.
    fn by_receipt(call: &Call, strict: usize) -> Result<Self> {
        let text: Vec<u8> = call.required(0, "receipt")?;
        Ok(Self { receipts: vec![receipt_of("receipt", &text)?], strict: call.required(strict, "strict")? })
    }

    fn by_receipts(call: &Call, strict: usize) -> Result<Self> {
        let texts = call.required(0, "receipts")?;
        Ok(Self { receipts: read_receipts("receipts", texts)?, strict: call.required(strict, "strict")? })
    }

    pub fn settle(&self, verdict: Verdict) -> Result<Vec<Settled>> {
        let settled = settle(&self.receipts, verdict)?;
        self.check(settled.iter().map(Settled::id))?;
        Ok(settled)
    }

    /// Returns an error if the call is strict and a receipt's message is not in `settled`, which is sorted by
    /// id.
    fn check(&self, settled: impl Iterator<Item = i64>) -> Result<()> {
        if !self.strict {
            return Ok(());
        }
        let mut refused = in_order(&self.receipts);
        let (all, mut settled) = (refused.len(), settled.peekable());
        refused.retain(|(id, _)| settled.next_if_eq(id).is_none());
        if refused.is_empty() {
            return Ok(());
        }
        let ids: Vec<i64> = collected(refused.iter().map(|&(id, _)| id));
        Err(Error::refused(&ids, all))
    }

    /// Returns the receipts that are not in `settled`, sorted by id.
    pub fn refused(&self, settled: &[Settled]) -> Vec<Receipt> {
        let mut refused = in_order(&self.receipts);
        let is_settled = |receipt: &Receipt| settled.binary_search_by_key(receipt, |message| message.receipt);
        refused.retain(|receipt| is_settled(receipt).is_err());
        refused
    }
}

/// Reads ids and, if given, as many deliveries.
pub fn receipts(call: &Call, ids: usize, argument: &str, deliveries: usize) -> Result<Vec<Receipt>> {
    // As in `Asked::one`.
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
    Ok(collected(ids.into_iter().zip(deliveries.into_iter().map(Some))))
}

/// Reads receipts: no nulls.
pub fn read_receipts(argument: &str, TextArray(texts): TextArray) -> Result<Vec<Receipt>> {
    let mut receipts = Vec::new();
    room_for(&mut receipts, texts.len());
    for text in texts {
        receipts.push(receipt_of(argument, &text.ok_or_else(|| Error::null(argument))?)?);
    }
    Ok(receipts)
}

fn receipt_of(argument: &str, text: &[u8]) -> Result<Receipt> {
    let (id, delivery) = receipt::read(text).ok_or_else(|| Error::not_a_receipt(argument, text))?;
    Ok((id, Some(delivery)))
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
    let deleted = delete("pgq_delete_batch", &Asked::batch(call, 1, 2)?)?;
    ids(call, deleted.iter().map(Settled::id))
}

fn pgq_delete_one(call: &Call) -> Answer {
    any(&delete("pgq_delete", &Asked::one(call, 1, 2)?)?)
}

fn pgq_delete_by_receipt(call: &Call) -> Answer {
    any(&delete("pgq_delete_by_receipt", &Asked::by_receipt(call, 1)?)?)
}

fn pgq_delete_by_receipts(call: &Call) -> Answer {
    let deleted = delete("pgq_delete_by_receipts", &Asked::by_receipts(call, 1)?)?;
    ids(call, deleted.iter().map(Settled::id))
}

fn delete(function: &str, asked: &Asked) -> Result<Vec<Settled>> {
    check_writable(function)?;
    asked.settle(Verdict::Delete)
}

fn pgq_extend(call: &Call) -> Answer {
    extend(call, "pgq_extend_batch", &Asked::batch(call, 2, 3)?)
}

fn pgq_extend_one(call: &Call) -> Answer {
    extend(call, "pgq_extend", &Asked::one(call, 2, 3)?)
}

fn pgq_extend_by_receipt(call: &Call) -> Answer {
    extend(call, "pgq_extend_by_receipt", &Asked::by_receipt(call, 2)?)
}

fn pgq_extend_by_receipts(call: &Call) -> Answer {
    extend(call, "pgq_extend_by_receipts", &Asked::by_receipts(call, 2)?)
}

fn extend(call: &Call, function: &str, asked: &Asked) -> Answer {
    let lease = call.span(1, "lease")?.ok_or_else(|| Error::null("lease"))?;
    check_writable(function)?;
    let mut rows = call.rows()?;
    for message in asked.settle(Verdict::Extend(lease))? {
        rows.push(&[Some(message.id().into()), Some((message.at + lease.as_micros()).into())]);
    }
    rows.done()
}

fn pgq_release(call: &Call) -> Answer {
    let released = release(call, "pgq_release_batch", &Asked::batch(call, 2, 3)?)?;
    ids(call, released.iter().map(Settled::id))
}

fn pgq_release_one(call: &Call) -> Answer {
    any(&release(call, "pgq_release", &Asked::one(call, 2, 3)?)?)
}

fn pgq_release_by_receipt(call: &Call) -> Answer {
    any(&release(call, "pgq_release_by_receipt", &Asked::by_receipt(call, 2)?)?)
}

fn pgq_release_by_receipts(call: &Call) -> Answer {
    let released = release(call, "pgq_release_by_receipts", &Asked::by_receipts(call, 2)?)?;
    ids(call, released.iter().map(Settled::id))
}

fn release(call: &Call, function: &str, asked: &Asked) -> Result<Vec<Settled>> {
    let delay: Millis = call.required(1, "delay")?;
    check_writable(function)?;
    asked.settle(Verdict::Release(delay))
}

fn pgq_fail(call: &Call) -> Answer {
    fail(call, "pgq_fail_batch", &Asked::batch(call, 2, 4)?, 3)
}

fn pgq_fail_one(call: &Call) -> Answer {
    fail(call, "pgq_fail", &Asked::one(call, 2, 4)?, 3)
}

fn pgq_fail_by_receipt(call: &Call) -> Answer {
    fail(call, "pgq_fail_by_receipt", &Asked::by_receipt(call, 3)?, 2)
}

fn pgq_fail_by_receipts(call: &Call) -> Answer {
    fail(call, "pgq_fail_by_receipts", &Asked::by_receipts(call, 3)?, 2)
}

fn fail(call: &Call, function: &str, asked: &Asked, delay: usize) -> Answer {
    let error = call.beginning(1, "error", dead::LONGEST_ERROR)?;
    let delay: Option<Millis> = call.optional(delay, "delay")?;
    check_writable(function)?;
    let mut rows = call.rows()?;
    let failures = dead::fail(&asked.receipts, error, delay)?;
    asked.check(failures.iter().map(|failure| failure.id))?;
    for failure in failures {
        let outcome: &[u8] = if failure.retry_at.is_some() { b"retry" } else { b"dead" };
        rows.push(&[Some(failure.id.into()), Some(text_datum(outcome)), failure.retry_at.map(Datum::from)]);
    }
    rows.done()
}

fn pgq_bury(call: &Call) -> Answer {
    let buried = bury(call, "pgq_bury_batch", &Asked::batch(call, 2, 3)?)?;
    ids(call, buried)
}

fn pgq_bury_one(call: &Call) -> Answer {
    any(&bury(call, "pgq_bury", &Asked::one(call, 2, 3)?)?)
}

fn pgq_bury_by_receipt(call: &Call) -> Answer {
    any(&bury(call, "pgq_bury_by_receipt", &Asked::by_receipt(call, 2)?)?)
}

fn pgq_bury_by_receipts(call: &Call) -> Answer {
    let buried = bury(call, "pgq_bury_by_receipts", &Asked::by_receipts(call, 2)?)?;
    ids(call, buried)
}

fn bury(call: &Call, function: &str, asked: &Asked) -> Result<Vec<i64>> {
    let error = call.beginning(1, "error", dead::LONGEST_ERROR)?;
    check_writable(function)?;
    let buried = dead::bury(&asked.receipts, error)?;
    asked.check(buried.iter().copied())?;
    Ok(buried)
}
