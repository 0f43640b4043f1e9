//! Topics are made and dropped, and rights on them are granted.

use pgrx::pg_sys::{self, Datum};

use crate::engine::queue::grants::{self, Role, check_can_be};
use crate::engine::table::access::Access;
use crate::engine::table::name::Name;
use crate::engine::table::sequence;
use crate::engine::table::statement::Statement;
use crate::engine::table::topic::{self, Topic};
use crate::error::{Error, Result};
use crate::pg::datum::text_datum;
use crate::pg::role;
use crate::value::right::Right;

static CREATE: Statement =
    Statement::new(include_str!("../../../sql/query/create_topic.sql"), &[pg_sys::TEXTOID, pg_sys::TEXTOID]);
static DROP: Statement =
    Statement::new(include_str!("../../../sql/query/drop_topic.sql"), &[pg_sys::INT4OID]);
static LIST: Statement = Statement::new(include_str!("../../../sql/query/list_topics.sql"), &[]);
static LIST_GRANTS: Statement =
    Statement::new(include_str!("../../../sql/query/list_topic_grants.sql"), &[pg_sys::TEXTOID]);
static SET_OWNER: Statement = Statement::new(
    include_str!("../../../sql/query/set_topic_owner.sql"),
    &[pg_sys::INT4OID, pg_sys::TEXTOID, pg_sys::OIDOID],
);

/// Columns of a list for the check of rights.
const HEAD: usize = 3;

/// Makes a topic that belongs to the caller. False if the name is taken.
///
/// The name is looked up first: a number drawn in vain is lost.
pub fn create(name: &Name) -> Result<bool> {
    if topic::find(name).is_some() {
        return Ok(false);
    }
    let owner = role::role_name(role::caller()).ok_or_else(|| Error::owner_is_gone(&name.to_string()))?;
    sequence::check();
    Ok(CREATE.run(&[Some(name.datum()), Some(text_datum(&owner))], |_| {}) > 0)
}

/// Drops a topic, and returns how many subscriptions it had. An error if another transaction has dropped it.
pub fn drop(topic: &Topic) -> Result<i64> {
    let topic = topic::locked_to_drop(topic)?;
    let mut subscriptions = 0;
    DROP.run(&[Some(topic.id.into())], |row| subscriptions = row.i64(0));
    Ok(subscriptions)
}

/// Shows the topics on which the caller has a right.
pub fn list(mut each: impl FnMut(&[Option<Datum>])) {
    LIST.run(&[], |row| {
        if Access::from_row(row, 0).allows_caller(Right::Monitor) {
            each(&row.all()[HEAD..]);
        }
    });
}

/// Grants a right. False if it was granted already.
pub fn grant(topic: &Topic, role: &Role, right: Right) -> Result<bool> {
    let topic = topic::locked(topic)?;
    Ok(grants::add(topic.id, role, right))
}

/// Takes a right back. False if it was not granted.
pub fn revoke(topic: &Topic, role: &Role, right: Right) -> Result<bool> {
    let topic = topic::locked(topic)?;
    Ok(grants::remove(topic.id, role, right))
}

/// Shows the grants on one topic or all, as far as the caller owns them.
pub fn list_grants(topic: Option<&Name>, mut each: impl FnMut(&[Option<Datum>])) {
    LIST_GRANTS.run(&[topic.map(Name::datum)], |row| {
        if Access::from_row(row, 0).allows_caller(Right::Own) {
            each(&row.all()[HEAD..]);
        }
    });
}

/// Gives a topic to a role that the caller is a member of. False if the role owned it already.
pub fn set_owner(topic: &Topic, owner: &Role) -> Result<bool> {
    let topic = topic::locked(topic)?;
    check_can_be(owner)?;
    if topic.owner() == owner.id {
        return Ok(false);
    }
    SET_OWNER.run(&[Some(topic.id.into()), Some(text_datum(&owner.name)), Some(owner.id.into())], |_| {});
    Ok(true)
}
