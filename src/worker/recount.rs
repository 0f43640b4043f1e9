//! Recount: counts the messages of every queue once after the server's start.
//!
//! An immediate shutdown loses the counts in shared memory that were not written down. A recount blocks no
//! other transaction: it counts a queue with one snapshot, and again later if a transaction has changed the
//! counts meanwhile.

use std::time::Instant;

use crate::engine::queue::counter;
use crate::engine::shared::layout;
use crate::engine::table::statement::Statement;
use crate::pg::timeout::is_asked_to_end;
use crate::pg::turn::TURN;
use crate::worker::step::{logged, logged_however_long};

static ALL: Statement = Statement::new(include_str!("../../sql/query/queue_ids.sql"), &[]);

/// Number of attempts at a queue. If each was disturbed, the last count holds: messages that commit at that
/// moment may be missing.
const MOST_TRIES: u32 = 3;

/// Queues that have yet to be counted, each with its number of attempts; none before they are listed.
#[derive(Default)]
pub struct Recount(Option<Vec<(i32, u32)>>);

impl Recount {
    /// Counts some queues. The next round repeats a count that failed.
    pub fn go_on(&mut self) {
        let begun = Instant::now();
        let Some(queues) = self.listed() else { return };
        for _ in 0..queues.len() {
            if begun.elapsed() > TURN || is_asked_to_end() {
                return;
            }
            let Some((queue, tries)) = queues.pop() else { return };
            let is_last = tries + 1 >= MOST_TRIES;
            let mut is_done = false;
            if !logged_however_long("recount", || is_done = counter::recount(queue, is_last)) {
                queues.insert(0, (queue, tries));
                return;
            }
            if !is_done && !is_last {
                queues.insert(0, (queue, tries + 1));
            }
        }
    }

    /// Returns the listed queues; none if they cannot be listed now. Without shared memory the list is empty.
    fn listed(&mut self) -> Option<&mut Vec<(i32, u32)>> {
        if self.0.is_none() {
            let mut queues = Vec::new();
            let list = || {
                ALL.run(&[], |row| queues.push((row.i32(0), 0)));
            };
            self.0 = (!layout::is_preloaded() || logged("recount", list)).then_some(queues);
        }
        self.0.as_mut()
    }
}
