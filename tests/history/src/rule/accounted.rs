//! Every acknowledged push is delivered and settled, dead, expired, purged or still there.
//!
//! Being leased is no excuse for being gone: a message leaves only by a call or by its time
//! to live. Where a call's answer never came, nobody knows which messages it removed; then
//! that many may be missing from its queue, and not one more.

use std::collections::HashMap;

use super::{Rule, Violation};
use crate::facts::{Facts, Pushing, Settled};
use crate::record::{Act, Id};

pub fn look(facts: &Facts) -> Vec<Violation> {
    let mut missing: HashMap<&str, Vec<Pushing>> = HashMap::new();
    for push in facts.pushes.values().flatten() {
        if push.step.effect().is_some() && !is_accounted_for(facts, push) {
            missing.entry(push.step.queue()).or_default().push(*push);
        }
    }
    missing.into_iter().flat_map(|(queue, missing)| beyond(removed_unseen(facts, queue), &missing)).collect()
}

fn beyond(unseen: usize, missing: &[Pushing]) -> Vec<Violation> {
    if missing.len() <= unseen {
        return Vec::new();
    }
    let says = |push: &Pushing| match unseen {
        0 => format!("the message with token {} is lost", push.pushed.token),
        _ => format!(
            "{} messages are missing of which calls without an answer may have taken {unseen}; one is token {}",
            missing.len(),
            push.pushed.token
        ),
    };
    let violation =
        |push: &Pushing| Violation::new(Rule::Accounted, push.pushed.id, &[push.step], says(push));
    missing.iter().map(violation).collect()
}

fn is_accounted_for(facts: &Facts, push: &Pushing) -> bool {
    let ids = facts.ids.get(&push.pushed.token).map_or(&[][..], Vec::as_slice);
    ids.iter().any(|&id| is_there(facts, id) || was_removed(facts, id) || is_superseded(facts, push, id))
        || has_expired(facts, push)
        || was_purged(facts, push)
}

fn is_there(facts: &Facts, id: Id) -> bool {
    let ending = &facts.history.ending;
    ending.alive.contains_key(&id) || ending.dead.contains_key(&id)
}

fn was_removed(facts: &Facts, id: Id) -> bool {
    let popped =
        facts.given_of(id).iter().any(|given| given.is_pop() && given.step.possible_effect().is_some());
    let removes = |settled: &Settled| {
        settled.is_delete() && settled.may_be_done() && settled.step.possible_effect().is_some()
    };
    popped || facts.settled_of(id).iter().any(removes) || was_dumped(facts, id)
}

fn was_dumped(facts: &Facts, id: Id) -> bool {
    facts.others.iter().any(|step| {
        let Act::DumpDead { dumped: Some(dumped), .. } = &step.operation.act else { return false };
        step.possible_effect().is_some() && dumped.contains(&id)
    })
}

/// Dropped in favour of a newer one with its key.
fn is_superseded(facts: &Facts, push: &Pushing, id: Id) -> bool {
    let Some(key) = push.key else { return false };
    let is_newer = |other: &Pushing| {
        other.key == Some(key)
            && other.step.queue() == push.step.queue()
            && other.step.possible_effect().is_some()
            && other.pushed.id.is_none_or(|other| other > id)
            && other.pushed.token != push.pushed.token
    };
    facts.pushes.values().flatten().any(is_newer)
}

fn has_expired(facts: &Facts, push: &Pushing) -> bool {
    let Some(ttl) = push.ttl else { return false };
    push.step.operation.clock.is_none_or(|clock| facts.history.ending.latest >= clock.began + ttl)
}

fn was_purged(facts: &Facts, push: &Pushing) -> bool {
    facts.others.iter().any(|step| {
        let effect = step.possible_effect().filter(|_| matches!(step.operation.act, Act::Purge));
        let pushed = push.step.effect();
        step.queue() == push.step.queue()
            && effect.zip(pushed).is_some_and(|(purged, pushed)| purged.returned >= pushed.invoked)
    })
}

/// How many messages of a queue calls may have removed of whose answer nobody knows.
fn removed_unseen(facts: &Facts, queue: &str) -> usize {
    let in_queue = facts.unanswered.iter().filter(|step| step.queue() == queue);
    let took =
        in_queue.filter(|step| step.possible_effect().is_some()).map(|step| match step.operation.act {
            Act::Pop { max, .. } | Act::DumpDead { max, .. } => max,
            _ => 0,
        });
    took.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{End, Span, Verdict};
    use crate::sample::Sample;

    fn broken(sample: &Sample) -> bool {
        sample.breaks(Rule::Accounted)
    }

    #[test]
    fn what_was_pushed_and_deleted_or_is_still_there_is_no_loss() {
        let mut sample = Sample::new();
        sample.push(1);
        sample.push(2);
        sample.reserve(1, 1);
        sample.delete(1, 1);
        sample.remains(2);
        assert!(!broken(&sample));
    }

    #[test]
    fn an_acknowledged_push_that_is_nowhere_is_caught() {
        let mut sample = Sample::new();
        sample.push(1);
        assert!(broken(&sample));
        sample.reserve(1, 1);
        assert!(broken(&sample), "leased and then gone");
    }

    #[test]
    fn a_push_that_was_rolled_back_or_never_answered_may_be_missing() {
        for end in [End::RolledBack, End::Unknown(Span { invoked: 1, returned: i64::MAX })] {
            let mut sample = Sample::new();
            sample.push(1).end = end;
            assert!(!broken(&sample));
        }
    }

    #[test]
    fn a_delete_that_was_refused_or_rolled_back_is_no_reason() {
        let mut sample = Sample::new();
        sample.push(1);
        sample.reserve(1, 1);
        sample.refused(Verdict::Delete, 1, 1);
        sample.delete(1, 1).end = End::RolledBack;
        assert!(broken(&sample));
        sample.delete(1, 1).end = End::Unknown(Span { invoked: 1, returned: i64::MAX });
        assert!(!broken(&sample));
    }

    #[test]
    fn a_dead_letter_has_to_be_there_or_dumped() {
        let mut sample = Sample::new();
        sample.push(1);
        sample.reserve(1, 1);
        sample.settle(Verdict::Bury, 1, 1);
        assert!(broken(&sample));
        let mut kept = sample.clone();
        kept.history.ending.dead.insert(1, 1);
        assert!(!broken(&kept));
        sample.add(Act::DumpDead { max: 5, dumped: Some(vec![1]) });
        assert!(!broken(&sample));
    }

    #[test]
    fn a_pop_without_an_answer_explains_as_many_as_it_asked_for() {
        let mut sample = Sample::new();
        sample.push(1);
        sample.push(2);
        sample.push(3);
        sample.add(Act::Pop { max: 2, taken: None }).end =
            End::Unknown(Span { invoked: 1, returned: i64::MAX });
        assert!(broken(&sample));
        sample.remains(3);
        assert!(!broken(&sample));
    }

    #[test]
    fn a_purge_explains_only_what_was_pushed_before_it() {
        let mut sample = Sample::new();
        sample.push(1);
        sample.add(Act::Purge);
        assert!(!broken(&sample));
        sample.push(2);
        assert!(broken(&sample));
    }

    #[test]
    fn a_time_to_live_explains_a_loss_when_it_is_over() {
        let mut sample = Sample::new();
        let push = sample.push(1);
        let Act::Push { ttl, .. } = &mut push.operations[0].act else { unreachable!() };
        *ttl = Some(50);
        let pushed_at = push.operations[0].clock.unwrap().began;
        sample.history.ending.latest = pushed_at + 49;
        assert!(broken(&sample));
        sample.history.ending.latest = pushed_at + 50;
        assert!(!broken(&sample));
    }

    #[test]
    fn a_newer_message_with_the_key_explains_a_loss() {
        let mut sample = Sample::new();
        for id in [1, 2] {
            let Act::Push { key, .. } = &mut sample.push(id).operations[0].act else { unreachable!() };
            *key = Some("k".into());
        }
        sample.remains(2);
        assert!(!broken(&sample));
        sample.history.ending.alive.clear();
        sample.remains(1);
        assert!(broken(&sample), "the newer of them is gone");
    }
}
