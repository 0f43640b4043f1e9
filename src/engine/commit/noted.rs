//! What a transaction notes, by key, and in which of its savepoints. Knows no Postgres.
//!
//! The cost of a note, and of the end of a savepoint, does not depend on how much the transaction has noted
//! before: transactions push to tens of thousands of queues, each in a savepoint of its own.

use std::collections::HashMap;
use std::hash::Hash;

/// The level of a transaction outside of all savepoints.
pub const TOP: i32 = 1;

/// Values by key, in the order in which the keys were noted first. `U` is what a rollback needs.
pub struct Noted<K, V, U = ()> {
    entries: Vec<Entry<K, V>>,
    /// Where each key is among the entries. Empty while there are few.
    places: HashMap<K, usize>,
    /// The savepoints that have changed values, from the outermost to the innermost.
    savepoints: Vec<Savepoint<U>>,
}

struct Entry<K, V> {
    key: K,
    value: V,
    /// The innermost savepoint that has changed the value.
    level: i32,
}

struct Savepoint<U> {
    level: i32,
    changed: Vec<Change<U>>,
}

/// The first change of a value in a savepoint.
struct Change<U> {
    place: usize,
    level_before: i32,
    undo: U,
}

impl<K, V, U> Default for Noted<K, V, U> {
    fn default() -> Self {
        Self { entries: Vec::new(), places: HashMap::new(), savepoints: Vec::new() }
    }
}

impl<K: Copy + Eq + Hash, V: Default, U> Noted<K, V, U> {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn get(&self, key: K) -> Option<&V> {
        self.place(key).map(|place| &self.entries[place].value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.entries.iter().map(|entry| (entry.key, &entry.value))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut V)> {
        self.entries.iter_mut().map(|entry| (entry.key, &mut entry.value))
    }

    /// Returns the value of a key, to be changed in the savepoint of a level. Before its first change there,
    /// `undo` says what a rollback needs.
    pub fn change(&mut self, key: K, level: i32, undo: impl FnOnce(&V) -> U) -> &mut V {
        let place = self.place(key).unwrap_or_else(|| self.add(key));
        let entry = &mut self.entries[place];
        if entry.level < level {
            let undo = undo(&entry.value);
            let level_before = std::mem::replace(&mut entry.level, level);
            let change = Change { place, level_before, undo };
            self.savepoint(level).changed.push(change);
        }
        &mut self.entries[place].value
    }

    /// Undoes the changes of the savepoints from a level on, innermost first.
    pub fn roll_back(&mut self, level: i32, mut undo: impl FnMut(K, &mut V, U)) {
        while let Some(savepoint) = self.savepoints.pop_if(|savepoint| savepoint.level >= level) {
            for change in savepoint.changed {
                let entry = &mut self.entries[change.place];
                entry.level = change.level_before;
                undo(entry.key, &mut entry.value, change.undo);
            }
        }
    }

    /// Makes the changes of the savepoints from a level on changes of the one around them.
    pub fn release(&mut self, level: i32) {
        let outer = level - 1;
        while let Some(savepoint) = self.savepoints.pop_if(|savepoint| savepoint.level >= level) {
            for change in savepoint.changed {
                let is_new = change.level_before < outer && outer > TOP;
                self.entries[change.place].level = if is_new { outer } else { change.level_before };
                if is_new {
                    self.savepoint(outer).changed.push(change);
                }
            }
        }
    }

    fn savepoint(&mut self, level: i32) -> &mut Savepoint<U> {
        if self.savepoints.last().is_none_or(|last| last.level < level) {
            self.savepoints.push(Savepoint { level, changed: Vec::new() });
        }
        self.savepoints.last_mut().expect("pushed just now, if it was not there")
    }

    fn place(&self, key: K) -> Option<usize> {
        if self.places.is_empty() {
            self.entries.iter().position(|entry| entry.key == key)
        } else {
            self.places.get(&key).copied()
        }
    }

    fn add(&mut self, key: K) -> usize {
        /// Up to so many entries are compared one by one.
        const FEW: usize = 8;
        let place = self.entries.len();
        self.entries.push(Entry { key, value: V::default(), level: TOP });
        if place > FEW {
            self.places.insert(key, place);
        } else if place == FEW {
            self.places = self.entries.iter().enumerate().map(|(n, entry)| (entry.key, n)).collect();
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    thread_local! {
        static COMPARED: Cell<usize> = const { Cell::new(0) };
    }

    /// A key that counts how often keys are compared.
    #[derive(Clone, Copy, Debug, Eq)]
    struct Counting(i32);

    impl PartialEq for Counting {
        fn eq(&self, other: &Self) -> bool {
            COMPARED.set(COMPARED.get() + 1);
            self.0 == other.0
        }
    }

    impl Hash for Counting {
        fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
            self.0.hash(state);
        }
    }

    #[test]
    fn a_note_costs_the_same_after_many_others() {
        const MANY: i32 = 20_000;
        let mut noted = Noted::<Counting, i32>::default();
        for n in (0..MANY).chain(0..MANY) {
            *noted.change(Counting(n), TOP, |_| ()) += 1;
        }
        assert!(noted.iter().all(|(_, &count)| count == 2));
        assert_eq!(noted.iter().count(), MANY as usize);
        let compared = COMPARED.get();
        assert!(compared < 8 * MANY as usize, "{compared} comparisons");
    }

    #[test]
    fn the_end_of_a_savepoint_looks_at_its_own_changes_only() {
        const MANY: usize = 20_000;
        let mut noted = Noted::<i32, i32, i32>::default();
        let mut undone = 0;
        for n in 0..MANY as i32 {
            *noted.change(n, 2, |&before| before) += 1;
            if n % 2 == 0 {
                noted.release(2);
            } else {
                noted.roll_back(2, |key, value, before| {
                    assert_eq!(key, n);
                    *value = before;
                    undone += 1;
                });
            }
        }
        assert_eq!(undone, MANY / 2);
        assert_eq!(noted.iter().filter(|&(key, &value)| value == i32::from(key % 2 == 0)).count(), MANY);
        assert!(noted.savepoints.is_empty());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Begin,
        Change(i32),
        Release,
        RollBack,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => Just(Step::Begin),
            5 => (0..15).prop_map(Step::Change),
            1 => Just(Step::Release),
            1 => Just(Step::RollBack),
        ]
    }

    proptest! {
        #[test]
        fn it_holds_what_a_copy_a_savepoint_would(steps in prop::collection::vec(step(), 0..200)) {
            let mut noted = Noted::<i32, u64, u64>::default();
            let mut copies: Vec<HashMap<i32, u64>> = vec![HashMap::new()];
            for (n, step) in steps.into_iter().enumerate() {
                let level = copies.len() as i32;
                match step {
                    Step::Begin => copies.push(copies[copies.len() - 1].clone()),
                    Step::Change(key) => {
                        *noted.change(key, level, |&before| before) += n as u64 + 1;
                        *copies.last_mut().unwrap().entry(key).or_default() += n as u64 + 1;
                    }
                    Step::Release if level > TOP => {
                        noted.release(level);
                        let inner = copies.pop().unwrap();
                        *copies.last_mut().unwrap() = inner;
                    }
                    Step::RollBack if level > TOP => {
                        noted.roll_back(level, |_, value, before| *value = before);
                        copies.pop();
                    }
                    Step::Release | Step::RollBack => {}
                }
                let now: HashMap<i32, u64> =
                    noted.iter().filter(|(_, value)| **value > 0).map(|(key, &value)| (key, value)).collect();
                prop_assert_eq!(&now, copies.last().unwrap());
                prop_assert!(copies.last().unwrap().iter().all(|(&key, value)| noted.get(key) == Some(value)));
            }
        }
    }
}
