//! Of a key one message waits, and nobody is given what was replaced or updated.

use std::collections::HashMap;

use super::{Rule, Violation};
use crate::facts::{Facts, Given, Pushing, Step};
use crate::record::{Id, Met, Moment, Span};

pub fn look(facts: &Facts) -> Vec<Violation> {
    let mut keys: HashMap<_, Vec<&Pushing>> = HashMap::new();
    for push in facts.pushes.values().flatten() {
        if let Some(key) = push.key {
            keys.entry((push.step.queue(), key)).or_default().push(push);
        }
    }
    let of_key = |pushes: &Vec<&Pushing>| {
        let mut violations = two_wait(facts, pushes);
        violations.extend(pushes.iter().filter_map(|push| given_although_ignored(facts, push)));
        violations
    };
    keys.values().flat_map(of_key).chain(outdated(facts)).collect()
}

fn two_wait(facts: &Facts, pushes: &[&Pushing]) -> Vec<Violation> {
    let waiting: Vec<_> = pushes
        .iter()
        .filter_map(|push| Some((push, push.pushed.id?, certainly_waits(facts, push)?)))
        .collect();
    let mut violations = Vec::new();
    for (n, (second, id, wait)) in waiting.iter().enumerate() {
        for (first, other, earlier) in &waiting[..n] {
            if id != other && wait.invoked.max(earlier.invoked) < wait.returned.min(earlier.returned) {
                let says = format!("messages {other} and {id} waited with one key at the same time");
                violations.push(Violation::new(Rule::OneWaits, *id, &[first.step, second.step], says));
            }
        }
    }
    violations
}

/// From the commit of the push, which made or met a waiting message, until somebody may have
/// touched that one.
fn certainly_waits(facts: &Facts, push: &Pushing) -> Option<Span> {
    let (id, effect) = (push.pushed.id?, push.step.effect()?);
    let given = facts.given_of(id).iter().map(|given| given.step);
    let settled = facts.settled_of(id).iter().map(|settled| settled.step);
    let unseen = facts.unanswered.iter().filter(|step| step.queue() == push.step.queue());
    let touches = given.chain(settled).chain(unseen.copied()).filter(|step| may_come_after(*step, push));
    let touched = touches.map(|step| step.invoked()).min();
    Some(Span { invoked: effect.returned, returned: touched.unwrap_or(Moment::MAX) })
}

/// Whether a call may have found what a push made of a message.
fn may_come_after(step: Step, push: &Pushing) -> bool {
    let ended = step.possible_effect().map_or(Moment::MIN, |effect| effect.returned).max(step.returned());
    ended > push.step.invoked()
}

fn outdated<'f>(facts: &'f Facts) -> impl Iterator<Item = Violation> + 'f {
    facts.met.keys().flat_map(move |&id| {
        facts.replacing(id).flat_map(move |newer| {
            facts.given_of(id).iter().filter_map(move |given| outdates(facts, newer, id, given))
        })
    })
}

fn given_although_ignored(facts: &Facts, push: &Pushing) -> Option<Violation> {
    let id = push.pushed.id.filter(|_| push.pushed.met == Some(Met::Ignored))?;
    let given = facts.given_of(id).iter().find(|given| given.taken.token == push.pushed.token)?;
    let says = format!("message {id} was given as a push has it that was ignored");
    Some(Violation::new(Rule::OneWaits, id, &[push.step, given.step], says))
}

/// A delivery of what had been replaced by then.
fn outdates(facts: &Facts, newer: &Pushing, id: Id, given: &Given) -> Option<Violation> {
    let is_in_effect = newer.step.effect().is_some_and(|effect| effect.returned < given.step.invoked());
    let older = facts.pushes.get(&given.taken.token)?.first()?;
    let is_older = older.step.effect().is_some_and(|effect| effect.returned < newer.step.invoked());
    (is_in_effect && is_older).then(|| {
        let says = format!("message {id} was given as it was before it was replaced");
        Violation::new(Rule::OneWaits, id, &[older.step, newer.step, given.step], says)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Act, End};
    use crate::sample::{LEASE, Sample};

    fn broken(sample: &Sample) -> bool {
        sample.breaks(Rule::OneWaits)
    }

    #[test]
    fn two_that_wait_with_a_key_are_caught() {
        let mut sample = Sample::new();
        sample.push_key(1);
        sample.push_key(2);
        sample.reserve(1, 1);
        assert!(broken(&sample));
    }

    #[test]
    fn one_that_waits_while_another_is_out_is_fine() {
        let mut sample = Sample::new();
        sample.push_key(1);
        sample.reserve(1, 1);
        sample.push_key(2);
        sample.remains(2);
        assert!(!broken(&sample));
    }

    #[test]
    fn a_call_without_an_answer_may_have_taken_the_first() {
        let mut sample = Sample::new();
        sample.push_key(1);
        let unknown = End::Unknown(Span { invoked: sample.now(), returned: Moment::MAX });
        sample.add(Act::Reserve { lease: LEASE, taken: None }).end = unknown;
        sample.push_key(2);
        sample.remains(2);
        assert!(!broken(&sample));
    }

    #[test]
    fn one_that_waits_again_and_was_met_keeps_others_away() {
        let mut sample = Sample::new();
        sample.push_key(1);
        sample.reserve(1, 1);
        sample.pass(2 * LEASE);
        sample.meet(2, 1, Met::Ignored);
        sample.push_key(3);
        let mut early = sample.clone();
        sample.reserve(1, 2);
        assert!(broken(&sample));
        early.history.transactions.swap_remove(2);
        assert!(!broken(&early), "without the push that met it, it may be out");
    }

    #[test]
    fn what_was_ignored_is_not_given() {
        let mut sample = Sample::new();
        sample.push_key(1);
        sample.meet(2, 1, Met::Ignored);
        sample.reserve_token(1, 2, 1);
        assert!(broken(&sample));
    }

    #[test]
    fn two_keys_have_nothing_to_do_with_each_other() {
        let mut sample = Sample::new();
        sample.push_key(1);
        let Act::Push { key, .. } = &mut sample.push_key(2).operations[0].act else { unreachable!() };
        *key = Some("other".into());
        assert!(!broken(&sample));
    }

    #[test]
    fn what_was_updated_is_not_given_as_it_was() {
        let mut sample = Sample::new();
        sample.push(1);
        sample.update(2, 1);
        let mut outdated = sample.clone();
        sample.reserve_token(1, 2, 1);
        assert!(!broken(&sample));
        outdated.reserve(1, 1);
        assert!(broken(&outdated));
    }

    #[test]
    fn what_was_replaced_is_not_given_any_more() {
        let mut sample = Sample::new();
        sample.push_key(1);
        sample.meet(2, 1, Met::Replaced);
        let mut outdated = sample.clone();
        sample.reserve_token(1, 2, 1);
        assert!(!broken(&sample));
        outdated.reserve_token(1, 1, 1);
        assert!(broken(&outdated));
        outdated.history.transactions[1].end = End::RolledBack;
        assert!(!broken(&outdated));
    }
}
