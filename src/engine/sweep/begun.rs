//! Queues that transactions have pushed to while another was making them (`table::begun`): makes the row of those
//! whose maker was rolled back, and removes notes that are not needed any more.

use pgrx::pg_sys;

use crate::engine::queue::create;
use crate::engine::sweep::report::page;
use crate::engine::table::begun;
use crate::engine::table::name::Name;
use crate::engine::table::statement::Statement;

static FORGET: Statement =
    Statement::new(include_str!("../../../sql/query/forget_begun.sql"), &[pg_sys::INT8OID]);
static NAMES: Statement =
    Statement::new(include_str!("../../../sql/query/begun_queues.sql"), &[pg_sys::INT8OID]);

pub fn finish() {
    FORGET.run(&[Some(page().into())], |_| {});
    let mut names = Vec::new();
    NAMES.run(&[Some(page().into())], |row| names.push(Name::known(row.text(0).unwrap_or_default())));
    for name in names.iter().filter(|name| !begun::is_being_added(name)) {
        create::make_begun(name).unwrap_or_else(|error| error.raise());
    }
}
