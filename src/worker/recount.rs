//! Recount: counts the messages of every queue once after the server's start.
//!
//! An immediate shutdown loses the counts in shared memory that were not written down. A recount blocks no
//! other transaction: it counts queues with one snapshot, and again later those in which a transaction has
//! changed the counts meanwhile.

use std::time::Instant;

use crate::engine::queue::counter;
use crate::engine::shared::layout;
use crate::engine::table::statement::Statement;
use crate::pg::timeout::is_asked_to_end;
use crate::pg::turn::TURN;
use crate::worker::step::{logged, logged_however_long};

static ALL: Statement = Statement::new(include_str!("../../sql/query/queue_ids.sql"), &[]);

/// Number of queues that are counted at once, unless a transaction has disturbed their count.
const BATCH: usize = 50;

/// Number of attempts at a queue. If each was disturbed, the last count holds: messages that commit at that
/// moment may be missing.
const MOST_TRIES: u32 = 3;

/// Queues that have yet to be counted; none before they are listed.
#[derive(Default)]
pub struct Recount(Option<Left>);

#[derive(Default)]
struct Left {
    queues: Vec<i32>,
    /// Queues whose count failed, each with its number of attempts.
    again: Vec<(i32, u32)>,
}

impl Recount {
    /// Repeats counts that failed.
    pub fn repeat(&mut self) {
        let begun = Instant::now();
        let Some(left) = self.listed() else { return };
        for _ in 0..left.again.len() {
            if begun.elapsed() > TURN || is_asked_to_end() {
                return;
            }
            let Some((queue, tries)) = left.again.pop() else { return };
            let is_last = tries + 1 >= MOST_TRIES;
            let mut disturbed = Vec::new();
            if !logged_however_long("recount", || disturbed = counter::recount(&[queue], is_last)) {
                left.again.insert(0, (queue, tries));
                return;
            }
            if !disturbed.is_empty() {
                left.again.insert(0, (queue, tries + 1));
            }
        }
    }

    /// Counts some queues that were not counted yet.
    pub fn go_on(&mut self) {
        let begun = Instant::now();
        let Some(left) = self.listed() else { return };
        while !left.queues.is_empty() && begun.elapsed() <= TURN && !is_asked_to_end() {
            let batch = left.queues.split_off(left.queues.len().saturating_sub(BATCH));
            let mut disturbed = Vec::new();
            if !logged_however_long("recount", || disturbed = counter::recount(&batch, false)) {
                left.again.extend(batch.into_iter().map(|queue| (queue, 0)));
                return;
            }
            left.again.extend(disturbed.into_iter().map(|queue| (queue, 1)));
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
