//! What a session sends for a step of the scenario.

use super::*;

impl Case<'_> {
    /// What a session sends for a step, and what it is about; none if it makes no sense now.
    pub(super) fn statement(&mut self, s: usize, step: Step) -> Option<(String, What)> {
        let is_open = self.sessions[s].tx.is_some();
        if self.sessions[s].has_failed && !matches!(step, Step::Commit | Step::Rollback | Step::RollbackTo) {
            return None;
        }
        let has_mark = self.sessions[s].marks.len() > 1;
        let sql = match step {
            Step::Begin(level) if !is_open => format!("BEGIN ISOLATION LEVEL {}", level.sql()),
            Step::Commit if is_open && !self.sessions[s].has_failed => "COMMIT".into(),
            Step::Commit | Step::Rollback if is_open => "ROLLBACK".into(),
            Step::Savepoint if is_open => {
                let mark = (self.history.events.len(), self.sessions[s].holds.clone());
                self.sessions[s].marks.push(mark);
                "SAVEPOINT s".into()
            }
            Step::RollbackTo if is_open && has_mark => "ROLLBACK TO s".into(),
            Step::Prepare if is_open => {
                format!("PREPARE TRANSACTION 'p{}_{}'", self.runner.case, self.history.events.len())
            }
            Step::Decide(commits) if !is_open => {
                let name = &self.prepared.front()?.name;
                format!("{} PREPARED '{name}'", if commits { "COMMIT" } else { "ROLLBACK" })
            }
            Step::Pause => format!("SELECT pg_sleep({PAUSE})"),
            Step::Look => format!("SELECT count(*) FROM change WHERE scenario = {}", self.runner.case),
            Step::Vacuum if !is_open => "SELECT FROM pgq_vacuum()".into(),
            Step::Begin(_) | Step::Commit | Step::Rollback | Step::Savepoint | Step::RollbackTo => {
                return None;
            }
            Step::Prepare | Step::Decide(_) | Step::Vacuum => return None,
            _ => return self.call(s, step),
        };
        Some((sql, What::Other))
    }

    fn call(&mut self, s: usize, step: Step) -> Option<(String, What)> {
        Some(match step {
            Step::Push(push) => self.push(&push),
            Step::Reserve { queue, is_short, max } => {
                let lease = if is_short { SHORT } else { LONG };
                let call = format!("pgq_reserve('{}', lease => '{lease}', max => {max})", self.queue(queue));
                self.given(queue, Some(!is_short), &call)
            }
            Step::Pop { queue, max } => {
                let call = format!("pgq_pop('{}', max => {max})", self.queue(queue));
                self.given(queue, None, &call)
            }
            Step::Settle(how, which) => self.settle(s, how, which)?,
            Step::Update(_) | Step::Cancel(_) | Step::Move(..) => self.change(step)?,
            Step::Limit(queue, limit) => {
                let json = format!("{{\"max_leased\": {}}}", limit.map_or("null".into(), |n| n.to_string()));
                (self.alter(queue, &json), What::Limited { queue, limit })
            }
            Step::Length(queue, length) => {
                (self.alter(queue, &format!("{{\"max_length\": {length}}}")), What::Other)
            }
            Step::Purge(queue, state) => {
                (format!("SELECT pgq_purge('{}', '{state}')", self.queue(queue)), What::Purged)
            }
            _ => return None,
        })
    }

    fn alter(&self, queue: usize, settings: &str) -> String {
        format!("SELECT pgq_alter_queue('{}', '{settings}')", self.queue(queue))
    }

    fn next_change(&mut self) -> i64 {
        self.changes += 1;
        self.changes
    }

    fn push(&mut self, push: &Push) -> (String, What) {
        let changes: Vec<i64> = (0..push.count).map(|_| self.next_change()).collect();
        // Without a key, each is a subject of its own.
        let subject = if push.mode == Mode::Plain { 1000 + changes[0] } else { push.key };
        let contents: Vec<_> = changes.iter().map(|&change| (subject, change)).collect();
        let sql = push.sql(&self.queue(push.queue), self.runner.case, &contents);
        let what = What::Push {
            queue: push.queue,
            subject,
            mode: push.mode,
            changes,
            ids: Vec::new(),
            is_new: None,
            has_ttl: push.has_ttl,
            is_urgent: push.is_urgent,
        };
        (sql, what)
    }

    fn given(&self, queue: usize, is_long: Option<bool>, call: &str) -> (String, What) {
        let sql = format!("SELECT id, delivery, payload ->> 's', payload ->> 'c', group_key FROM {call}");
        (sql, What::Given { queue, is_long, messages: Vec::new(), seen: BTreeSet::new() })
    }

    fn settle(&self, s: usize, how: Settle, which: Which) -> Option<(String, What)> {
        let holds = &self.sessions[s].holds;
        let receipts: Vec<Receipt> = match which {
            Which::First => holds.first().into_iter().copied().collect(),
            Which::Last => holds.last().into_iter().copied().collect(),
            Which::All => holds.clone(),
        };
        if receipts.is_empty() {
            return None;
        }
        let list = |texts: Vec<String>| texts.join(", ");
        let ids = list(receipts.iter().map(|receipt| receipt.0.to_string()).collect());
        let deliveries = list(receipts.iter().map(|receipt| receipt.1.to_string()).collect());
        let (ids, deliveries) = (format!("ARRAY[{ids}]::bigint[]"), format!("ARRAY[{deliveries}]"));
        let sql = match how {
            Settle::Delete => format!("SELECT pgq_delete_batch({ids}, {deliveries})"),
            Settle::Release => format!("SELECT pgq_release_batch({ids}, deliveries => {deliveries})"),
            Settle::Fail => format!("SELECT id, outcome FROM pgq_fail_batch({ids}, 'no', {deliveries}, '0')"),
            Settle::Bury => format!("SELECT pgq_bury_batch({ids}, 'no', {deliveries})"),
            Settle::Extend => format!("SELECT id FROM pgq_extend_batch({ids}, '{LONG}', {deliveries})"),
        };
        Some((sql, What::Settled { how, receipts, done: Vec::new(), dead: Vec::new() }))
    }

    fn change(&mut self, step: Step) -> Option<(String, What)> {
        let nth = |known: &[i64], n: usize| known.len().checked_sub(n + 1).map(|at| known[at]);
        Some(match step {
            Step::Update(n) => {
                let id = nth(&self.known, n)?;
                let (subject, _) = *self.history.messages.get(&id)?;
                let change = self.next_change();
                let case = self.runner.case;
                let sql = format!(
                    "WITH c AS (INSERT INTO change VALUES ({case}, {change})) SELECT pgq_update({id}, {})",
                    payload(subject, change)
                );
                (sql, What::Updated { id, subject, change, is_done: false })
            }
            Step::Cancel(n) => {
                let id = nth(&self.known, n)?;
                (format!("SELECT pgq_cancel({id})"), What::Cancelled { id, is_done: false })
            }
            Step::Move(n, to) => {
                let id = nth(&self.known, n)?;
                let sql =
                    format!("SELECT * FROM pgq_move_batch(ARRAY[{id}]::bigint[], '{}')", self.queue(to));
                (sql, What::Moved { id, to, new: None })
            }
            _ => return None,
        })
    }
}
