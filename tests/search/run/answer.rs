//! What the answers mean: who holds which message, what is committed, what was undone.

use super::*;

impl Case<'_> {
    /// Takes note of what a session was told.
    pub(super) fn take(&mut self, reply: Reply) {
        let s = reply.session;
        let (Status::Runs(at) | Status::Waits(at)) = self.sessions[s].status else {
            panic!("nobody asked session {s}");
        };
        self.sessions[s].status = Status::Idle;
        let end = self.tick();
        let refusal = match (&reply.rows, &reply.then) {
            (Err(refusal), _) | (_, Some(Err(refusal))) => Some(refusal.clone()),
            _ => None,
        };
        match refusal {
            Some(refusal) => self.refused(s, at, end, &refusal),
            None => self.answered(s, at, end, reply),
        }
        self.look = None;
    }

    fn refused(&mut self, s: usize, at: usize, end: Tick, refusal: &Refusal) {
        let event = &mut self.history.events[at];
        event.answer = format!("ERROR {}: {}", refusal.sqlstate, refusal.message);
        event.sqlstate = Some(refusal.sqlstate.clone());
        let is_reject = matches!(event.what, What::Push { mode: Mode::Reject, .. });
        let is_allowed = match refusal.sqlstate.as_str() {
            "40001" | "40P01" => true,
            "23505" => is_reject,
            "53400" => matches!(event.what, What::Push { .. }),
            _ => false,
        };
        let (is_end, sql, tx) = (is_end(&event.sql), event.sql.clone(), event.tx);
        if !is_allowed {
            self.fault(format!("{sql} failed: {} {}", refusal.sqlstate, refusal.message));
        }
        if refusal.sqlstate == "53400" {
            self.compare(at);
        }
        if self.sessions[s].tx.is_none() {
            self.history.txs[tx].over = Some(end);
        } else if is_end {
            self.over(s, end, None);
        } else {
            self.sessions[s].has_failed = true;
        }
    }

    fn answered(&mut self, s: usize, at: usize, end: Tick, reply: Reply) {
        let rows = reply.rows.expect("it was looked at");
        let seen = reply.then.map(|then| then.expect("it was looked at")).unwrap_or_default();
        let event = &mut self.history.events[at];
        event.end = Some(end);
        event.answer = answer(&rows, &seen);
        let (start, tx, sql) = (event.start, event.tx, event.sql.clone());
        self.note(s, at, &rows, &seen);
        if self.sessions[s].tx.is_none() {
            self.history.txs[tx].commit = Some((start, end));
            self.history.txs[tx].over = Some(end);
            if sql.contains("PREPARED") {
                self.decided(sql.starts_with("COMMIT").then_some((start, end)), end);
            }
            self.compare(at);
        } else if sql == "COMMIT" {
            self.over(s, end, Some((start, end)));
        } else if sql == "ROLLBACK" {
            self.over(s, end, None);
        } else if sql == "ROLLBACK TO s" {
            self.roll_back_to(s, tx);
        } else if let Some(name) = sql.strip_prefix("PREPARE TRANSACTION '") {
            self.is_hinted = false;
            let name = name.trim_end_matches('\'').to_string();
            let session = &mut self.sessions[s];
            session.tx = None;
            let (_, holds) = session.marks.swap_remove(0);
            session.marks.clear();
            self.prepared.push_back(Prepared { name, tx, session: s, holds });
        }
    }

    fn decided(&mut self, commit: Option<(Tick, Tick)>, end: Tick) {
        let prepared = self.prepared.pop_front().expect("it was there");
        self.history.txs[prepared.tx].over = Some(end);
        self.history.txs[prepared.tx].commit = commit;
        if commit.is_none() {
            let holds = &mut self.sessions[prepared.session].holds;
            let more: Vec<_> = prepared.holds.into_iter().filter(|held| !holds.contains(held)).collect();
            holds.extend(more);
        }
    }

    fn over(&mut self, s: usize, end: Tick, commit: Option<(Tick, Tick)>) {
        let session = &mut self.sessions[s];
        let tx = session.tx.take().expect("a transaction was open");
        self.history.txs[tx].commit = commit;
        self.history.txs[tx].over = Some(end);
        session.has_failed = false;
        if commit.is_none() {
            session.holds = session.marks[0].1.clone();
        }
        session.marks.clear();
    }

    fn roll_back_to(&mut self, s: usize, tx: usize) {
        let session = &mut self.sessions[s];
        session.has_failed = false;
        let (since, holds) = session.marks.last().expect("a savepoint").clone();
        session.holds = holds;
        for event in &mut self.history.events[since..] {
            event.is_undone |= event.tx == tx;
        }
    }

    /// What the rows of an answer mean.
    fn note(&mut self, s: usize, at: usize, rows: &Rows, seen: &Rows) {
        let mut new = Vec::new();
        let has = rows.first().and_then(|row| row.first()).is_some_and(|value| value.as_deref() == Some("t"));
        match &mut self.history.events[at].what {
            What::Push { ids, is_new, queue, subject, .. } => {
                ids.extend(rows.iter().map(|row| number::<i64>(&row[0])));
                *is_new = rows[0].get(1).map(|outcome| outcome.as_deref() == Some("pushed"));
                new.extend(ids.iter().map(|&id| (id, (*subject, *queue))));
            }
            What::Given { is_long, messages, seen: all, .. } => {
                messages.extend(rows.iter().map(|row| message(row)));
                all.extend(seen.iter().map(|row| number::<i64>(&row[0])));
                if is_long.is_some() {
                    self.sessions[s].holds.extend(messages.iter().map(|message| message.receipt));
                }
            }
            What::Settled { how, receipts, done, dead } => {
                done.extend(rows.iter().map(|row| number::<i64>(&row[0])));
                let died = rows.iter().filter(|row| row.get(1).is_some_and(|o| o.as_deref() == Some("dead")));
                dead.extend(died.map(|row| number::<i64>(&row[0])));
                if *how != Settle::Extend {
                    self.sessions[s].holds.retain(|receipt| !receipts.contains(receipt));
                }
            }
            What::Updated { is_done, .. } | What::Cancelled { is_done, .. } => *is_done = has,
            What::Moved { id, to, new: moved } => {
                *moved = rows.first().map(|row| number(&row[1]));
                if let (Some(moved), Some(&(subject, _))) = (*moved, self.history.messages.get(id)) {
                    new.push((moved, (subject, *to)));
                }
            }
            _ => {}
        }
        for (id, message) in new {
            if self.history.messages.insert(id, message).is_none() {
                self.known.push(id);
            }
        }
    }

    /// Compares what a statement did, which nobody disturbed, with what was there before.
    fn compare(&mut self, at: usize) {
        let Some(look) = self.look.take() else { return };
        let name = self.queue(look.queue);
        let fault = match &self.history.events[at].what {
            What::Given { messages, .. } if messages.is_empty() => {
                let since = self.began.duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
                let found = self.ask(&format!("EXECUTE could_be_given('{name}', {since})"));
                watch::empty_is_untrue(&found)
            }
            What::Push { ids, changes, .. } => {
                let (count, was_refused) = (changes.len(), ids.is_empty());
                let after = self.look_at(look.queue);
                let limit = self.ask(&format!(
                    "SELECT settings ->> 'max_length' FROM pgqueue.queue WHERE name = '{name}'"
                ));
                let limit = limit[0][0].as_ref().map(|limit| limit.parse().expect("a number"));
                watch::drop_is_wrong(&look, &after, count, was_refused, limit)
            }
            _ => None,
        };
        if let Some(fault) = fault {
            let sql = &self.history.events[at].sql;
            let fault = format!("{sql}: {fault}");
            self.fault(fault);
        }
    }
}

fn is_end(sql: &str) -> bool {
    sql == "COMMIT" || sql == "ROLLBACK" || sql.starts_with("PREPARE ")
}

fn message(row: &[Option<String>]) -> Message {
    Message {
        receipt: (number(&row[0]), number(&row[1])),
        subject: number(&row[2]),
        change: number(&row[3]),
        has_group: row[4].is_some(),
    }
}

/// An answer in short.
fn answer(rows: &Rows, seen: &Rows) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or("null".into());
    let row = |row: &Vec<Option<String>>| row.iter().map(text).collect::<Vec<_>>().join(" ");
    let rows: Vec<String> = rows.iter().map(row).collect();
    let mut answer = if rows.is_empty() { "nothing".into() } else { rows.join(", ") };
    if !seen.is_empty() {
        let seen: Vec<String> = seen.iter().map(row).collect();
        answer += &format!("; then sees changes {}", seen.join(" "));
    }
    answer
}
