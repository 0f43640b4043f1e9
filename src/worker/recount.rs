//! Counting the messages of every queue once after the server's start.
//!
//! What shared memory had counted and nobody had written down is lost when the server
//! stops at once. Nobody else is disturbed: a queue is counted with one snapshot, and
//! again later if somebody has counted meanwhile.

use std::time::{Duration, Instant};

use crate::engine::queue::counter;
use crate::engine::shared::layout;
use crate::engine::table::statement::Statement;
use crate::pg::timeout::is_asked_to_end;
use crate::worker::step::logged;

static ALL: Statement = Statement::new(include_str!("../../sql/query/queue_ids.sql"), &[]);

/// How long a turn of counting goes on before others of the worker's duties have theirs.
const TURN: Duration = Duration::from_millis(200);

/// A queue that is never quiet for as long as its count takes is counted as well as can
/// be: what commits at that moment may be missing.
const MOST_TRIES: u32 = 3;

/// The queues that have yet to be counted, and how often that was tried; none before they are
/// listed.
#[derive(Default)]
pub struct Recount(Option<Vec<(i32, u32)>>);

impl Recount {
    /// Counts some of them. What fails is tried again in the next round.
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
            if !logged("recount", || is_done = counter::recount(queue, is_last)) {
                queues.insert(0, (queue, tries));
                return;
            }
            if !is_done && !is_last {
                queues.insert(0, (queue, tries + 1));
            }
        }
    }

    /// None if they cannot be listed now. Where nothing is shared, none is to be counted.
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
