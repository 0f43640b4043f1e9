//! Due schedules and watches, looked for owner by owner.
//!
//! The look at an owner's schedules passes those that other transactions have put, changed or removed and not
//! committed. An owner with so many that this takes longer than a turn rests, and delays no other.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use pgrx::pg_sys::{self, Oid};

use crate::engine::table::statement::{Row, Statement};
use crate::pg::datum::oid_array;
use crate::pg::rests::Rests;
use crate::pg::session::now;
use crate::pg::timeout::is_worker;
use crate::pg::turn::{Parts, TURN};
use crate::value::timestamp::Timestamp;

static ROLES: Statement = Statement::new(include_str!("../../../sql/query/roles.sql"), &[]);
static NAMES: Statement = Statement::new(
    include_str!("../../../sql/query/due_names.sql"),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INT8OID, pg_sys::OIDARRAYOID],
);
static WATCH_OWNERS: Statement = Statement::new(
    include_str!("../../../sql/query/watch_owners.sql"),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::OIDARRAYOID],
);

/// How many owners are first looked at at a time.
const OWNERS: i64 = 1_000;

/// How long an owner rests whose schedules alone took longer than a turn.
const REST: Duration = Duration::from_secs(20);

/// A role with due watches.
pub struct WatchOwner {
    /// None: the role is gone.
    pub role: Option<Oid>,
    /// The role may log in, and connect to this database.
    pub may_connect: bool,
}

thread_local! {
    static PARTS: Parts = const { Parts::of(OWNERS) };
    /// Owners of whose schedules one took long. It is not enough that this one rests: a role may have many of
    /// the kind.
    static TIRED: RefCell<Rests<Oid>> = RefCell::default();
}

/// Lets all schedules of a role rest.
pub fn rest(owner: Oid, time: Duration) {
    TIRED.with_borrow_mut(|tired| tired.begin(owner, time));
}

pub fn is_resting(owner: Oid) -> bool {
    TIRED.with_borrow(|tired| tired.is_resting(owner))
}

/// The names of up to `most` schedules that are due: of each owner first the one that waits longest, then of
/// each the second, and so on, so that no role waits for the many schedules of another.
pub fn names(begun: Timestamp, most: i64) -> Vec<Vec<u8>> {
    let mut found: Vec<(i64, Timestamp, Vec<u8>)> = look_by_owner(&[], |owners, found| {
        NAMES.run(&[Some(begun.into()), Some(most.into()), Some(oid_array(owners))], |row| {
            found.push((row.i64(3), row.i64(2), row.text(0).unwrap_or_default()));
        });
    });
    found.sort_unstable();
    found.truncate(most as usize);
    found.into_iter().map(|(_, _, name)| name).collect()
}

/// The roles with due watches, without the busy ones; the role that has waited longest comes first.
pub fn watch_owners(busy: &[Oid]) -> Vec<WatchOwner> {
    let mut owners: Vec<(Timestamp, WatchOwner)> = look_by_owner(busy, |owners, found| {
        WATCH_OWNERS.run(&[Some(now().into()), Some(oid_array(owners))], |row| {
            let role = Some(owner(row)).filter(|&role| role != Oid::INVALID);
            found.push((row.i64(2), WatchOwner { role, may_connect: row.bool(1) }));
        });
    });
    owners.sort_by_key(|(since, _)| *since);
    owners.into_iter().map(|(_, owner)| owner).collect()
}

fn owner(row: &Row) -> Oid {
    Oid::from(row.value(0).value() as u32)
}

/// Looks at the owners that do not rest, without the busy ones: in the worker in random order, for two turns.
fn look_by_owner<T>(busy: &[Oid], look: impl Fn(&[Oid], &mut Vec<T>)) -> Vec<T> {
    let mut owners = Vec::new();
    ROLES.run(&[], |row| owners.push(owner(row)));
    owners.retain(|owner| !busy.contains(owner) && !is_resting(*owner));
    if is_worker() {
        fastrand::shuffle(&mut owners);
    }
    let (begun, mut all, mut left) = (Instant::now(), Vec::new(), &owners[..]);
    while !(left.is_empty() || is_worker() && begun.elapsed() >= 2 * TURN) {
        pgrx::check_for_interrupts!();
        let part = |size: i64| {
            let mut found = Vec::new();
            look(&left[..size as usize], &mut found);
            (size as usize, found)
        };
        match PARTS.with(|parts| parts.work(left.len() as i64, part)) {
            Ok((size, mut found)) => {
                all.append(&mut found);
                left = &left[size..];
            }
            Err(took_long) if took_long.is_smallest() => {
                rest(left[0], REST);
                left = &left[1..];
            }
            Err(_) => {}
        }
    }
    all
}
