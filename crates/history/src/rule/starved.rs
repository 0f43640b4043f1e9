//! A message that is ready, and that no consumer holds, is given if its queue is asked.
//!
//! The engine promises that at once, and within a second where it was told of nothing: of a message
//! that a reserve met while another transaction was changing it, or that was prepared. So nothing
//! is asked of it for `SOON`; afterwards `MANY` calls for a message may not be answered without
//! it: with nothing, or with messages that go behind it.
//!
//! A message is certainly ready from a push, a release, a failure or the end of a lease until the
//! next call that may have touched it. It must have been given later, or be there at the end. Only
//! calls count that are a transaction by themselves. Of groups, keys and times to live, and where dead letters come
//! back or go, it depends on more than can be told from outside whether a message is ready.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Rule, Violation};
use crate::facts::{Answer, Facts, Given, Pushing, Settled, Step};
use crate::record::{Act, End, Id, Length, Moment, Order, Verdict};

/// Twice what the engine promises, for a busy machine.
const SOON: Length = 2_000_000;
/// Their order is not strict: more than one may come past it for a moment.
const MANY: usize = 10;

pub fn look(facts: &Facts) -> Vec<Violation> {
    // Else it cannot be told when a lease ended.
    let Some(ahead) = ahead(facts).filter(|_| facts.history.clock_steps.is_empty()) else {
        return Vec::new();
    };
    let calls = calls(facts);
    let disturbances = disturbances(facts);
    let unclear: HashSet<&str> = facts.others.iter().map(|step| step.queue()).collect();
    let plain =
        facts.pushes.values().flatten().filter(|push| is_plain(push) && !unclear.contains(push.step.queue()));
    plain
        .filter_map(|push| {
            let queue = push.step.queue();
            let calls = calls.get(queue)?;
            let others = disturbances.get(queue).into_iter().chain(disturbances.get(ANY)).flatten();
            passed_over(facts, push, calls, touches(facts, push, ahead).chain(others.copied()).collect())
        })
        .collect()
}

fn is_plain(push: &Pushing) -> bool {
    push.key.is_none() && push.ttl.is_none() && push.order.group.is_none() && push.pushed.met.is_none()
}

/// By how much the server's clock is ahead of that of the moments, at least.
fn ahead(facts: &Facts) -> Option<Length> {
    let operations = facts.history.transactions.iter().flat_map(|transaction| &transaction.operations);
    operations.filter_map(|operation| Some(operation.clock?.ended - operation.span.returned)).max()
}

/// A call that was answered.
struct Call<'a> {
    step: Step<'a>,
    /// The last place that it gave, None if it gave nothing.
    last: Option<(i32, Id)>,
}

/// Calls for messages by their queues, those that tell something of the order.
fn calls<'a>(facts: &Facts<'a>) -> HashMap<&'a str, Vec<Call<'a>>> {
    let orders = orders(facts);
    let mut calls: HashMap<&str, Vec<Call>> = HashMap::new();
    for transaction in &facts.history.transactions {
        for operation in &transaction.operations {
            let (taken, lifo) = match &operation.act {
                Act::Reserve { taken: Some(taken), lifo, .. } => (taken, *lifo),
                Act::Pop { taken: Some(taken), .. } => (taken, false),
                _ => continue,
            };
            let is_alone = transaction.end == End::Committed(operation.span);
            let step = Step { transaction, operation };
            let limited = facts.history.limits.contains_key(step.queue());
            let last = taken
                .iter()
                .filter_map(|taken| orders.get(&taken.id).map(|order| (order.priority, taken.id)))
                .max();
            let tells = if taken.is_empty() { !limited } else { !lifo && last.is_some() };
            if is_alone && tells {
                calls.entry(step.queue()).or_default().push(Call { step, last });
            }
        }
    }
    calls.values_mut().for_each(|calls| calls.sort_by_key(|call| call.step.invoked()));
    calls
}

/// Of messages whose ids were given but once.
fn orders<'a>(facts: &Facts<'a>) -> BTreeMap<Id, &'a Order> {
    let (mut orders, mut twice) = (BTreeMap::new(), Vec::new());
    for push in facts.pushes.values().flatten().filter(|push| push.pushed.met.is_none()) {
        if let Some(id) = push.pushed.id
            && orders.insert(id, push.order).is_some()
        {
            twice.push(id);
        }
    }
    orders.retain(|id, _| !twice.contains(id));
    orders
}

/// What may have been done to a message.
#[derive(Clone, Copy)]
struct Touch {
    invoked: Moment,
    returned: Moment,
    leaves: Leaves,
}

/// When it is certainly ready afterwards.
#[derive(Clone, Copy)]
enum Leaves {
    ReadyAt(Moment),
    /// As it was before, but not earlier.
    AsItWas(Moment),
    Unknown,
}

impl Touch {
    fn of(step: Step, leaves: Leaves) -> Self {
        Self { invoked: step.invoked(), returned: step.returned(), leaves }
    }

    /// By a call that certainly did nothing in the end.
    fn in_vain(step: Step) -> Self {
        let leaves =
            step.transaction.commit().map_or(Leaves::Unknown, |commit| Leaves::AsItWas(commit.returned));
        Self::of(step, leaves)
    }
}

/// No queue is called so.
const ANY: &str = "";

/// What may have touched any message of a queue, or of all queues.
fn disturbances<'a>(facts: &Facts<'a>) -> HashMap<&'a str, Vec<Touch>> {
    let mut touches: HashMap<&str, Vec<Touch>> = HashMap::new();
    for step in &facts.unanswered {
        let leaves = match step.transaction.end {
            End::RolledBack => Leaves::AsItWas(step.returned()),
            End::Committed(_) | End::Unknown(_) => Leaves::Unknown,
        };
        touches.entry(step.queue()).or_default().push(Touch::of(*step, leaves));
    }
    let history = facts.history;
    let crashes = history.crashes.iter().map(|crash| (crash.span, Leaves::Unknown));
    let excused = history.excused.iter().map(|&span| (span, Leaves::AsItWas(span.returned)));
    let of_all = crashes.chain(excused).map(|(span, leaves)| Touch {
        invoked: span.invoked,
        returned: span.returned,
        leaves,
    });
    touches.insert(ANY, of_all.collect());
    touches
}

fn touches<'f>(facts: &'f Facts, push: &Pushing<'f>, ahead: Length) -> impl Iterator<Item = Touch> + 'f {
    let id = push.pushed.id;
    let given = id.into_iter().flat_map(|id| facts.given_of(id)).map(move |given| by_giving(given, ahead));
    let settled =
        id.into_iter().flat_map(|id| facts.settled_of(id)).map(move |settled| by_settling(settled, ahead));
    let met = id.into_iter().flat_map(|id| facts.met(id)).map(|push| Touch::in_vain(push.step));
    let moved = id
        .into_iter()
        .flat_map(|id| facts.moves_of(id))
        .map(|moving| Touch::of(moving.step, Leaves::Unknown));
    let pushed = match push.step.effect() {
        Some(effect) => Leaves::ReadyAt(effect.returned + push.delay),
        None => Leaves::Unknown,
    };
    [Touch::of(push.step, pushed)].into_iter().chain(given).chain(settled).chain(met).chain(moved)
}

fn by_giving(given: &Given, ahead: Length) -> Touch {
    let (step, until) = (given.step, given.taken.until);
    match (step.effect(), until) {
        (Some(effect), Some(until)) => Touch::of(step, Leaves::ReadyAt(effect.returned.max(until - ahead))),
        (None, _) if step.operation.undone => Touch::in_vain(step),
        _ => Touch::of(step, Leaves::Unknown),
    }
}

fn by_settling(settled: &Settled, ahead: Length) -> Touch {
    let step = settled.step;
    let done = match (settled.answer, step.effect()) {
        (Answer::Done(done), Some(effect)) => (done, effect.returned),
        (Answer::Done(_), None) if !step.operation.undone => return Touch::of(step, Leaves::Unknown),
        (Answer::None, _) => return Touch::of(step, Leaves::Unknown),
        (Answer::Done(_) | Answer::Refused, _) => return Touch::in_vain(step),
    };
    let (done, committed) = done;
    let ready = match settled.verdict {
        Verdict::Release | Verdict::Fail if !done.died => settled.delay.map(|delay| committed + delay),
        Verdict::Extend => done.until.map(|until| committed.max(until - ahead)),
        Verdict::Release | Verdict::Fail | Verdict::Bury | Verdict::Delete => None,
    };
    Touch::of(step, ready.map_or(Leaves::Unknown, Leaves::ReadyAt))
}

fn passed_over(facts: &Facts, push: &Pushing, calls: &[Call], mut touches: Vec<Touch>) -> Option<Violation> {
    let id = push.pushed.id?;
    touches.sort_by_key(|touch| touch.invoked);
    let (mut since, mut returned): (Option<Moment>, Moment) = (None, Moment::MIN);
    for (n, touch) in touches.iter().enumerate() {
        since = match touch.leaves {
            Leaves::ReadyAt(moment) if touch.invoked > returned => Some(moment),
            Leaves::ReadyAt(moment) | Leaves::AsItWas(moment) => since.map(|since| since.max(moment)),
            Leaves::Unknown => None,
        };
        returned = returned.max(touch.returned);
        let until = touches.get(n + 1).map_or(Moment::MAX, |next| next.invoked);
        let Some(since) =
            since.filter(|since| until.saturating_sub(SOON) > *since && is_there(facts, id, until))
        else {
            continue;
        };
        let place = (push.order.priority, id);
        let within = |call: &&Call| call.step.invoked() > since + SOON && call.step.returned() < until;
        let without: Vec<Step> = calls
            .iter()
            .filter(within)
            .filter(|call| call.last.is_none_or(|last| last > place))
            .map(|call| call.step)
            .collect();
        if without.len() >= MANY {
            let says =
                format!("message {id} was ready, and {} calls were answered without it", without.len());
            let steps: Vec<Step> = [push.step].into_iter().chain(without).take(1 + MANY).collect();
            return Some(Violation::new(Rule::Starved, id, &steps, says));
        }
    }
    None
}

/// Whether a message was still there at a moment, as it is seen later.
fn is_there(facts: &Facts, id: Id, moment: Moment) -> bool {
    let given = facts.given_of(id).iter().any(|given| given.step.invoked() >= moment);
    given || facts.history.ending.alive.contains_key(&id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Span, Taken};
    use crate::sample::{LEASE, Sample};

    fn broken(sample: &Sample) -> bool {
        sample.breaks(Rule::Starved)
    }

    fn waiting() -> Sample {
        let mut sample = Sample::new();
        sample.push(1);
        sample.remains(1);
        sample
    }

    fn nothing(sample: &mut Sample, taken: Option<Vec<Taken>>) {
        sample.add(Act::Reserve { lease: LEASE, lifo: false, taken });
    }

    /// So many calls that come late enough are answered with nothing.
    fn asked(mut sample: Sample, calls: usize) -> Sample {
        sample.pass(SOON);
        (0..calls).for_each(|_| nothing(&mut sample, Some(Vec::new())));
        sample
    }

    fn starves(sample: Sample) -> bool {
        broken(&asked(sample, MANY))
    }

    #[test]
    fn a_message_that_waits_while_its_queue_is_asked_is_caught() {
        assert!(starves(waiting()));
        assert!(!broken(&asked(waiting(), MANY - 1)));
        let mut elsewhere = asked(waiting(), MANY);
        elsewhere.history.transactions[0].operations[0].queue = "another".into();
        assert!(!broken(&elsewhere));
    }

    #[test]
    fn for_a_moment_it_may_wait() {
        let mut sample = waiting();
        (0..MANY).for_each(|_| nothing(&mut sample, Some(Vec::new())));
        assert!(!broken(&sample));
    }

    #[test]
    fn a_message_that_is_not_seen_afterwards_may_have_left() {
        let mut sample = waiting();
        sample.history.ending.alive.clear();
        let mut sample = asked(sample, MANY);
        assert!(!broken(&sample));
        sample.pop(1, 1);
        assert!(broken(&sample));
    }

    #[test]
    fn a_message_whose_lease_has_ended_is_ready() {
        let mut sample = waiting();
        sample.reserve(1, 1);
        let mut long = sample.clone();
        let Act::Reserve { taken: Some(taken), .. } =
            &mut long.history.transactions.last_mut().unwrap().operations[0].act
        else {
            unreachable!()
        };
        taken[0].until = taken[0].until.map(|until| until + SOON);
        assert!(!starves(long));
        let mut extended = sample.clone();
        extended.extend(1, 1, 3 * SOON);
        sample.pass(LEASE);
        assert!(starves(sample));
        assert!(!starves(extended.clone()));
        extended.pass(3 * SOON);
        assert!(starves(extended));
    }

    #[test]
    fn a_message_that_was_released_is_ready_and_one_that_failed_when_its_time_has_come() {
        let mut released = waiting();
        released.reserve(1, 1);
        released.extend(1, 1, 3 * SOON);
        let mut failed = released.clone();
        released.settle(Verdict::Release, 1, 1);
        assert!(starves(released));
        let fail = failed.settle(Verdict::Fail, 1, 1);
        let Act::Settle { delay, .. } = &mut fail.operations[0].act else { unreachable!() };
        *delay = Some(SOON);
        assert!(!starves(failed.clone()));
        failed.pass(SOON);
        assert!(starves(failed));
    }

    #[test]
    fn a_message_that_is_delayed_is_not_ready() {
        let mut sample = waiting();
        let Act::Push { delay, .. } = &mut sample.history.transactions[0].operations[0].act else {
            unreachable!()
        };
        *delay = SOON;
        assert!(!starves(sample.clone()));
        sample.pass(SOON);
        assert!(starves(sample));
    }

    #[test]
    fn messages_that_go_behind_it_overtake_it_and_others_do_not() {
        let given = |lifo: bool, first: Id, priority: i32| {
            let mut sample = Sample::new();
            let behind = first..first + MANY as Id;
            for id in [behind.clone(), 50..51].into_iter().flatten() {
                let push = sample.push(id);
                let Act::Push { order, .. } = &mut push.operations[0].act else { unreachable!() };
                order.priority = if id == 50 { 0 } else { priority };
            }
            sample.remains(50);
            sample.pass(SOON);
            for id in behind {
                let reserve = sample.reserve(id, 1);
                let Act::Reserve { lifo: newest, .. } = &mut reserve.operations[0].act else {
                    unreachable!()
                };
                *newest = lifo;
            }
            broken(&sample)
        };
        assert!(given(false, 51, 0));
        assert!(given(false, 1, 1), "they are less urgent");
        assert!(!given(false, 1, 0));
        assert!(!given(false, 51, -1), "they are more urgent");
        assert!(!given(true, 51, 0), "the newest were asked for");
    }

    #[test]
    fn an_empty_answer_may_be_due_to_a_limit() {
        let mut sample = waiting();
        sample.history.limits.insert("q".into(), 2);
        assert!(!starves(sample));
    }

    #[test]
    fn a_message_that_a_transaction_may_hold_is_not_ready() {
        let later = Span { invoked: 10 * SOON, returned: 11 * SOON };
        for end in [End::RolledBack, End::Unknown(later), End::Committed(later)] {
            let mut pushed = waiting();
            pushed.history.transactions[0].end = end;
            let mut given = waiting();
            given.reserve(1, 1).end = end;
            let mut settled = waiting();
            settled.reserve(1, 1);
            settled.settle(Verdict::Release, 1, 1).end = end;
            let mut changed = waiting();
            changed.update(2, 1).end = end;
            let mut refused = waiting();
            refused.refused(Verdict::Delete, 1, 1).end = end;
            for sample in [pushed, given, settled, changed, refused] {
                assert!(!starves(sample), "{end:?}");
            }
        }
    }

    #[test]
    fn a_rolled_back_lease_leaves_the_message_ready() {
        let mut given = waiting();
        given.reserve(1, 1).operations[0].undone = true;
        let mut refused = waiting();
        refused.refused(Verdict::Delete, 1, 1);
        let mut changed = waiting();
        changed.update(2, 1);
        for sample in [given, refused, changed] {
            assert!(starves(sample));
        }
    }

    #[test]
    fn a_call_without_an_answer_may_have_taken_it() {
        let mut sample = waiting();
        nothing(&mut sample, None);
        assert!(!starves(sample.clone()));
        let reserve = sample.history.transactions.last_mut().unwrap();
        reserve.end = End::RolledBack;
        reserve.operations[0].span.returned += SOON;
        assert!(!starves(sample.clone()), "it held it for so long");
        sample.pass(SOON);
        assert!(starves(sample));
    }

    #[test]
    fn crashes_excuses_and_steps_of_the_clock_explain_it() {
        let mut sample = waiting();
        let mut crashed = sample.clone();
        crashed.crash(0);
        let mut stepped = sample.clone();
        stepped.step_clock(1);
        let mut purged = sample.clone();
        purged.add(Act::Purge);
        let span = Span { invoked: sample.now(), returned: 2 * SOON };
        sample.history.excused.push(span);
        for sample in [&crashed, &stepped, &purged, &sample] {
            assert!(!starves(sample.clone()));
        }
        sample.pass(2 * SOON);
        assert!(starves(sample));
    }

    #[test]
    fn groups_keys_and_times_to_live_are_left_out() {
        let mut group = Sample::new();
        group.push_to(1, "g", 0);
        let mut key = Sample::new();
        key.push_key(1);
        let mut mortal = waiting();
        let Act::Push { ttl, .. } = &mut mortal.history.transactions[0].operations[0].act else {
            unreachable!()
        };
        *ttl = Some(SOON);
        for mut sample in [group, key, mortal] {
            sample.remains(1);
            assert!(!starves(sample));
        }
    }

    #[test]
    fn only_a_call_that_is_a_transaction_by_itself_counts() {
        let mut sample = asked(waiting(), MANY);
        let call = sample.history.transactions.last_mut().unwrap();
        let span = call.operations[0].span;
        call.end = End::Committed(Span { invoked: span.returned, returned: span.returned + 1 });
        assert!(!broken(&sample));
    }
}
