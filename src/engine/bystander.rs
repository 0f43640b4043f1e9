//! What others have put on the tables that are written directly, and that direct access would
//! pass by: triggers, foreign keys, rules, policies, constraints, columns that want a value.
//!
//! A table with any of these takes no change until it is gone. So pg_repack, whose trigger
//! collects the changes made meanwhile, loses none of them.

use std::ffi::CStr;

use pgrx::PgTupleDesc;
use pgrx::pg_sys::{self, Oid};

use super::message::Column;
use super::shape::{self, Table};
use crate::error::Error;

/// A table, and what of it is written directly.
pub struct Written {
    table: &'static Table,
    /// Which triggers a statement that did the same would fire.
    events: u32,
    triggers: &'static [&'static CStr],
    checks: &'static [&'static CStr],
    /// How many columns, the first, are never written as nulls.
    full_columns: usize,
}

const ANY_CHANGE: u32 =
    pg_sys::TRIGGER_TYPE_INSERT | pg_sys::TRIGGER_TYPE_UPDATE | pg_sys::TRIGGER_TYPE_DELETE;

pub static MESSAGE: Written = Written {
    table: &shape::MESSAGE,
    events: ANY_CHANGE,
    triggers: &[c"announce_message", c"announce_removal"],
    checks: &[
        c"message_lane_is_known",
        c"message_delayed_has_due_time",
        c"message_key_has_place",
        c"message_has_payload_or_body",
    ],
    full_columns: Column::DueAt as usize,
};
pub static ARCHIVE: Written = Written {
    table: &shape::ARCHIVE,
    events: pg_sys::TRIGGER_TYPE_INSERT,
    triggers: &[],
    checks: &[],
    full_columns: 6,
};
pub static COUNTER: Written = Written {
    table: &shape::COUNTER,
    events: pg_sys::TRIGGER_TYPE_INSERT,
    triggers: &[],
    checks: &[],
    full_columns: 13,
};

/// Which triggers fire in this session.
pub fn role_of_session() -> i32 {
    // SAFETY: reads a setting.
    unsafe { pg_sys::SessionReplicationRole }
}

impl Written {
    /// Whether the table takes changes.
    ///
    /// # Safety
    /// It is the table that this describes.
    pub unsafe fn is_free(&self, table: Oid) -> bool {
        // SAFETY: the relation is open while it is looked at.
        unsafe {
            let relation = pg_sys::relation_open(table, pg_sys::AccessShareLock as i32);
            let obstacle = self.obstacle(relation);
            pg_sys::relation_close(relation, pg_sys::AccessShareLock as i32);
            obstacle.is_none()
        }
    }

    /// What keeps the table from being written directly, as an error that says how to go on.
    ///
    /// # Safety
    /// The relation is open, and the table that this describes.
    pub unsafe fn obstacle(&self, relation: pg_sys::Relation) -> Option<Error> {
        // SAFETY: as the caller promises.
        unsafe {
            (self.trigger(relation))
                .or_else(|| self.rule(relation))
                .or_else(|| self.policy(relation))
                .or_else(|| self.check(relation))
                .or_else(|| self.column(relation))
        }
    }

    unsafe fn trigger(&self, relation: pg_sys::Relation) -> Option<Error> {
        // SAFETY: as above; there are as many triggers as the description says.
        unsafe {
            let all = (*relation).trigdesc;
            let count = if all.is_null() { 0 } else { (*all).numtriggers as usize };
            let trigger = (0..count).map(|n| &*(*all).triggers.add(n)).find(|trigger| {
                let event = u32::from(trigger.tgtype as u16) & self.events != 0;
                let is_ours = self.triggers.contains(&CStr::from_ptr(trigger.tgname));
                event && fires(trigger) && !is_ours
            })?;
            Some(self.of_trigger(trigger))
        }
    }

    unsafe fn of_trigger(&self, trigger: &pg_sys::Trigger) -> Error {
        // SAFETY: reads the catalog; names are C strings.
        unsafe {
            let constraint = pg_sys::get_constraint_name(trigger.tgconstraint);
            if trigger.tgisinternal && !constraint.is_null() {
                let other = pg_sys::get_rel_name(trigger.tgconstrrelid);
                let other = if other.is_null() { self.name() } else { text(other) };
                let way_on = format!("Drop the constraint; it is about table \"{other}\".");
                return self.obstacle_of("constraint", &text(constraint), &way_on);
            }
            let name = text(trigger.tgname);
            let way_on = if name == "repack_trigger" {
                "Wait until pg_repack has ended, or, if it was interrupted, drop the trigger. VACUUM FULL, \
                 CLUSTER and REINDEX CONCURRENTLY go without one."
            } else {
                "Drop or disable the trigger."
            };
            self.obstacle_of("trigger", &name, way_on)
        }
    }

    unsafe fn rule(&self, relation: pg_sys::Relation) -> Option<Error> {
        // SAFETY: as above.
        let has_rules = unsafe { !(*relation).rd_rules.is_null() && (*(*relation).rd_rules).numLocks > 0 };
        has_rules.then(|| self.obstacle_of("rule", "see pg_rules", "Drop the rule."))
    }

    unsafe fn policy(&self, relation: pg_sys::Relation) -> Option<Error> {
        // SAFETY: as above.
        let is_bound = unsafe {
            let owner = (*(*relation).rd_rel).relowner;
            pg_sys::check_enable_rls((*relation).rd_id, owner, true)
                == pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32
        };
        let way_on = "ALTER TABLE ... NO FORCE ROW LEVEL SECURITY.";
        is_bound.then(|| self.obstacle_of("row security", "FORCE ROW LEVEL SECURITY", way_on))
    }

    unsafe fn check(&self, relation: pg_sys::Relation) -> Option<Error> {
        // SAFETY: as above; there are as many constraints as the descriptor says.
        unsafe {
            let all = (*(*relation).rd_att).constr;
            let count = if all.is_null() { 0 } else { usize::from((*all).num_check) };
            let name = (0..count)
                .map(|n| (*(*all).check.add(n)).ccname)
                .find(|&name| !self.checks.contains(&CStr::from_ptr(name)))?;
            Some(self.obstacle_of("constraint", &text(name), "Drop the constraint."))
        }
    }

    /// A column of somebody else's that wants a value.
    unsafe fn column(&self, relation: pg_sys::Relation) -> Option<Error> {
        // SAFETY: as above.
        let columns = unsafe { PgTupleDesc::from_pg_unchecked((*relation).rd_att) };
        let wants_a_value = |n: usize, column: &pg_sys::FormData_pg_attribute| {
            let is_another_s = n >= self.table.columns();
            // SAFETY: reads the catalog.
            let is_bound = || unsafe { pg_sys::DomainHasConstraints(column.atttypid) };
            let is_filled = column.attgenerated as u8 == b's'
                || column.attnotnull && n >= self.full_columns
                || is_another_s && (column.atthasdef || column.attidentity != 0 || is_bound());
            is_filled
        };
        let column = (0..columns.len())
            .filter_map(|n| columns.get(n).map(|column| (n, column)))
            .find(|&(n, column)| !column.attisdropped && wants_a_value(n, column))?
            .1;
        // SAFETY: a name is a C string.
        let name = unsafe { text(column.attname.data.as_ptr()) };
        let way_on = "A column that is added takes nulls, has no default and is not generated.";
        Some(self.obstacle_of("column", &name, way_on))
    }

    fn obstacle_of(&self, kind: &str, name: &str, way_on: &str) -> Error {
        Error::obstacle(&self.name(), kind, name, way_on)
    }

    fn name(&self) -> String {
        self.table.name.to_string_lossy().into_owned()
    }
}

/// Whether a statement of this session would fire the trigger.
fn fires(trigger: &pg_sys::Trigger) -> bool {
    let enabled = trigger.tgenabled as u8;
    let is_replica = role_of_session() == pg_sys::SESSION_REPLICATION_ROLE_REPLICA as i32;
    enabled == pg_sys::TRIGGER_FIRES_ALWAYS
        || enabled
            == if is_replica { pg_sys::TRIGGER_FIRES_ON_REPLICA } else { pg_sys::TRIGGER_FIRES_ON_ORIGIN }
}

unsafe fn text(name: *const std::ffi::c_char) -> String {
    // SAFETY: the caller gives a C string.
    unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
}
