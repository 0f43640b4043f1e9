//! Pages of a queue's messages, for a change of very many beside consumers.
//!
//! A settle of the first message of an ordered group holds that message, and then waits for the next if another
//! transaction is changing it. A change that has the next and waits for the first would end in a deadlock. So
//! it takes the first of a group before all others. Groups whose first another transaction holds are left for
//! later: a change that waited for each would keep all that it has from consumers for longer.

use std::time::Duration;

use pgrx::pg_sys::{self, Datum};

use crate::engine::table::catalog;
use crate::engine::table::group_rows::Group;
use crate::engine::table::heap::{Patience, Table};
use crate::engine::table::message::Column;
use crate::engine::table::message_index::{self, ById, Listed, Place};
use crate::engine::table::name::Name;
use crate::pg::datum::i64_array;
use crate::pg::memory::Scratch;
use crate::pg::session::nap;
use crate::pg::snapshot::Snapshot;

/// Maximum number of messages of a page. Triggers get a copy of each.
const PAGE: usize = 10_000;

/// How often groups are tried whose first another transaction holds, before the change waits for it. Each pause
/// is twice as long as the one before; the first is 1 ms.
const TRIES: u32 = 9;

/// The messages of a queue, or of one of its groups.
pub struct Messages<'a> {
    pub queue: i32,
    pub group_key: Option<&'a Name>,
    /// Groups are delivered in order.
    pub in_order: bool,
}

/// Calls `work` with arrays of the ids of all these messages. They come by the indexes of the lanes; messages
/// of other queues are not scanned.
pub fn each_page_of(messages: Messages, mut work: impl FnMut(Datum)) {
    let mut scratch = Scratch::default();
    let mut each_page = |ids: &mut Vec<i64>| {
        ids.sort_unstable();
        ids.chunks(PAGE).for_each(|page| scratch.with(|| work(i64_array(page))));
        ids.clear();
    };
    let table = Table::open(catalog::refresh().message);
    let Messages { queue, group_key, in_order } = messages;
    let mut listed = message_index::list(&table, queue, group_key);
    if !in_order {
        return each_page(&mut listed.iter().map(|message| message.id).collect());
    }
    for tries in 0..TRIES {
        listed = take_groups(&table, queue, listed, Patience::Skip, &mut each_page);
        if listed.is_empty() {
            return;
        }
        nap(Duration::from_millis(1 << tries));
    }
    take_groups(&table, queue, listed, Patience::Wait, &mut each_page);
}

/// Passes on the messages of each group whose first it can take. Returns the others.
fn take_groups(
    table: &Table,
    queue: i32,
    listed: Vec<Listed>,
    patience: Patience,
    each_page: &mut impl FnMut(&mut Vec<i64>),
) -> Vec<Listed> {
    let (mut taken, mut left) = (Vec::new(), Vec::new());
    for group in listed.chunk_by(|_, next| next.place == Place::Behind) {
        if group[0].place == Place::Alone || take_first(table, queue, group, patience) {
            taken.extend(group.iter().map(|message| message.id));
        } else {
            left.extend_from_slice(group);
        }
        if taken.len() >= PAGE {
            each_page(&mut taken);
        }
    }
    each_page(&mut taken);
    left
}

/// Takes the first message of a group from all other transactions. True also if no message of it is left.
fn take_first(table: &Table, queue: i32, listed: &[Listed], patience: Patience) -> bool {
    let snapshot = Snapshot::latest();
    let mut by_id = ById::open(table, &snapshot);
    let key = listed.iter().find_map(|message| {
        pg_sys::check_for_interrupts!();
        by_id.find(message.id)?.text(Column::GroupKey)
    });
    key.is_none_or(|key| Group { queue, key }.take_first(table, patience))
}
