//! Turns: how long one step, errand or part of it may keep a background process from the others.
//!
//! The cost of a statement is up to the roles whose rows it meets: locked rows, dead index entries, large
//! groups. So background work goes on in parts. A part that takes longer than a turn is cancelled and undone,
//! and the next part is smaller. The smallest part that is cancelled is passed over.

use std::cell::Cell;
use std::time::{Duration, Instant};

use pgrx::PgSqlErrorCode;

use crate::pg::subtransaction::unless;
use crate::pg::timeout::{TimeLimit, is_worker};

/// After this time a step that goes through queues or messages leaves the rest to the next round, and so does
/// an errand.
pub const TURN: Duration = Duration::from_millis(200);

/// A part that took too long is followed by one that is this many times smaller.
const SMALLER: i64 = 16;

/// The largest part: a sum with an id must not overflow. Ids of a partition may begin at 255 × 10¹³, so a smaller
/// one would take thousands of parts to get there.
const LARGEST: i64 = 1 << 56;

/// The size of the parts in which a step goes through something. It follows the time that the last part took.
pub struct Parts(Cell<i64>);

/// The size of a part that took longer than a turn.
#[derive(Debug)]
pub struct TookTooLong(pub i64);

impl TookTooLong {
    /// The next part cannot be smaller, so this one has to be passed over.
    pub fn is_smallest(&self) -> bool {
        self.0 <= 1
    }
}

impl Parts {
    pub const fn of(first: i64) -> Self {
        Self(Cell::new(first))
    }

    /// Does a part of at most `most`. Only a background process has limits: by hand, it does all of them.
    pub fn work<R>(&self, most: i64, work: impl FnOnce(i64) -> R) -> Result<R, TookTooLong> {
        if !is_worker() {
            return Ok(work(most));
        }
        let (part, begun) = (self.0.get().clamp(1, most.max(1)), Instant::now());
        match in_time(|| work(part)) {
            Some(done) => {
                self.0.set(next_size(part, begun.elapsed()));
                Ok(done)
            }
            None => {
                self.0.set((part / SMALLER).max(1));
                Err(TookTooLong(part))
            }
        }
    }

    /// Goes through items in parts: in a background process for so long, give or take a part. `done` takes the
    /// result of each part and tells whether to go on; `passed_over` takes an item that alone takes longer than
    /// a turn. Returns the items that are left.
    pub fn go_through<'a, T, R>(
        &self,
        items: &'a [T],
        time: Duration,
        work: impl Fn(&[T]) -> R,
        mut done: impl FnMut(R) -> bool,
        passed_over: impl Fn(&T),
    ) -> &'a [T] {
        let (begun, mut left, mut goes_on) = (Instant::now(), items, true);
        while goes_on && !(left.is_empty() || is_worker() && begun.elapsed() >= time) {
            pgrx::check_for_interrupts!();
            let part = |size: i64| (size as usize, work(&left[..size as usize]));
            match self.work(left.len() as i64, part) {
                Ok((size, result)) => {
                    goes_on = done(result);
                    left = &left[size..];
                }
                Err(took_long) if took_long.is_smallest() => {
                    passed_over(&left[0]);
                    left = &left[1..];
                }
                Err(_) => {}
            }
        }
        left
    }
}

/// The size of the part after one that took so long.
fn next_size(part: i64, took: Duration) -> i64 {
    let ratio = (TURN / 4).as_secs_f64() / took.as_secs_f64().max(1e-6);
    ((part as f64 * ratio.min(4.0)) as i64).clamp(1, LARGEST)
}

/// Does work that is undone if it takes a background process longer than a turn; true if it is done.
pub fn for_a_turn(work: impl FnOnce()) -> bool {
    if !is_worker() {
        work();
        return true;
    }
    in_time(work).is_some()
}

/// Does work that is undone if it takes longer than a turn, or fails by an error of its own; then it is none.
fn in_time<R>(work: impl FnOnce() -> R) -> Option<R> {
    let _limit = TimeLimit::in_worker(TURN);
    let is_refused = |problem: &_| pgrx::log!("pgqueue worker: a part is left out: {problem}");
    unless(&[PgSqlErrorCode::ERRCODE_QUERY_CANCELED], &[], is_refused, || Ok(work()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_while_they_are_quick_and_shrink_while_they_are_slow() {
        assert_eq!(next_size(100, Duration::ZERO), 400);
        assert_eq!(next_size(100, TURN / 2), 50);
        assert_eq!(next_size(1, TURN), 1);
        assert_eq!(next_size(LARGEST, Duration::ZERO), LARGEST);
    }
}
