//! A commit that waited for the disk outlives everything, and one that was rolled back leaves
//! nothing: told from the numbers that transactions note in a table beside their work.

use super::{Rule, Violation};
use crate::facts::{Facts, Step};
use crate::record::{End, Transaction};

pub fn look(facts: &Facts) -> Vec<Violation> {
    let noted = facts.history.transactions.iter().filter(|transaction| transaction.noted);
    noted.filter_map(|transaction| look_at(facts, transaction)).collect()
}

fn look_at(facts: &Facts, transaction: &Transaction) -> Option<Violation> {
    let is_there = facts.history.ending.noted.contains(&transaction.number);
    let says = match transaction.end {
        End::Committed(_) if !is_there => "a transaction was acknowledged, and is lost",
        End::RolledBack if is_there => "a transaction was rolled back, and its note is there",
        End::Committed(_) | End::RolledBack | End::Unknown(_) => return None,
    };
    let steps: Vec<Step> =
        transaction.operations.iter().map(|operation| Step { transaction, operation }).collect();
    Some(Violation::new(Rule::Durable, None, &steps, format!("{says}: {}", transaction.number)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Span;
    use crate::sample::Sample;

    fn noted(end: Option<End>, is_there: bool) -> Sample {
        let mut sample = Sample::new();
        let push = sample.push(1);
        push.noted = true;
        push.end = end.unwrap_or(push.end);
        let number = push.number;
        if is_there {
            sample.history.ending.noted.insert(number);
        }
        sample.remains(1);
        sample
    }

    #[test]
    fn acknowledged_calls_are_noted() {
        assert!(!noted(None, true).breaks(Rule::Durable));
        assert!(!noted(Some(End::RolledBack), false).breaks(Rule::Durable));
    }

    #[test]
    fn an_acknowledged_commit_that_is_lost_is_caught() {
        assert!(noted(None, false).breaks(Rule::Durable));
    }

    #[test]
    fn a_rollback_that_left_something_is_caught() {
        assert!(noted(Some(End::RolledBack), true).breaks(Rule::Durable));
    }

    #[test]
    fn an_unacknowledged_end_may_be_either() {
        let unknown = End::Unknown(Span { invoked: 0, returned: i64::MAX });
        for is_there in [true, false] {
            assert!(!noted(Some(unknown), is_there).breaks(Rule::Durable));
        }
    }
}
