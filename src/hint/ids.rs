//! A set of message ids of one priority, as a transaction notes them.

use crate::hint::{Direction, Key};

/// Maximum number of ids kept one by one.
const FEW: usize = 32;

/// Ids of one priority of a queue: up to `FEW` one by one, more only as a range.
#[derive(Clone, Debug, Default)]
pub struct Ids {
    few: Vec<i64>,
    count: usize,
    lowest: i64,
    highest: i64,
}

impl Ids {
    pub fn add(&mut self, id: i64) {
        (self.lowest, self.highest) =
            if self.count == 0 { (id, id) } else { (self.lowest.min(id), self.highest.max(id)) };
        self.count += 1;
        if self.few.len() < FEW {
            self.few.push(id);
        }
    }

    pub fn count(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the ids one by one; none if there are more than `FEW`.
    pub fn each(&self) -> Option<&[i64]> {
        (self.count <= FEW).then_some(&self.few)
    }

    /// Returns the first key in a direction.
    pub fn first(&self, direction: Direction) -> Key {
        match direction {
            Direction::OldestFirst => direction.key(self.lowest),
            Direction::NewestFirst => direction.key(self.highest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_remembered_one_by_one_and_many_by_their_ends() {
        let mut ids = Ids::default();
        assert!(ids.is_empty());
        for id in (1..=FEW as i64).rev() {
            ids.add(id);
        }
        assert_eq!(ids.each().map(<[i64]>::len), Some(FEW));
        ids.add(1_000);
        assert_eq!(ids.each(), None);
        assert_eq!(ids.count(), FEW + 1);
        assert_eq!(ids.first(Direction::OldestFirst), 1);
        assert_eq!(ids.first(Direction::NewestFirst), -1_000);
    }
}
