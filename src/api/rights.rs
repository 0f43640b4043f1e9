//! `pgq_grant`, `pgq_revoke`, `pgq_list_grants`, `pgq_set_owner`, `pgq_reassign_owned`.

use std::rc::Rc;

use crate::api::call::{Answer, Call};
use crate::engine::queue::create;
use crate::engine::queue::grants::{self, Role};
use crate::engine::table::queue::{self, Queue};
use crate::error::{Error, Result};
use crate::pg::session::check_writable;
use crate::value::right::Right;

crate::export_to_sql!(pgq_grant, pgq_revoke, pgq_list_grants, pgq_set_owner, pgq_reassign_owned);

fn pgq_grant(call: &Call) -> Answer {
    let (role, right) = role_and_right(call, of_queues, &Right::GRANTABLE)?;
    let queue = own_queue(call, "pgq_grant")?;
    Ok(Some(grants::grant(&queue, &role, right)?.into()))
}

fn pgq_revoke(call: &Call) -> Answer {
    let (role, right) = role_and_right(call, of_queues, &Right::GRANTABLE)?;
    let queue = own_queue(call, "pgq_revoke")?;
    Ok(Some(grants::revoke(&queue, &role, right)?.into()))
}

/// Reads the arguments of a grant; `read` knows the rights, which are these `words`.
pub fn role_and_right(
    call: &Call,
    read: impl FnOnce(&str) -> Option<Right>,
    words: &[&str],
) -> Result<(Role, Right)> {
    let role = Role::or_public(&call.name(1, "role")?, "role")?;
    let word: String = call.required(2, "privilege")?;
    let right = read(&word).ok_or_else(|| Error::unknown_word("privilege", &word, words))?;
    Ok((role, right))
}

fn of_queues(word: &str) -> Option<Right> {
    serde_json::from_value(word.into()).ok()
}

fn own_queue(call: &Call, function: &str) -> Result<Rc<Queue>> {
    let name = call.name(0, "queue")?;
    check_writable(function)?;
    create::existing_with_row(&name, Right::Own)
}

fn pgq_list_grants(call: &Call) -> Answer {
    let name = call.optional_name(0, "queue")?;
    if let Some(name) = &name {
        queue::existing(name, Right::Monitor)?;
    }
    let mut rows = call.rows()?;
    grants::list(name.as_ref(), |row| rows.push(row));
    rows.done()
}

fn pgq_set_owner(call: &Call) -> Answer {
    let owner = role(call, 1, "owner")?;
    let queue = own_queue(call, "pgq_set_owner")?;
    Ok(Some(grants::set_owner(&queue, &owner)?.into()))
}

fn pgq_reassign_owned(call: &Call) -> Answer {
    let (old, new) = (role(call, 0, "old_owner")?, role(call, 1, "new_owner")?);
    check_writable("pgq_reassign_owned")?;
    Ok(Some(grants::reassign_owned(&old, &new)?.into()))
}

pub fn role(call: &Call, n: usize, argument: &str) -> Result<Role> {
    Role::named(&call.name(n, argument)?, argument)
}
