//! Every acknowledged push is delivered and settled, dead, expired, purged or still there.
//!
//! Being leased is no excuse for being gone: a message leaves only by a call or by its time
//! to live. A push or an update that met a waiting message counts on that one: whoever
//! removed it must have been given it afterwards. One that was moved is looked for under its
//! new id. Where a call's answer never came, nobody knows
//! which messages it removed; then that many may be missing from its queue, and not one more.

use std::collections::{BTreeSet, HashMap};

use super::{Rule, Violation};
use crate::facts::{Facts, Given, Pushing, Settled, Step};
use crate::record::{Act, Id, Met};

pub fn look(facts: &Facts) -> Vec<Violation> {
    let mut missing: HashMap<BTreeSet<&str>, Vec<Pushing>> = HashMap::new();
    for push in facts.pushes.values().flatten() {
        if push.step.effect().is_none() || is_accounted_for(facts, push) {
            continue;
        }
        let missing = missing.entry(queues(facts, push)).or_default();
        // Pushes that met are one message.
        if push.pushed.id.is_none() || missing.iter().all(|other| other.pushed.id != push.pushed.id) {
            missing.push(*push);
        }
    }
    missing
        .into_iter()
        .flat_map(|(queues, missing)| beyond(removed_unseen(facts, &queues), &missing))
        .collect()
}

/// Where a message may have been.
fn queues<'a>(facts: &Facts<'a>, push: &Pushing<'a>) -> BTreeSet<&'a str> {
    let moves = ids(facts, push).iter().flat_map(|&id| facts.moves_of(id));
    moves.map(|moving| moving.to).chain([push.step.queue()]).collect()
}

fn ids<'f>(facts: &'f Facts, push: &Pushing) -> &'f [Id] {
    facts.ids.get(&push.pushed.token).map_or(&[], Vec::as_slice)
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
    let explains = |id| {
        is_there(facts, id)
            || was_removed(facts, push, id)
            || is_replaced(facts, push, id)
            || is_superseded(facts, push, id)
            || is_delivered_with_its_key(facts, push, id)
    };
    ids(facts, push).iter().any(|&id| explains(id)) || has_expired(facts, push) || was_purged(facts, push)
}

fn is_there(facts: &Facts, id: Id) -> bool {
    let ending = &facts.history.ending;
    ending.alive.contains_key(&id) || ending.dead.contains_key(&id)
}

fn was_removed(facts: &Facts, push: &Pushing, id: Id) -> bool {
    let given = facts.given_of(id);
    let popped = given
        .iter()
        .any(|given| given.is_pop() && given.step.possible_effect().is_some() && has_seen(given, push));
    let knew = |settled: &Settled| {
        let mut deliveries = given.iter().filter(|given| settled.fits(given.taken.delivery)).peekable();
        deliveries.peek().is_none() || deliveries.any(|given| has_seen(given, push))
    };
    let removes = |settled: &Settled| {
        settled.is_delete()
            && settled.may_be_done()
            && settled.step.possible_effect().is_some()
            && (settled.receipt.delivery.is_none() || knew(settled))
    };
    popped || facts.settled_of(id).iter().any(removes) || was_dumped(facts, id)
}

/// Whether who was given a message may have been given what a push stands for.
fn has_seen(given: &Given, push: &Pushing) -> bool {
    let is_it = push.pushed.met != Some(Met::Replaced) || given.taken.token == push.pushed.token;
    is_it && given.step.returned() > push.step.invoked()
}

fn was_dumped(facts: &Facts, id: Id) -> bool {
    facts.others.iter().any(|step| {
        let Act::DumpDead { dumped: Some(dumped), .. } = &step.operation.act else { return false };
        step.possible_effect().is_some() && dumped.contains(&id)
    })
}

/// The message became a later one where it waited.
fn is_replaced(facts: &Facts, push: &Pushing, id: Id) -> bool {
    let known = facts
        .replacing(id)
        .filter(|other| other.pushed.token != push.pushed.token && other.step.possible_effect().is_some());
    let unheard = others_of_key(facts, push).filter(|other| other.pushed.id.is_none());
    known.chain(unheard).any(|other| other.step.returned() > push.step.invoked())
}

/// Dropped in favour of a newer one with its key, which was pushed while somebody had it.
fn is_superseded(facts: &Facts, push: &Pushing, id: Id) -> bool {
    let given = facts.given_of(id).iter().filter(|given| has_seen(given, push)).map(|given| given.step);
    let unseen = facts.unanswered.iter().filter(|step| {
        matches!(step.operation.act, Act::Reserve { .. }) && step.queue() == push.step.queue()
    });
    let given: Vec<Step> = given
        .chain(unseen.copied())
        .filter(|step| step.possible_effect().is_some_and(|effect| effect.returned > push.step.invoked()))
        .collect();
    let is_newer = |other: &Pushing| {
        let is_another = other.pushed.met.is_none() && other.pushed.id.is_none_or(|other| other > id);
        is_another && given.iter().any(|given| given.invoked() < other.step.returned())
    };
    others_of_key(facts, push).any(is_newer)
}

/// Another message of its key was given after it was pushed, to a consumer that saw what the push
/// stands for. Of pushes that replace, only the content of a later one will do.
fn is_delivered_with_its_key(facts: &Facts, push: &Pushing, id: Id) -> bool {
    let replaces = push.pushed.met == Some(Met::Replaced);
    let is_given = |other: Id| {
        let mut given = facts.given_of(other).iter().map(|given| given.step);
        given.any(|step| step.possible_effect().is_some() && step.returned() > push.step.invoked())
    };
    let has_replaced = |other: &Pushing| {
        other.pushed.id.is_none_or(|other| other > id) && other.step.returned() > push.step.invoked()
    };
    others_of_key(facts, push).any(|other| match replaces {
        true => other.pushed.met != Some(Met::Ignored) && has_replaced(other),
        false => ids(facts, other).iter().any(|&other| other != id && is_given(other)),
    })
}

/// Other pushes of the key of one.
fn others_of_key<'f, 'a>(
    facts: &'f Facts<'a>,
    push: &'f Pushing<'a>,
) -> impl Iterator<Item = &'f Pushing<'a>> {
    facts.pushes.values().flatten().filter(|other| {
        push.key.is_some()
            && other.key == push.key
            && other.step.queue() == push.step.queue()
            && other.step.possible_effect().is_some()
            && other.pushed.token != push.pushed.token
    })
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

/// How many messages of queues calls may have removed of whose answer nobody knows.
fn removed_unseen(facts: &Facts, queues: &BTreeSet<&str>) -> usize {
    let in_queues = facts.unanswered.iter().filter(|step| queues.contains(step.queue()));
    let took =
        in_queues.filter(|step| step.possible_effect().is_some()).map(|step| match step.operation.act {
            Act::Pop { max, .. } | Act::DumpDead { max, .. } => max,
            _ => 0,
        });
    took.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{End, Span, Verdict};
    use crate::sample::{LEASE, Sample};

    fn broken(sample: &Sample) -> bool {
        sample.breaks(Rule::Accounted)
    }

    #[test]
    fn a_push_that_was_deleted_or_is_still_there_is_no_loss() {
        let mut sample = Sample::new();
        sample.push(1);
        sample.push(2);
        sample.reserve(1, 1);
        sample.delete(1, 1);
        sample.remains(2);
        assert!(!broken(&sample));
    }

    #[test]
    fn a_push_that_is_delivered_as_another_of_its_key_is_no_loss() {
        let mut sample = Sample::new();
        sample.push_key(1);
        sample.push_key(2);
        let mut before = sample.clone();
        sample.reserve(1, 1);
        sample.delete(1, 1);
        assert!(!broken(&sample));
        before.history.transactions.truncate(1);
        before.reserve(1, 1);
        before.delete(1, 1);
        before.push_key(2);
        assert!(broken(&before), "it was pushed after that delivery");
    }

    #[test]
    fn another_of_its_key_may_be_given_under_an_id_that_its_producer_never_heard() {
        let mut sample = Sample::new();
        sample.push_key(1);
        sample.reserve(1, 1);
        sample.meet(2, 1, Met::Ignored);
        sample.delete(1, 1);
        sample.push_key(3);
        let mut lost = sample.clone();
        sample.reserve_token(4, 2, 1); // the second push had an echo
        sample.delete(4, 1);
        assert!(!broken(&sample));
        lost.reserve_token(4, 9, 1);
        lost.delete(4, 1);
        assert!(broken(&lost), "of another key");
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
    fn a_purge_explains_only_messages_that_were_pushed_before_it() {
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
    fn a_newer_message_with_the_key_explains_the_loss_of_one_that_was_given() {
        let mut sample = Sample::new();
        sample.push_key(1);
        let mut never_given = sample.clone();
        sample.reserve(1, 1);
        sample.push_key(2);
        sample.remains(2);
        assert!(!broken(&sample));
        never_given.push_key(2);
        never_given.remains(2);
        assert!(broken(&never_given));
        sample.history.ending.alive.clear();
        sample.remains(1);
        assert!(broken(&sample), "the newer of them is gone");
    }

    #[test]
    fn a_push_that_met_a_message_needs_that_one_to_be_given_afterwards() {
        for met in [Met::Ignored, Met::Replaced] {
            let mut sample = Sample::new();
            sample.push_key(1);
            sample.reserve(1, 1);
            sample.pass(2 * LEASE);
            sample.meet(2, 1, met);
            let mut removed_unseen = sample.clone();
            removed_unseen.delete(1, 1);
            assert!(broken(&removed_unseen), "{met:?}");
            match met {
                Met::Ignored => sample.reserve(1, 2),
                Met::Replaced => sample.reserve_token(1, 2, 2),
            };
            assert!(broken(&sample), "{met:?}");
            sample.delete(1, 2);
            assert!(!broken(&sample), "{met:?}");
        }
    }

    #[test]
    fn a_replaced_content_is_not_missed() {
        let mut sample = Sample::new();
        sample.push_key(1);
        sample.meet(2, 1, Met::Replaced);
        sample.reserve_token(1, 2, 1);
        sample.delete(1, 1);
        assert!(!broken(&sample));
    }

    #[test]
    fn an_update_replaces_the_pushed_content_and_must_not_be_lost_either() {
        let mut sample = Sample::new();
        sample.push(1);
        sample.update(2, 1);
        assert!(broken(&sample));
        let mut outdated = sample.clone();
        outdated.reserve(1, 1);
        outdated.delete(1, 1);
        assert!(broken(&outdated), "the update was lost");
        sample.reserve_token(1, 2, 1);
        sample.delete(1, 1);
        assert!(!broken(&sample));
    }

    #[test]
    fn a_moved_message_is_expected_in_its_new_queue() {
        let mut sample = Sample::new();
        sample.push(1);
        sample.relocate(1, 2);
        assert!(broken(&sample));
        let mut popped = sample.clone();
        sample.remains_as(2, 1);
        assert!(!broken(&sample));
        let pop = popped.add(Act::Pop { max: 1, taken: None });
        pop.operations[0].queue = "elsewhere".into();
        assert!(!broken(&popped), "by a call without an answer");
    }
}
