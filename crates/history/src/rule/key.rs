//! No consumer is given what was replaced, updated or ignored.
//!
//! That pushes of a key are delivered as one cannot be told from outside, where sessions overlap: `tests/search`
//! looks at the table after each statement.

use super::{Rule, Violation};
use crate::facts::{Facts, Given, Pushing};
use crate::record::{Id, Met};

pub fn look(facts: &Facts) -> Vec<Violation> {
    let ignored = facts.pushes.values().flatten().filter_map(|push| given_although_ignored(facts, push));
    ignored.chain(outdated(facts)).collect()
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
    Some(Violation::new(Rule::Outdated, id, &[push.step, given.step], says))
}

/// A delivery of what had been replaced by then.
fn outdates(facts: &Facts, newer: &Pushing, id: Id, given: &Given) -> Option<Violation> {
    let is_in_effect = newer.step.effect().is_some_and(|effect| effect.returned < given.step.invoked());
    let older = facts.pushes.get(&given.taken.token)?.first()?;
    let is_older = older.step.effect().is_some_and(|effect| effect.returned < newer.step.invoked());
    (is_in_effect && is_older).then(|| {
        let says = format!("message {id} was given as it was before it was replaced");
        Violation::new(Rule::Outdated, id, &[older.step, newer.step, given.step], says)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::End;
    use crate::sample::Sample;

    fn broken(sample: &Sample) -> bool {
        sample.breaks(Rule::Outdated)
    }

    #[test]
    fn an_ignored_push_is_not_delivered() {
        let mut sample = Sample::new();
        sample.push_key(1);
        sample.meet(2, 1, Met::Ignored);
        sample.reserve_token(1, 2, 1);
        assert!(broken(&sample));
    }

    #[test]
    fn an_updated_message_is_not_delivered_with_its_old_content() {
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
    fn a_replaced_content_is_not_delivered_any_more() {
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
