//! Counting the messages of every queue once after the server's start.
//!
//! What shared memory had counted and nobody had written down is lost when the server
//! stops at once. Nobody else is disturbed: a queue is counted with one snapshot, and
//! again later if somebody has counted meanwhile.

use std::time::{Duration, Instant};

use super::is_asked_to_end;
use super::sweep::logged;
use crate::engine::statement::Statement;
use crate::engine::{board, counter};

static ALL: Statement = Statement::new(include_str!("../../sql/query/queue_ids.sql"), &[]);

/// How long a turn of counting goes on before others of the worker's duties have theirs.
const TURN: Duration = Duration::from_millis(200);

/// A queue that is never quiet for as long as its count takes is counted as well as can
/// be: what commits at that moment may be missing.
const MOST_TRIES: u32 = 3;

/// The queues that have yet to be counted, and how often that was tried.
pub struct Recount(Vec<(i32, u32)>);

impl Recount {
    pub fn of_all_queues() -> Self {
        let mut queues = Vec::new();
        if board::is_preloaded() {
            logged("recount", || {
                ALL.run(&[], |row| queues.push((row.i32(0), 0)));
            });
        }
        Self(queues)
    }

    /// Counts some of them.
    pub fn go_on(&mut self) {
        let begun = Instant::now();
        for _ in 0..self.0.len() {
            if begun.elapsed() > TURN || is_asked_to_end() {
                return;
            }
            let Some((queue, tries)) = self.0.pop() else { return };
            let mut is_done = false;
            logged("recount", || is_done = counter::recount(queue, tries + 1 >= MOST_TRIES));
            if !is_done && tries + 1 < MOST_TRIES {
                self.0.insert(0, (queue, tries + 1));
            }
        }
    }
}
