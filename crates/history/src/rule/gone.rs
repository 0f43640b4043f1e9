//! What was removed stays away.

use super::{Rule, Violation};
use crate::facts::{Facts, Given, Settled, Step};
use crate::record::{Act, Id, Moment};

pub fn look(facts: &Facts) -> Vec<Violation> {
    facts.touched().into_iter().flat_map(|id| look_at(facts, id)).collect()
}

fn look_at(facts: &Facts, id: Id) -> Vec<Violation> {
    let removals = removals(facts, id);
    let came_back = removals.iter().filter_map(|removal| came_back(facts, id, *removal));
    came_back.chain(removed_twice(facts, id, &removals)).collect()
}

/// What certainly removed a message: deletes, pops and moves for ever, what died until a redrive.
fn removals<'a>(facts: &Facts<'a>, id: Id) -> Vec<Step<'a>> {
    let died = |settled: &&Settled| {
        settled.done().is_some_and(|done| done.died)
            && !facts.may_be_redriven(settled.step.queue(), settled.step.invoked())
    };
    let died = facts.settled_of(id).iter().filter(died).map(|settled| settled.step);
    let moved = facts.moves_of(id).iter().filter(|moving| moving.new_id.is_some()).map(|moving| moving.step);
    deletions(facts, id).chain(moved).chain(died).filter(|step| step.effect().is_some()).collect()
}

/// Calls that were told that they removed a message for ever.
pub fn deletions<'f, 'a>(facts: &'f Facts<'a>, id: Id) -> impl Iterator<Item = Step<'a>> + use<'f, 'a> {
    let deleted =
        facts.settled_of(id).iter().filter(|settled| settled.is_delete() && settled.done().is_some());
    facts.pops(id).chain(deleted.map(|settled| settled.step))
}

/// Whether a message was seen alive after it was gone.
fn came_back(facts: &Facts, id: Id, removal: Step) -> Option<Violation> {
    let gone = removal.effect()?.returned;
    let given = facts.given_of(id).iter().map(|given: &Given| given.step);
    let settled = facts.settled_of(id).iter().filter(|settled| settled.done().is_some());
    let met = facts.met(id).iter().filter(|push| push.step.is_answered()).map(|push| push.step);
    let seen = given.chain(settled.map(|settled| settled.step)).chain(met);
    let seen = seen
        .filter(|step| step.invoked() > gone)
        .find(|step| !facts.memory.may_lack(removal.transaction, step.returned()));
    let is_alive = facts.history.ending.alive.contains_key(&id)
        && !facts.memory.may_lack(removal.transaction, Moment::MAX);
    if seen.is_none() && !is_alive {
        return None;
    }
    let steps: Vec<_> = [removal].into_iter().chain(seen).collect();
    Some(Violation::new(Rule::Gone, id, &steps, format!("message {id} was removed, and is there again")))
}

/// Whether two calls say that they removed a message, in whatever order.
fn removed_twice(facts: &Facts, id: Id, removals: &[Step]) -> Option<Violation> {
    let lasting: Vec<Step> = removals
        .iter()
        .filter(|step| !facts.memory.may_lack(step.transaction, Moment::MAX))
        .copied()
        .chain(dumps(facts, id))
        .filter(|step| !facts.may_be_redriven(step.queue(), Moment::MIN) || !is_of_dead(step))
        .collect();
    let kinds = |is_of_dead_wanted: bool| {
        lasting.iter().filter(|step| is_of_dead(step) == is_of_dead_wanted).copied().collect::<Vec<_>>()
    };
    let twice = [kinds(false), kinds(true)].into_iter().find(|steps| steps.len() > 1)?;
    Some(Violation::new(Rule::Gone, id, &twice, format!("message {id} was removed twice")))
}

fn dumps<'a>(facts: &Facts<'a>, id: Id) -> Vec<Step<'a>> {
    let dumps = facts.others.iter().filter(|step| match &step.operation.act {
        Act::DumpDead { dumped: Some(dumped), .. } => step.effect().is_some() && dumped.contains(&id),
        _ => false,
    });
    dumps.copied().collect()
}

fn is_of_dead(step: &Step) -> bool {
    matches!(step.operation.act, Act::DumpDead { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{End, Span, Verdict};
    use crate::sample::Sample;

    fn broken(sample: &Sample) -> bool {
        sample.breaks(Rule::Gone)
    }

    fn deleted() -> Sample {
        let mut sample = Sample::new();
        sample.push(1);
        sample.reserve(1, 1);
        sample.delete(1, 1);
        sample
    }

    #[test]
    fn a_deleted_message_that_is_not_seen_again_is_gone() {
        assert!(!broken(&deleted()));
    }

    #[test]
    fn a_message_that_comes_back_after_its_delete_is_caught() {
        let mut sample = deleted();
        let mut left = sample.clone();
        let mut settled = sample.clone();
        sample.reserve(1, 2);
        assert!(broken(&sample));
        sample.history.transactions.last_mut().unwrap().end = End::RolledBack;
        assert!(broken(&sample), "whatever became of who was given it");
        left.remains(1);
        assert!(broken(&left));
        settled.settle_any(Verdict::Extend, 1);
        assert!(broken(&settled));
    }

    #[test]
    fn a_delete_that_did_not_count_removes_nothing() {
        for end in [End::RolledBack, End::Unknown(Span { invoked: 0, returned: i64::MAX })] {
            let mut sample = deleted();
            sample.history.transactions[2].end = end;
            sample.reserve(1, 2);
            assert!(!broken(&sample));
        }
        let mut sample = deleted();
        sample.history.transactions[2].operations[0].undone = true;
        sample.reserve(1, 2);
        assert!(!broken(&sample));
    }

    #[test]
    fn a_crash_may_bring_back_a_delete_that_did_not_wait_for_the_disk_and_no_other() {
        let mut sample = deleted();
        sample.crash(1000);
        sample.reserve(1, 2);
        assert!(broken(&sample));
        sample.history.transactions[2].durable = false;
        assert!(!broken(&sample));
    }

    #[test]
    fn a_moved_message_is_gone_from_its_queue() {
        let mut sample = Sample::new();
        sample.push(1);
        sample.relocate(1, 2);
        assert!(!broken(&sample));
        let mut moved_twice = sample.clone();
        moved_twice.relocate(1, 3);
        assert!(broken(&moved_twice));
        sample.reserve(1, 1);
        assert!(broken(&sample));
    }

    #[test]
    fn an_update_of_a_removed_message_is_caught() {
        let mut sample = deleted();
        let mut unanswered = sample.clone();
        unanswered.update(2, 1).operations[0].clock = None;
        assert!(!broken(&unanswered));
        sample.update(2, 1);
        assert!(broken(&sample));
    }

    #[test]
    fn two_that_removed_one_message_are_caught() {
        let mut sample = deleted();
        let (first, second) = (sample.history.transactions[2].clone(), sample.pop(1, 2));
        // At the same time, so that neither came after the other.
        second.operations[0].span = first.operations[0].span;
        second.end = first.end;
        assert!(broken(&sample));
    }

    #[test]
    fn a_dead_letter_comes_back_only_if_it_is_redriven() {
        let mut sample = Sample::new();
        sample.push(1);
        sample.reserve(1, 1);
        sample.settle(Verdict::Bury, 1, 1);
        let mut redriven = sample.clone();
        sample.reserve(1, 2);
        assert!(broken(&sample));
        redriven.add(Act::Redrive);
        redriven.reserve(1, 2);
        redriven.delete(1, 2);
        assert!(!broken(&redriven));
    }

    #[test]
    fn a_letter_that_was_dumped_twice_is_caught() {
        let mut sample = Sample::new();
        sample.push(1);
        sample.reserve(1, 1);
        sample.settle(Verdict::Bury, 1, 1);
        sample.add(Act::DumpDead { max: 1, dumped: Some(vec![1]) });
        assert!(!broken(&sample));
        sample.add(Act::DumpDead { max: 1, dumped: Some(vec![1]) });
        assert!(broken(&sample));
    }
}
