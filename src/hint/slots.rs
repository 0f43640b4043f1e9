//! The hint about a queue's slots: which of them are probably free.
//!
//! The table decides. A slot without a hint costs a scan of slots one after the other. A wrong hint costs one
//! look, or hides a free slot for `LONGEST`.

use crate::value::timestamp::Timestamp;

/// Maximum number of free slots kept.
const KEPT: usize = 16;

/// How long "all slots are in use" holds. Some changes are not announced, such as COMMIT PREPARED.
const LONGEST: Timestamp = 1_000_000;

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct SlotHint {
    free: [i32; KEPT],
    count: usize,
    /// Counter of announcements of free slots.
    times_freed: u64,
    /// Value of `times_freed` at which a scan saw all slots in use; no lease ends before `full_until`.
    full_at: u64,
    full_until: Timestamp,
    /// Number of the slot where the next scan begins.
    hand: i32,
}

/// Knowledge before a scan of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// No slot is free before this time, unless one is announced.
    Full(Timestamp),
    /// A slot may be free; the value is `times_freed`.
    Perhaps(u64),
}

impl SlotHint {
    pub const fn new() -> Self {
        Self { free: [0; KEPT], count: 0, times_freed: 0, full_at: 0, full_until: Timestamp::MIN, hand: 0 }
    }

    /// Forgets everything: the slots belong to another queue, or were laid out anew.
    pub fn forget(&mut self) {
        *self = Self { times_freed: self.times_freed + 1, ..Self::new() };
    }

    pub fn known(&self, now: Timestamp) -> Known {
        // A time too far ahead comes from a clock that was ahead.
        let is_not_over = now < self.full_until && self.full_until <= now.saturating_add(2 * LONGEST);
        let is_full = self.full_at == self.times_freed && is_not_over;
        if is_full { Known::Full(self.full_until) } else { Known::Perhaps(self.times_freed) }
    }

    /// Notes that a scan saw all slots in use; `times_freed` is the counter before the scan.
    pub fn is_full(&mut self, times_freed: u64, next_end: Option<Timestamp>, now: Timestamp) {
        self.full_at = times_freed;
        self.full_until = next_end.map_or(now + LONGEST, |end| end.min(now + LONGEST));
    }

    /// Notes that slots are free; `numbers` are the known ones.
    pub fn freed(&mut self, numbers: &[i32]) {
        self.times_freed += 1;
        self.remember(numbers);
    }

    /// Keeps slots that a scan found free and did not take.
    pub fn remember(&mut self, numbers: &[i32]) {
        for &number in numbers {
            if self.count == KEPT {
                return;
            }
            if !self.free[..self.count].contains(&number) {
                self.free[self.count] = number;
                self.count += 1;
            }
        }
    }

    /// Removes and returns a slot that is probably free.
    pub fn take(&mut self) -> Option<i32> {
        self.count = self.count.checked_sub(1)?;
        Some(self.free[self.count])
    }

    pub fn hand(&self) -> i32 {
        self.hand
    }

    pub fn move_hand(&mut self, to: i32) {
        self.hand = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_is_full_until_a_slot_comes_free_or_a_lease_ends() {
        let mut hint = SlotHint::new();
        assert_eq!(hint.known(5), Known::Perhaps(0));
        hint.is_full(0, Some(100), 5);
        assert_eq!(hint.known(99), Known::Full(100));
        assert_eq!(hint.known(100), Known::Perhaps(0));
        hint.freed(&[]);
        assert_eq!(hint.known(6), Known::Perhaps(1));
    }

    #[test]
    fn a_slot_that_comes_free_during_the_look_is_not_hidden() {
        let mut hint = SlotHint::new();
        let Known::Perhaps(before) = hint.known(0) else { panic!() };
        hint.freed(&[3]);
        hint.is_full(before, None, 0);
        assert_eq!(hint.known(1), Known::Perhaps(1));
    }

    #[test]
    fn nothing_hides_a_slot_for_long() {
        let mut hint = SlotHint::new();
        hint.is_full(0, Some(Timestamp::MAX), 7);
        assert_eq!(hint.known(7), Known::Full(7 + LONGEST));
    }

    #[test]
    fn a_clock_that_was_ahead_hides_no_slot() {
        let mut hint = SlotHint::new();
        hint.is_full(0, None, 3600 * LONGEST);
        assert_eq!(hint.known(7), Known::Perhaps(0));
    }

    #[test]
    fn each_free_slot_is_remembered_once_and_no_more_than_there_is_room_for() {
        let mut hint = SlotHint::new();
        hint.remember(&[4, 4, 5]);
        assert_eq!([hint.take(), hint.take(), hint.take()], [Some(5), Some(4), None]);
        hint.remember(&(0..100).collect::<Vec<_>>());
        assert_eq!(std::iter::from_fn(|| hint.take()).count(), KEPT);
    }

    #[test]
    fn nothing_is_known_of_slots_that_are_laid_out_anew() {
        let mut hint = SlotHint::new();
        hint.remember(&[4]);
        hint.is_full(0, None, 0);
        hint.forget();
        assert_eq!((hint.take(), hint.known(1)), (None, Known::Perhaps(1)));
    }
}
