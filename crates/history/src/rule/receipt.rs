//! A settle call with an old receipt, or for a lease that has ended, does nothing.

use super::{Rule, Violation};
use crate::facts::{Answer, Facts, Given, Pushing, Settled};
use crate::record::{Id, ServerTime, Verdict};

pub fn look(facts: &Facts) -> Vec<Violation> {
    facts.settled.iter().flat_map(|(&id, settled)| look_at(facts, id, settled)).collect()
}

fn look_at(facts: &Facts, id: Id, settled: &[Settled]) -> Vec<Violation> {
    let done = settled.iter().filter(|settled| settled.done().is_some());
    let breach = |settled| {
        with_old_receipt(facts, id, settled)
            .or_else(|| before_it_was_met(facts, id, settled))
            .or_else(|| too_late(facts, id, settled))
    };
    done.filter_map(breach).collect()
}

fn with_old_receipt(facts: &Facts, id: Id, settled: &Settled) -> Option<Violation> {
    let delivery = settled.receipt.delivery?;
    let is_newer = |given: &&Given| {
        given.taken.delivery > delivery
            && given.step.effect().is_some_and(|effect| effect.returned < settled.step.invoked())
            && !facts.memory.may_lack(given.step.transaction, settled.step.returned())
    };
    let newer = facts.given_of(id).iter().find(is_newer)?;
    let says = format!("message {id} was settled with the receipt of delivery {delivery}, which was old");
    Some(Violation::new(Rule::Receipt, id, &[newer.step, settled.step], says))
}

/// Settled by who was given it before a push of its key, or an update, met it.
fn before_it_was_met(facts: &Facts, id: Id, settled: &Settled) -> Option<Violation> {
    let delivery = settled.receipt.delivery?;
    let mut given = facts.given_of(id).iter().filter(|given| given.taken.delivery == delivery);
    let had = given.next().filter(|_| given.next().is_none())?;
    let has_met = |push: &&Pushing| {
        had.step.returned() < push.step.invoked()
            && push.step.effect().is_some_and(|effect| effect.returned < settled.step.invoked())
            && !facts.memory.may_lack(push.step.transaction, settled.step.returned())
            && !facts.memory.may_lack(had.step.transaction, settled.step.returned())
    };
    let push = facts.met(id).iter().find(has_met)?;
    let says = format!("message {id} was settled by who had it before a push or an update met it");
    Some(Violation::new(Rule::Receipt, id, &[had.step, push.step, settled.step], says))
}

fn too_late(facts: &Facts, id: Id, settled: &Settled) -> Option<Violation> {
    let needs_lease = matches!(settled.verdict, Verdict::Extend | Verdict::Release | Verdict::Fail);
    let clock = settled.step.operation.clock.filter(|_| needs_lease)?;
    let delivery = settled.receipt.delivery?;
    let end = latest_end(facts, id, delivery, settled)?;
    if clock.began < end || facts.clock_stepped_during(settled.step) {
        return None;
    }
    let given = facts.given_of(id).iter().filter(|given| given.taken.delivery == delivery);
    let steps: Vec<_> = given.map(|given| given.step).chain([settled.step]).collect();
    Some(Violation::new(
        Rule::Receipt,
        id,
        &steps,
        format!("message {id} was settled after its lease had ended"),
    ))
}

/// When a lease ended at the latest, whatever became of its extensions; none if nobody knows.
fn latest_end(facts: &Facts, id: Id, delivery: i32, asked: &Settled) -> Option<ServerTime> {
    let given = facts.given_of(id).iter().filter(|given| given.taken.delivery == delivery);
    let mut end = given.filter_map(|given| given.taken.until).max()?;
    let before = |other: &&Settled| {
        let span = other.step.operation.span;
        span != asked.step.operation.span && span.invoked < asked.step.returned()
    };
    let extended = facts.settled_of(id).iter().filter(before);
    for extended in extended.filter(|settled| settled.verdict == Verdict::Extend && settled.fits(delivery)) {
        match extended.answer {
            Answer::Done(done) => end = end.max(done.until?),
            Answer::Refused => {}
            Answer::None => return None,
        }
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{End, Met};
    use crate::sample::{LEASE, Sample};

    fn broken(sample: &Sample) -> bool {
        sample.breaks(Rule::Receipt)
    }

    #[test]
    fn a_push_that_meets_a_message_makes_its_receipts_old() {
        for met in [Met::Ignored, Met::Replaced] {
            let mut sample = Sample::new();
            sample.push_key(1);
            sample.reserve(1, 1);
            sample.pass(2 * LEASE);
            let mut before = sample.clone();
            sample.meet(2, 1, met);
            sample.delete(1, 1);
            assert!(broken(&sample), "{met:?}");
            before.delete(1, 1);
            before.push_key(2);
            assert!(!broken(&before));
        }
    }

    fn delivered_twice() -> Sample {
        let mut sample = Sample::new();
        sample.push(1);
        sample.reserve(1, 1);
        sample.settle(Verdict::Release, 1, 1);
        sample.reserve(1, 2);
        sample
    }

    #[test]
    fn the_newest_receipt_is_good_and_an_old_one_is_refused() {
        let mut sample = delivered_twice();
        sample.refused(Verdict::Delete, 1, 1);
        sample.delete(1, 2);
        assert!(!broken(&sample));
    }

    #[test]
    fn an_old_receipt_that_was_taken_is_caught_whatever_was_asked() {
        for verdict in [Verdict::Extend, Verdict::Release, Verdict::Fail, Verdict::Bury, Verdict::Delete] {
            let mut sample = delivered_twice();
            sample.settle(verdict, 1, 1);
            assert!(broken(&sample), "{verdict:?}");
            sample.history.transactions.last_mut().unwrap().end = End::RolledBack;
            assert!(broken(&sample), "{verdict:?}, rolled back later");
        }
    }

    #[test]
    fn a_delivery_that_was_rolled_back_makes_no_receipt_old() {
        let mut sample = delivered_twice();
        sample.history.transactions[3].end = End::RolledBack;
        sample.delete(1, 1);
        assert!(!broken(&sample));
    }

    #[test]
    fn a_delivery_that_a_crash_may_have_forgotten_makes_no_receipt_old() {
        let mut sample = delivered_twice();
        sample.crash(100);
        sample.delete(1, 1);
        assert!(!broken(&sample));
    }

    #[test]
    fn a_settle_without_a_receipt_means_any_delivery() {
        let mut sample = delivered_twice();
        sample.settle_any(Verdict::Delete, 1);
        assert!(!broken(&sample));
    }

    #[test]
    fn a_lease_that_has_ended_cannot_be_settled_but_deleted() {
        for verdict in [Verdict::Extend, Verdict::Release, Verdict::Fail] {
            let mut sample = Sample::new();
            sample.push(1);
            sample.reserve(1, 1);
            sample.pass(LEASE);
            let mut deleted = sample.clone();
            sample.settle(verdict, 1, 1);
            assert!(broken(&sample), "{verdict:?}");
            deleted.delete(1, 1);
            assert!(!broken(&deleted));
        }
    }

    #[test]
    fn a_lease_that_was_extended_can_be_settled() {
        let mut sample = Sample::new();
        sample.push(1);
        sample.reserve(1, 1);
        sample.extend(1, 1, 3 * LEASE);
        sample.pass(LEASE);
        sample.settle(Verdict::Fail, 1, 1);
        assert!(!broken(&sample));
    }
}
