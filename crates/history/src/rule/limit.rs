//! No more messages of a queue are leased at once than its limit.
//!
//! A lease is given at some moment of its call. So others count if they were certainly there,
//! and still valid, when that call had ended.

use super::lease::outlives;
use super::{Rule, Violation};
use crate::facts::{Facts, Given, Step};
use crate::record::Id;

pub fn look(facts: &Facts) -> Vec<Violation> {
    let limits = facts.history.limits.iter();
    limits.flat_map(|(queue, &limit)| look_at(facts, &leases(facts, queue), limit)).collect()
}

fn leases<'f, 'a>(facts: &'f Facts<'a>, queue: &str) -> Vec<(Id, &'f Given<'a>)> {
    let given = facts.given.iter().flat_map(|(&id, given)| given.iter().map(move |given| (id, given)));
    given.filter(|(_, given)| given.step.queue() == queue && !given.is_pop()).collect()
}

fn look_at(facts: &Facts, leases: &[(Id, &Given)], limit: usize) -> Vec<Violation> {
    let too_many = |&(id, next): &(Id, &Given)| {
        let others =
            leases.iter().filter(|(other, holder)| *other != id && is_out(facts, *other, holder, next));
        let others: Vec<Step> = others.map(|(_, holder)| holder.step).collect();
        (others.len() >= limit).then(|| {
            let says =
                format!("message {id} was leased while {} others were, of {limit} that may be", others.len());
            let steps: Vec<Step> = others.into_iter().chain([next.step]).collect();
            Violation::new(Rule::Limited, id, &steps, says)
        })
    };
    leases.iter().filter_map(too_many).collect()
}

/// Whether a lease was there, and valid, when the call that gave another had ended.
fn is_out(facts: &Facts, id: Id, holder: &Given, next: &Given) -> bool {
    let ended = |given: &Given| given.step.operation.clock.map(|clock| clock.ended);
    let (Some(there), Some(moment)) = (ended(holder), ended(next)) else { return false };
    let Some(effect) = holder.step.effect() else { return false };
    let is_earlier = there <= moment && facts.history.clock_steps.is_empty();
    (is_earlier || effect.returned < next.step.invoked()) && outlives(facts, id, holder, next.step, moment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{End, Verdict};
    use crate::sample::{LEASE, Sample};

    fn limited() -> Sample {
        let mut sample = Sample::new();
        sample.history.limits.insert("q".into(), 2);
        for id in 1..=3 {
            sample.push(id);
        }
        sample.reserve(1, 1);
        sample.reserve(2, 1);
        sample
    }

    fn broken(sample: &Sample) -> bool {
        sample.breaks(Rule::Limited)
    }

    #[test]
    fn as_many_as_may_be_are_out() {
        assert!(!broken(&limited()));
    }

    #[test]
    fn one_more_is_caught_unless_the_queue_has_no_limit() {
        let mut sample = limited();
        sample.reserve(3, 1);
        assert!(broken(&sample));
        sample.history.limits.clear();
        assert!(!broken(&sample));
    }

    #[test]
    fn a_lease_that_ended_was_settled_or_rolled_back_makes_room() {
        let mut ended = limited();
        ended.pass(LEASE);
        let mut settled = limited();
        settled.settle(Verdict::Release, 1, 1);
        let mut undone = limited();
        undone.history.transactions[3].end = End::RolledBack;
        for mut sample in [ended, settled, undone] {
            sample.reserve(3, 1);
            assert!(!broken(&sample));
        }
    }

    #[test]
    fn a_lease_that_ends_during_the_call_makes_room() {
        let mut sample = limited();
        sample.pass(LEASE - 18);
        sample.reserve(3, 1);
        assert!(!broken(&sample));
    }
}
