//! `pgq_update`, `pgq_cancel`, `pgq_move`: changes of unleased messages. As in `settle`, the plain name is
//! the batch form here.

use crate::api::call::{Answer, Call};
use crate::api::produce;
use crate::engine::message::change::{self, Change};
use crate::engine::table::{content, queue};
use crate::pg::session::check_writable;
use crate::value::right::Right;

crate::export_to_sql!(pgq_update, pgq_cancel, pgq_cancel_one, pgq_move, pgq_move_one);

fn pgq_update(call: &Call) -> Answer {
    let id = call.required(0, "id")?;
    let change = Change {
        payload: call.optional(1, "payload")?,
        headers: call.optional(2, "headers")?,
        priority: call.optional(3, "priority")?.map(produce::priority).transpose()?,
        deliver_at: call.optional(4, "deliver_at")?.map(produce::finite).transpose()?,
    };
    content::check(change.payload, change.headers)?;
    check_writable("pgq_update")?;
    Ok(Some(change::update(id, &change)?.into()))
}

fn pgq_cancel(call: &Call) -> Answer {
    let ids: Vec<i64> = call.required(0, "ids")?;
    check_writable("pgq_cancel_batch")?;
    let mut rows = call.rows()?;
    for id in change::cancel(&ids)? {
        rows.push(&[Some(id.into())]);
    }
    rows.done()
}

fn pgq_cancel_one(call: &Call) -> Answer {
    let id = call.required(0, "id")?;
    check_writable("pgq_cancel")?;
    Ok(Some((!change::cancel(&[id])?.is_empty()).into()))
}

fn pgq_move(call: &Call) -> Answer {
    let ids: Vec<i64> = call.required(0, "ids")?;
    let to = queue::existing(&call.name(1, "to_queue")?, Right::Push)?;
    check_writable("pgq_move_batch")?;
    let mut rows = call.rows()?;
    for (id, new_id) in change::relocate(&ids, &to)? {
        rows.push(&[Some(id.into()), Some(new_id.into())]);
    }
    rows.done()
}

fn pgq_move_one(call: &Call) -> Answer {
    let id = call.required(0, "id")?;
    let to = queue::existing(&call.name(1, "to_queue")?, Right::Push)?;
    check_writable("pgq_move")?;
    Ok(change::relocate(&[id], &to)?.first().map(|&(_, new_id)| new_id.into()))
}
