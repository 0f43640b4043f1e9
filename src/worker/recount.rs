//! Recount: counts the messages of every queue once after the server's start.
//!
//! An immediate shutdown loses the counts in shared memory that were not written down. A recount blocks no
//! other transaction: it counts queues with one snapshot, and again in the next round those of which a
//! transaction was always committing.

use std::time::Instant;

use crate::engine::queue::counter;
use crate::engine::shared::layout;
use crate::engine::table::statement::Statement;
use crate::pg::timeout::is_asked_to_end;
use crate::pg::turn::TURN;
use crate::worker::step::{logged, logged_however_long};

static ALL: Statement = Statement::new(include_str!("../../sql/query/queue_ids.sql"), &[]);

/// Number of queues that are counted at once, unless their count has failed.
const BATCH: usize = 50;

/// Queues that have yet to be counted; none before they are listed.
#[derive(Default)]
pub struct Recount(Option<Left>);

#[derive(Default)]
struct Left {
    queues: Vec<i32>,
    /// Queues whose count failed.
    again: Vec<i32>,
}

impl Recount {
    /// Repeats counts that failed, each once.
    pub fn repeat(&mut self) {
        let begun = Instant::now();
        let Some(left) = self.listed() else { return };
        let mut failed = Vec::new();
        while begun.elapsed() <= TURN
            && !is_asked_to_end()
            && let Some(queue) = left.again.pop()
        {
            failed.extend(recount(&[queue]));
        }
        left.again.splice(..0, failed);
    }

    /// Counts some queues that were not counted yet.
    pub fn go_on(&mut self) {
        let begun = Instant::now();
        let Some(left) = self.listed() else { return };
        while !left.queues.is_empty() && begun.elapsed() <= TURN && !is_asked_to_end() {
            let batch = left.queues.split_off(left.queues.len().saturating_sub(BATCH));
            left.again.extend(recount(&batch));
        }
    }

    /// Returns the queues that are left; none if they cannot be listed now. Without shared memory there are
    /// none.
    fn listed(&mut self) -> Option<&mut Left> {
        if self.0.is_none() {
            let mut queues = Vec::new();
            let list = || {
                ALL.run(&[], |row| queues.push(row.i32(0)));
            };
            self.0 = (!layout::is_preloaded() || logged("recount", list))
                .then_some(Left { queues, again: Vec::new() });
        }
        self.0.as_mut()
    }
}

/// Counts queues, and returns those whose count failed.
fn recount(queues: &[i32]) -> Vec<i32> {
    let mut failed = Vec::new();
    let is_done = logged_however_long("recount", || failed = counter::recount(queues));
    if is_done { failed } else { queues.to_vec() }
}
