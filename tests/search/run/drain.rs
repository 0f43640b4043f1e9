//! The end of a scenario: transactions end, and all messages are delivered.

use super::*;

impl Case<'_> {
    /// Commits what is open, and decides what is prepared, until nobody is in a transaction.
    pub(super) fn end_transactions(&mut self) {
        let begun = Instant::now();
        loop {
            self.go_on();
            let idle = |session: &Session| session.status == Status::Idle && session.tx.is_some();
            if let Some(s) = (0..self.sessions.len()).find(|&s| idle(&self.sessions[s])) {
                self.sessions[s].todo.push_back(Step::Commit);
            } else if !self.prepared.is_empty() {
                let drainer = self.drainer();
                self.sessions[drainer].todo.push_back(Step::Decide(true));
            } else if self.sessions.iter().any(|session| session.status != Status::Idle) {
                // A deadlock, which Postgres will find.
                if let Some(reply) = self.runner.workers.receive(SOON) {
                    self.take(reply);
                    self.let_go_on();
                }
                assert!(begun.elapsed() < PATIENCE, "a deadlock:\n{}", self.history.script(&[]));
            } else {
                return;
            }
        }
    }

    fn one(&mut self, s: usize, step: Step) {
        self.sessions[s].todo.push_back(step);
        self.go_on();
    }

    /// Everything is given back, settled, and worked on.
    pub(super) fn drain(&mut self) {
        let drainer = self.drainer();
        for _ in 0..self.scenario.returns {
            for queue in 0..self.scenario.queues.len() {
                self.reserve_all(queue);
            }
            self.one(drainer, Step::Settle(Settle::Release, Which::All));
        }
        for s in 0..self.scenario.sessions {
            let ending = self.scenario.endings[s];
            self.one(s, Step::Settle(ending, Which::All));
        }
        let begun = Instant::now();
        for queue in 0..self.scenario.queues.len() {
            while !self.is_drained(queue) {
                self.reserve_all(queue);
                let is_empty = self.sessions[drainer].holds.is_empty();
                self.one(drainer, Step::Settle(Settle::Delete, Which::All));
                if is_empty && !self.is_drained(queue) {
                    self.unlock(queue, begun.elapsed() / 8);
                }
                if begun.elapsed() > DRAINED {
                    self.fault("the queue cannot be drained");
                    break;
                }
            }
        }
    }

    fn reserve_all(&mut self, queue: usize) {
        let drainer = self.drainer();
        self.one(drainer, Step::Reserve { queue, is_short: false, max: 100 });
    }

    fn is_drained(&mut self, queue: usize) -> bool {
        let sql = format!("EXECUTE remaining('{}')", self.queue(queue));
        self.ask(&sql).is_empty()
    }

    /// Lets go of what nobody knows the receipt of any more, and waits for what is not due.
    fn unlock(&mut self, queue: usize, pause: Duration) {
        std::thread::sleep(pause.max(Duration::from_millis(1)));
        let name = self.queue(queue);
        let found = self.ask(&format!(
            "SELECT pgq_release(m.id) FROM pgqueue.message m JOIN pgqueue.queue q ON q.id = m.queue
              WHERE q.name = '{name}' AND m.lease_until > clock_timestamp() + interval '1 min'"
        ));
        self.history.is_freed |= !found.is_empty();
        if !self.is_hinted {
            // A statement on the table tells of what hints have yet to learn.
            self.ask(&format!(
                "UPDATE pgqueue.message m SET priority = priority FROM pgqueue.queue q
                  WHERE q.id = m.queue AND q.name = '{name}' AND m.lease_until <= clock_timestamp()"
            ));
        }
    }

    pub(super) fn finish(mut self) -> Outcome {
        let queues = 0..self.scenario.queues.len();
        for queue in queues.clone() {
            let name = self.queue(queue);
            if !self.ask(&format!("EXECUTE gone('{name}')")).is_empty() {
                self.ask("SELECT FROM pgq_vacuum()");
            }
            let dead = self.ask(&format!("EXECUTE dead('{name}')"));
            self.history.dead.extend(dead.iter().map(|row| (number(&row[0]), number(&row[1]))));
        }
        let mut setup = Vec::new();
        for queue in queues {
            let (name, json) = (self.queue(queue), self.scenario.queues[queue].json());
            setup.push(format!("SELECT pgq_create_queue('{name}', '{json}')"));
        }
        let script = self.history.script(&setup).replace(&format!("_{}", self.runner.case), "");
        Outcome { history: self.history, script }
    }
}
