//! Beginnings that some faults need, and that seldom come by themselves.

use super::{Maker, Profile};
use crate::script::{Item, Level, Mode, Push, Settle, Step, Which};

/// So many statements of each session are left of a scenario that is to be short.
pub const LEAN: std::ops::RangeInclusive<usize> = 3..=4;

/// What sessions do, each by itself.
type Todo = [Vec<Step>];

impl Maker {
    /// Returns what happens before the sessions meet, and puts before what they do what they have
    /// to do then. Nothing if the profile needs no such beginning.
    pub(super) fn skeleton(&mut self, todo: &mut Todo) -> Vec<Item> {
        let push = Push { count: 1, has_ttl: false, is_delayed: false, ..self.a_push() };
        match self.profile {
            Profile::Ends => self.lease_ends(todo, push),
            Profile::Move => self.moves(todo, push),
            Profile::Keys | Profile::Replace => self.comes_back(todo, push),
            Profile::Turns => self.commits_late(todo, push),
            Profile::Snapshots => self.old_snapshot(todo, push),
            Profile::Limits if self.rng.bool() => self.lowered(todo, push),
            Profile::Limits => self.first_limit(todo, push),
            Profile::Plain | Profile::DropOldest | Profile::DropDead => Vec::new(),
        }
    }

    /// A lease that ends in an open transaction, of a message that was out before.
    fn lease_ends(&mut self, todo: &mut Todo, push: Push) -> Vec<Item> {
        let lease = Step::Reserve { queue: 0, is_short: true, max: 1 };
        put_before(&mut todo[0], [Step::Begin(Level::ReadCommitted), lease, Step::Pause]);
        put_before(&mut todo[1], [Step::Push(self.a_push())]);
        let back = Step::Settle(Settle::Release, Which::All);
        let is_short = self.is(30);
        all_of(0, [Step::Push(push), Step::Reserve { queue: 0, is_short, max: 1 }, back])
    }

    /// A move to where another of the key is out, and a third is being pushed.
    fn moves(&mut self, todo: &mut Todo, push: Push) -> Vec<Item> {
        put_before(&mut todo[0], [Step::Settle(Settle::Release, Which::All)]);
        let third = Push { queue: 1, ..push };
        put_before(&mut todo[1], [Step::Begin(Level::ReadCommitted), Step::Push(third), self.an_end()]);
        // The third is known by then, too.
        let (nth, first) = (*self.one_of(&[(1, 0), (3, 1)]), Push { queue: 1, ..push });
        todo[todo.len() - 1].insert(0, Step::Move(nth, 1));
        let reserve = Step::Reserve { queue: 1, is_short: false, max: 1 };
        let mut items = all_of(0, [Step::Push(first), reserve]);
        items.extend(all_of(1, [Step::Push(Push { queue: 0, ..push })]));
        items
    }

    /// A message comes back while another of its key is pushed and taken.
    fn comes_back(&mut self, todo: &mut Todo, push: Push) -> Vec<Item> {
        let reserve = Step::Reserve { queue: 0, is_short: false, max: 1 };
        put_before(&mut todo[0], [Step::Settle(Settle::Release, Which::All)]);
        let more = [Step::Begin(Level::ReadCommitted), Step::Push(self.a_push()), reserve, Step::Commit];
        put_before(&mut todo[1], more);
        todo[todo.len() - 1].insert(0, Step::Push(self.a_push()));
        all_of(0, [Step::Push(push), reserve])
    }

    /// A message is committed after a newer one of its key was taken, which comes back then.
    fn commits_late(&mut self, todo: &mut Todo, push: Push) -> Vec<Item> {
        let reserve = Step::Reserve { queue: 0, is_short: false, max: 1 };
        let back = Step::Settle(Settle::Release, Which::All);
        if self.is(60) {
            put_before(&mut todo[0], [back, Step::Push(Push { key: push.key, ..self.a_push() })]);
        } else {
            put_before(&mut todo[0], [reserve, Step::Settle(Settle::Release, Which::First)]);
        }
        put_before(&mut todo[1], [Step::Begin(Level::ReadCommitted), reserve, Step::Commit]);
        let mut items = all_of(1, [Step::Begin(Level::ReadCommitted), Step::Push(push)]);
        let newer = Push { key: push.key, mode: push.mode, count: 1, ..self.a_push() };
        items.extend(all_of(0, [Step::Push(newer), reserve]));
        if self.is(50) {
            items.extend(all_of(
                0,
                [Step::Push(Push { mode: Mode::Plain, has_group: true, ..self.a_push() })],
            ));
        }
        items.extend(all_of(1, [Step::Commit]));
        items
    }

    /// A message is pushed again after a consumer's snapshot, which may see its first push.
    fn old_snapshot(&mut self, todo: &mut Todo, push: Push) -> Vec<Item> {
        let reserve = Step::Reserve { queue: push.queue, is_short: false, max: 1 };
        let level = [Level::RepeatableRead, Level::Serializable][self.rng.usize(0..2)];
        put_before(&mut todo[0], [Step::Begin(level), Step::Look, reserve, Step::Commit]);
        todo[1].insert(0, Step::Push(Push { queue: push.queue, ..self.a_push() }));
        all_of(1, [Step::Push(push)])
    }

    /// A limit is lowered, and some of those come back that are out.
    fn lowered(&mut self, todo: &mut Todo, push: Push) -> Vec<Item> {
        let (high, count) = (self.rng.u32(2..=5), self.rng.usize(4..=8));
        let low = Step::Limit(0, Some(self.rng.u32(1..high)));
        let back: Vec<_> = (0..self.rng.u32(1..=3)).map(|_| self.a_settle()).collect();
        todo[0].splice(0..0, back);
        let reserve = Step::Reserve { queue: 0, is_short: false, max: 9 };
        todo[1].insert(0, Step::Reserve { queue: 0, is_short: false, max: 1 });
        all_of(0, [Step::Limit(0, Some(high)), Step::Push(Push { count, ..push }), reserve, low])
    }

    /// A limit is set in a transaction that has begun before.
    fn first_limit(&mut self, todo: &mut Todo, push: Push) -> Vec<Item> {
        let level = [Level::ReadCommitted, Level::RepeatableRead][self.rng.usize(0..2)];
        let limit = Step::Limit(0, Some(self.rng.u32(1..=4)));
        put_before(&mut todo[0], [Step::Begin(level), Step::Look, limit, Step::Commit]);
        todo[1].insert(0, Step::Reserve { queue: 0, is_short: false, max: self.rng.usize(1..=4) });
        all_of(1, [Step::Push(Push { count: self.rng.usize(3..=6), ..push })])
    }
}

fn all_of<const N: usize>(session: usize, steps: [Step; N]) -> Vec<Item> {
    steps.into_iter().map(|step| Item { session, step }).collect()
}

fn put_before<const N: usize>(steps: &mut Vec<Step>, before: [Step; N]) {
    steps.splice(0..0, before);
}
