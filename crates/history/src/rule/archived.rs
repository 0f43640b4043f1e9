//! A queue that keeps what was removed has all of that, and nothing else.

use super::gone::deletions;
use super::{Rule, Violation};
use crate::facts::Facts;
use crate::record::{Act, Id, Moment};

pub fn look(facts: &Facts) -> Vec<Violation> {
    let missing = facts.touched().into_iter().filter_map(|id| missing(facts, id));
    let strange = facts.history.ending.archived.iter().filter_map(|&id| strange(facts, id));
    missing.chain(strange).collect()
}

fn missing(facts: &Facts, id: Id) -> Option<Violation> {
    if facts.history.ending.archived.contains(&id) {
        return None;
    }
    let mut removals = deletions(facts, id).filter(|step| {
        facts.history.archives.contains(step.queue())
            && step.effect().is_some()
            && !facts.memory.may_lack(step.transaction, Moment::MAX)
    });
    let removal = removals.next()?;
    Some(Violation::new(
        Rule::Archived,
        id,
        &[removal],
        format!("message {id} was removed, and not archived"),
    ))
}

/// Archived, although nobody can have removed it.
fn strange(facts: &Facts, id: Id) -> Option<Violation> {
    let deleted = facts.settled_of(id).iter().filter(|settled| settled.is_delete() && settled.may_be_done());
    let unheard = facts.unanswered.iter().filter(|step| {
        matches!(step.operation.act, Act::Pop { .. }) && facts.history.archives.contains(step.queue())
    });
    let mut removals = facts.pops(id).chain(deleted.map(|settled| settled.step)).chain(unheard.copied());
    let may_be_removed = removals.any(|step| step.possible_effect().is_some());
    let says = format!("message {id} is archived, and nobody removed it");
    (!may_be_removed).then(|| Violation::new(Rule::Archived, id, &[], says))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::End;
    use crate::sample::Sample;

    fn broken(sample: &Sample) -> bool {
        sample.breaks(Rule::Archived)
    }

    fn deleted() -> Sample {
        let mut sample = Sample::new();
        sample.history.archives.insert("q".into());
        sample.push(1);
        sample.reserve(1, 1);
        sample.delete(1, 1);
        sample
    }

    #[test]
    fn a_removed_message_is_archived_if_its_queue_keeps_it() {
        let mut sample = deleted();
        assert!(broken(&sample));
        sample.history.ending.archived.insert(1);
        assert!(!broken(&sample));
        let mut forgetful = deleted();
        forgetful.history.archives.clear();
        assert!(!broken(&forgetful));
    }

    #[test]
    fn a_message_that_was_not_removed_is_not_archived() {
        let mut sample = deleted();
        sample.history.transactions[2].end = End::RolledBack;
        assert!(!broken(&sample));
        sample.history.ending.archived.insert(1);
        assert!(broken(&sample));
        sample.history.transactions[2].end = End::Unknown(crate::Span { invoked: 1, returned: Moment::MAX });
        assert!(!broken(&sample));
    }

    #[test]
    fn a_crash_may_take_back_a_removal_that_did_not_wait_for_the_disk() {
        let mut sample = deleted();
        sample.history.transactions[2].durable = false;
        sample.crash(100);
        assert!(!broken(&sample));
    }
}
