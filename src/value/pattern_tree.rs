//! Patterns of many queues, in a tree of their parts: finds the queues whose patterns a routing key matches.
//!
//! A look goes through the words of the key once, and keeps the set of the places in the tree at which the words
//! so far may have led. So it takes at most as many steps as the key has words times the tree has places, also
//! for `#.#.a.#.b`; it never goes back. Patterns that begin alike share places, and a word leads from each
//! place to one other, so it does not matter how many patterns the key does not match.

use std::collections::{HashMap, TryReserveError};

use crate::value::pattern::{Part, parts, words};

/// The number of a place or word.
type Number = u32;

/// The place at which patterns begin. No part leads there.
const ROOT: Number = 0;

/// Patterns, each with a queue.
pub struct PatternTree {
    /// The words of all patterns.
    words: HashMap<Box<[u8]>, Number>,
    /// The place to which a word leads from another place.
    next: HashMap<(Number, Number), Number>,
    places: Vec<Place>,
}

/// Where one has come after some parts of a pattern.
#[derive(Default)]
struct Place {
    /// Where `*` leads; none if it is the root.
    one: Number,
    /// Where `#` leads; none if it is the root.
    any: Number,
    /// `#` leads here: each further word may lead here again.
    is_any: bool,
    /// The queues whose patterns end here.
    queues: Vec<i32>,
}

impl PatternTree {
    pub fn new() -> Self {
        Self { words: HashMap::new(), next: HashMap::new(), places: vec![Place::default()] }
    }

    /// Adds a pattern, which has been checked. An error if there is no memory: the tree is of no use then.
    pub fn add(&mut self, pattern: &[u8], queue: i32) -> Result<(), TryReserveError> {
        let mut place = ROOT;
        for part in parts(pattern) {
            place = self.step(place, part)?;
        }
        let queues = &mut self.places[place as usize].queues;
        queues.try_reserve(1)?;
        queues.push(queue);
        Ok(())
    }

    /// Where a part of a pattern leads from a place. Makes it if it is not there.
    fn step(&mut self, from: Number, part: Part) -> Result<Number, TryReserveError> {
        let new = self.places.len() as Number;
        let place = &mut self.places[from as usize];
        let to = match part {
            Part::Word(word) => self.step_by_word(from, word, new)?,
            Part::One if place.one == ROOT => {
                place.one = new;
                new
            }
            Part::One => place.one,
            Part::Any if place.any == ROOT => {
                place.any = new;
                new
            }
            Part::Any => place.any,
        };
        if to == new {
            self.places.try_reserve(1)?;
            self.places.push(Place { is_any: part == Part::Any, ..Place::default() });
        }
        Ok(to)
    }

    fn step_by_word(&mut self, from: Number, word: &[u8], new: Number) -> Result<Number, TryReserveError> {
        let number = match self.words.get(word) {
            Some(&number) => number,
            None => {
                let number = self.words.len() as Number;
                self.words.try_reserve(1)?;
                self.words.insert(word.into(), number);
                number
            }
        };
        self.next.try_reserve(1)?;
        Ok(*self.next.entry((from, number)).or_insert(new))
    }

    /// The queues that have a pattern that the key matches: each once, in the order of their numbers. Calls
    /// `each_word` before each word. An error if there is no memory.
    pub fn find(&self, key: &[u8], mut each_word: impl FnMut()) -> Result<Vec<i32>, TryReserveError> {
        let mut places = vec![ROOT];
        self.add_any(&mut places)?;
        for word in words(key) {
            each_word();
            places = self.after(&places, word)?;
        }
        let mut queues = Vec::new();
        for place in places {
            let some = &self.places[place as usize].queues;
            queues.try_reserve(some.len())?;
            queues.extend_from_slice(some);
        }
        queues.sort_unstable();
        queues.dedup();
        Ok(queues)
    }

    /// Where a word leads from some places.
    fn after(&self, places: &[Number], word: &[u8]) -> Result<Vec<Number>, TryReserveError> {
        let word = self.words.get(word);
        let mut next = Vec::new();
        next.try_reserve(3 * places.len())?;
        for &number in places {
            let place = &self.places[number as usize];
            next.extend(place.is_any.then_some(number));
            next.extend((place.one != ROOT).then_some(place.one));
            next.extend(word.and_then(|&word| self.next.get(&(number, word))));
        }
        self.add_any(&mut next)?;
        Ok(next)
    }

    /// Adds the places to which `#` leads by no word. It leads from no such place to another: patterns are in
    /// their normal form.
    fn add_any(&self, places: &mut Vec<Number>) -> Result<(), TryReserveError> {
        places.try_reserve(places.len())?;
        for n in 0..places.len() {
            let any = self.places[places[n] as usize].any;
            places.extend((any != ROOT).then_some(any));
        }
        places.sort_unstable();
        places.dedup();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(patterns: &[(&str, i32)]) -> PatternTree {
        let mut tree = PatternTree::new();
        patterns.iter().for_each(|(pattern, queue)| tree.add(pattern.as_bytes(), *queue).unwrap());
        tree
    }

    fn found(tree: &PatternTree, key: &str) -> Vec<i32> {
        tree.find(key.as_bytes(), || {}).unwrap()
    }

    #[test]
    fn wildcards_match_as_amqp_says() {
        let tree = tree(&[
            ("#", 1),
            ("stock.usd.nyse", 2),
            ("*.usd.*", 3),
            ("stock.#", 4),
            ("#.nyse", 5),
            ("*", 6),
            ("", 7),
            ("*.#", 8),
            ("stock.*", 9),
        ]);
        for (key, expected) in [
            ("", &[1, 7][..]),
            ("stock", &[1, 4, 6, 8]),
            ("stock.usd", &[1, 4, 8, 9]),
            ("stock.usd.nyse", &[1, 2, 3, 4, 5, 8]),
            ("bond.usd.nyse", &[1, 3, 5, 8]),
            ("nyse", &[1, 5, 6, 8]),
            ("Stock", &[1, 6, 8]),
            ("stock.usd.nyse.x", &[1, 4, 8]),
        ] {
            assert_eq!(found(&tree, key), expected, "{key}");
        }
    }

    #[test]
    fn a_queue_is_found_once_however_many_of_its_patterns_match() {
        let tree = tree(&[("#", 7), ("a.*", 7), ("*.b", 7), ("a.b", 7), ("a.b", 3), ("#.a.#", 3)]);
        assert_eq!(found(&tree, "a.b"), [3, 7]);
    }

    /// The definition, tried in all ways.
    fn matches(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern, key) {
            ([], key) => key.is_empty(),
            (["#", rest @ ..], key) => (0..=key.len()).any(|n| matches(rest, &key[n..])),
            (_, []) => false,
            (["*", rest @ ..], [_, key @ ..]) => matches(rest, key),
            ([word, rest @ ..], [first, key @ ..]) => word == first && matches(rest, key),
        }
    }

    #[test]
    fn every_pattern_matches_what_its_definition_says() {
        let mut state = 1u64;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize % below
        };
        let mut some = |alphabet: &[&'static str], most: usize| -> Vec<&'static str> {
            (0..random(most + 1)).map(|_| alphabet[random(alphabet.len())]).collect()
        };
        for _ in 0..300 {
            let patterns: Vec<_> = (0..20).map(|_| some(&["a", "b", "*", "#"], 6)).collect();
            let mut tree = PatternTree::new();
            for (n, pattern) in patterns.iter().enumerate() {
                tree.add(pattern.join(".").as_bytes(), n as i32).unwrap();
            }
            for _ in 0..50 {
                let key = some(&["a", "b", "c"], 7);
                let expected: Vec<i32> = (0..20).filter(|&n| matches(&patterns[n as usize], &key)).collect();
                assert_eq!(found(&tree, &key.join(".")), expected, "{key:?} of {patterns:?}");
            }
        }
    }

    /// Trying all ways would take years.
    #[test]
    fn a_pattern_of_many_wildcards_takes_as_many_steps_as_words_and_places() {
        let pattern = format!("{}b", "#.a.".repeat(63));
        let tree = tree(&[(&pattern, 1), ("#.#.#.#.#.#.#.#.#.#.#.#.b", 2)]);
        let key = "a.".repeat(126) + "c";
        assert_eq!(found(&tree, &key), [0; 0]);
        assert_eq!(found(&tree, &("a.".repeat(126) + "b")), [1, 2]);
    }
}
