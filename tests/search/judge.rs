//! What must be true of a history, whatever the order of its statements.

use crate::history::{Done, Event, History, Message, Receipt, Subject, Tick, What};
use crate::run::Outcome;
use crate::script::{Level, Mode, Scenario, Settle};

/// The faults of what a scenario did, at most one of each kind.
pub fn faults(scenario: &Scenario, outcome: &Outcome) -> Vec<String> {
    let judge = Judge { scenario, history: &outcome.history, done: outcome.history.committed().collect() };
    let mut all = outcome.history.faults.clone();
    // What could not be drained is not lost.
    let is_drained =
        !all.iter().any(|fault| fault.contains("drained") || fault.contains("nothing was given"));
    all.extend(judge.driven_out());
    if is_drained {
        all.extend(judge.lost_change());
        all.extend(judge.lost_content());
    }
    all.extend(judge.not_rejected());
    all.extend(judge.too_many_out());
    all.extend(judge.group_out_of_order());
    all
}

struct Judge<'a> {
    scenario: &'a Scenario,
    history: &'a History,
    /// What was committed.
    done: Vec<Done<'a>>,
}

/// A committed push or update, with one of its changes.
#[derive(Clone, Copy)]
struct Change<'a> {
    done: Done<'a>,
    subject: Subject,
    change: i64,
    id: i64,
}

/// A message that was handed out for good.
#[derive(Clone, Copy)]
struct Delivery<'a> {
    done: Done<'a>,
    event: &'a Event,
    message: &'a Message,
    queue: usize,
    is_long: Option<bool>,
}

impl<'a> Delivery<'a> {
    fn has_seen(&self, change: i64) -> bool {
        matches!(&self.event.what, What::Given { seen, .. } if seen.contains(&change))
    }
}

impl<'a> Judge<'a> {
    fn changes(&self) -> Vec<Change<'a>> {
        let mut all = Vec::new();
        for &done in &self.done {
            match &done.event.what {
                What::Push { subject, changes, ids, .. } => {
                    let each = changes.iter().zip(ids);
                    all.extend(each.map(|(&change, &id)| Change { done, subject: *subject, change, id }));
                }
                &What::Updated { id, subject, change, is_done: true } => {
                    all.push(Change { done, subject, change, id });
                }
                _ => {}
            }
        }
        all
    }

    fn deliveries(&self) -> Vec<Delivery<'a>> {
        let mut all = Vec::new();
        for &done in &self.done {
            if let What::Given { messages, queue, is_long, .. } = &done.event.what {
                let (event, queue, is_long) = (done.event, *queue, *is_long);
                all.extend(messages.iter().map(|message| Delivery { done, event, message, queue, is_long }));
            }
        }
        all
    }

    fn subject_of(&self, id: i64) -> Option<Subject> {
        self.history.messages.get(&id).map(|&(subject, _)| subject)
    }

    /// Whether the work on a delivery counts: it was popped, deleted, or the message died of it.
    fn is_worked_on(&self, delivery: &Delivery) -> bool {
        let receipt = delivery.message.receipt;
        delivery.is_long.is_none()
            || self.history.dead.contains(&receipt)
            || self.settled(receipt).any(|(_, how)| how == Settle::Delete)
    }

    /// What was done with a receipt, and succeeded.
    fn settled(&self, receipt: Receipt) -> impl Iterator<Item = (Done<'a>, Settle)> {
        self.done.iter().filter_map(move |&done| match &done.event.what {
            What::Settled { how, receipts, done: ids, .. } => {
                (receipts.contains(&receipt) && ids.contains(&receipt.0)).then_some((done, *how))
            }
            _ => None,
        })
    }

    /// Whether a message that may stand for a change was removed on purpose, not before the change: it is
    /// the one its push was told of, a later one, or one whose delivery stood for the change already.
    fn is_removed(&self, change: &Change) -> bool {
        let since = change.done.event.start;
        let deliveries = self.deliveries();
        let stood_for_it = |id: i64| {
            deliveries
                .iter()
                .any(|delivery| delivery.message.receipt.0 == id && delivery.has_seen(change.change))
        };
        self.done.iter().filter(|done| done.commit.1 > since).any(|done| match &done.event.what {
            What::Cancelled { id, is_done: true } => {
                (*id >= change.id || stood_for_it(*id)) && self.subject_of(*id) == Some(change.subject)
            }
            What::Purged => true,
            _ => false,
        })
    }

    fn has_ttl(&self, subject: Subject) -> bool {
        self.history.events.iter().any(|event| {
            matches!(event.what, What::Push { subject: other, has_ttl: true, .. } if other == subject)
        })
    }

    /// Whether a change asked for a time to live, or took over that of a message, or may have been
    /// replaced by one that asked for it. A push that is ignored has the message live as long as both.
    fn is_short_lived(&self, change: &Change) -> bool {
        let asked_for_it = !matches!(change.done.event.what, What::Push { has_ttl: false, .. });
        asked_for_it
            || self.history.events.iter().any(|event| {
                matches!(event.what, What::Push { subject, mode: Mode::Replace, has_ttl: true, .. }
                    if subject == change.subject)
            })
    }

    fn drops(&self) -> bool {
        self.scenario.queues.iter().any(|queue| queue.drops_oldest)
    }

    /// A change that no work saw which was done.
    fn lost_change(&self) -> Option<String> {
        if self.drops() {
            return None;
        }
        let deliveries = self.deliveries();
        let is_seen = |change: &Change| {
            let of_it = deliveries.iter().filter(|delivery| delivery.message.subject == change.subject);
            of_it.into_iter().any(|delivery| delivery.has_seen(change.change) && self.is_worked_on(delivery))
        };
        // What was given, and came back, may expire, and so may what replaced it.
        let is_given = |change: &Change| deliveries.iter().any(|delivery| delivery.has_seen(change.change));
        let may_expire = |change: &Change| {
            self.has_ttl(change.subject) && (self.is_short_lived(change) || is_given(change))
        };
        let changes = self.changes();
        let lost = changes
            .iter()
            .find(|change| !may_expire(change) && !is_seen(change) && !self.is_removed(change))?;
        Some(format!("change {} is lost: whoever worked on its messages did not see it", lost.change))
    }

    /// With replacements only: a content that is nowhere, nor a later one.
    fn lost_content(&self) -> Option<String> {
        let deliveries = self.deliveries();
        let changes = self.changes();
        let is_given = |change: &Change| {
            let contents = deliveries.iter().filter(|delivery| self.is_worked_on(delivery));
            contents.into_iter().any(|delivery| {
                let other = changes.iter().find(|other| other.change == delivery.message.change);
                other.is_some_and(|other| other.subject == change.subject && !is_before(other, change))
            })
        };
        let lost = changes.iter().find(|change| {
            self.is_replaced_only(change.subject) && !is_given(change) && !self.is_removed(change)
        })?;
        Some(format!("the content of change {} is lost, and there is no later one", lost.change))
    }

    fn is_replaced_only(&self, subject: Subject) -> bool {
        let is_other = |event: &Event| match event.what {
            What::Push { subject: other, mode, has_ttl, .. } => {
                other == subject && (mode != Mode::Replace || has_ttl)
            }
            What::Updated { .. } | What::Moved { .. } => true,
            _ => false,
        };
        !self.drops() && !self.history.events.iter().any(is_other)
    }

    /// A push that had to be rejected, or an error without a reason.
    fn not_rejected(&self) -> Option<String> {
        self.history.events.iter().find_map(|event| {
            let What::Push { queue, subject, mode: Mode::Reject, ref changes, .. } = event.what else {
                return None;
            };
            // Of a batch, the second meets the first.
            let was_rejected = event.sqlstate.as_deref() == Some("23505") && changes.len() == 1;
            let tx = &self.history.txs[event.tx];
            if was_rejected && !self.could_be_there(queue, subject, event) {
                return Some(format!("{} was rejected without a reason", event.sql));
            }
            let end = event.end?;
            if event.is_undone || tx.commit.is_none() {
                return None;
            }
            let snapshot = if tx.level == Level::ReadCommitted { event.start } else { tx.begin };
            let id = self.waits_for_certain(queue, subject, snapshot, end)?;
            Some(format!("{} was not rejected, though message {id} waits", event.sql))
        })
    }

    fn could_be_there(&self, queue: usize, subject: Subject, before: &Event) -> bool {
        self.history.events.iter().any(|event| {
            event.start < before.start
                && match event.what {
                    What::Push { queue: other, subject: of, .. } => other == queue && of == subject,
                    What::Moved { to, .. } => to == queue,
                    _ => false,
                }
        })
    }

    /// A message of a key that was pushed for good before a moment, and that nobody touched
    /// until the end of a statement.
    fn waits_for_certain(&self, queue: usize, subject: Subject, from: Tick, to: Tick) -> Option<i64> {
        let pushed =
            self.done.iter().filter(|done| done.commit.1 < from).find_map(|done| match &done.event.what {
                What::Push { queue: other, subject: of, ids, has_ttl: false, is_new: Some(true), .. } => {
                    (*other == queue && *of == subject).then_some(ids[0])
                }
                _ => None,
            })?;
        // Nor was another of the key given, which may have stood for it.
        let is_given = |event: &Event| match &event.what {
            What::Given { messages, .. } => messages.iter().any(|message| message.subject == subject),
            _ => false,
        };
        let is_touched = self
            .history
            .events
            .iter()
            .any(|event| event.start < to && (touches(event, pushed) || is_given(event)));
        let has_changed = self.has_ttl(subject) || self.drops() || is_touched;
        (!has_changed).then_some(pushed)
    }

    /// More messages out at once than a limit allowed all the time.
    fn too_many_out(&self) -> Option<String> {
        let deliveries = self.deliveries();
        for &done in &self.done {
            let What::Given { queue, is_long: Some(_), ref messages, .. } = done.event.what else { continue };
            let Some(limit) = self.limit(queue, &done) else { continue };
            if messages.is_empty() {
                continue;
            }
            let is_out = |delivery: &&Delivery| {
                delivery.queue == queue
                    && (std::ptr::eq(delivery.event, done.event) || self.is_out(delivery, &done))
            };
            let out = deliveries.iter().filter(is_out).count();
            if out > limit as usize {
                return Some(format!("{}: {out} messages are out, limit {limit}", done.event.sql));
            }
        }
        None
    }

    /// Whether a lease was there for certain when a statement ended, and has to be counted.
    fn is_out(&self, delivery: &Delivery, at: &Done) -> bool {
        if delivery.is_long != Some(true) || delivery.done.end > at.end {
            return false;
        }
        let is_purged = self.done.iter().any(|done| matches!(done.event.what, What::Purged));
        !is_purged && !self.history.is_freed && self.is_counted(delivery) && !self.has_ended(delivery, at)
    }

    /// A lease that was being given while a limit was set is not counted.
    fn is_counted(&self, delivery: &Delivery) -> bool {
        self.limits(delivery.queue).all(|(done, _)| {
            delivery.done.commit.1 < done.event.start || delivery.done.event.start > done.commit.1
        })
    }

    /// A lease that its own transaction has ended was never out for others.
    fn has_ended(&self, delivery: &Delivery, at: &Done) -> bool {
        let (id, number) = delivery.message.receipt;
        self.done.iter().any(|done| match &done.event.what {
            What::Settled { how, done: ids, .. } if *how != Settle::Extend && ids.contains(&id) => {
                let is_of = |event: &Event| done.event.tx == event.tx;
                let is_seen = is_of(at.event) || is_of(delivery.event);
                let ends = if is_seen { done.event.start } else { done.commit.0 };
                done.event.start > delivery.done.event.start && ends < at.end
            }
            What::Given { messages, .. } => {
                messages.iter().any(|m| m.receipt.0 == id && m.receipt.1 > number)
                    && done.event.start < at.end
            }
            _ => false,
        })
    }

    fn limits(&self, queue: usize) -> impl Iterator<Item = (&Done<'a>, Option<u32>)> {
        self.done.iter().filter_map(move |done| match done.event.what {
            What::Limited { queue: other, limit } if other == queue => Some((done, limit)),
            _ => None,
        })
    }

    /// The highest limit that a statement may have seen; none: perhaps there was none.
    ///
    /// Of changes that were committed beside each other any may have been the last.
    fn limit(&self, queue: usize, at: &Done) -> Option<u32> {
        let from = if at.tx.level == Level::ReadCommitted { at.event.start } else { at.tx.begin };
        let mut possible = vec![((0, 0), self.scenario.queues[queue].max_leased)];
        possible.extend(
            self.limits(queue)
                .filter(|(done, _)| done.event.start < at.end)
                .map(|(done, limit)| (done.commit, limit)),
        );
        let before = possible.iter().map(|&(commit, _)| commit).filter(|commit| commit.1 < from);
        let (last, _) = before.max_by_key(|commit| commit.1)?;
        let mut highest = 0;
        for (commit, limit) in possible {
            if commit.1 >= last {
                highest = highest.max(limit?);
            }
        }
        Some(highest)
    }

    /// Of a group, a message that came while another was out, or before an earlier one.
    fn group_out_of_order(&self) -> Option<String> {
        let deliveries: Vec<_> =
            self.deliveries().into_iter().filter(|delivery| delivery.message.has_group).collect();
        for later in &deliveries {
            for first in &deliveries {
                let (a, b) = (first.message.receipt.0, later.message.receipt.0);
                if a == b || first.queue != later.queue {
                    continue;
                }
                let is_out = !std::ptr::eq(first.event, later.event) && self.is_out(first, &later.done);
                if is_out && first.done.end < later.done.end || std::ptr::eq(first.event, later.event) {
                    return Some(format!("message {b} of a group came while {a} was out"));
                }
                if first.done.event.start > later.done.end
                    && !self.may_be_echo(first)
                    && self.is_first_for_certain(first, later, &deliveries)
                {
                    return Some(format!("message {b} of a group came before {a}"));
                }
            }
        }
        None
    }

    /// Whether a message may have stood behind another of its key, and was passed over in its group.
    fn may_be_echo(&self, delivery: &Delivery) -> bool {
        let (id, subject) = (delivery.message.receipt.0, delivery.message.subject);
        self.history.messages.iter().any(|(&other, &(of, _))| other != id && of == subject)
    }

    /// Whether a message that came after another stood before it already.
    fn is_first_for_certain(&self, first: &Delivery, later: &Delivery, all: &[Delivery]) -> bool {
        let (a, b) = (first.message.receipt.0, later.message.receipt.0);
        let before = later.done.tx.begin;
        let was_given = |id: i64| all.iter().any(|d| d.message.receipt.0 == id && d.done.commit.1 < before);
        if was_given(a) {
            return true;
        }
        let push = self.push_of(a).zip(self.push_of(b));
        let Some(((first_push, first_urgent), (_, later_urgent))) = push else { return false };
        let is_changed =
            self.history.events.iter().any(|event| {
                matches!(event.what, What::Moved { .. } | What::Push { mode: Mode::Replace, .. })
            });
        let b_was_given =
            all.iter().any(|d| d.message.receipt.0 == b && d.done.event.start < later.done.event.start);
        a < b && first_urgent == later_urgent && first_push.commit.1 < before && !is_changed && !b_was_given
    }

    fn push_of(&self, id: i64) -> Option<(Done<'a>, bool)> {
        self.done.iter().find_map(|&done| match &done.event.what {
            What::Push { ids, is_urgent, .. } if ids.contains(&id) => Some((done, *is_urgent)),
            _ => None,
        })
    }

    /// Whether a message was committed where it is.
    fn has_come(&self, id: i64) -> bool {
        let is_moved =
            |done: &Done| matches!(done.event.what, What::Moved { new: Some(new), .. } if new == id);
        self.push_of(id).is_some() || self.done.iter().any(is_moved)
    }

    /// A message that waited, and vanished because another was moved to its queue.
    fn driven_out(&self) -> Option<String> {
        if self.drops() {
            return None;
        }
        self.done.iter().find_map(|done| {
            let &What::Moved { to, new: Some(new), .. } = &done.event.what else { return None };
            let subject = self.subject_of(new)?;
            let of_key = self.history.messages.iter().filter(|&(&id, &(of, queue))| {
                id != new && of == subject && queue == to && subject < 1000 && self.has_come(id)
            });
            let ids: Vec<i64> = of_key.map(|(&id, _)| id).collect();
            let is_newest = |id: i64| !ids.iter().any(|&other| other > id);
            ids.iter().copied().find(|&id| is_newest(id) && self.waited_and_vanished(id, done)).map(|id| {
                format!("message {id} waited, and was driven out by message {new}, which was moved there")
            })
        })
    }

    fn waited_and_vanished(&self, id: i64, moved: &Done) -> bool {
        let Some((push, _)) = self.push_of(id) else { return false };
        if push.commit.1 >= moved.event.start || self.has_ttl(self.history.messages[&id].0) {
            return false;
        }
        // An echo goes when an older message of its key is delivered.
        if self.may_be_absorbed(id, push.event.start) {
            return false;
        }
        let is_other = |event: &Event| {
            matches!(event.what, What::Purged)
                || touches(event, id) && !matches!(event.what, What::Given { .. } | What::Settled { .. })
        };
        if self.history.events.iter().any(is_other) || self.history.dead.iter().any(|dead| dead.0 == id) {
            return false;
        }
        // Each time it was given, it was given back before the move was done.
        let mut given = self.history.events.iter().filter(|event| gives(event, id));
        given.all(|event| self.was_given_back(event, id, moved.end))
    }

    fn may_be_absorbed(&self, id: i64, since: Tick) -> bool {
        let subject = self.subject_of(id);
        self.history.events.iter().any(|event| match &event.what {
            What::Given { messages, .. } if event.end.is_some_and(|end| end > since) => {
                messages.iter().any(|other| Some(other.subject) == subject && other.receipt.0 < id)
            }
            _ => false,
        })
    }

    fn was_given_back(&self, given: &Event, id: i64, before: Tick) -> bool {
        let over = self.history.txs[given.tx].over;
        if given.is_undone || self.history.txs[given.tx].commit.is_none() {
            return over.is_some_and(|over| over < before);
        }
        self.done.iter().any(|done| match &done.event.what {
            What::Settled { how: Settle::Release | Settle::Fail, done: ids, .. } => {
                ids.contains(&id) && done.event.start > given.start && done.commit.1 < before
            }
            _ => false,
        })
    }
}

fn gives(event: &Event, id: i64) -> bool {
    matches!(&event.what, What::Given { messages, .. } if messages.iter().any(|m| m.receipt.0 == id))
}

/// Whether a statement may have done something to a message.
fn touches(event: &Event, id: i64) -> bool {
    match &event.what {
        What::Given { .. } => gives(event, id),
        What::Settled { receipts, .. } => receipts.iter().any(|receipt| receipt.0 == id),
        What::Updated { id: other, .. }
        | What::Cancelled { id: other, .. }
        | What::Moved { id: other, .. } => *other == id,
        What::Purged => true,
        _ => false,
    }
}

/// Whether a change was over for certain when another began.
fn is_before(change: &Change, other: &Change) -> bool {
    let over =
        if change.done.event.tx == other.done.event.tx { change.done.end } else { change.done.commit.1 };
    over < other.done.event.start
}
