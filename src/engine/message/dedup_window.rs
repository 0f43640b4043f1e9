//! `dedup_window`: the keys that a queue has seen lately.

use pgrx::pg_sys::{self, Oid};

use crate::engine::table::name::Name;
use crate::engine::table::queue::Queue;
use crate::engine::table::statement::{Sees, Statement};
use crate::pg::session::now;

const CLAIM_TYPES: [Oid; 5] =
    [pg_sys::INT4OID, pg_sys::TEXTOID, pg_sys::INT8OID, pg_sys::TIMESTAMPTZOID, pg_sys::TIMESTAMPTZOID];

static CLAIM: Statement = Statement::by_index(include_str!("../../../sql/query/claim_key.sql"), &CLAIM_TYPES);

static NAME_CLAIMED: Statement = Statement::new(
    include_str!("../../../sql/query/name_claimed.sql"),
    &[pg_sys::INT4OID, pg_sys::TEXTOID, pg_sys::INT8OID],
);

static SEEN: Statement =
    Statement::by_index(include_str!("../../../sql/query/seen_key.sql"), &[pg_sys::INT4OID, pg_sys::TEXTOID]);

/// The message with which a key was pushed or moved within the queue's `dedup_window`. If there is none,
/// claims the key. Waits for a transaction that is pushing the key at this moment.
pub fn seen_lately(queue: &Queue, key: &Name) -> Option<i64> {
    let window = queue.settings.dedup_window?;
    let since = now() - window.as_micros();
    let claim =
        [Some(queue.id.into()), Some(key.datum()), Some(0i64.into()), Some(now().into()), Some(since.into())];
    if CLAIM.run(&claim, |_| {}) > 0 {
        return None;
    }
    let mut seen = None;
    SEEN.run_seeing(Sees::Latest, &claim[..2], |row| seen = Some(row.i64(0)));
    seen
}

/// Notes the message of a key that this transaction has claimed.
pub fn note_in_window(queue: &Queue, key: &Name, id: i64) {
    if queue.settings.dedup_window.is_some() {
        NAME_CLAIMED.run(&[Some(queue.id.into()), Some(key.datum()), Some(id.into())], |_| {});
    }
}
