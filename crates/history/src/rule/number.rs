//! The deliveries of a message are numbered 1, 2, 3 …
//!
//! A number may be missing if somebody may have been given it without our knowing; it may
//! come twice, or a lower one later, if a crash may have forgotten the first time.

use std::collections::BTreeMap;

use super::{Rule, Violation};
use crate::facts::{Facts, Given, Step};
use crate::record::{Id, Moment};

pub fn look(facts: &Facts) -> Vec<Violation> {
    facts.given.iter().flat_map(|(&id, given)| look_at(facts, id, given)).collect()
}

fn look_at(facts: &Facts, id: Id, given: &[Given]) -> Vec<Violation> {
    let counted: Vec<&Given> = given.iter().filter(|given| given.step.effect().is_some()).collect();
    let mut violations = not_rising(facts, id, &counted);
    violations.extend(missing(facts, id, given, &counted));
    violations
}

fn not_rising(facts: &Facts, id: Id, counted: &[&Given]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (n, second) in counted.iter().enumerate() {
        for first in &counted[..n] {
            let (before, after) = (first.taken.delivery, second.taken.delivery);
            if is_out_of_order(first, second)
                && !facts.memory.may_lack(first.step.transaction, second.step.returned())
            {
                let says = format!("message {id}: delivery {after} after delivery {before}");
                violations.push(Violation::new(Rule::Numbered, id, &[first.step, second.step], says));
            }
        }
    }
    violations
}

/// The same number twice is wrong in any order; a lower one, if it certainly came later.
fn is_out_of_order(first: &Given, second: &Given) -> bool {
    let (before, after) = (first.taken.delivery, second.taken.delivery);
    let is_later = first.step.effect().is_some_and(|effect| effect.returned < second.step.invoked());
    after == before || (after < before && is_later)
}

fn missing(facts: &Facts, id: Id, given: &[Given], counted: &[&Given]) -> Option<Violation> {
    let mut known: BTreeMap<i32, &Given> = BTreeMap::new();
    for given in counted {
        known.entry(given.taken.delivery).or_insert(given);
    }
    let perhaps = |number| {
        given.iter().any(|given| given.taken.delivery == number && given.step.possible_effect().is_some())
    };
    let (mut last, mut since) = (0, Moment::MIN);
    let mut unseen: Vec<Step> = Vec::new();
    for (&number, next) in &known {
        if number < 1 {
            let says = format!("message {id}: delivery {number}");
            return Some(Violation::new(Rule::Numbered, id, &[next.step], says));
        }
        for lost in (last + 1..number).filter(|&lost| !perhaps(lost)) {
            let Some(step) = unseen_lease(facts, next, since, &unseen) else {
                let says = format!("message {id}: delivery {number}, and nobody was given {lost}");
                return Some(Violation::new(Rule::Numbered, id, &[next.step], says));
            };
            unseen.push(step);
        }
        (last, since) = (number, next.step.invoked());
    }
    None
}

/// A call without an answer that may have been given the message before `next`, after `since`.
/// One transaction explains one delivery.
fn unseen_lease<'a>(facts: &Facts<'a>, next: &Given, since: Moment, used: &[Step]) -> Option<Step<'a>> {
    let candidates = facts.unanswered.iter().filter(|step| {
        step.queue() == next.step.queue()
            && step.invoked() < next.step.returned()
            && step.possible_effect().is_some_and(|effect| effect.returned > since)
    });
    candidates.copied().find(|step| !used.iter().any(|other| other.is_beside(*step)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Act, End, Span};
    use crate::sample::Sample;

    fn broken(sample: &Sample) -> bool {
        sample.breaks(Rule::Numbered)
    }

    fn delivered(numbers: &[i32]) -> Sample {
        let mut sample = Sample::new();
        sample.push(1);
        for &number in numbers {
            sample.reserve(1, number);
        }
        sample
    }

    #[test]
    fn one_two_three_is_in_order() {
        assert!(!broken(&delivered(&[1, 2, 3])));
    }

    #[test]
    fn gaps_repetitions_and_steps_back_are_caught() {
        for numbers in [&[2][..], &[1, 3], &[1, 1], &[1, 2, 1], &[1, 2, 2], &[0]] {
            assert!(broken(&delivered(numbers)), "{numbers:?}");
        }
    }

    #[test]
    fn a_reserve_that_was_rolled_back_has_not_counted() {
        let mut sample = delivered(&[1, 1, 2]);
        sample.history.transactions[1].end = End::RolledBack;
        assert!(!broken(&sample));

        let mut sample = delivered(&[1, 2]);
        sample.history.transactions[1].operations[0].undone = true;
        assert!(broken(&sample));
    }

    #[test]
    fn a_reserve_without_an_answer_explains_one_gap() {
        let unknown = End::Unknown(Span { invoked: 0, returned: i64::MAX });
        let unanswered = Act::Reserve { lease: 1, lifo: false, taken: None };
        let mut sample = delivered(&[1]);
        sample.add(unanswered.clone()).end = unknown;
        let mut two = sample.clone();
        sample.reserve(1, 3);
        assert!(!broken(&sample));
        two.reserve(1, 4);
        assert!(broken(&two));
    }

    #[test]
    fn a_reserve_that_was_rolled_back_or_came_later_explains_nothing() {
        let unanswered = Act::Reserve { lease: 1, lifo: false, taken: None };
        let mut sample = delivered(&[1]);
        sample.add(unanswered.clone()).end = End::RolledBack;
        sample.reserve(1, 3);
        sample.add(unanswered).end = End::Unknown(Span { invoked: 0, returned: i64::MAX });
        assert!(broken(&sample));
    }

    #[test]
    fn an_answered_reserve_without_an_end_explains_its_own_number() {
        let mut sample = delivered(&[1, 2, 3]);
        sample.history.transactions[2].end = End::Unknown(Span { invoked: 0, returned: i64::MAX });
        assert!(!broken(&sample));
        let mut sample = delivered(&[1, 2, 2]);
        sample.history.transactions[2].end = End::Unknown(Span { invoked: 0, returned: i64::MAX });
        assert!(!broken(&sample));
    }

    #[test]
    fn a_crash_lets_a_number_come_again_once_it_is_over() {
        let mut sample = delivered(&[1, 2]);
        sample.crash(100);
        sample.reserve(1, 2);
        assert!(!broken(&sample));
        sample.reserve(1, 2);
        assert!(broken(&sample));
    }

    #[test]
    fn a_pop_counts_as_a_delivery() {
        let mut sample = delivered(&[1]);
        sample.pop(1, 3);
        assert!(broken(&sample));
        let mut sample = delivered(&[1]);
        sample.pop(1, 2);
        assert!(!broken(&sample));
    }
}
