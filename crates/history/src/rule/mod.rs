//! What must hold in every history, one rule a file, and how a breach is told.

mod accounted;
mod archived;
mod committed;
mod durable;
mod gone;
mod group;
mod key;
mod lease;
mod limit;
mod number;
mod receipt;
mod starved;

use std::fmt::{Display, Formatter, Result};

use crate::facts::{Facts, Step};
use crate::record::{History, Id};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Every acknowledged push is delivered and settled, dead, expired, purged or still there.
    Accounted,
    /// Nothing is delivered whose push was not committed, and each push makes one message.
    Committed,
    /// No message has two valid leases at once, or is changed or moved while it has one.
    OneLease,
    /// The deliveries of a message are numbered 1, 2, 3 …
    Numbered,
    /// A settle call with an old receipt, or for a lease that has ended, does nothing.
    Receipt,
    /// Of a group one is out at a time, and the first goes first.
    GroupOrder,
    /// What was removed stays away.
    Gone,
    /// A commit that waited for the disk outlives everything.
    Durable,
    /// Of a key one message waits, and nobody is given what was replaced.
    Outdated,
    /// No more of a queue are leased at once than may be.
    Limited,
    /// A queue that keeps what was removed has all of that, and nothing else.
    Archived,
    /// What is ready is given, if its queue is asked.
    Starved,
}

impl Rule {
    pub const ALL: [Self; 12] = [
        Self::Accounted,
        Self::Committed,
        Self::OneLease,
        Self::Numbered,
        Self::Receipt,
        Self::GroupOrder,
        Self::Gone,
        Self::Durable,
        Self::Outdated,
        Self::Limited,
        Self::Archived,
        Self::Starved,
    ];

    fn look(self, facts: &Facts) -> Vec<Violation> {
        match self {
            Self::Accounted => accounted::look(facts),
            Self::Committed => committed::look(facts),
            Self::OneLease => lease::look(facts),
            Self::Numbered => number::look(facts),
            Self::Receipt => receipt::look(facts),
            Self::GroupOrder => group::look(facts),
            Self::Gone => gone::look(facts),
            Self::Durable => durable::look(facts),
            Self::Outdated => key::look(facts),
            Self::Limited => limit::look(facts),
            Self::Archived => archived::look(facts),
            Self::Starved => starved::look(facts),
        }
    }
}

/// What no correct queue could have answered.
#[derive(Clone, Debug)]
pub struct Violation {
    pub rule: Rule,
    pub says: String,
    /// The message, where it is about one that is known.
    pub id: Option<Id>,
    /// The operations that do not go together.
    pub operations: Vec<String>,
}

impl Violation {
    fn new(rule: Rule, id: impl Into<Option<Id>>, steps: &[Step], says: impl Into<String>) -> Self {
        let operations = steps.iter().map(Step::to_string).collect();
        Self { rule, says: says.into(), id: id.into(), operations }
    }
}

impl Display for Violation {
    fn fmt(&self, f: &mut Formatter) -> Result {
        writeln!(f, "{:?}: {}", self.rule, self.says)?;
        self.operations.iter().try_for_each(|operation| writeln!(f, "    {operation}"))
    }
}

/// All breaches of all rules.
pub fn check(history: &History) -> Vec<Violation> {
    let facts = Facts::of(history);
    Rule::ALL.into_iter().flat_map(|rule| rule.look(&facts)).collect()
}

/// All that happened to a message, in order.
pub fn story(history: &History, id: Id) -> Vec<String> {
    let facts = Facts::of(history);
    let pushes = facts.pushes.values().flatten().filter(|push| push.pushed.id == Some(id));
    let moves = facts.moves.iter().flat_map(|(old, moves)| moves.iter().map(move |moving| (*old, moving)));
    let moves = moves.filter(|(old, moving)| *old == id || moving.new_id == Some(id));
    let mut steps: Vec<Step> = pushes
        .map(|push| push.step)
        .chain(moves.map(|(_, moving)| moving.step))
        .chain(facts.given_of(id).iter().map(|given| given.step))
        .chain(facts.settled_of(id).iter().map(|settled| settled.step))
        .collect();
    steps.sort_by_key(|step| step.invoked());
    steps.iter().map(Step::to_string).collect()
}
