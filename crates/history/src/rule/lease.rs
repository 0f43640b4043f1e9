//! No message has two valid leases at once, and none is changed or moved while it is leased.
//!
//! The server gives a lease by its clock and for a span of time, so it read the clock at its
//! end minus that span. By then the lease before must have ended: by its time, or because it
//! was settled. If the clock was moved back in between, it may have ended before that.

use super::{Rule, Violation};
use crate::facts::{Answer, Facts, Given, Settled, Step};
use crate::record::{Act, Id, ServerTime, Verdict};

pub fn look(facts: &Facts) -> Vec<Violation> {
    let shared = facts.given.iter().flat_map(|(&id, given)| look_at(facts, id, given));
    shared.chain(facts.touched().into_iter().flat_map(|id| disturbed(facts, id))).collect()
}

fn look_at(facts: &Facts, id: Id, given: &[Given]) -> Vec<Violation> {
    let holders = given.iter().filter(|given| given.step.effect().is_some() && !given.is_pop());
    let pairs = holders.flat_map(|holder| {
        let next = given.iter().map(|next| next.taken.delivery).filter(|&n| n > holder.taken.delivery).min();
        given.iter().filter(move |other| Some(other.taken.delivery) == next).map(move |other| (holder, other))
    });
    let overlapping = pairs.filter(|(holder, next)| overlap(facts, id, holder, next));
    let violation = |(holder, next): (&Given, &Given)| {
        let says = format!("message {id} was given to another while its lease was valid");
        Violation::new(Rule::OneLease, id, &[holder.step, next.step], says)
    };
    overlapping.map(violation).collect()
}

/// Leases of a message that was changed, met or moved although they were valid.
fn disturbed(facts: &Facts, id: Id) -> Vec<Violation> {
    let holders: Vec<&Given> = facts.given_of(id).iter().filter(|given| !given.is_pop()).collect();
    let met = facts.met(id).iter().map(|push| push.step);
    let moved = facts.moves_of(id).iter().map(|moving| moving.step);
    let disturbing = met.chain(moved).filter(|step| !facts.clock_stepped_during(*step));
    let violation = |step: Step| {
        let moment = step.operation.clock?.ended;
        let is_out = |holder: &&&Given| {
            let effect = holder.step.effect();
            effect.is_some_and(|effect| effect.returned < step.invoked())
                && outlives(facts, id, holder, step, moment)
        };
        let holder = holders.iter().find(is_out)?;
        let says = format!("message {id} was changed, met or moved while its lease was valid");
        Some(Violation::new(Rule::OneLease, id, &[holder.step, step], says))
    };
    disturbing.filter_map(violation).collect()
}

fn overlap(facts: &Facts, id: Id, holder: &Given, next: &Given) -> bool {
    // A pop does not tell at which moment of the call it took the message.
    let is_certain = !next.is_pop() || !facts.clock_stepped_during(next.step);
    is_certain && begin(next).is_some_and(|begin| outlives(facts, id, holder, next.step, begin))
}

/// Whether a lease was certainly valid when the server's clock showed `moment`, during the call
/// `next`.
pub fn outlives(facts: &Facts, id: Id, holder: &Given, next: Step, moment: ServerTime) -> bool {
    let Some(end) = certain_end(facts, id, holder, next) else { return false };
    moment < end
        && facts.latest_reading(holder.step, next.returned()).is_none_or(|latest| latest < end)
        && !ended_early(facts, id, holder, next)
        && !facts.memory.may_lack(holder.step.transaction, next.returned())
}

/// What the server's clock showed when it gave a message; of a pop, at the latest.
fn begin(given: &Given) -> Option<ServerTime> {
    match (&given.step.operation.act, given.taken.until) {
        (Act::Reserve { lease, .. }, Some(until)) => Some(until - lease),
        _ => given.step.operation.clock.map(|clock| clock.ended),
    }
}

/// The first moment at which the lease may have ended by its time, if extending leaves it certain.
fn certain_end(facts: &Facts, id: Id, holder: &Given, next: Step) -> Option<ServerTime> {
    let mut end = holder.taken.until?;
    for extended in of_lease(facts, id, holder, next).filter(|settled| settled.verdict == Verdict::Extend) {
        let until = match extended.answer {
            Answer::Done(done) => done.until?,
            Answer::Refused => continue,
            Answer::None => return None,
        };
        end = if extended.step.effect().is_some() { until } else { end.min(until) };
    }
    Some(end)
}

fn ended_early(facts: &Facts, id: Id, holder: &Given, next: Step) -> bool {
    of_lease(facts, id, holder, next)
        .any(|settled| settled.verdict != Verdict::Extend && settled.may_be_done())
}

/// What may have been done to a lease, as far as `next` could see it.
fn of_lease<'f, 'a>(
    facts: &'f Facts<'a>,
    id: Id,
    holder: &'f Given<'a>,
    next: Step<'a>,
) -> impl Iterator<Item = &'f Settled<'a>> {
    facts.settled_of(id).iter().filter(move |settled| {
        settled.fits(holder.taken.delivery)
            && settled.step.invoked() < next.returned()
            && settled.step.may_count_for(next)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Crash, End, Span};
    use crate::sample::{LEASE, Sample};

    fn broken(sample: &Sample) -> bool {
        sample.breaks(Rule::OneLease)
    }

    /// Two deliveries of a message, the second too early.
    fn overlapping() -> Sample {
        let mut sample = Sample::new();
        sample.push(1);
        sample.reserve(1, 1);
        sample.reserve(1, 2);
        sample
    }

    #[test]
    fn a_lease_may_be_given_when_the_one_before_is_over() {
        let mut sample = Sample::new();
        sample.push(1);
        sample.reserve(1, 1);
        sample.pass(LEASE);
        sample.reserve(1, 2);
        assert!(!broken(&sample));
    }

    #[test]
    fn a_lease_given_while_another_is_valid_is_caught() {
        assert!(broken(&overlapping()));
    }

    #[test]
    fn a_pop_of_a_leased_message_is_caught() {
        let mut sample = Sample::new();
        sample.push(1);
        sample.reserve(1, 1);
        let mut late = sample.clone();
        sample.pop(1, 2);
        assert!(broken(&sample));
        late.pass(LEASE);
        late.pop(1, 2);
        assert!(!broken(&late));
    }

    #[test]
    fn a_leased_message_is_neither_changed_nor_moved() {
        let mut leased = Sample::new();
        leased.push(1);
        leased.reserve(1, 1);
        let mut ended = leased.clone();
        ended.pass(LEASE);
        let mut released = leased.clone();
        released.settle(Verdict::Release, 1, 1);
        for (mut sample, expected) in [(leased, true), (ended, false), (released, false)] {
            let mut moved = sample.clone();
            moved.relocate(1, 2);
            sample.update(2, 1);
            assert_eq!((broken(&sample), broken(&moved)), (expected, expected));
        }
    }

    #[test]
    fn it_is_caught_although_the_second_was_rolled_back_but_the_first_has_to_count() {
        let mut sample = overlapping();
        sample.history.transactions[2].end = End::RolledBack;
        assert!(broken(&sample));
        sample.history.transactions[1].end = End::RolledBack;
        assert!(!broken(&sample));
    }

    #[test]
    fn a_lease_that_was_settled_has_ended() {
        for verdict in [Verdict::Release, Verdict::Fail] {
            let mut sample = Sample::new();
            sample.push(1);
            sample.reserve(1, 1);
            sample.settle(verdict, 1, 1);
            sample.reserve(1, 2);
            assert!(!broken(&sample));
            sample.history.transactions[2].end = End::RolledBack;
            assert!(broken(&sample));
            sample.history.transactions[2].end = End::Unknown(Span { invoked: 0, returned: i64::MAX });
            assert!(!broken(&sample));
        }
    }

    #[test]
    fn a_refused_settle_has_ended_nothing() {
        let mut sample = Sample::new();
        sample.push(1);
        sample.reserve(1, 1);
        sample.refused(Verdict::Release, 1, 1);
        sample.reserve(1, 2);
        assert!(broken(&sample));
    }

    #[test]
    fn a_lease_that_was_extended_lasts_longer_and_one_that_was_cut_short_does_not() {
        let mut sample = Sample::new();
        sample.push(1);
        sample.reserve(1, 1);
        sample.extend(1, 1, 3 * LEASE);
        sample.pass(LEASE);
        sample.reserve(1, 2);
        assert!(broken(&sample));

        let mut sample = Sample::new();
        sample.push(1);
        sample.reserve(1, 1);
        sample.extend(1, 1, 1);
        sample.reserve(1, 2);
        assert!(!broken(&sample));
    }

    #[test]
    fn an_extension_that_may_not_have_happened_makes_nothing_longer() {
        let mut sample = Sample::new();
        sample.push(1);
        sample.reserve(1, 1);
        sample.extend(1, 1, 3 * LEASE).end = End::Unknown(Span { invoked: 0, returned: i64::MAX });
        sample.pass(LEASE);
        sample.reserve(1, 2);
        assert!(!broken(&sample));
    }

    #[test]
    fn a_crash_may_forget_a_lease_but_no_durable_one_and_none_that_something_durable_followed() {
        let mut sample = Sample::new();
        sample.push(1);
        let lease = sample.reserve(1, 1).number as usize;
        sample.crash(100);
        sample.reserve(1, 2);
        assert!(!broken(&sample));

        let mut durable = sample.clone();
        durable.history.transactions[lease].durable = true;
        assert!(broken(&durable));

        let mut followed = Sample::new();
        followed.push(1);
        followed.reserve(1, 1);
        followed.push(2);
        followed.crash(100);
        followed.reserve(1, 2);
        assert!(broken(&followed));
    }

    #[test]
    fn a_crash_long_afterwards_is_no_excuse() {
        let mut sample = Sample::new();
        sample.push(1);
        sample.reserve(1, 1);
        sample.pass(LEASE / 2);
        let now = sample.now();
        sample
            .history
            .crashes
            .push(Crash { span: Span { invoked: now, returned: now + 5 }, forgets: LEASE / 4 });
        sample.pass(10);
        sample.reserve(1, 2);
        assert!(broken(&sample));
    }

    #[test]
    fn a_clock_that_was_put_forward_ends_leases() {
        let mut sample = Sample::new();
        sample.push(1);
        sample.reserve(1, 1);
        sample.step_clock(10 * LEASE);
        sample.reserve(1, 2);
        sample.step_clock(-20 * LEASE);
        sample.settle(Verdict::Release, 1, 2);
        sample.reserve(1, 3);
        assert!(!broken(&sample));
        sample.reserve(1, 4);
        assert!(broken(&sample));
    }

    #[test]
    fn a_clock_that_was_put_back_gives_no_lease_an_earlier_end() {
        let mut sample = Sample::new();
        sample.push(1);
        sample.reserve(1, 1);
        let mut ended = sample.clone();
        sample.pass(LEASE / 2);
        sample.step_clock(-10 * LEASE);
        sample.reserve(1, 2);
        assert!(broken(&sample));
        ended.pass(LEASE);
        ended.step_clock(-10 * LEASE);
        ended.reserve(1, 2);
        assert!(!broken(&ended));
    }

    #[test]
    fn a_lease_given_just_after_a_step_of_the_clock_may_have_ended_before_the_next() {
        const HOUR: i64 = 3_600_000_000;
        let mut sample = Sample::new();
        sample.push(1);
        sample.step_clock(-HOUR);
        let given = sample.reserve(1, 1).operations[0].span;
        sample.history.clock_steps[0].span.returned = given.invoked + 1;
        sample.pass(LEASE);
        sample.step_clock(-HOUR);
        sample.reserve(1, 2);
        assert!(!broken(&sample));
    }
}
