//! One case: operations are run against the server and the reference, and every answer and
//! everything in the tables is compared.

use std::collections::BTreeSet;

use crate::op::{Ask, Delivery, Op, Part, Pick, PushOptions, Setting};
use crate::queues::{Answer, NAMES, Picture, Queues, Shown, hours, settings_json};
use crate::reference::{
    Change, Hours, Id, OnDuplicate, Outcome, Push, Receipt, Reference, Settings, State, Wish,
};

/// An id that no message has.
const UNKNOWN: Id = 1_000_000;

/// How a server and its reference differ.
type Difference = String;

pub struct Case<'a> {
    queues: &'a mut Queues,
    model: Reference,
    /// The reference as it was at BEGIN, and at each savepoint since.
    before: Vec<Reference>,
    payloads: i64,
}

fn defaults() -> Settings {
    Settings {
        lease: None,
        max_deliveries: 3,
        dead_letter: true,
        ttl: None,
        expires_dead: false,
        times_out_dead: false,
        lifo: false,
        parallel: false,
        max_leased: None,
        max_length: None,
        drops_oldest: false,
        dedup_window: None,
        archive: None,
    }
}

/// Runs operations from the beginning; an error says where the two differ.
pub fn run(queues: &mut Queues, settings: &[Vec<Setting>], ops: &[Op]) -> Result<(), Difference> {
    let settings: Vec<Settings> = settings
        .iter()
        .map(|changes| {
            let mut settings = defaults();
            changes.iter().for_each(|change| change.apply(&mut settings));
            settings
        })
        .collect();
    queues.reset(&settings);
    let mut case = Case { queues, model: Reference::new(settings), before: Vec::new(), payloads: 0 };
    for op in ops {
        case.step(op).map_err(|difference| format!("{op:?}: {difference}"))?;
    }
    Ok(())
}

impl Case<'_> {
    fn step(&mut self, op: &Op) -> Result<(), Difference> {
        self.perform(op)?;
        let picture = self.queues.look();
        self.compare(&picture)?;
        match self.model.has_gone() {
            Some(id) if matches!(op, Op::Vacuum) => Err(format!("the round has left {id}")),
            _ => Ok(()),
        }
    }

    fn perform(&mut self, op: &Op) -> Result<(), Difference> {
        match op {
            Op::Push(options) => self.push(options, 1),
            Op::PushBatch(options, count) => self.push(options, *count),
            Op::Reserve(ask, lease) => self.reserve(ask, *lease),
            Op::Pop(ask) => self.pop(ask),
            Op::Next(ask, done, delivery) => self.next(ask, done, *delivery),
            Op::Peek(queue, max) => self.peek(*queue, *max),
            Op::Delete(picks, delivery) => self.delete(picks, *delivery),
            Op::Extend(picks, delivery, lease) => self.extend(picks, *delivery, *lease),
            Op::Release(picks, delivery, delay, strict) => self.release(picks, *delivery, *delay, *strict),
            Op::Fail(picks, delivery, delay) => self.fail(picks, *delivery, *delay),
            Op::Bury(picks, delivery) => self.bury(picks, *delivery),
            Op::Update { pick, payload, kind, priority, deliver_in } => {
                let payload = payload.then(|| self.next_payload());
                let change = Change { payload, kind: *kind, priority: *priority, deliver_in: *deliver_in };
                self.update(*pick, &change)
            }
            Op::Cancel(picks) => self.cancel(picks),
            Op::Move(picks, to) => self.relocate(picks, *to),
            Op::Dump(queue, max) => self.letters(*queue, *max, true),
            Op::PeekDead(queue, max) => self.letters(*queue, *max, false),
            Op::Redrive { .. } => self.redrive(op),
            Op::Purge(queue, part, group) => self.purge(*queue, *part, *group),
            Op::Pause(queue, paused) => self.pause(*queue, *paused),
            Op::Alter(queue, setting) => self.alter(*queue, *setting),
            Op::Vacuum => self.vacuum(),
            Op::Pass(hours) => self.pass(*hours),
            Op::Begin | Op::Savepoint | Op::RollbackToSavepoint | Op::Commit | Op::Rollback | Op::Switch => {
                self.transaction(op);
                Ok(())
            }
        }
    }

    // ---- calls

    /// Makes a call; within a transaction its error does not end that.
    fn call(&mut self, sql: &str) -> Answer {
        if self.before.is_empty() {
            return self.queues.run(sql);
        }
        self.queues.run("SAVEPOINT op").unwrap();
        let answer = self.queues.run(sql);
        if answer.is_err() {
            self.queues.run("ROLLBACK TO op").unwrap();
        }
        self.queues.run("RELEASE op").unwrap();
        answer
    }

    /// A call that cannot fail.
    fn rows(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Difference> {
        self.call(sql).map_err(|state| format!("failed with {state}"))
    }

    fn ids(&mut self, sql: &str) -> Result<Vec<Id>, Difference> {
        Ok(self.rows(sql)?.iter().map(|row| number(row, 0)).collect())
    }

    fn next_payload(&mut self) -> i64 {
        self.payloads += 1;
        self.payloads
    }

    fn pick(&self, pick: Pick) -> Id {
        let model = &self.model;
        let mut ids: Vec<Id> =
            model.messages.keys().chain(model.dead.keys()).chain(model.archive.keys()).copied().collect();
        ids.push(UNKNOWN);
        ids[usize::from(pick) % ids.len()]
    }

    fn picks(&self, picks: &[Pick]) -> Vec<Id> {
        picks.iter().map(|pick| self.pick(*pick)).collect()
    }

    fn receipts(&self, picks: &[Pick], delivery: Delivery) -> Vec<Receipt> {
        let last = |id: Id| self.model.messages.get(&id).map_or(1, |message| message.deliveries);
        let of = |id: Id| match delivery {
            Delivery::None => None,
            Delivery::Last => Some(last(id)),
            Delivery::Earlier => Some(last(id) - 1),
        };
        self.picks(picks).into_iter().map(|id| (id, of(id))).collect()
    }

    fn push(&mut self, options: &PushOptions, count: usize) -> Result<(), Difference> {
        let pushes: Vec<Push> = (0..count).map(|_| push_of(options, self.next_payload())).collect();
        let answer = self.call(&push_sql(&pushes));
        let ids: Vec<Id> = match &answer {
            Ok(rows) => rows.iter().map(|row| number(row, 0)).collect(),
            Err(_) => (0..count as i64).map(|n| UNKNOWN + n).collect(),
        };
        let mut after = self.model.clone();
        let expected = after.push_all(&pushes, &ids);
        let (outcomes, rows) = match (expected, answer) {
            (Err(expected), Err(state)) if expected == state => return Ok(()),
            (Ok(_), Err(state))
                if state == "53400" && self.model.may_be_full(options.queue, count as i64) =>
            {
                return Ok(());
            }
            (Ok(outcomes), Ok(rows)) => (outcomes, rows),
            (expected, answer) => return Err(format!("expected {expected:?}, got {answer:?}")),
        };
        let is_new = |id: &Id| !self.model.messages.contains_key(id) && !self.model.dead.contains_key(id);
        for ((id, outcome), (given, row)) in outcomes.iter().zip(ids.iter().zip(&rows)) {
            let told = row.get(1).and_then(Option::as_deref).is_none_or(|word| word == word_of(*outcome));
            if id != given || !told || (*outcome == Outcome::Pushed && !is_new(id)) {
                return Err(format!("expected {outcomes:?}, got {rows:?}"));
            }
        }
        self.model = after;
        Ok(())
    }

    fn reserve(&mut self, ask: &Ask, lease: Option<Hours>) -> Result<(), Difference> {
        let lease_sql = lease.map_or(String::new(), |lease| format!(", lease => {}", hours(lease)));
        let sql = format!(
            "SELECT {HANDED_OUT} FROM pgq_reserve('{}'{}{lease_sql})",
            NAMES[ask.queue],
            wish_sql(ask)
        );
        let rows = self.rows(&sql)?;
        self.take_leases(ask, lease, &rows)
    }

    fn take_leases(
        &mut self,
        ask: &Ask,
        lease: Option<Hours>,
        rows: &[Vec<Option<String>>],
    ) -> Result<(), Difference> {
        self.judge(ask, true, rows)?;
        for row in rows {
            let id = number(row, 0);
            self.model.lease(id, lease);
            let message = &self.model.messages[&id];
            let until = message.lease_until.map(|until| until - self.model.now);
            if number(row, 1) != i64::from(message.deliveries)
                || Some(number(row, 2)) != until
                || number(row, 3) != message.payload
            {
                return Err(format!("{row:?} is not {message:?}"));
            }
        }
        Ok(())
    }

    /// Whether these rows could be handed out.
    fn judge(&self, ask: &Ask, leases: bool, rows: &[Vec<Option<String>>]) -> Result<(), Difference> {
        let ids: Vec<Id> = rows.iter().map(|row| number(row, 0)).collect();
        if self.model.queues[ask.queue].paused {
            return if ids.is_empty() {
                Ok(())
            } else {
                Err(format!("the queue is paused, but gave {ids:?}"))
            };
        }
        self.model.offer(&wish_of(ask), leases).judge(&ids)
    }

    fn pop(&mut self, ask: &Ask) -> Result<(), Difference> {
        let sql = format!("SELECT {HANDED_OUT} FROM pgq_pop('{}'{})", NAMES[ask.queue], wish_sql(ask));
        let rows = self.rows(&sql)?;
        self.judge(ask, false, &rows)?;
        for row in &rows {
            let (id, message) = (number(row, 0), &self.model.messages[&number(row, 0)]);
            if number(row, 1) != i64::from(message.deliveries + 1) || number(row, 3) != message.payload {
                return Err(format!("{row:?} is not {message:?}"));
            }
            self.model.pop(id);
        }
        Ok(())
    }

    fn next(&mut self, ask: &Ask, done: &[Pick], delivery: Delivery) -> Result<(), Difference> {
        let receipts = self.receipts(done, delivery);
        let sql = format!(
            "SELECT {HANDED_OUT} FROM pgq_next('{}', {}{})",
            NAMES[ask.queue],
            receipts_sql(&receipts, "deliveries"),
            wish_sql(ask)
        );
        let rows = self.rows(&sql)?;
        self.model.delete(&receipts);
        self.take_leases(ask, None, &rows)
    }

    fn peek(&mut self, queue: usize, max: usize) -> Result<(), Difference> {
        let ids = self.ids(&format!("SELECT id FROM pgq_peek('{}', {max})", NAMES[queue]))?;
        let wish = Wish { queue, max, lifo: None, group: None, kind: None };
        self.model.offer(&wish, false).judge(&ids)
    }

    fn delete(&mut self, picks: &[Pick], delivery: Delivery) -> Result<(), Difference> {
        let receipts = self.receipts(picks, delivery);
        let ids = self.ids(&format!("SELECT pgq_delete_batch({})", receipts_sql(&receipts, "deliveries")))?;
        same(self.model.delete(&receipts), ids)
    }

    fn extend(&mut self, picks: &[Pick], delivery: Delivery, lease: Hours) -> Result<(), Difference> {
        let receipts = self.receipts(picks, delivery);
        let arguments = receipts_sql(&receipts, "deliveries");
        let ids =
            self.ids(&format!("SELECT id FROM pgq_extend_batch({arguments}, lease => {})", hours(lease)))?;
        same(self.model.extend(&receipts, lease), ids)
    }

    fn release(
        &mut self,
        picks: &[Pick],
        delivery: Delivery,
        delay: Hours,
        strict: bool,
    ) -> Result<(), Difference> {
        let receipts = self.receipts(picks, delivery);
        let arguments = receipts_sql(&receipts, "deliveries");
        let answer = self.call(&format!(
            "SELECT pgq_release_batch({arguments}, delay => {}, strict => {strict})",
            hours(delay)
        ));
        match (self.model.release(&receipts, delay, strict), answer) {
            (Err(expected), Err(state)) if expected == state => Ok(()),
            (Ok(expected), Ok(rows)) => same(expected, rows.iter().map(|row| number(row, 0)).collect()),
            (expected, answer) => Err(format!("expected {expected:?}, got {answer:?}")),
        }
    }

    fn fail(&mut self, picks: &[Pick], delivery: Delivery, delay: Option<Hours>) -> Result<(), Difference> {
        let receipts = self.receipts(picks, delivery);
        let delay_sql = delay.map_or(String::new(), |delay| format!(", delay => {}", hours(delay)));
        let rows = self.rows(&format!(
            "SELECT id, outcome, round(extract(epoch FROM retry_at - clock_timestamp()) / 3600) FROM pgq_fail_batch({}, error => 'no luck'{delay_sql})",
            receipts_sql(&receipts, "deliveries")
        ))?;
        let outcome = |row: &Vec<Option<String>>| {
            let retry_in = (row[1].as_deref() == Some("retry")).then(|| number(row, 2));
            (number(row, 0), retry_in)
        };
        same(self.model.fail(&receipts, delay), rows.iter().map(outcome).collect())
    }

    fn bury(&mut self, picks: &[Pick], delivery: Delivery) -> Result<(), Difference> {
        let receipts = self.receipts(picks, delivery);
        let ids = self.ids(&format!(
            "SELECT pgq_bury_batch({}, error => 'no hope')",
            receipts_sql(&receipts, "deliveries")
        ))?;
        same(self.model.bury(&receipts), ids)
    }

    fn update(&mut self, pick: Pick, change: &Change) -> Result<(), Difference> {
        let id = self.pick(pick);
        let payload = change.payload.map_or(String::new(), |payload| format!(", payload => '{payload}'"));
        let headers =
            change.kind.map_or(String::new(), |kind| format!(", headers => '{}'", headers_of(kind)));
        let priority = change.priority.map_or(String::new(), |priority| format!(", priority => {priority}"));
        let moment = change
            .deliver_in
            .map_or(String::new(), |h| format!(", deliver_at => clock_timestamp() + {}", hours(h)));
        let rows = self.rows(&format!("SELECT pgq_update({id}{payload}{headers}{priority}{moment})"))?;
        same(
            vec![self.model.update(id, change)],
            rows.iter().map(|row| row[0].as_deref() == Some("t")).collect(),
        )
    }

    fn cancel(&mut self, picks: &[Pick]) -> Result<(), Difference> {
        let ids = self.picks(picks);
        let gone = self.ids(&format!("SELECT pgq_cancel_batch(ARRAY{ids:?}::bigint[])"))?;
        same(self.model.cancel(&ids), gone)
    }

    fn relocate(&mut self, picks: &[Pick], to: usize) -> Result<(), Difference> {
        let ids = self.picks(picks);
        let rows = self.rows(&format!(
            "SELECT id, new_id FROM pgq_move_batch(ARRAY{ids:?}::bigint[], '{}')",
            NAMES[to]
        ))?;
        let moved: Vec<(Id, Id)> = rows.iter().map(|row| (number(row, 0), number(row, 1))).collect();
        let expected = self.model.relocate(&ids, to, &moved);
        same(expected, moved.into_iter().map(|(id, _)| id).collect())
    }

    fn letters(&mut self, queue: usize, max: usize, takes: bool) -> Result<(), Difference> {
        let function = if takes { "pgq_dump_dead" } else { "pgq_peek_dead" };
        let answer = self.call(&format!("SELECT id FROM {function}('{}', {max})", NAMES[queue]));
        let rows = match answer {
            Err(state) if state == "42809" && !self.model.queues[queue].settings.dead_letter => return Ok(()),
            Ok(rows) if self.model.queues[queue].settings.dead_letter => rows,
            other => return Err(format!("{other:?}")),
        };
        let ids: Vec<Id> = rows.iter().map(|row| number(row, 0)).collect();
        self.model.judge_letters(queue, None, max, &ids)?;
        if takes {
            self.model.dead.retain(|id, _| !ids.contains(id));
        }
        Ok(())
    }

    /// A queue that has dead letters, if not this one.
    fn with_letters(&self, queue: usize) -> usize {
        let mut queues: Vec<usize> = self.model.dead.values().map(|letter| letter.message.queue).collect();
        queues.sort_by_key(|&other| (other != queue, other));
        queues.first().copied().unwrap_or(queue)
    }

    fn redrive(&mut self, op: &Op) -> Result<(), Difference> {
        let &Op::Redrive { from, max, to, reason, reset } = op else { return Ok(()) };
        let from = self.with_letters(from);
        let max_sql = max.map_or("null".into(), |max| max.to_string());
        let reason_sql = reason.map_or("null".into(), |reason| format!("'{}'", reason.word()));
        let rows = self.rows(&format!(
            "SELECT pgq_redrive('{}', {max_sql}, '{}', {reason_sql}, {reset})",
            NAMES[from], NAMES[to]
        ))?;
        // Which they were, and what they are called now, the tables say.
        let picture = self.queues.look();
        let taken: Vec<Id> =
            self.model.dead.keys().filter(|id| !picture.dead.contains_key(id)).copied().collect();
        same(vec![taken.len() as i64], vec![number(&rows[0], 0)])?;
        self.model.judge_letters(from, reason, max.unwrap_or(usize::MAX), &taken)?;
        for letter in taken {
            let payload = self.model.dead[&letter].message.payload.to_string();
            let is_it =
                |(id, shown): &(&Id, &Shown)| shown.get("payload") == payload && (**id == letter) != reset;
            let (&new, _) =
                picture.messages.iter().find(is_it).ok_or(format!("the letter {letter} has vanished"))?;
            self.model.redrive(letter, new, to, reset);
        }
        Ok(())
    }

    fn purge(&mut self, queue: usize, part: Option<Part>, group: Option<u8>) -> Result<(), Difference> {
        let state = part.map(|part| match part {
            Part::Messages(state) => Ok(state),
            Part::Dead => Err("dead"),
            Part::Archived => Err("archived"),
        });
        let word =
            state.map_or("null".into(), |state| format!("'{}'", state.map_or_else(|word| word, State::word)));
        let group_sql = group.map_or("null".into(), |group| format!("'g{group}'"));
        let rows = self.rows(&format!("SELECT pgq_purge('{}', {word}, {group_sql})", NAMES[queue]))?;
        same(vec![self.model.purge(queue, state, group) as i64], vec![number(&rows[0], 0)])
    }

    fn pause(&mut self, queue: usize, paused: bool) -> Result<(), Difference> {
        let function = if paused { "pgq_pause" } else { "pgq_resume" };
        let rows = self.rows(&format!("SELECT {function}('{}')", NAMES[queue]))?;
        let changes = std::mem::replace(&mut self.model.queues[queue].paused, paused) != paused;
        same(vec![Some(if changes { "t" } else { "f" }.to_owned())], rows[0].clone())
    }

    fn alter(&mut self, queue: usize, setting: Setting) -> Result<(), Difference> {
        self.model.alter(queue, |settings| setting.apply(settings));
        // Those that are not set any more are taken back by a null.
        let settings = &self.model.queues[queue].settings;
        let nulls: Vec<String> = [
            ("max_leased", settings.max_leased.is_none()),
            ("max_length", settings.max_length.is_none()),
            ("dedup_window", settings.dedup_window.is_none()),
            ("ttl", settings.ttl.is_none()),
            ("archive", settings.archive.is_none()),
        ]
        .iter()
        .filter(|(_, is_none)| *is_none)
        .map(|(name, _)| format!("\"{name}\": null"))
        .collect();
        let json = settings_json(settings);
        let sql = format!(
            "SELECT pgq_alter_queue('{}', '{json}'::jsonb || '{{{}}}')",
            NAMES[queue],
            nulls.join(", ")
        );
        self.rows(&sql).map(|_| ())
    }

    fn vacuum(&mut self) -> Result<(), Difference> {
        self.rows("SELECT count(*) FROM pgq_vacuum()")?;
        self.model.vacuum();
        Ok(())
    }

    /// Lets time pass: all times of the tables move into the past.
    fn pass(&mut self, span: Hours) -> Result<(), Difference> {
        for (table, columns) in [
            ("message", &["enqueued_at", "lease_until", "due_at", "expires_at"][..]),
            ("dead", &["enqueued_at", "died_at"]),
            ("archive", &["enqueued_at", "settled_at"]),
            ("recent_key", &["seen_at"]),
        ] {
            let moved: Vec<String> =
                columns.iter().map(|column| format!("{column} = {column} - {}", hours(span))).collect();
            self.rows(&format!("UPDATE pgqueue.{table} SET {}", moved.join(", ")))?;
        }
        self.model.now += span;
        Ok(())
    }

    fn transaction(&mut self, op: &Op) {
        let depth = self.before.len();
        match op {
            Op::Begin if depth == 0 => self.begin("BEGIN"),
            Op::Savepoint if depth > 0 => self.begin(&format!("SAVEPOINT s{depth}")),
            Op::RollbackToSavepoint if depth > 1 => {
                self.queues.run(&format!("ROLLBACK TO s{}", depth - 1)).unwrap();
                self.model = self.before[depth - 1].clone();
            }
            Op::Commit if depth > 0 => self.end("COMMIT"),
            Op::Rollback if depth > 0 => {
                self.model = self.before[0].clone();
                self.end("ROLLBACK");
            }
            Op::Switch if depth == 0 => self.queues.switch(),
            _ => {}
        }
    }

    fn begin(&mut self, sql: &str) {
        self.queues.run(sql).unwrap();
        self.before.push(self.model.clone());
    }

    fn end(&mut self, sql: &str) {
        self.queues.run(sql).unwrap();
        self.before.clear();
    }

    // ---- comparing

    fn compare(&mut self, picture: &Picture) -> Result<(), Difference> {
        let missing: Vec<Id> =
            self.model.messages.keys().filter(|id| !picture.messages.contains_key(id)).copied().collect();
        self.model
            .clear(&missing, |id| picture.dead.get(&id).map(|letter| letter.get("reason").to_owned()))?;
        self.compare_messages(picture)?;
        self.compare_letters(picture)?;
        same(self.model.archive.keys().collect::<Vec<_>>(), picture.archive.keys().collect())?;
        self.compare_counts(picture)?;
        same(Vec::new(), picture.miscounted.clone())
    }

    fn compare_messages(&mut self, picture: &Picture) -> Result<(), Difference> {
        let ids: BTreeSet<Id> = self.model.messages.keys().chain(picture.messages.keys()).copied().collect();
        self.model.shown.clear();
        for id in ids {
            let Some(message) = self.model.messages.get(&id) else {
                return Err(format!("there is a message {id}: {:?}", picture.messages[&id]));
            };
            let shown = &picture.messages[&id];
            let from_now = |at: Option<Hours>| at.map(|at| (at - self.model.now).to_string());
            let text = |value: Option<String>| value.unwrap_or_default();
            let expected = [
                ("queue", NAMES[message.queue].to_owned()),
                ("payload", message.payload.to_string()),
                ("kind", text(message.kind.map(|kind| kind.to_string()))),
                ("priority", message.priority.to_string()),
                ("group", text(message.group.map(|group| format!("g{group}")))),
                ("key", text(message.key.map(|key| format!("k{key}")))),
                ("holds_key", text(Some(message.holds_key.to_string()))),
                ("deliveries", message.deliveries.to_string()),
                ("given_back", message.given_back.to_string()),
                ("lease_until", text(from_now(message.lease_until))),
                ("expires_at", text(from_now(message.expires_at))),
                ("lease", text(message.lease.map(|lease| lease.to_string()))),
                ("max_deliveries", text(message.max_deliveries.map(|max| max.to_string()))),
                ("in_turn", message.in_turn.to_string()),
                ("errors", message.errors.to_string()),
            ];
            for (column, value) in expected {
                if shown.get(column) != value {
                    return Err(format!("{column} of {id} should be {value:?}: {shown:?}"));
                }
            }
            let is_due_shown = shown.get("due_at") == text(from_now(message.due_at));
            // One that has come may have been forgotten.
            let has_come =
                message.due_at.is_some_and(|at| at <= self.model.now) && shown.get("due_at").is_empty();
            if !is_due_shown && !has_come {
                return Err(format!("due_at of {id} should be {:?}: {shown:?}", from_now(message.due_at)));
            }
            let state = self.model.state(id);
            let shown_state = STATES.into_iter().find(|state| state.word() == shown.get("state")).unwrap();
            let may_differ =
                self.model.is_ambiguous(id) && matches!(shown_state, State::Ready | State::Blocked);
            if shown_state != state && !may_differ {
                return Err(format!("{id} should be {state:?}: {shown:?}"));
            }
            self.model.shown.insert(id, shown_state);
        }
        Ok(())
    }

    fn compare_letters(&self, picture: &Picture) -> Result<(), Difference> {
        same(self.model.dead.keys().collect::<Vec<_>>(), picture.dead.keys().collect())?;
        for (id, letter) in &self.model.dead {
            let (shown, message) = (&picture.dead[id], &letter.message);
            let expected = [
                ("queue", NAMES[message.queue].to_owned()),
                ("reason", letter.reason.word().to_owned()),
                ("payload", message.payload.to_string()),
                ("priority", message.priority.to_string()),
                ("deliveries", message.deliveries.to_string()),
                ("given_back", message.given_back.to_string()),
                ("group", message.group.map_or(String::new(), |group| format!("g{group}"))),
                ("max_deliveries", message.max_deliveries.map_or(String::new(), |max| max.to_string())),
                ("errors", message.errors.to_string()),
            ];
            for (column, value) in expected {
                if shown.get(column) != value {
                    return Err(format!("{column} of letter {id} should be {value:?}: {shown:?}"));
                }
            }
        }
        Ok(())
    }

    fn compare_counts(&self, picture: &Picture) -> Result<(), Difference> {
        for (n, queue) in self.model.queues.iter().enumerate() {
            let shown = &picture.stats[NAMES[n]];
            let of_state = |state: State| {
                let is_it = |id: &&Id| self.model.messages[id].queue == n;
                self.model.shown.iter().filter(|(_, s)| **s == state).map(|(id, _)| id).filter(is_it).count()
            };
            let messages = self.model.messages.values().filter(|message| message.queue == n).count();
            let dead = self.model.dead.values().filter(|letter| letter.message.queue == n).count();
            let [ready, delayed, leased, blocked] =
                [State::Ready, State::Delayed, State::Leased, State::Blocked].map(of_state);
            let counts = format!("({ready},{delayed},{leased},{blocked},{dead},{})", messages + dead);
            let reservable = if queue.paused { 0 } else { ready }.to_string();
            let counters = &queue.counters;
            let expected = [
                ("known", counts.clone()),
                ("exact", counts),
                ("count", reservable.clone()),
                ("exact_count", reservable),
                ("paused", queue.paused.to_string()),
                ("pushed", counters.pushed.to_string()),
                ("delivered", counters.delivered.to_string()),
                ("deleted", counters.deleted.to_string()),
                ("retried", counters.retried.to_string()),
                ("died", counters.died.to_string()),
                ("expired", counters.expired.to_string()),
            ];
            for (column, value) in expected {
                if shown.get(column) != value {
                    return Err(format!("{column} of queue {} should be {value}: {shown:?}", NAMES[n]));
                }
            }
        }
        Ok(())
    }
}

const STATES: [State; 5] = [State::Ready, State::Delayed, State::Leased, State::Blocked, State::Gone];

/// What is read of what is handed out.
const HANDED_OUT: &str =
    "id, delivery, round(extract(epoch FROM leased_until - clock_timestamp()) / 3600) AS hours, payload";

fn number(row: &[Option<String>], column: usize) -> i64 {
    let value = row[column].as_deref().unwrap_or_else(|| panic!("column {column} of {row:?}"));
    value.parse().unwrap_or_else(|_| panic!("{value} is not a number"))
}

fn same<T: PartialEq + std::fmt::Debug>(expected: Vec<T>, got: Vec<T>) -> Result<(), Difference> {
    if expected == got { Ok(()) } else { Err(format!("expected {expected:?}, got {got:?}")) }
}

fn word_of(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pushed => "pushed",
        Outcome::Ignored => "ignored",
        Outcome::Replaced => "replaced",
    }
}

fn push_of(options: &PushOptions, payload: i64) -> Push {
    let &PushOptions { queue, kind, priority, delay, ttl, group, key, lease, max_deliveries } = options;
    Push { queue, payload, kind, priority, delay, ttl, group, key, lease, max_deliveries }
}

fn wish_of(ask: &Ask) -> Wish {
    let &Ask { queue, max, lifo, group, kind } = ask;
    Wish { queue, max, lifo, group, kind }
}

fn wish_sql(ask: &Ask) -> String {
    let mut sql = format!(", max => {}", ask.max);
    if let Some(lifo) = ask.lifo {
        sql += &format!(", lifo => {lifo}");
    }
    if let Some(group) = ask.group {
        sql += &format!(", group_key => 'g{group}'");
    }
    if let Some(kind) = ask.kind {
        sql += &format!(", filter => '{}'", headers_of(kind));
    }
    sql
}

fn headers_of(kind: bool) -> String {
    format!("{{\"kind\": {kind}}}")
}

fn push_sql(pushes: &[Push]) -> String {
    let first = &pushes[0];
    let mut options = format!(", priority => {}", first.priority);
    for (name, span) in [("delay", first.delay), ("ttl", first.ttl), ("lease", first.lease)] {
        if let Some(span) = span {
            options += &format!(", {name} => {}", hours(span));
        }
    }
    if let Some(group) = first.group {
        options += &format!(", group_key => 'g{group}'");
    }
    if let Some((key, on_duplicate)) = first.key {
        let word = match on_duplicate {
            OnDuplicate::Ignore => "ignore",
            OnDuplicate::Replace => "replace",
            OnDuplicate::Reject => "reject",
        };
        options += &format!(", dedup_key => 'k{key}', on_duplicate => '{word}'");
    }
    if let Some(max) = first.max_deliveries {
        options += &format!(", max_deliveries => {max}");
    }
    let name = NAMES[first.queue];
    if let [one] = pushes {
        let headers = one.kind.map_or(String::new(), |kind| format!(", headers => '{}'", headers_of(kind)));
        return format!(
            "SELECT id, outcome FROM pgq_push_result('{name}', '{}'{headers}{options})",
            one.payload
        );
    }
    let payloads: Vec<String> = pushes.iter().map(|push| format!("'{}'", push.payload)).collect();
    let headers = first.kind.map_or(String::new(), |kind| {
        format!(", headers => array_fill('{}'::jsonb, ARRAY[{}])", headers_of(kind), pushes.len())
    });
    format!("SELECT pgq_push_batch('{name}', ARRAY[{}]::jsonb[]{headers}{options})", payloads.join(", "))
}

fn receipts_sql(receipts: &[Receipt], deliveries: &str) -> String {
    let ids: Vec<Id> = receipts.iter().map(|(id, _)| *id).collect();
    let given: Option<Vec<i32>> = receipts.iter().map(|(_, delivery)| *delivery).collect();
    let given = given.map_or(String::new(), |given| format!(", {deliveries} => ARRAY{given:?}::int[]"));
    format!("ARRAY{ids:?}::bigint[]{given}")
}
