//! Making queues.

use std::rc::Rc;

use pgrx::pg_sys::{self, Oid};
use serde_json::Value;

use crate::engine::commit::pending;
use crate::engine::queue::channel::check_channel;
use crate::engine::queue::{grants, slots};
use crate::engine::shared::sleeper::NO_QUEUE;
use crate::engine::table::name::Name;
use crate::engine::table::queue::{Queue, bad_setting, events_to, existing, find, named};
use crate::engine::table::sequence;
use crate::engine::table::statement::Statement;
use crate::error::{Error, Result};
use crate::guc;
use crate::pg::datum::{jsonb_datum, text_datum};
use crate::pg::role;
use crate::value::right::Right;
use crate::value::settings::Settings;

static CREATE: Statement = Statement::new(
    include_str!("../../../sql/query/create_queue.sql"),
    &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::JSONBOID],
);

/// The queue with this name. Makes it if it does not exist.
pub fn for_push(name: &Name) -> Result<Rc<Queue>> {
    if let Some(queue) = find(name, Right::Push)? {
        return Ok(queue);
    }
    if guc::auto_create() {
        create(name, Value::Object(serde_json::Map::new()))?;
    }
    existing(name, Right::Push)
}

/// Makes a queue that belongs to the caller, with the rights that the caller has set for other roles. False
/// if the name is taken.
///
/// Where the current user is not the session's own, as in another role's SECURITY DEFINER function or in a
/// trigger, that setting may be another role's: nothing is granted then.
///
/// The name is looked up first: a queue number drawn in vain is lost.
pub fn create(name: &Name, settings: Value) -> Result<bool> {
    check_settings(name, &settings)?;
    if named(name)?.is_some() {
        return Ok(false);
    }
    let made = create_for(name, role::caller(), settings)?;
    if let Some(queue) = made.filter(|_| role::is_session_s_own()) {
        grants::grant_defaults(queue)?;
    }
    Ok(made.is_some())
}

/// Makes a queue that belongs to a role, which need not be the caller. None if the name is taken.
pub fn create_for(name: &Name, owner: Oid, settings: Value) -> Result<Option<i32>> {
    let owner = role::role_name(owner).ok_or_else(|| Error::owner_is_gone(&name.to_string()))?;
    let limit = check_settings(name, &settings)?.max_leased;
    let settings = jsonb_datum(&settings.to_string());
    let mut made = None;
    sequence::check();
    CREATE
        .run(&[Some(name.datum()), Some(text_datum(&owner)), Some(settings)], |row| made = Some(row.i32(0)));
    if let Some(queue) = made {
        slots::lay_out_new(queue, limit.map(|limit| limit.0));
        pending::resumed(NO_QUEUE);
    }
    Ok(made)
}

/// Reads and checks the settings of a queue with this name.
pub fn check_settings(name: &Name, settings: &Value) -> Result<Settings> {
    let settings = Settings::read(settings).map_err(bad_setting)?;
    check_channel(name, &settings)?;
    if events_to(&settings)?.as_ref() == Some(name) {
        return Err(Error::setting("events_to", "must not be the queue itself"));
    }
    Ok(settings)
}
