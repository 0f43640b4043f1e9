//! Guests: triggers, constraints and other changes that users make to the tables which the engine writes
//! directly.
//!
//! Direct access bypasses the executor, and with it triggers, foreign keys and constraints. So each table is
//! checked when it is opened. Its guests are obeyed (`triggers`), or the call is refused with an error that
//! names them. docs/engine.md says which guests are obeyed, and why.
//!
//! The result is cached until the table changes. The check runs under the table's lock, so that no session
//! can add a trigger or constraint meanwhile. A session that waited for that lock has heard of the change
//! when it gets the lock.

use std::cell::RefCell;
use std::ffi::CStr;
use std::slice;

use pgrx::pg_sys::{self, Oid};

use crate::engine::table::catalog;
use crate::error::{Error, Result};

/// A table as the extension has made it.
struct Shape {
    name: &'static CStr,
    /// Types of its columns.
    columns: &'static [Oid],
    /// Number of leading columns that are never null.
    filled: usize,
    checks: &'static [&'static CStr],
    /// Functions of the extension's own triggers on it.
    triggers: &'static [&'static CStr],
    /// False if its rows are written where no trigger can run: a transaction writes counters in the middle of
    /// its commit.
    may_fire: bool,
}

const SHAPES: [Shape; 4] = {
    use pg_sys::{
        BOOLOID as BOOL, BYTEAOID as BYTEA, CHAROID as CHAR, INT2OID as INT2, INT4OID as INT4,
        INT8OID as INT8, JSONBOID as JSONB, TEXTOID as TEXT, TIMESTAMPTZOID as TIME,
    };
    [
        Shape {
            name: c"message",
            columns: &[
                INT8, TIME, TIME, INT4, INT4, INT2, CHAR, BOOL, TIME, TIME, INT8, INT4, INT8, TEXT, TEXT,
                JSONB, BYTEA, JSONB, JSONB, INT8, INT4,
            ],
            filled: 8,
            checks: &[
                c"message_lane_is_known",
                c"message_delayed_has_due_time",
                c"message_key_has_place",
                c"message_has_payload_or_body",
            ],
            triggers: &[c"announce_message", c"announce_removal"],
            may_fire: true,
        },
        Shape {
            name: c"archive",
            columns: &[INT8, TIME, TIME, INT4, INT4, INT2, TEXT, JSONB, BYTEA, JSONB, JSONB, INT4],
            filled: 6,
            checks: &[],
            triggers: &[],
            may_fire: true,
        },
        Shape {
            name: c"counter",
            columns: &[INT4, INT8, INT8, INT8, INT8, INT8, INT8, INT8, INT8, INT8, INT8, INT8, BOOL],
            filled: 13,
            checks: &[],
            triggers: &[],
            may_fire: false,
        },
        Shape {
            name: c"slot",
            columns: &[INT4, INT4, INT8, INT4, INT8],
            filled: 5,
            checks: &[],
            triggers: &[],
            may_fire: true,
        },
    ]
};

/// Guests that a write to a table has to obey.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guests {
    /// Triggers, including those of foreign keys.
    pub triggers: bool,
    pub constraints: bool,
    /// The replica identity is not the primary key, or a publication asks for other columns.
    pub identity: bool,
}

impl Guests {
    pub fn are_there(self) -> bool {
        self != Self::default()
    }
}

thread_local! {
    /// Checked tables: whether they were opened for changes, and the catalog's generation at the check.
    static JUDGED: RefCell<Vec<(Oid, bool, u64, Guests)>> = const { RefCell::new(Vec::new()) };
}

/// Returns the guests of an open table. Raises an error if they cannot be obeyed.
pub fn judged(relation: pg_sys::Relation, is_for_changes: bool) -> Guests {
    // SAFETY: the relation is open.
    let (table, generation) = (unsafe { (*relation).rd_id }, catalog::generation());
    let known = JUDGED.with_borrow(|all| {
        all.iter().find(|it| (it.0, it.1, it.2) == (table, is_for_changes, generation)).map(|it| it.3)
    });
    known.unwrap_or_else(|| {
        // SAFETY: the relation is open.
        let guests = unsafe { judge(relation, is_for_changes) }.unwrap_or_else(|error| error.raise());
        JUDGED.with_borrow_mut(|all| {
            all.retain(|it| it.2 == generation && (it.0, it.1) != (table, is_for_changes));
            all.push((table, is_for_changes, generation, guests));
        });
        guests
    })
}

/// # Safety
/// The relation must be open.
unsafe fn judge(relation: pg_sys::Relation, is_for_changes: bool) -> Result<Guests> {
    // SAFETY: what is read lives as long as the relation is open.
    unsafe {
        let name = CStr::from_ptr((&raw const (*(*relation).rd_rel).relname.data).cast());
        let Some(shape) = SHAPES.iter().find(|shape| shape.name == name) else {
            return Ok(Guests::default());
        };
        let table = Table { relation, shape };
        table.check_storage()?;
        table.check_columns()?;
        if !is_for_changes {
            return Ok(Guests::default());
        }
        table.check_rules()?;
        table.check_row_security()?;
        table.check_own_triggers()?;
        Ok(Guests {
            triggers: table.has_triggers()?,
            constraints: table.has_constraints()?,
            identity: matches!((*(*relation).rd_rel).relreplident as u8, b'n' | b'i')
                || table.is_published_without_its_key(),
        })
    }
}

/// The catalog pg_rewrite.
const RULES: Oid = Oid::from_u32(2618);

/// A table that is being checked.
struct Table<'a> {
    relation: pg_sys::Relation,
    shape: &'a Shape,
}

impl Table<'_> {
    /// True if a publication leaves out rows or columns by others than those of the replica identity: Postgres
    /// refuses changes of such rows.
    unsafe fn is_published_without_its_key(&self) -> bool {
        // SAFETY: the relation is open; the description is kept with it.
        unsafe {
            let mut published = pg_sys::PublicationDesc::default();
            pg_sys::RelationBuildPublicationDesc(self.relation, &mut published);
            !(published.rf_valid_for_update
                && published.rf_valid_for_delete
                && published.cols_valid_for_update
                && published.cols_valid_for_delete)
        }
    }

    unsafe fn check_storage(&self) -> Result<()> {
        // SAFETY: the relation is open.
        unsafe {
            let class = (*self.relation).rd_rel;
            let is_alone = !(*class).relispartition && !(*class).relhassubclass;
            let is_plain = (*class).relkind as u8 == pg_sys::RELKIND_RELATION
                && (*class).relam == pg_sys::HEAP_TABLE_AM_OID;
            match (is_plain, is_alone) {
                (false, _) => Err(self.refuse(
                    "its rows are not stored as those of a plain table",
                    "ALTER TABLE ... SET ACCESS METHOD heap brings them back.",
                )),
                (_, false) => Err(self.refuse(
                    "it is a partition, or other tables inherit from it",
                    "ALTER TABLE ... DETACH PARTITION or NO INHERIT takes them apart; then ANALYZE the table.",
                )),
                _ => Ok(()),
            }
        }
    }

    unsafe fn check_columns(&self) -> Result<()> {
        // SAFETY: the relation is open.
        unsafe {
            for (n, &kind) in self.shape.columns.iter().enumerate() {
                let is_ours = attribute(self.relation, n)
                    .is_some_and(|column| !(*column).attisdropped && (*column).atttypid == kind);
                if !is_ours {
                    return Err(self.refuse(
                        &format!("its column {} is not as the extension has made it", n + 1),
                        "Give the column its name, type and place back: sql/schema/tables.sql has them.",
                    ));
                }
            }
        }
        Ok(())
    }

    unsafe fn check_rules(&self) -> Result<()> {
        // SAFETY: the relation is open; a rule lock has as many rules as it says.
        unsafe {
            let lock = (*self.relation).rd_rules;
            if lock.is_null() {
                return Ok(());
            }
            let rules = slice::from_raw_parts((*lock).rules, (*lock).numLocks as usize);
            match rules.iter().find(|rule| (***rule).enabled as u8 != pg_sys::TRIGGER_DISABLED) {
                Some(&rule) => Err(Error::cannot_obey(
                    &described(RULES, (*rule).ruleId, 0),
                    "Messages are written row by row, and rules rewrite statements.",
                    "Drop or disable the rule; a trigger AFTER INSERT, UPDATE or DELETE is obeyed.",
                )),
                None => Ok(()),
            }
        }
    }

    /// The engine writes as the owner of the table. Row security applies to the owner only if it is forced.
    unsafe fn check_row_security(&self) -> Result<()> {
        // SAFETY: the relation is open.
        unsafe {
            let class = (*self.relation).rd_rel;
            let applies = (*class).relrowsecurity && (*class).relforcerowsecurity;
            if applies && !pg_sys::has_bypassrls_privilege((*class).relowner) {
                return Err(self.refuse(
                    "its row security is forced upon its owner",
                    "ALTER TABLE ... NO FORCE ROW LEVEL SECURITY; rights on queues are given by pgq_grant.",
                ));
            }
        }
        Ok(())
    }

    /// Without the extension's own triggers, changes of messages by SQL would not be counted and would wake
    /// no consumer.
    unsafe fn check_own_triggers(&self) -> Result<()> {
        // SAFETY: the relation is open.
        let triggers = unsafe { triggers(self.relation) };
        for &function in self.shape.triggers {
            // SAFETY: a catalog look-up.
            let ours = triggers.iter().find(|it| unsafe { is_function(it.tgfoid, function) });
            let fires = |it: &pg_sys::Trigger| {
                matches!(it.tgenabled as u8, pg_sys::TRIGGER_FIRES_ALWAYS | pg_sys::TRIGGER_FIRES_ON_ORIGIN)
            };
            if !ours.is_some_and(fires) {
                let name = function.to_string_lossy();
                let state = if ours.is_some() { "disabled" } else { "gone" };
                return Err(self.refuse(
                    &format!("its trigger {name} is {state}"),
                    &format!(
                        "ALTER TABLE pgqueue.{} ENABLE ALWAYS TRIGGER {name}, or make it again as sql/schema/tables.sql does.",
                        self.shape.name.to_string_lossy()
                    ),
                ));
            }
        }
        Ok(())
    }

    /// True if users have put triggers on the table. An error if one of them cannot be obeyed.
    unsafe fn has_triggers(&self) -> Result<bool> {
        const HINT: &str =
            "Make it a trigger AFTER INSERT, UPDATE or DELETE, which is obeyed; or drop or disable it.";
        // SAFETY: the relation is open.
        let triggers = unsafe { triggers(self.relation) };
        let mut guests = triggers.iter().filter(|it| is_guest(it)).peekable();
        let is_there = guests.peek().is_some();
        for guest in guests {
            let is = |kind: u32| guest.tgtype as u32 & kind != 0;
            let problem = match () {
                () if !self.shape.may_fire => {
                    "Counts are written in the middle of a commit, when no trigger runs."
                }
                () if is(pg_sys::TRIGGER_TYPE_ROW) && is(pg_sys::TRIGGER_TYPE_BEFORE) => {
                    "It could change or suppress a row after pgqueue has decided on it."
                }
                () => continue,
            };
            // SAFETY: a catalog look-up.
            let object = unsafe { described(pg_sys::TriggerRelationId, guest.tgoid, 0) };
            return Err(Error::cannot_obey(&object, problem, HINT));
        }
        Ok(is_there)
    }

    /// True if there are constraints that the engine's rows may violate. An error if a column cannot be
    /// obeyed.
    unsafe fn has_constraints(&self) -> Result<bool> {
        // SAFETY: the relation is open; its descriptor has as many columns and checks as it says.
        unsafe {
            let descriptor = (*self.relation).rd_att;
            let mut has_more = false;
            for n in 0..(*descriptor).natts as usize {
                let column = attribute(self.relation, n).expect("a column of the table");
                let is_more = n >= self.shape.columns.len();
                has_more |= (*column).attnotnull && n >= self.shape.filled;
                let is_made =
                    (*column).atthasdef || (*column).attidentity != 0 || (*column).attgenerated != 0;
                let is_domain = pg_sys::get_typtype((*column).atttypid) as u8 == pg_sys::TYPTYPE_DOMAIN;
                if is_more && !(*column).attisdropped && (is_made || is_domain) {
                    return Err(Error::cannot_obey(
                        &described(pg_sys::RelationRelationId, (*self.relation).rd_id, n as i32 + 1),
                        "Messages are written without it, so it has to be a plain column without a default.",
                        "ALTER TABLE ... ALTER COLUMN ... DROP DEFAULT, DROP EXPRESSION or DROP IDENTITY.",
                    ));
                }
            }
            let constraints = (*descriptor).constr;
            if !constraints.is_null() && (*constraints).num_check > 0 {
                let checks =
                    slice::from_raw_parts((*constraints).check, usize::from((*constraints).num_check));
                let is_ours = |name: &CStr| self.shape.checks.contains(&name);
                has_more |= checks.iter().any(|check| !is_ours(CStr::from_ptr(check.ccname)));
            }
            Ok(has_more)
        }
    }

    fn refuse(&self, problem: &str, hint: &str) -> Error {
        let table = format!("pgqueue.{}", self.shape.name.to_string_lossy());
        Error::table_is_changed(&table, problem, hint)
    }
}

/// Returns a column of an open relation, counted from 0.
pub unsafe fn attribute(
    relation: pg_sys::Relation,
    n: usize,
) -> Option<*const pg_sys::FormData_pg_attribute> {
    // SAFETY: the caller vouches for the relation; the descriptor has as many columns as it says.
    unsafe {
        let descriptor = (*relation).rd_att;
        if n >= (*descriptor).natts as usize {
            return None;
        }
        #[cfg(feature = "pg18")]
        return Some(pg_sys::TupleDescAttr(descriptor, n as i32));
        #[cfg(not(feature = "pg18"))]
        Some((*descriptor).attrs.as_ptr().add(n))
    }
}

/// Returns the triggers on an open relation.
unsafe fn triggers<'a>(relation: pg_sys::Relation) -> &'a [pg_sys::Trigger] {
    // SAFETY: the caller vouches for the relation; there are as many triggers as it says.
    unsafe {
        let all = (*relation).trigdesc;
        if all.is_null() { &[] } else { slice::from_raw_parts((*all).triggers, (*all).numtriggers as usize) }
    }
}

/// True if a user's trigger fires on inserts, updates or deletes.
pub fn is_guest(trigger: &pg_sys::Trigger) -> bool {
    const EVENTS: u32 =
        pg_sys::TRIGGER_TYPE_INSERT | pg_sys::TRIGGER_TYPE_UPDATE | pg_sys::TRIGGER_TYPE_DELETE;
    let is_ours = || {
        let mut names = SHAPES.iter().flat_map(|shape| shape.triggers);
        // SAFETY: a catalog look-up.
        names.any(|name| unsafe { is_function(trigger.tgfoid, name) })
    };
    trigger.tgenabled as u8 != pg_sys::TRIGGER_DISABLED && trigger.tgtype as u32 & EVENTS != 0 && !is_ours()
}

/// True if the function has this name and lies in the schema pgqueue.
unsafe fn is_function(function: Oid, name: &CStr) -> bool {
    // SAFETY: catalog look-ups; a name is a C string, or null if there is no such function.
    unsafe {
        let its_name = pg_sys::get_func_name(function);
        !its_name.is_null()
            && CStr::from_ptr(its_name) == name
            && pg_sys::get_func_namespace(function) == pg_sys::get_namespace_oid(c"pgqueue".as_ptr(), false)
    }
}

/// Returns Postgres's description of an object.
unsafe fn described(class: Oid, object: Oid, part: i32) -> String {
    let address = pg_sys::ObjectAddress { classId: class, objectId: object, objectSubId: part };
    // SAFETY: a catalog look-up; its result is a C string, or null if the object is gone.
    unsafe {
        let description = pg_sys::getObjectDescription(&address, true);
        if description.is_null() {
            return "an object".to_owned();
        }
        CStr::from_ptr(description).to_string_lossy().into_owned()
    }
}
