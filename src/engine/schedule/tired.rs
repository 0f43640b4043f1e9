//! Owners whose schedules rest in this process: a run of one of them took long.
//!
//! It is not enough that the schedule itself rests: a role may have many of the kind.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use pgrx::pg_sys::Oid;

thread_local! {
    /// Each owner with the moment at which its rest is over.
    static TIRED: RefCell<HashMap<Oid, Instant>> = RefCell::default();
}

/// Lets all schedules of a role rest.
pub fn rest(owner: Oid, time: Duration) {
    if !time.is_zero() {
        TIRED.with_borrow_mut(|tired| tired.insert(owner, Instant::now() + time));
    }
}

/// Returns the roles whose schedules rest.
pub fn owners() -> Vec<Oid> {
    let now = Instant::now();
    TIRED.with_borrow_mut(|tired| {
        tired.retain(|_, end| *end > now);
        tired.keys().copied().collect()
    })
}

pub fn is_resting(owner: Oid) -> bool {
    TIRED.with_borrow(|tired| tired.get(&owner).is_some_and(|end| *end > Instant::now()))
}
