//! Tours: a step goes through queues, the next part of them each time.
//!
//! The worker does so for a turn, and goes on there in its next round. So the queues of other roles need not
//! wait, however many queues a role has.

use std::cell::Cell;
use std::time::Instant;

use crate::engine::table::statement::Statement;
use crate::pg::timeout::is_worker;
use crate::pg::turn::{Parts, TURN, for_a_turn};

/// How many queues are looked at at a time.
const QUEUES: i64 = 100;

/// How far a step has come through the queues.
pub struct Tour {
    /// The number of the last queue that was looked at; 0 to begin anew.
    behind: Cell<i32>,
    parts: Parts,
}

impl Tour {
    pub const fn new() -> Self {
        Self { behind: Cell::new(0), parts: Parts::of(QUEUES) }
    }

    /// Works on the next queues from `having`, on up to `page` rows, and returns on how many. `work` gets some
    /// queues and the number of rows that are left. A queue that takes longer than a turn is passed over.
    /// If `having` takes that long, the queue has a turn for the work alone.
    pub fn go_on(&self, having: &'static Statement, page: i64, work: impl Fn(&[i32], i64) -> i64) -> i64 {
        let (begun, mut done) = (Instant::now(), 0);
        let mut behind = if is_worker() { self.behind.get() } else { 0 };
        loop {
            pgrx::check_for_interrupts!();
            let part = |size: i64| {
                let queues = next(having, behind, size);
                let is_last = (queues.len() as i64) < size;
                (queues.last().copied().filter(|_| !is_last).unwrap_or(0), work(&queues, page - done))
            };
            match self.parts.work(QUEUES, part) {
                Ok((last, some)) => {
                    behind = last;
                    done += some;
                }
                Err(took_long) if took_long.is_smallest() => {
                    let queues = next(having, behind, 1);
                    for_a_turn(|| done += work(&queues, page - done));
                    behind = queues.first().copied().unwrap_or(0);
                }
                Err(_) => {}
            }
            if behind == 0 || done >= page || is_worker() && begun.elapsed() >= TURN {
                break;
            }
        }
        if is_worker() {
            self.behind.set(behind);
        }
        done
    }
}

/// The next queues from `having`.
pub(super) fn next(having: &'static Statement, behind: i32, most: i64) -> Vec<i32> {
    let mut queues = Vec::new();
    having.run(&[Some(behind.into()), Some(most.into())], |row| queues.push(row.i32(0)));
    queues
}
