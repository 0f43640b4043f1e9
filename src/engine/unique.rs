//! Unique keys: at most one message with a key waits in its queue.
//!
//! A unique index over (queue, dedup_key, key_place) has place 0 for a message that was
//! never leased, so two pushes at once cannot both add one: the second waits for the
//! first's transaction, as any unique index makes it. The first lease gives place 0 up,
//! and the message's own id is its place from then on.
//!
//! The newest message with a key stands for it: while that one is leased, a push adds
//! another. When it waits again, a push that meets it gives it place 0 back first, so that
//! nobody else can add one. An older one that would come back (its consumer failed or let it go) is
//! superseded: it is dropped instead of being delivered after the newer state.
//!
//! Whoever had a message before it got place 0 has not seen what it stands for now: no
//! receipt of it is good any more. For that, a message without a key gets place 0 too when its
//! content is changed (`change`).
//!
//! A push that is ignored locks the message that waits until its transaction ends. So
//! whoever works on that message sees what the transaction has written.

use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::{self, Datum, Oid};

use super::counter::{self, Counts};
use super::dead::{self, Reason};
use super::message::{COLUMNS, Column};
use super::push::{OnDuplicate, Outcome, Row, make_room};
use super::queue::Queue;
use super::scan::{Found, Key as Condition, Scan, Snapshot};
use super::statement::{Sees, Statement, i64_array};
use super::table::Table;
use super::{attempt, catalog, group, has_one_snapshot, id, news, now};
use crate::call::{Name, Timestamp, varlena_bytes};
use crate::error::{Error, Result};

const TYPES: [Oid; COLUMNS] = [
    pg_sys::INT8OID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::INT4OID,
    pg_sys::INT4OID,
    pg_sys::INT2OID,
    pg_sys::CHAROID,
    pg_sys::BOOLOID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::INT8OID,
    pg_sys::INT4OID,
    pg_sys::INT8OID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::JSONBOID,
    pg_sys::BYTEAOID,
    pg_sys::JSONBOID,
    pg_sys::JSONBOID,
];

static NEWEST: Statement =
    Statement::new(include_str!("../../sql/query/newest_of_key.sql"), &[pg_sys::INT4OID, pg_sys::TEXTOID]);
static INSERT: Statement = Statement::new(include_str!("../../sql/query/insert_unique.sql"), &TYPES);
static HOLD: Statement = Statement::new(include_str!("../../sql/query/hold_waiting.sql"), &[pg_sys::INT8OID]);
static WAIT_FOR: Statement =
    Statement::new(include_str!("../../sql/query/wait_for_message.sql"), &[pg_sys::INT8OID]);
static TAKE_KEY_BACK: Statement =
    Statement::new(include_str!("../../sql/query/take_key_back.sql"), &[pg_sys::INT8OID]);
static RENUMBER: Statement =
    Statement::new(include_str!("../../sql/query/renumber.sql"), &[pg_sys::INT8OID, pg_sys::INT8OID]);
static REPLACE: Statement = Statement::new(
    include_str!("../../sql/query/replace_waiting.sql"),
    &[
        pg_sys::INT8OID,
        pg_sys::INT2OID,
        pg_sys::CHAROID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::INT8OID,
        pg_sys::INT4OID,
        pg_sys::TEXTOID,
        pg_sys::JSONBOID,
        pg_sys::BYTEAOID,
        pg_sys::JSONBOID,
        pg_sys::INT4OID,
    ],
);
static CLAIM: Statement = Statement::new(
    include_str!("../../sql/query/claim_key.sql"),
    &[pg_sys::INT4OID, pg_sys::TEXTOID, pg_sys::INT8OID, pg_sys::TIMESTAMPTZOID, pg_sys::TIMESTAMPTZOID],
);
static SEEN: Statement =
    Statement::new(include_str!("../../sql/query/seen_key.sql"), &[pg_sys::INT4OID, pg_sys::TEXTOID]);
static DROP_SUPERSEDED: Statement =
    Statement::new(include_str!("../../sql/query/drop_superseded.sql"), &[pg_sys::INT8ARRAYOID]);

/// Pushes a message with a key, unless another one waits.
pub fn push(queue: &Queue, key: &Name, on_duplicate: OnDuplicate, row: &Row) -> Result<(i64, Outcome)> {
    let mut has_claimed = false;
    loop {
        pg_sys::check_for_interrupts!();
        match newest(queue, key) {
            Some((id, Standing::Waits)) => {
                if let Some(outcome) = meet(queue, key, on_duplicate, row, id)? {
                    return Ok((id, outcome));
                }
                // It was leased or removed meanwhile; an old snapshot does not get further.
                if has_one_snapshot() {
                    return Err(Error::could_not_serialize());
                }
                continue;
            }
            // Nobody will deliver it, and it may still hold the key.
            Some((id, Standing::Gone(reason))) => clear_away(id, reason),
            Some((_, Standing::Leased)) | None => {}
        }
        if !has_claimed && let Some(id) = seen_lately(queue, key, row) {
            return match on_duplicate {
                OnDuplicate::Reject => Err(Error::duplicate(&key.to_string(), id)),
                _ => Ok((id, Outcome::Ignored)),
            };
        }
        if !has_claimed {
            make_room(queue, 1)?;
        }
        has_claimed = true;
        if INSERT.run(row, |_| {}) > 0 {
            counter::add(queue.id, Counts { pushed: 1, ..Counts::default() });
            return Ok((as_newest(queue, key, id_of(row)), Outcome::Pushed));
        }
    }
}

/// Removes a message that nobody will deliver, when those who hold it have let go of it.
fn clear_away(id: i64, reason: Reason) {
    WAIT_FOR.run(&[Some(id.into())], |_| {});
    dead::bury_exhausted(&[(id, reason)]);
}

/// How the newest message with a key stands.
enum Standing {
    Waits,
    Leased,
    /// It will never be delivered again.
    Gone(Reason),
}

fn id_of(row: &Row) -> i64 {
    row[Column::Id as usize].map_or(0, |id| id.value() as i64)
}

/// The message with place 0 of a key, else the newest, as far as it is committed.
fn newest(queue: &Queue, key: &Name) -> Option<(i64, Standing)> {
    let mut newest = None;
    let args = [Some(queue.id.into()), Some(key.datum())];
    let sees = if has_one_snapshot() { Sees::Latest } else { Sees::Transaction };
    NEWEST.run_seeing(sees, &args, |row| {
        // SAFETY: the state is a text.
        let standing = match &unsafe { varlena_bytes(row.value(1)) }[..] {
            b"leased" => Standing::Leased,
            b"gone" => Standing::Gone(why_gone(row.bool(2), row.bool(3))),
            _ => Standing::Waits,
        };
        newest = Some((row.i64(0), standing));
    });
    newest
}

fn why_gone(has_expired: bool, timed_out: bool) -> Reason {
    match (has_expired, timed_out) {
        (true, _) => Reason::Expired,
        (false, true) => Reason::Timeout,
        (false, false) => Reason::Failed,
    }
}

/// What becomes of a push when a message waits; none if that one has just gone.
fn meet(queue: &Queue, key: &Name, on_duplicate: OnDuplicate, row: &Row, id: i64) -> Result<Option<Outcome>> {
    match on_duplicate {
        OnDuplicate::Reject => Err(Error::duplicate(&key.to_string(), id)),
        OnDuplicate::Ignore => Ok((take_key_back(id) && hold(id)).then_some(Outcome::Ignored)),
        OnDuplicate::Replace => Ok(replace(queue, row, id).then_some(Outcome::Replaced)),
    }
}

/// Gives a message that was leased, and waits again, place 0 back; false if another has it.
fn take_key_back(id: i64) -> bool {
    unless_taken(|| TAKE_KEY_BACK.run(&[Some(id.into())], |_| {})).is_some()
}

/// Does what gives a message place 0 of its key; none if another has it, or is taking it and
/// commits: then that one is the newest.
pub fn unless_taken<T>(work: impl FnOnce() -> T) -> Option<T> {
    attempt::unless(&[PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION], || Ok(work()))
}

/// The id of a message that was just pushed. It may have waited for place 0 while others, with
/// later ids, had it and gave it up: then it gets a new one, since the newest stands for its key.
fn as_newest(queue: &Queue, key: &Name, id: i64) -> i64 {
    let table = Table::open_to_read(catalog::refresh().message);
    if !has_newer(&table, queue.id, key.datum(), id, |_| true) {
        return id;
    }
    let newest = id::next();
    RENUMBER.run(&[Some(id.into()), Some(newest.into())], |_| {});
    newest
}

/// Keeps a waiting message from being leased before this transaction ends.
fn hold(id: i64) -> bool {
    HOLD.run(&[Some(id.into())], |row| {
        let (queue, priority) = (row.i32(0), row.i32(1) as i16);
        news::touched(queue, priority, id);
        match row.get(2) {
            Some(due_at) => news::delayed(queue, due_at.value() as Timestamp),
            None => news::ready(queue, priority, id),
        }
    }) > 0
}

fn replace(queue: &Queue, row: &Row, id: i64) -> bool {
    let value = |column: Column| row[column as usize];
    let args = [
        Some(id.into()),
        value(Column::Priority),
        value(Column::Lane),
        value(Column::DueAt),
        value(Column::ExpiresAt),
        value(Column::LeaseMs),
        value(Column::MaxDeliveries),
        value(Column::GroupKey),
        value(Column::Payload),
        value(Column::Body),
        value(Column::Headers),
        Some(queue.max_deliveries().into()),
    ];
    unless_taken(|| REPLACE.run(&args, |_| {})) == Some(1)
}

/// The message with which a key was pushed within the queue's `dedup_window`. If there
/// is none, the key is seen now.
fn seen_lately(queue: &Queue, key: &Name, row: &Row) -> Option<i64> {
    let window = queue.settings.dedup_window?;
    let since = now() - window.as_micros();
    let claim = [
        Some(queue.id.into()),
        Some(key.datum()),
        Some(id_of(row).into()),
        Some(now().into()),
        Some(Datum::from(since)),
    ];
    if CLAIM.run(&claim, |_| {}) > 0 {
        return None;
    }
    let mut seen = None;
    SEEN.run_seeing(Sees::Latest, &claim[..2], |row| seen = Some(row.i64(0)));
    seen
}

/// Whether a message has place 0: nobody was given it since it was pushed with its key, or since
/// another push met it, or its content was changed.
pub fn is_unseen(row: &Found) -> bool {
    row.get(Column::KeyPlace).is_some_and(|place| place.value() == 0)
}

/// Whether a newer message has the key of this one, which was leased before. One that outlived
/// its time to live is none any more.
pub fn is_superseded(table: &Table, row: &Found) -> bool {
    let id = row.i64(Column::Id);
    if row.get(Column::KeyPlace).is_none_or(|place| place.value() as i64 != id) {
        return false;
    }
    let key = row.whole(Column::DedupKey);
    let is_there = |other: &Found| !group::has_outlived(other, now());
    key.is_some_and(|key| has_newer(table, row.i32(Column::Queue), key, id, is_there))
}

fn has_newer(table: &Table, queue: i32, key: Datum, id: i64, counts: impl Fn(&Found) -> bool) -> bool {
    let conditions =
        [Condition::equals(1, pg_sys::F_INT4EQ, queue.into()), Condition::equals(2, pg_sys::F_TEXTEQ, key)];
    let snapshot = Snapshot::latest();
    let mut others = Scan::begin(table, catalog::known().message_key, &snapshot, &conditions, false);
    while let Some(other) = others.next() {
        if other.i64(Column::Id) > id && counts(&other) {
            return true;
        }
    }
    false
}

/// Removes messages that are superseded, those that nobody has just leased.
pub fn drop_superseded(ids: &[i64]) {
    let mut queues = Vec::new();
    DROP_SUPERSEDED.run(&[Some(i64_array(ids))], |row| queues.push(row.i32(0)));
    counter::add_each(queues, |deleted| Counts { deleted, ..Counts::default() });
}
