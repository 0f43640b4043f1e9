//! Of a group one is out at a time, and the first goes first.
//!
//! A message that was delivered is the one that is out until it is gone, leased or not; of
//! those never delivered, the smallest priority and then the lowest id goes first. Whether a
//! message was gone is not asked: whoever is seen again later was there all the while.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Rule, Violation};
use crate::facts::{Facts, Given, Step};
use crate::record::{Id, Moment, Order};

/// A message of a group.
struct Member<'a> {
    id: Id,
    step: Step<'a>,
    order: &'a Order,
    given: &'a [Given<'a>],
    /// When it was seen last.
    seen: Moment,
}

pub fn look(facts: &Facts) -> Vec<Violation> {
    let groups = groups(facts);
    let in_order = groups.values().flat_map(|members| look_at(facts, members));
    in_order.chain(groups.values().flat_map(|members| together(members))).collect()
}

fn groups<'a>(facts: &'a Facts) -> HashMap<(&'a str, &'a str), Vec<Member<'a>>> {
    let mut groups: HashMap<_, Vec<Member>> = HashMap::new();
    let certain = facts.pushes.values().flatten().filter(|push| push.step.effect().is_some());
    let made = certain.filter(|push| push.pushed.met.is_none());
    let certain: HashSet<Id> = made.filter_map(|push| push.pushed.id).collect();
    for push in facts.pushes.values().flatten() {
        let (Some(group), Some([id])) =
            (&push.order.group, facts.ids.get(&push.pushed.token).map(Vec::as_slice))
        else {
            continue;
        };
        // After a crash ids come again that only what was not committed had.
        let is_another_s = push.step.effect().is_none() && certain.contains(id);
        if is_another_s || push.step.possible_effect().is_none() {
            continue;
        }
        let seen = last_seen(facts, *id);
        let member = Member { id: *id, step: push.step, order: push.order, given: facts.given_of(*id), seen };
        groups.entry((push.step.queue(), group.as_str())).or_default().push(member);
    }
    groups
}

fn last_seen(facts: &Facts, id: Id) -> Moment {
    if facts.history.ending.alive.contains_key(&id) {
        return Moment::MAX;
    }
    let given = facts.given_of(id).iter().map(|given| given.step.invoked());
    let settled = facts.settled_of(id).iter().filter(|settled| settled.done().is_some());
    given.chain(settled.map(|settled| settled.step.invoked())).max().unwrap_or(Moment::MIN)
}

fn look_at<'a>(facts: &'a Facts, members: &'a [Member]) -> impl Iterator<Item = Violation> + 'a {
    // A message is only in the way of those given before it was seen last.
    members.iter().flat_map(move |member| {
        let given = member.given.iter().filter(|given| given.step.effect().is_some());
        given.filter_map(move |given| {
            let others = members.iter().filter(|other| other.id != member.id);
            let mut in_the_way = others.filter(|other| other.seen > given.step.returned());
            in_the_way.find_map(|other| overtaken(facts, other, member, given))
        })
    })
}

fn overtaken(facts: &Facts, first: &Member, second: &Member, given: &Given) -> Option<Violation> {
    let (in_the_way, says) = if let Some(out) = is_out(facts, first, given) {
        (out, "was given while another of its group was out")
    } else if goes_before(first, second, given) {
        (first.step, "was given before an earlier one of its group")
    } else {
        return None;
    };
    if facts.may_be_redriven(given.step.queue(), in_the_way.invoked()) {
        return None;
    }
    let last = last_of(facts, first);
    let says = format!("message {} {says}: {}", second.id, first.id);
    let steps: Vec<_> = [in_the_way, given.step].into_iter().chain(last).collect();
    Some(Violation::new(Rule::GroupOrder, second.id, &steps, says))
}

/// The delivery of `first` that had certainly happened when another was given.
fn is_out<'a>(facts: &Facts, first: &Member<'a>, given: &Given) -> Option<Step<'a>> {
    let before = |out: &&Given| {
        out.step.effect().is_some()
            && out.step.returned() < given.step.invoked()
            && !facts.memory.may_lack(out.step.transaction, given.step.returned())
    };
    first.given.iter().find(before).map(|out| out.step)
}

/// Whether `first` was there before another was given for the first time.
fn goes_before(first: &Member, second: &Member, given: &Given) -> bool {
    let is_there = first.step.effect().is_some_and(|effect| effect.returned < given.step.invoked());
    given.taken.delivery == 1
        && is_there
        && (first.order.priority, first.id) < (second.order.priority, second.id)
}

fn last_of<'a>(facts: &Facts<'a>, member: &Member<'a>) -> Option<Step<'a>> {
    let given = facts.given_of(member.id).iter().map(|given| given.step);
    let settled = facts.settled_of(member.id).iter().filter(|settled| settled.done().is_some());
    given.chain(settled.map(|settled| settled.step)).max_by_key(|step| step.invoked())
}

/// Several of a group that one call handed out.
fn together(members: &[Member]) -> Vec<Violation> {
    let mut calls: BTreeMap<(u64, Moment), Vec<(Id, Step)>> = BTreeMap::new();
    for member in members {
        for given in member.given {
            let call = (given.step.transaction.number, given.step.invoked());
            calls.entry(call).or_default().push((member.id, given.step));
        }
    }
    let several = calls.into_values().filter(|given| given.len() > 1);
    let violation = |given: Vec<(Id, Step)>| {
        let ids: Vec<Id> = given.iter().map(|(id, _)| *id).collect();
        Violation::new(Rule::GroupOrder, ids[0], &[given[0].1], format!("one call gave {ids:?} of one group"))
    };
    several.map(violation).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Act, End, Pushed, Span, Verdict};
    use crate::sample::Sample;

    fn broken(sample: &Sample) -> bool {
        sample.breaks(Rule::GroupOrder)
    }

    fn pushed(count: i64) -> Sample {
        let mut sample = Sample::new();
        (1..=count).for_each(|id| {
            sample.push_to(id, "g", 0);
        });
        sample
    }

    #[test]
    fn one_after_the_other_is_in_order() {
        let mut sample = pushed(2);
        for id in [1, 2] {
            sample.reserve(id, 1);
            sample.settle(Verdict::Release, id, 1);
            sample.reserve(id, 2);
            sample.delete(id, 2);
        }
        assert!(!broken(&sample));
    }

    #[test]
    fn the_second_before_the_first_is_caught() {
        let mut sample = pushed(2);
        sample.reserve(2, 1);
        sample.delete(2, 1);
        sample.reserve(1, 1);
        assert!(broken(&sample));
    }

    #[test]
    fn two_that_are_out_are_caught() {
        let mut sample = pushed(2);
        sample.reserve(1, 1);
        sample.reserve(2, 1);
        assert!(!broken(&sample), "the first may have died");
        sample.delete(1, 1);
        assert!(broken(&sample));
    }

    #[test]
    fn a_message_that_waits_for_its_retry_is_still_out() {
        let mut sample = pushed(2);
        sample.reserve(1, 1);
        sample.settle(Verdict::Fail, 1, 1);
        sample.pop(2, 1);
        sample.remains(1);
        assert!(broken(&sample));
    }

    #[test]
    fn the_priority_comes_before_the_id_but_not_before_a_leased_message() {
        let mut sample = Sample::new();
        sample.push_to(1, "g", 0);
        sample.reserve(1, 1);
        sample.push_to(2, "g", -1);
        sample.settle(Verdict::Release, 1, 1);
        let mut good = sample.clone();
        good.reserve(1, 2);
        good.delete(1, 2);
        good.reserve(2, 1);
        assert!(!broken(&good));
        sample.reserve(2, 1);
        sample.reserve(1, 2);
        assert!(broken(&sample));

        let mut sample = Sample::new();
        sample.push_to(1, "g", 0);
        sample.push_to(2, "g", -1);
        sample.reserve(1, 1);
        sample.reserve(2, 1);
        assert!(broken(&sample));
    }

    #[test]
    fn a_message_with_an_id_reused_after_a_crash_has_its_own_group() {
        let never = Span { invoked: 0, returned: Moment::MAX };
        for end in [End::RolledBack, End::Unknown(never)] {
            let mut sample = Sample::new();
            sample.push_to(1, "g", 0).end = end;
            sample.crash(0);
            sample.push_to(2, "g", 0);
            sample.reserve(2, 1);
            let messages = vec![Pushed { token: 11, id: Some(1), met: None }];
            sample.add(Act::Push { messages, order: Order::default(), delay: 0, ttl: None, key: None });
            sample.reserve_token(1, 11, 1);
            sample.reserve(2, 2);
            assert!(!broken(&sample), "{end:?}");
        }
    }

    #[test]
    fn a_push_that_was_committed_later_waits_for_the_leased_message_of_its_group() {
        let mut sample = pushed(2);
        let late = sample.now() + 15;
        sample.history.transactions[0].end = End::Committed(Span { invoked: late, returned: late + 1 });
        sample.reserve(2, 1);
        sample.delete(2, 1);
        sample.reserve(1, 1);
        assert!(!broken(&sample));
    }

    #[test]
    fn a_delivery_that_was_rolled_back_or_forgotten_is_not_out() {
        let mut sample = pushed(2);
        sample.history.transactions[0].end = End::Committed(Span { invoked: 60, returned: 61 });
        sample.reserve(2, 1);
        sample.crash(1000);
        sample.pass(100);
        sample.reserve(1, 1);
        sample.remains(2);
        assert!(!broken(&sample));
        sample.history.crashes.clear();
        assert!(broken(&sample));
        sample.history.transactions[2].end = End::RolledBack;
        assert!(!broken(&sample));
    }

    #[test]
    fn two_of_a_group_in_one_call_are_caught() {
        let mut sample = pushed(2);
        let mut both = sample.clone();
        let second = both.reserve(2, 1).operations.pop().unwrap();
        let Act::Reserve { taken: Some(second), .. } = second.act else { unreachable!() };
        let Act::Reserve { taken: Some(taken), .. } = &mut sample.reserve(1, 1).operations[0].act else {
            unreachable!()
        };
        taken.extend(second);
        assert!(broken(&sample));
    }

    #[test]
    fn other_groups_do_not_wait() {
        let mut sample = Sample::new();
        sample.push_to(1, "g", 0);
        sample.push_to(2, "h", 0);
        sample.push(3);
        for id in [3, 2, 1] {
            sample.reserve(id, 1);
        }
        for id in [1, 2, 3] {
            sample.delete(id, 1);
        }
        assert!(!broken(&sample));
    }

    #[test]
    fn a_redrive_makes_a_group_s_order_unknown() {
        let mut sample = pushed(2);
        sample.reserve(1, 1);
        sample.settle(Verdict::Bury, 1, 1);
        sample.reserve(2, 1);
        sample.add(Act::Redrive);
        sample.reserve(1, 2);
        assert!(!broken(&sample));
    }
}
