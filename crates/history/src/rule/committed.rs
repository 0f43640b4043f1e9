//! Nothing is delivered whose push was not committed, and each push makes one message.

use super::{Rule, Violation};
use crate::facts::{Facts, Given, Pushing};
use crate::record::{Id, Met, Token};

pub fn look(facts: &Facts) -> Vec<Violation> {
    let given = facts.given.values().flatten().filter_map(|given| unfounded(facts, given));
    let ending = &facts.history.ending;
    let left = ending.alive.iter().chain(&ending.dead);
    let left = left.filter_map(|(&id, &token)| unfounded_at_the_end(facts, id, token));
    given.chain(left).chain(doubled(facts)).collect()
}

fn unfounded(facts: &Facts, given: &Given) -> Option<Violation> {
    let pushes = pushes(facts, given.taken.token);
    if pushes.iter().any(|push| is_visible(push, given)) {
        return None;
    }
    let mut steps: Vec<_> = pushes.iter().map(|push| push.step).collect();
    steps.push(given.step);
    let says = "a message was delivered that was not committed, or not yet";
    Some(Violation::new(Rule::Committed, given.taken.id, &steps, says))
}

fn is_visible(push: &Pushing, given: &Given) -> bool {
    let was_committed =
        push.step.possible_effect().is_some_and(|effect| effect.invoked <= given.step.returned());
    was_committed || push.step.is_beside(given.step)
}

fn unfounded_at_the_end(facts: &Facts, id: Id, token: Token) -> Option<Violation> {
    let pushes = pushes(facts, token);
    if pushes.iter().any(|push| push.step.possible_effect().is_some()) {
        return None;
    }
    let steps: Vec<_> = pushes.iter().map(|push| push.step).collect();
    Some(Violation::new(
        Rule::Committed,
        id,
        &steps,
        format!("message {id} is there, and its push was undone"),
    ))
}

fn doubled<'a>(facts: &'a Facts) -> impl Iterator<Item = Violation> + 'a {
    let many = |token: Token, ids: &[Id]| ids.len() > 1 + moves(facts, ids) + ignored(facts, token);
    let doubled = facts.ids.iter().filter(move |(token, ids)| many(**token, ids));
    doubled.map(|(token, ids)| {
        let given = ids.iter().flat_map(|&id| facts.given_of(id)).map(|given| given.step);
        let steps: Vec<_> = pushes(facts, *token).iter().map(|push| push.step).chain(given).collect();
        Violation::new(
            Rule::Committed,
            ids[0],
            &steps,
            format!("token {token} has several messages: {ids:?}"),
        )
    })
}

/// How many times messages may have become others by being moved.
fn moves(facts: &Facts, ids: &[Id]) -> usize {
    ids.iter().map(|&id| facts.moves_of(id).len()).sum()
}

/// How many pushes counted on a message that was there. Each may have added one of its own behind that.
fn ignored(facts: &Facts, token: Token) -> usize {
    pushes(facts, token).iter().filter(|push| push.pushed.met == Some(Met::Ignored)).count()
}

fn pushes<'f, 'a>(facts: &'f Facts<'a>, token: Token) -> &'f [Pushing<'a>] {
    facts.pushes.get(&token).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{End, Span};
    use crate::sample::Sample;

    fn broken(sample: &Sample) -> bool {
        sample.breaks(Rule::Committed)
    }

    #[test]
    fn committed_pushes_are_delivered() {
        let mut sample = Sample::new();
        sample.push(1);
        sample.reserve(1, 1);
        sample.remains(1);
        assert!(!broken(&sample));
    }

    #[test]
    fn a_push_that_was_ignored_may_be_delivered_under_an_id_of_its_own() {
        let mut sample = Sample::new();
        sample.push_key(1);
        sample.meet(2, 1, Met::Ignored);
        sample.reserve_token(2, 2, 1);
        assert!(!broken(&sample));
        sample.reserve_token(3, 2, 1);
        assert!(broken(&sample), "but only once");
    }

    #[test]
    fn a_message_of_a_push_that_was_undone_is_caught() {
        let mut sample = Sample::new();
        sample.push(1).end = End::RolledBack;
        let mut left = sample.clone();
        sample.reserve(1, 1);
        assert!(broken(&sample));
        left.remains(1);
        assert!(broken(&left));
    }

    #[test]
    fn a_savepoint_rolled_back_takes_its_push_along() {
        let mut sample = Sample::new();
        sample.push(1).operations[0].undone = true;
        sample.reserve(1, 1);
        assert!(broken(&sample));
    }

    #[test]
    fn a_push_without_an_answer_may_be_delivered() {
        let mut sample = Sample::new();
        sample.push(1).end = End::Unknown(Span { invoked: 0, returned: i64::MAX });
        sample.reserve(1, 1);
        assert!(!broken(&sample));
    }

    #[test]
    fn a_delivery_before_the_commit_is_caught_but_not_in_the_same_transaction() {
        let mut sample = Sample::new();
        let late = Span { invoked: 1_000_000, returned: 1_000_001 };
        sample.push(1).end = End::Committed(late);
        let taken = sample.reserve(1, 1).operations.pop().unwrap();
        let number = sample.history.transactions[0].number;
        assert!(!broken(&sample));
        sample.reserve(1, 1);
        assert!(broken(&sample));
        let reserve = sample.history.transactions.last_mut().unwrap();
        reserve.operations = vec![taken];
        reserve.number = number;
        assert!(!broken(&sample));
    }

    #[test]
    fn two_messages_of_one_push_are_caught() {
        let mut sample = Sample::new();
        sample.push(1);
        sample.reserve(1, 1);
        sample.history.ending.alive.insert(7, 1);
        assert!(broken(&sample));
    }

    #[test]
    fn a_message_that_was_moved_has_two_ids_and_no_third() {
        let mut sample = Sample::new();
        sample.push(1);
        sample.relocate(1, 2);
        sample.reserve_token(2, 1, 1);
        assert!(!broken(&sample));
        sample.remains_as(3, 1);
        assert!(broken(&sample));
    }

    #[test]
    fn a_delivered_message_that_was_not_pushed_is_caught() {
        let mut sample = Sample::new();
        sample.reserve(5, 1);
        assert!(broken(&sample));
    }
}
