//! Making queues.

use std::rc::Rc;

use pgrx::pg_sys::{self, Datum, Oid};
use serde_json::Value;

use crate::engine::commit::pending;
use crate::engine::queue::channel::check_channel;
use crate::engine::queue::{grants, slots};
use crate::engine::shared::sleeper::NO_QUEUE;
use crate::engine::table::access::Access;
use crate::engine::table::begun;
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
    &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::JSONBOID, pg_sys::INT4OID],
);

/// The queue with this name. Makes it if it does not exist.
pub fn for_push(name: &Name) -> Result<Rc<Queue>> {
    if let Some(queue) = find(name, Right::Push)? {
        if queue.is_begun && !begun::is_being_added(name) {
            make_begun(name)?;
        }
        return Ok(queue);
    }
    if guc::auto_create() && !join_begun(name)? {
        create(name, Value::Object(serde_json::Map::new()))?;
    }
    existing(name, Right::Push)
}

/// The queue with this name, for a change of its row: of a queue that an open transaction has begun, the change
/// waits for it.
pub fn existing_with_row(name: &Name, right: Right) -> Result<Rc<Queue>> {
    let queue = existing(name, right)?;
    if !queue.is_begun {
        return Ok(queue);
    }
    make_begun(name)?;
    existing(name, right)
}

/// The queue with this name, which the caller must own, with its row. Makes it if it does not exist.
pub fn for_owner(name: &Name) -> Result<Rc<Queue>> {
    if named(name)?.is_none() && guc::auto_create() {
        create(name, Value::Object(serde_json::Map::new()))?;
    }
    existing_with_row(name, Right::Own)
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
    if has_row(name)? {
        return Ok(false);
    }
    let made = create_for(name, role::caller(), settings)?;
    if let (Some(queue), Some(grants)) = (made, own_default_grants()) {
        grants::grant_defaults(queue, &grants::read_defaults(&grants)?);
    }
    Ok(made.is_some())
}

/// Has this transaction use a queue that another open one is making. False if none is, or if its owner's rights
/// are not the caller's.
fn join_begun(name: &Name) -> Result<bool> {
    let grants = own_default_grants();
    grants.as_deref().map(grants::read_defaults).transpose()?;
    Ok(begun::join(name, role::caller(), grants.as_deref()))
}

fn has_row(name: &Name) -> Result<bool> {
    Ok(named(name)?.is_some_and(|queue| !queue.is_begun))
}

fn own_default_grants() -> Option<String> {
    guc::default_grants().filter(|_| role::is_session_s_own())
}

/// Makes a queue that belongs to a role, which need not be the caller. None if the name is taken.
pub fn create_for(name: &Name, owner: Oid, settings: Value) -> Result<Option<i32>> {
    if role::role_name(owner).is_none() {
        return Err(Error::owner_is_gone(&name.to_string()));
    }
    add(name, owner, settings)
}

/// Makes the row of a queue that transactions have pushed to while another was making it, which was rolled back.
/// Waits for one that is making it now. Does nothing if the row is there.
pub fn make_begun(name: &Name) -> Result<()> {
    let mut note = None;
    begun::find(&[Some(name.datum()), None], |row| {
        let grants = row.text(6).map(|grants| String::from_utf8_lossy(&grants).into_owned());
        note = Some((Access::from_row(row, 0).owner(), grants));
    });
    let Some((owner, grants)) = note else { return Ok(()) };
    let made = add(name, owner, Value::Object(serde_json::Map::new()))?;
    let grants = grants.and_then(|grants| serde_json::from_str(&grants).ok());
    if let (Some(queue), Some(grants)) = (made, grants) {
        grants::grant_defaults(queue, &grants);
    }
    Ok(())
}

/// Adds the row of a queue; one without an owner belongs to superusers. None if the name is taken.
fn add(name: &Name, owner: Oid, settings: Value) -> Result<Option<i32>> {
    let limit = check_settings(name, &settings)?.max_leased;
    let mut made = None;
    sequence::check();
    begun::add(
        name,
        owner,
        || matches!(has_row(name), Ok(true)),
        |number| {
            let owner = role::role_name(owner).map(|owner| text_datum(&owner));
            let settings = jsonb_datum(&settings.to_string());
            let values = [Some(name.datum()), owner, Some(settings), number.map(Datum::from)];
            CREATE.run(&values, |row| made = Some(row.i32(0)));
        },
    );
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
