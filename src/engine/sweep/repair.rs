//! Repairs what a restore without triggers leaves behind.
//!
//! `pg_restore --data-only --disable-triggers` disables the triggers of a table, pgqueue's among them, and
//! enables them as plain ones: they do not fire for a subscription any more. Rows loaded meanwhile were not
//! counted, and name their roles by the numbers of another server. So such a trigger is set to fire always
//! again, and the worker looks at everything anew.
//!
//! A disabled trigger is left alone: a restore may be under way. Calls that need it are refused (`guests`).

use std::ffi::CString;

use crate::engine::shared::hint_cache;
use crate::engine::table::statement::{Statement, run_impatiently};

static WEAKENED: Statement = Statement::new(include_str!("../../../sql/query/weakened_triggers.sql"), &[]);
static REPIN_QUEUES: Statement = Statement::new(include_str!("../../../sql/query/repin_queues.sql"), &[]);
static REPIN_BEGUN: Statement = Statement::new(include_str!("../../../sql/query/repin_begun.sql"), &[]);
static REPIN_TOPICS: Statement = Statement::new(include_str!("../../../sql/query/repin_topics.sql"), &[]);
static REPIN_SCHEDULES: Statement =
    Statement::new(include_str!("../../../sql/query/repin_schedules.sql"), &[]);
static REPIN_PRIVILEGES: Statement =
    Statement::new(include_str!("../../../sql/query/repin_privileges.sql"), &[]);

/// A trigger of pgqueue that does not fire always.
struct Trigger {
    table: String,
    name: String,
    pins_roles: bool,
    /// It fires, but not for the writes of a subscription.
    is_plain: bool,
}

fn weakened() -> Vec<Trigger> {
    let mut all = Vec::new();
    WEAKENED.run(&[], |row| {
        let text = |column| String::from_utf8_lossy(&row.text(column).unwrap_or_default()).into_owned();
        all.push(Trigger { table: text(0), name: text(1), pins_roles: row.bool(2), is_plain: row.bool(3) });
    });
    all
}

/// Whether all triggers of pgqueue are as the extension has made them.
pub fn is_whole() -> bool {
    weakened().is_empty()
}

/// Makes triggers fire always that a restore has left as plain ones. True if there were some: then the loaded
/// messages have to be counted. Waits for a lock for a moment only, and fails then.
pub fn enable_triggers() -> bool {
    let mut plain = weakened();
    plain.retain(|trigger| trigger.is_plain);
    for Trigger { table, name, .. } in &plain {
        let text = format!("ALTER TABLE pgqueue.{table} ENABLE ALWAYS TRIGGER {name}");
        run_impatiently(&CString::new(text).expect("names of ours have no NUL byte"));
    }
    for table in plain.iter().filter(|trigger| trigger.pins_roles).map(|trigger| trigger.table.as_str()) {
        match table {
            "queue" => _ = REPIN_QUEUES.run(&[], |_| {}),
            "begun_queue" => _ = REPIN_BEGUN.run(&[], |_| {}),
            "topic" => _ = REPIN_TOPICS.run(&[], |_| {}),
            "schedule" => _ = REPIN_SCHEDULES.run(&[], |_| {}),
            _ => _ = REPIN_PRIVILEGES.run(&[], |_| {}),
        }
    }
    if !plain.is_empty() {
        hint_cache::forget_hints();
    }
    !plain.is_empty()
}
