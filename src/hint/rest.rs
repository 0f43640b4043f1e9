//! Rests: pauses that a change of the clock cannot prolong.

use crate::value::timestamp::Timestamp;

/// A pause. If the clock was ahead when the pause began, and is set back, the pause does not get longer.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Rest {
    pub until: Timestamp,
    length: Timestamp,
}

impl Rest {
    pub const OVER: Self = Self { until: Timestamp::MIN, length: 0 };

    pub fn begin(now: Timestamp, length: Timestamp) -> Self {
        Self { until: now.saturating_add(length), length }
    }

    /// True if it ends later than a pause that begins now, plus some skew.
    fn is_too_far(&self, now: Timestamp) -> bool {
        const SKEW: Timestamp = 1_000_000;
        self.until > now.saturating_add(self.length).saturating_add(SKEW)
    }

    pub fn is_over(&self, now: Timestamp) -> bool {
        self.is_overdue(0, now)
    }

    /// True if it ended at least `grace` ago.
    pub fn is_overdue(&self, grace: Timestamp, now: Timestamp) -> bool {
        self.until.saturating_add(grace) <= now || self.is_too_far(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Timestamp = 60_000_000;

    #[test]
    fn a_rest_is_over_when_its_time_has_come_or_the_clock_was_ahead() {
        let rest = Rest::begin(MINUTE, MINUTE);
        for (now, is_over) in
            [(MINUTE, false), (2 * MINUTE - 1, false), (2 * MINUTE, true), (MINUTE - 100, false), (0, true)]
        {
            assert_eq!(rest.is_over(now), is_over, "{now}");
        }
        assert!(!rest.is_overdue(MINUTE, 3 * MINUTE - 1) && rest.is_overdue(MINUTE, 3 * MINUTE));
        assert!(Rest::OVER.is_over(Timestamp::MIN));
    }
}
