//! Writes the new messages of one push.

use pgrx::pg_sys::{self, Oid};
use smallvec::SmallVec;

use crate::engine::commit::pending;
use crate::engine::message::group::Group;
use crate::engine::message::siblings;
use crate::engine::push::message::{Content, Message, Options, RowValues, Run, template};
use crate::engine::push::room::make_room;
use crate::engine::queue::counter;
use crate::engine::table::counts::Counts;
use crate::engine::table::heap::Table;
use crate::engine::table::message::{COLUMNS, Column, Lane, NOT_LEASED};
use crate::engine::table::name::Name;
use crate::engine::table::queue::Queue;
use crate::engine::table::{catalog, message_id};
use crate::error::Result;
use crate::pg::memory::room_for;
use crate::value::timestamp::Timestamp;

/// How many messages are written at a time.
const PAGE: usize = 500;

/// Adds messages to a queue.
pub struct Writer<'a> {
    pub table: Table,
    queue: &'a Queue,
    options: &'a Options,
    template: RowValues,
    /// The group of the messages, if they are not delayed and the queue keeps the order of groups: each
    /// message stands behind the one before it.
    group: Option<Group>,
    /// The lane of the next message.
    lane: Lane,
    counts: Counts,
    /// Rows that are not written yet.
    page: Vec<RowValues>,
}

impl<'a> Writer<'a> {
    /// Makes a writer for these runs, of which there is one at least, and turns it to the first.
    pub fn new(queue: &'a Queue, runs: &[Run<'a>]) -> Self {
        let table = Table::open(catalog::refresh().message);
        table.add_without(&unneeded_indexes(&table, queue, runs));
        let options = runs[0].options;
        let mut writer = Self {
            table,
            queue,
            options,
            template: template(queue, options),
            group: None,
            lane: Lane::Ready,
            counts: Counts::default(),
            page: Vec::new(),
        };
        writer.begin_run();
        writer
    }

    /// Goes on to messages with other options.
    pub fn turn_to(&mut self, options: &'a Options) {
        self.options = options;
        self.template = template(self.queue, options);
        self.begin_run();
    }

    fn begin_run(&mut self) {
        let is_delayed = self.template[Column::DueAt as usize].is_some();
        let has_order = self.queue.settings.keeps_order() && !is_delayed;
        let group = self.options.group_key.as_ref().filter(|_| has_order);
        self.group = group.map(|key| Group { queue: self.queue.id, key: key.bytes().to_vec() });
        self.lane = if is_delayed { Lane::Delayed } else { Lane::Ready };
        if self.group.is_some() {
            self.write_page(); // messages of the group may be among them
        }
        self.line_up();
    }

    /// Puts the next message behind one of its group, if this transaction has pushed one.
    fn line_up(&mut self) {
        if let Some(group) = &self.group {
            let stands_behind = group.has_our_own(&self.table, self.options.priority);
            self.lane = if stands_behind { Lane::Blocked } else { Lane::Ready };
        }
    }

    /// Makes room for the next message. If that drops the one that it would stand behind, decides about its
    /// lane again.
    pub fn make_room(&mut self) -> Result<()> {
        make_room(self.queue, 1)?;
        if self.lane == Lane::Blocked && self.queue.settings.max_length.is_some() {
            self.line_up();
        }
        Ok(())
    }

    /// When the next message expires.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.template[Column::ExpiresAt as usize].map(|at| at.value() as Timestamp)
    }

    /// The row of a message as it would be pushed, without an id.
    pub fn row(&self, &(content, headers): &Message) -> RowValues {
        let mut row = self.template;
        row[Column::Headers as usize] = headers;
        match content {
            Content::Payload(payload) => row[Column::Payload as usize] = Some(payload),
            Content::Body(body) => row[Column::Body as usize] = Some(body),
        }
        row
    }

    /// The row and the id of the next message to add.
    ///
    /// The next message of its group can stand behind it, unless it is an echo: a group skips echoes.
    fn next_row(&mut self, message: &Message, is_echo: bool) -> (i64, RowValues) {
        let (id, mut row) = (message_id::next(), self.row(message));
        row[Column::Id as usize] = Some(id.into());
        row[Column::Lane as usize] = Some(self.lane.datum());
        self.counts += Counts { pushed: 1, ..Counts::message(self.lane, NOT_LEASED) };
        if self.lane == Lane::Ready {
            pending::ready(self.queue.id, self.options.priority, id);
        }
        if self.group.is_some() && !is_echo {
            self.lane = Lane::Blocked;
        }
        (id, row)
    }

    pub fn add(&mut self, message: Message) -> i64 {
        let (id, row) = self.next_row(&message, false);
        self.table.insert(&row);
        self.count();
        id
    }

    /// Adds a message with a key, at its place among its siblings.
    pub fn add_keyed(&mut self, message: &Message, key: &Name, place: i64, floor: Option<i64>) -> i64 {
        let (id, mut row) = self.next_row(message, siblings::is_place_of_echo(place));
        row[Column::DedupKey as usize] = Some(key.datum());
        row[Column::KeyPlace as usize] = Some(place.into());
        row[Column::KeyFloor as usize] = Some(floor.unwrap_or(id).into());
        self.table.insert(&row);
        self.count();
        id
    }

    /// Adds messages without keys, and calls `each` with the id of each. `write_page` writes the last of them.
    pub fn add_all(&mut self, messages: &[Message], mut each: impl FnMut(i64)) {
        for message in messages {
            if self.page.len() == PAGE {
                self.write_page();
            }
            let (id, row) = self.next_row(message, false);
            room_for(&mut self.page, 1);
            self.page.push(row);
            each(id);
        }
        self.count();
    }

    /// Writes the rows that are not written yet.
    pub fn write_page(&mut self) {
        pg_sys::check_for_interrupts!();
        match &self.page[..] {
            [] => {}
            [row] => self.table.insert(row),
            rows => self.table.insert_all(rows),
        }
        self.page.clear();
    }

    /// Counts the added messages, and notes their due time if they are delayed.
    fn count(&mut self) {
        if let Some(at) = self.template[Column::DueAt as usize] {
            pending::delayed(self.queue.id, at.value() as Timestamp);
        }
        counter::add(self.queue.id, std::mem::take(&mut self.counts));
    }
}

/// The indexes in which no message of these runs has an entry.
fn unneeded_indexes(table: &Table, queue: &Queue, runs: &[Run]) -> SmallVec<[Oid; 4]> {
    let catalog = catalog::known();
    let mut is_used = [false; COLUMNS];
    let mut has_keys = false;
    for run in runs {
        let row = template(queue, run.options);
        is_used.iter_mut().zip(row).for_each(|(is_used, value)| *is_used |= value.is_some());
        has_keys |= run.options.keys.is_some();
    }
    let lacks = |column: Column| !is_used[column as usize];
    let partial = [
        (lacks(Column::DueAt), catalog.message_due),
        (lacks(Column::ExpiresAt), catalog.message_expires),
        (lacks(Column::GroupKey), catalog.message_group),
        (!has_keys, catalog.message_key),
    ];
    partial
        .into_iter()
        .filter(|(is_unneeded, index)| *is_unneeded && index.is_what_it_says(table))
        .map(|(_, index)| index.oid)
        .collect()
}
