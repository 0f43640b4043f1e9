//! The order in which a reserve looks at the slots of a queue.

use std::rc::Rc;

use crate::engine::table::slot_rows::SlotPlace;
use crate::hint::slots::SlotHint;

/// An order of slots: those that are probably free, then one after the other.
pub struct Search {
    pub slots: Rc<[SlotPlace]>,
    count: i32,
    hinted: Vec<i32>,
    next_hinted: usize,
    /// The slot it began at, counted from 0, and how many slots it has looked at since.
    from: i32,
    passed: i32,
    /// Transactions are at work that may change what some slots hold.
    pub is_unsure: bool,
    /// The slots have moved.
    pub is_outdated: bool,
}

impl Search {
    pub fn new(limit: i32, slots: Rc<[SlotPlace]>) -> Self {
        let count = limit.min(slots.len() as i32);
        let (is_unsure, is_outdated) = (false, false);
        Self {
            slots,
            count,
            hinted: Vec::with_capacity(16),
            next_hinted: 0,
            from: 0,
            passed: 0,
            is_unsure,
            is_outdated,
        }
    }

    /// Takes the slots that the hint knows to be free, up to the room there is. Allocates nothing.
    pub fn begin(&mut self, wanted: usize, hint: &mut SlotHint) {
        let room = self.hinted.capacity().min(wanted);
        while self.hinted.len() < room
            && let Some(number) = hint.take()
        {
            if (1..=self.count).contains(&number) {
                self.hinted.push(number);
            }
        }
        self.from = if self.count > 0 { hint.hand().rem_euclid(self.count) } else { 0 };
    }

    pub fn is_over(&self) -> bool {
        self.passed == self.count
    }

    /// Where the next search begins.
    pub fn hand(&self) -> i32 {
        self.from.wrapping_add(self.passed)
    }
}

impl Iterator for Search {
    type Item = i32;

    fn next(&mut self) -> Option<i32> {
        if let Some(&number) = self.hinted.get(self.next_hinted) {
            self.next_hinted += 1;
            return Some(number);
        }
        while self.passed < self.count {
            let number = (self.from + self.passed) % self.count + 1;
            self.passed += 1;
            if !self.hinted.contains(&number) {
                return Some(number);
            }
        }
        None
    }
}
