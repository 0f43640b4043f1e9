//! Acting as the owner of the tables.
//!
//! The functions check the caller's right on a queue themselves and then touch
//! tables the caller may not. Statements run as the tables' owner with a search
//! path of their own, so that nothing resolves through what the caller has set.
//! An error restores both through the end of its (sub)transaction.

use std::ffi::{CStr, CString};

use pgrx::pg_sys::{self, Oid};

use crate::error::{Error, Result};

const SEARCH_PATH: &CStr = c"pg_catalog, pg_temp";

/// Runs `work` as `owner`, with our own search path.
pub fn act_as<R>(owner: Oid, work: impl FnOnce() -> R) -> R {
    act(owner, pg_sys::SECURITY_LOCAL_USERID_CHANGE, SEARCH_PATH, work)
}

/// Runs `work` as the current user, with a search path of his, and lets it change
/// neither role nor session.
pub fn act_restricted<R>(search_path: &CStr, work: impl FnOnce() -> R) -> R {
    // SAFETY: reads a variable of the session.
    let user = unsafe { pg_sys::GetUserId() };
    let restrictions = pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION;
    act(user, restrictions, search_path, work)
}

fn act<R>(role: Oid, restrictions: u32, search_path: &CStr, work: impl FnOnce() -> R) -> R {
    let (mut user, mut context) = (Oid::INVALID, 0);
    // SAFETY: plain calls with pointers to locals; the pairs are closed below, or by
    // the abort of the (sub)transaction if `work` raises.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        pg_sys::SetUserIdAndSecContext(role, context | restrictions as i32);
        let level = pg_sys::NewGUCNestLevel();
        pg_sys::set_config_option(
            c"search_path".as_ptr(),
            search_path.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
        let result = work();
        pg_sys::AtEOXact_GUC(true, level);
        pg_sys::SetUserIdAndSecContext(user, context);
        result
    }
}

/// Whether the current user is a superuser or has the rights of the role named.
///
/// Nobody but superusers has the rights of a role that does not exist.
pub fn caller_is_member_of(role: &[u8]) -> bool {
    // SAFETY: reads a variable of this backend.
    has_rights_of(unsafe { pg_sys::GetUserId() }, role)
}

/// Whether a role is a superuser or has the rights of another.
pub fn is_member_of(member: &[u8], role: &[u8]) -> bool {
    look_up(member).is_some_and(|member| has_rights_of(member, role))
}

fn has_rights_of(user: Oid, role: &[u8]) -> bool {
    // SAFETY: cached look-ups of roles.
    unsafe {
        match look_up(role) {
            Some(role) => pg_sys::has_privs_of_role(user, role),
            None => pg_sys::superuser_arg(user),
        }
    }
}

/// The number of the role named.
pub fn role(name: &[u8]) -> Result<Oid> {
    look_up(name).ok_or_else(|| Error::no_such_role(&String::from_utf8_lossy(name)))
}

fn look_up(role: &[u8]) -> Option<Oid> {
    let name = CString::new(role).ok()?;
    // SAFETY: a cached look-up by a C string.
    let role = unsafe { pg_sys::get_role_oid(name.as_ptr(), true) };
    (role != Oid::INVALID).then_some(role)
}

/// The name of the current user, in the encoding of the server.
pub fn caller_name() -> Vec<u8> {
    // SAFETY: gives a C string in the current memory context, or raises.
    unsafe { CStr::from_ptr(pg_sys::GetUserNameFromId(pg_sys::GetUserId(), false)) }.to_bytes().to_vec()
}
