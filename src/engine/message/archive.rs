//! The archive: settled messages, kept for as long as their queue says.
//!
//! A row is written there in the transaction that removes the message, directly, as the message's row is
//! removed. The worker drops the row when its time is over.

use pgrx::pg_sys::{self, Datum};

use crate::engine::table::catalog;
use crate::engine::table::heap::Table;
use crate::engine::table::message::Column;
use crate::engine::table::queue::Queue;
use crate::engine::table::row::TableRow;
use crate::engine::table::statement::{Row, Statement};
use crate::pg::memory::Scratch;
use crate::pg::session::now;

static PEEK: Statement = Statement::by_index(
    include_str!("../../../sql/query/peek_archived.sql"),
    &[pg_sys::INT4OID, pg_sys::INT8OID],
);

/// Keeps a message that is just being removed, where its queue has an archive.
///
/// That writes more than a lease or a deletion: the transaction waits for the disk, however the queue is set.
pub fn keep(queue: &Queue, row: &TableRow, deliveries: i32) {
    if queue.settings.archive.is_none() {
        return;
    }
    let archived: [Option<Datum>; 12] = [
        row.get(Column::Id),
        row.get(Column::EnqueuedAt),
        Some(now().into()),
        Some(deliveries.into()),
        row.get(Column::Queue),
        row.get(Column::Priority),
        row.get(Column::GroupKey),
        row.get(Column::Payload),
        row.get(Column::Body),
        row.get(Column::Headers),
        row.get(Column::Errors),
        row.get(Column::GivenBack),
    ];
    // A call may settle very many messages: the memory of each insertion is freed at once.
    Scratch::default().with(|| Table::open(catalog::known().archive).insert(&archived));
}

/// Shows up to `max` archived messages, the last settled first.
pub fn peek(queue: &Queue, max: i64, each: impl FnMut(&Row)) {
    PEEK.run(&[Some(queue.id.into()), Some(max.into())], each);
}
