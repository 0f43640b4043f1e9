//! Acting as the owner of the tables.
//!
//! Functions check the caller's right on a queue themselves, and then read and write tables on which the
//! caller has no privilege. Statements run as the tables' owner with a search path of their own, so that no
//! name resolves through the caller's settings. After an error, the end of the (sub)transaction restores
//! both.

use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::sync::Once;

use pgrx::pg_sys::{self, Datum, Oid};

pub type Setting<'a> = (&'static CStr, &'a CStr);

const SEARCH_PATH: Setting = (c"search_path", c"pg_catalog, pg_temp");

/// Settings with which tables are read by their indexes only, one row after the other.
pub const BY_INDEX: [Setting; 4] = [
    (c"enable_seqscan", c"off"),
    (c"enable_hashjoin", c"off"),
    (c"enable_mergejoin", c"off"),
    (c"jit", c"off"),
];

/// Settings with which the text of a value is exact and the same for every caller.
const PLAIN_TEXT: [Setting; 12] = [
    SEARCH_PATH,
    (c"bytea_output", c"hex"),
    (c"datestyle", c"ISO, MDY"),
    (c"extra_float_digits", c"1"),
    (c"intervalstyle", c"postgres"),
    (c"lc_monetary", c"C"),
    (c"lc_numeric", c"C"),
    (c"lc_time", c"C"),
    (c"quote_all_identifiers", c"off"),
    (c"timezone", c"UTC"),
    (c"xmlbinary", c"base64"),
    (c"xmloption", c"content"),
];

/// Runs `work` as `owner`, with our own search path.
pub fn act_as<R>(owner: Oid, work: impl FnOnce() -> R) -> R {
    act(owner, pg_sys::SECURITY_LOCAL_USERID_CHANGE, &[SEARCH_PATH], work)
}

/// Like `act_as`; a statement that is planned meanwhile reads tables by their indexes only, one row after the
/// other.
///
/// An estimate that rows of one queue are most of a table would make each other queue pay for that one, and a
/// high estimate would have the statement compiled, which takes longer than it runs.
pub fn act_by_index<R>(owner: Oid, work: impl FnOnce() -> R) -> R {
    const SETTINGS: [Setting; 5] = [SEARCH_PATH, BY_INDEX[0], BY_INDEX[1], BY_INDEX[2], BY_INDEX[3]];
    act(owner, pg_sys::SECURITY_LOCAL_USERID_CHANGE, &SETTINGS, work)
}

/// Like `act_as`, with a short lock timeout.
pub fn act_impatiently<R>(owner: Oid, work: impl FnOnce() -> R) -> R {
    const LOCK_TIMEOUT: Setting = (c"lock_timeout", c"50");
    act(owner, pg_sys::SECURITY_LOCAL_USERID_CHANGE, &[SEARCH_PATH, LOCK_TIMEOUT], work)
}

/// Runs `work` with a lock timeout of 1 ms.
pub fn act_hastily<R>(work: impl FnOnce() -> R) -> R {
    act(caller(), 0, &[(c"lock_timeout", c"1")], work)
}

/// Runs `work` as the current user, with our own search path and fixed output formats, whatever the user has
/// set.
pub fn act_plainly<R>(work: impl FnOnce() -> R) -> R {
    act(caller(), pg_sys::SECURITY_LOCAL_USERID_CHANGE, &PLAIN_TEXT, work)
}

/// Runs `work` as the current user, with a given search path; `work` can change neither role nor session.
/// Output formats are those of a new session of the role in this database.
pub fn act_restricted<R>(search_path: &CStr, work: impl FnOnce() -> R) -> R {
    let restrictions = pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION;
    let mut settings = PLAIN_TEXT.map(|(name, _)| (name, reset_value(name)));
    settings[0] = (c"search_path", search_path);
    act(caller(), restrictions, &settings, work)
}

/// Returns the value that RESET gives a setting. The pointer is valid until the configuration files are
/// reloaded.
fn reset_value<'a>(name: &CStr) -> &'a CStr {
    // SAFETY: the setting exists; its value is a C string.
    unsafe { CStr::from_ptr(pg_sys::GetConfigOptionResetString(name.as_ptr())) }
}

fn act<R>(role: Oid, restrictions: u32, settings: &[Setting], work: impl FnOnce() -> R) -> R {
    let (mut user, mut context) = (Oid::INVALID, 0);
    // SAFETY: plain calls with pointers to locals; the pairs are closed below, or by
    // the abort of the (sub)transaction if `work` raises.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        pg_sys::SetUserIdAndSecContext(role, context | restrictions as i32);
        let level = pg_sys::NewGUCNestLevel();
        for (name, value) in settings.iter().filter(|setting| !holds(setting)) {
            pg_sys::set_config_option(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
        }
        let result = work();
        // Undoes the settings of `work` too: a user's function may have changed some.
        pg_sys::AtEOXact_GUC(false, level);
        pg_sys::SetUserIdAndSecContext(user, context);
        result
    }
}

fn holds((name, value): &Setting) -> bool {
    // SAFETY: the setting exists; its value is a C string.
    unsafe { CStr::from_ptr(pg_sys::GetConfigOption(name.as_ptr(), false, false)) == *value }
}

/// The current user.
pub fn caller() -> Oid {
    // SAFETY: reads a variable of this backend.
    unsafe { pg_sys::GetUserId() }
}

/// True if the current user is the session's own role, not the owner of a SECURITY DEFINER function.
pub fn is_session_s_own() -> bool {
    // SAFETY: reads a variable of this backend.
    caller() == unsafe { pg_sys::GetOuterUserId() }
}

/// Returns the number of the role with exactly this name.
pub fn role(name: &[u8]) -> Option<Oid> {
    if name.len() >= pg_sys::NAMEDATALEN as usize {
        return None; // no role has so long a name
    }
    let name = CString::new(name).ok()?;
    // SAFETY: a cached look-up by a C string.
    let role = unsafe { pg_sys::get_role_oid(name.as_ptr(), true) };
    (role != Oid::INVALID).then_some(role)
}

/// Returns the name of a role, in the encoding of the server; none if the role is gone.
pub fn role_name(role: Oid) -> Option<Vec<u8>> {
    // SAFETY: gives a C string in the current memory context, or a null.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role, true);
        (!name.is_null()).then(|| CStr::from_ptr(name).to_bytes().to_vec())
    }
}

/// True if the current user could become the role with SET ROLE.
pub fn caller_can_become(role: Oid) -> bool {
    #[cfg(feature = "pg15")]
    use pg_sys::is_member_of_role as can_be;
    #[cfg(not(feature = "pg15"))]
    use pg_sys::member_can_set_role as can_be;
    // SAFETY: a look-up in the cache of memberships.
    unsafe { can_be(caller(), role) }
}

/// Returns a role and all roles that it is a member of, directly or through others, whether or not it
/// inherits their privileges.
pub fn joined_by(role: Oid) -> Vec<Oid> {
    let mut roles = vec![role];
    let mut known = HashSet::from([role]);
    let mut next = 0;
    while let Some(&member) = roles.get(next) {
        roles.extend(listed_for(member).into_iter().filter(|&to| known.insert(to)));
        next += 1;
    }
    roles
}

/// Returns the roles that a role is a direct member of.
fn listed_for(member: Oid) -> Vec<Oid> {
    const ROLE: i16 = if cfg!(feature = "pg15") { 1 } else { 2 };
    let (cache, none) = (pg_sys::SysCacheIdentifier::AUTHMEMMEMROLE as i32, Datum::null());
    // SAFETY: the list is complete and stays until it is released; an error releases it with its resource
    // owner. The column is an oid and never null.
    unsafe {
        let list = pg_sys::SearchSysCacheList(cache, 1, member.into(), none, none);
        let members = (*list).members.as_slice((*list).n_members as usize);
        let role = |member: &*mut pg_sys::CatCTup| {
            let mut null = false;
            let role = pg_sys::SysCacheGetAttr(cache, &raw mut (**member).tuple, ROLE, &mut null);
            Oid::from(role.value() as u32)
        };
        let roles = members.iter().map(role).collect();
        pg_sys::ReleaseCatCacheList(list);
        roles
    }
}

thread_local! {
    static CHANGES: Cell<u64> = const { Cell::new(0) };
    static MEMBERSHIPS: Cell<u64> = const { Cell::new(0) };
}

/// Counts the changes of roles and memberships that this session has heard of since its first call. What
/// `has_privs_of_role` says stays as it is while this does.
pub fn memberships() -> u64 {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        use pg_sys::SysCacheIdentifier::{AUTHMEMROLEMEM, AUTHOID, DATABASEOID};
        for cache in [AUTHMEMROLEMEM, AUTHOID, DATABASEOID] {
            // SAFETY: on_membership neither allocates nor raises.
            unsafe {
                pg_sys::CacheRegisterSyscacheCallback(cache as i32, Some(on_membership), Datum::null());
            }
        }
    });
    MEMBERSHIPS.get()
}

/// Called by Postgres in the middle of its cache handling: only counts.
unsafe extern "C-unwind" fn on_membership(_: Datum, _cache: i32, _hash: u32) {
    MEMBERSHIPS.set(MEMBERSHIPS.get() + 1);
}

/// Counts the changes of roles that this session has heard of since its first call.
pub fn times_changed() -> u64 {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        let roles = pg_sys::SysCacheIdentifier::AUTHOID as i32;
        // SAFETY: on_change neither allocates nor raises.
        unsafe { pg_sys::CacheRegisterSyscacheCallback(roles, Some(on_change), Datum::null()) }
    });
    CHANGES.get()
}

/// Called by Postgres in the middle of its cache handling: only counts.
unsafe extern "C-unwind" fn on_change(_: Datum, _cache: i32, _hash: u32) {
    CHANGES.set(CHANGES.get() + 1);
}

/// Revokes all privileges of a role on an object; false if the object does not exist. Postgres checks the
/// caller's privilege to do so.
pub fn revoke_all(role: Oid, object: Object) -> bool {
    let (cache, class, object) = match object {
        Object::Relation(object) => (pg_sys::SysCacheIdentifier::RELOID, pg_sys::RelationRelationId, object),
        Object::Function(object) => {
            (pg_sys::SysCacheIdentifier::PROCOID, pg_sys::ProcedureRelationId, object)
        }
        Object::Schema(object) => {
            (pg_sys::SysCacheIdentifier::NAMESPACEOID, pg_sys::NamespaceRelationId, object)
        }
    };
    let none = Datum::null();
    // SAFETY: plain values.
    unsafe {
        let is_there = pg_sys::SearchSysCacheExists(cache as i32, object.into(), none, none, none);
        if is_there {
            pg_sys::RemoveRoleFromObjectACL(role, class, object);
        }
        is_there
    }
}

/// An object on which roles have privileges.
#[derive(Clone, Copy)]
pub enum Object {
    Relation(Oid),
    Function(Oid),
    Schema(Oid),
}
