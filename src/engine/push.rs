//! Push: new messages into a queue.

use pgrx::pg_sys::{self, Datum};

use super::counter::{self, Counts};
use super::message::{COLUMNS, Column, Lane, NOT_LEASED};
use super::queue::Queue;
use super::table::Table;
use super::{catalog, news, now};
use crate::call::Timestamp;
use crate::value::duration::Millis;

/// The next id. Unlike `nextval()` it does not ask for a privilege on the sequence,
/// which callers do not have.
fn next_id(sequence: pg_sys::Oid) -> i64 {
    // commands/sequence.h, which pgrx leaves out
    unsafe extern "C-unwind" {
        fn nextval_internal(sequence: pg_sys::Oid, check_permissions: bool) -> i64;
    }
    // SAFETY: the sequence exists; the boundary turns an error into a panic.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| nextval_internal(sequence, false)) }
}

/// How many messages are written at a time.
const PAGE: usize = 500;

/// What a message carries: one of the two.
#[derive(Clone, Copy)]
pub enum Content {
    Payload(Datum),
    Body(Datum),
}

/// When a message may first be delivered.
#[derive(Clone, Copy, Default)]
pub enum Due {
    #[default]
    Now,
    After(Millis),
    At(Timestamp),
}

/// What all messages of one push share.
#[derive(Default)]
pub struct Options {
    pub priority: i16,
    pub due: Due,
    pub ttl: Option<Millis>,
    pub lease: Option<Millis>,
    pub max_deliveries: Option<i32>,
}

/// Pushes messages in their order and returns their ids, which rise.
pub fn push(queue: &Queue, messages: &[(Content, Option<Datum>)], options: &Options) -> Vec<i64> {
    let catalog = catalog::refresh();
    let table = Table::open(catalog.message);
    let template = template(queue, options);
    let mut ids = Vec::with_capacity(messages.len());
    for page in messages.chunks(PAGE) {
        pg_sys::check_for_interrupts!();
        let rows: Vec<_> = page
            .iter()
            .map(|&(content, headers)| {
                let id = next_id(catalog.message_id);
                ids.push(id);
                row(&template, id, content, headers)
            })
            .collect();
        match &rows[..] {
            [row] => table.insert(row),
            rows => table.insert_all(rows),
        }
    }
    match template[Column::DueAt as usize] {
        None => ids.iter().for_each(|&id| news::ready(queue.id, options.priority, id)),
        Some(at) => news::delayed(queue.id, at.value() as Timestamp),
    }
    counter::add(queue.id, Counts { pushed: messages.len() as i64, ..Counts::default() });
    ids
}

/// The columns of a message.
type Row = [Option<Datum>; COLUMNS];

fn row(template: &Row, id: i64, content: Content, headers: Option<Datum>) -> Row {
    let mut row = *template;
    row[Column::Id as usize] = Some(id.into());
    row[Column::Headers as usize] = headers;
    match content {
        Content::Payload(payload) => row[Column::Payload as usize] = Some(payload),
        Content::Body(body) => row[Column::Body as usize] = Some(body),
    }
    row
}

/// A row with everything but id and content.
fn template(queue: &Queue, options: &Options) -> Row {
    let now = now();
    let due_at = match options.due {
        Due::Now => None,
        Due::After(delay) => Some(now + delay.as_micros()),
        Due::At(moment) => (moment > now).then_some(moment),
    };
    let lane = if due_at.is_some() { Lane::Delayed } else { Lane::Ready };
    let expires_at = options.ttl.or(queue.settings.ttl).map(|ttl| now + ttl.as_micros());

    let mut row = [None; COLUMNS];
    row[Column::EnqueuedAt as usize] = Some(now.into());
    row[Column::LeaseUntil as usize] = Some(NOT_LEASED.into());
    row[Column::Deliveries as usize] = Some(0i32.into());
    row[Column::Queue as usize] = Some(queue.id.into());
    row[Column::Priority as usize] = Some(options.priority.into());
    row[Column::Lane as usize] = Some((lane as i8).into());
    row[Column::DueAt as usize] = due_at.map(Datum::from);
    row[Column::ExpiresAt as usize] = expires_at.map(Datum::from);
    row[Column::LeaseMs as usize] = options.lease.map(|lease| lease.as_millis().into());
    row[Column::MaxDeliveries as usize] = options.max_deliveries.map(Datum::from);
    row
}
