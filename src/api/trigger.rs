//! Functions that only the extension's own SQL calls: triggers, the install script, statements.

use pgrx::pg_sys::{self, Datum, Oid};

use crate::api::call::{Answer, Call};
use crate::engine::commit::{callbacks, counts, pending};
use crate::engine::message::siblings::is_place_of_echo;
use crate::engine::message::{group, removal};
use crate::engine::queue::{counter, roles, slots};
use crate::engine::shared::hint_cache;
use crate::engine::table::counts::Counts;
use crate::engine::table::message::{Column, Lane, is_leased};
use crate::engine::table::{catalog, counter_rows, queue_changes};
use crate::error::{Error, Result};
use crate::pg::role::{Object, revoke_all};
use crate::pg::session::now;
use crate::pg::trigger::TriggerRow;
use crate::value::timestamp::Timestamp;
use crate::worker::start;

crate::export_to_sql!(
    begin_anew,
    forget_queues,
    pin_role,
    refuse_others,
    refuse_truncate,
    announce_message,
    announce_removal,
    count_letter,
    pending_counts,
    close_to,
);

/// Position of `queue` among the columns of `pgqueue.dead`.
const QUEUE_OF_LETTER: usize = 4;

/// Called by the install script: hints of earlier queues are forgotten, because a new extension numbers its
/// queues anew, and the database gets a worker at once.
fn begin_anew(_: &Call) -> Answer {
    hint_cache::forget_hints();
    callbacks::begins_anew();
    start::ensure_running();
    Ok(None)
}

/// Called by the install script: revokes the privileges on an object that a role has by default privileges.
fn close_to(call: &Call) -> Answer {
    let [role, class, object]: [Oid; 3] =
        [call.required(0, "role")?, call.required(1, "class")?, call.required(2, "object")?];
    let object = match class {
        pg_sys::RelationRelationId => Object::Relation(object),
        pg_sys::ProcedureRelationId => Object::Function(object),
        pg_sys::NamespaceRelationId => Object::Schema(object),
        _ => {
            let problem = "is no catalog of relations, functions or schemas";
            return Err(Error::invalid(
                "class",
                problem,
                "Use pg_class, pg_proc or pg_namespace, as regclass.",
            ));
        }
    };
    if !revoke_all(role, object) {
        return Err(Error::invalid("object", "is not there", "Use the object id of one."));
    }
    Ok(None)
}

/// Trigger on the tables of queues and rights: tells every session, at commit, which queue has changed. The
/// trigger's argument names the column of the queue's number. The trigger of a statement does not know which,
/// and tells that any queue may have changed.
fn forget_queues(call: &Call) -> Answer {
    let (trigger, table) = (call.trigger()?, catalog::refresh().queue);
    if !trigger.is_for_each_row() {
        queue_changes::announce_all(table);
        return Ok(Some(Datum::null()));
    }
    let column = trigger.arguments().next().ok_or_else(Error::not_a_trigger)?;
    let queue = |row: TriggerRow| row.integer(column);
    let (before, after) = (trigger.old_row().and_then(queue), trigger.new_row().and_then(queue));
    after.into_iter().chain(before.filter(|_| before != after)).for_each(|queue| {
        queue_changes::announce(table, queue);
    });
    Ok(Some(Datum::null()))
}

/// Trigger on the tables that name roles: gives a written or restored name the role's number in this server.
fn pin_role(call: &Call) -> Answer {
    roles::pin(call.trigger()?).map(Some)
}

/// Trigger on the table of subscriptions, which names no roles.
fn refuse_others(call: &Call) -> Answer {
    roles::refuse_others(call.trigger()?).map(Some)
}

/// Trigger on the tables of messages and dead letters.
fn refuse_truncate(_: &Call) -> Answer {
    Err(Error::no_truncate())
}

/// Trigger on `pgqueue.message`: counts and announces, at commit, the rows that any statement writes. For
/// direct writes the engine does that itself.
fn announce_message(call: &Call) -> Answer {
    let trigger = call.trigger_of(catalog::refresh().message)?;
    let row = MessageRow::read(trigger.new_row().ok_or_else(Error::not_a_trigger)?);
    let before = trigger.old_row().map(MessageRow::read);
    match row.lane() {
        Lane::Delayed => pending::delayed(row.queue(), row.value(Column::DueAt)),
        Lane::Blocked => {}
        Lane::Ready if is_leased(row.lease_until(), now()) => {
            pending::leased(row.queue(), row.priority(), row.id(), row.lease_until());
        }
        Lane::Ready => pending::ready(row.queue(), row.priority(), row.id()),
    }
    counter::add(row.queue(), row.counts());
    if let Some(before) = before {
        counter::add(before.queue(), -before.counts());
        if before.lane() == Lane::Delayed {
            pending::undelayed(before.queue());
        }
        if is_leased(before.lease_until(), now()) {
            slots::let_go(before.queue(), 1)?;
        }
        before.leave_group_for(&row)?;
    }
    Ok(Some(Datum::null()))
}

/// A row of `pgqueue.message` as its triggers see it.
struct MessageRow {
    values: Vec<Option<Datum>>,
    group_key: Option<Vec<u8>>,
}

impl MessageRow {
    fn read(row: TriggerRow) -> Self {
        Self { values: row.values(), group_key: row.text(c"group_key") }
    }

    fn value(&self, column: Column) -> i64 {
        self.values[column as usize].map_or(0, |datum| datum.value() as i64)
    }

    fn id(&self) -> i64 {
        self.value(Column::Id)
    }

    fn queue(&self) -> i32 {
        self.value(Column::Queue) as i32
    }

    fn priority(&self) -> i16 {
        self.value(Column::Priority) as i16
    }

    fn lease_until(&self) -> i64 {
        self.value(Column::LeaseUntil)
    }

    fn lane(&self) -> Lane {
        Lane::from_column(self.value(Column::Lane) as u8)
    }

    fn counts(&self) -> Counts {
        Counts::message(self.lane(), self.lease_until())
    }

    fn group_place(&self) -> group::GroupPosition {
        (self.value(Column::InTurn) & 0xff == 0, self.priority(), self.id())
    }

    /// True if its end will be noticed by a call or a scan.
    fn is_met(&self) -> bool {
        let expires_at = self.values[Column::ExpiresAt as usize].map(|at| at.value() as Timestamp);
        group::is_met(self.lane(), expires_at) && !is_place_of_echo(self.value(Column::KeyPlace))
    }

    /// Lets the next message of the group have its turn if this one now stands behind it, or may expire
    /// unnoticed.
    fn leave_group_for(&self, after: &Self) -> Result<()> {
        let Some(key) = self.group_key.clone() else { return Ok(()) };
        let stays = self.queue() == after.queue()
            && after.group_key.as_ref() == Some(&key)
            && self.group_place() >= after.group_place()
            && (after.is_met() || !self.is_met());
        if stays { Ok(()) } else { group::removed(self.queue(), key, self.group_place()) }
    }
}

/// Trigger on `pgqueue.message`: counts the rows that a statement has removed, and lets the next messages of
/// their groups have their turn.
fn announce_removal(call: &Call) -> Answer {
    removal::announce(call.trigger_of(catalog::refresh().message)?)?;
    Ok(Some(Datum::null()))
}

/// Trigger on `pgqueue.dead`: counts the letters that a statement writes or removes.
fn count_letter(call: &Call) -> Answer {
    let trigger = call.trigger_of(catalog::refresh().dead)?;
    let queue = |row: TriggerRow| row.values()[QUEUE_OF_LETTER].map_or(0, |datum| datum.value() as i32);
    let (gone, come) = (trigger.old_row().map(queue), trigger.new_row().map(queue));
    let one = Counts { dead: 1, ..Counts::default() };
    gone.into_iter().for_each(|queue| counter::add(queue, -one));
    come.into_iter().for_each(|queue| counter::add(queue, one));
    Ok(Some(Datum::null()))
}

/// Returns rows like those of `pgqueue.counter`: the counts in shared memory that are not written down yet,
/// and those of this transaction.
fn pending_counts(call: &Call) -> Answer {
    let mut rows = call.rows()?;
    for (queue, counts) in counter::pending().into_iter().chain(counts::counted()) {
        rows.push(&counter_rows::row(queue, counts, false));
    }
    rows.done()
}
