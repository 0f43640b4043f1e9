//! Changes of a queue's counters.

use std::ops::{Add, AddAssign, Neg, Sub};

use crate::engine::table::message::{Lane, NOT_LEASED};
use crate::value::timestamp::Timestamp;

/// Amounts by which counters change, in the order of the columns of `pgqueue.counter`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counts {
    pub pushed: i64,
    pub delivered: i64,
    pub deleted: i64,
    pub retried: i64,
    pub died: i64,
    pub expired: i64,
    /// Messages in the ready lane, leased or not.
    pub ready: i64,
    /// Messages of the ready lane whose lease is not noted as ended.
    pub leased: i64,
    pub delayed: i64,
    pub blocked: i64,
    pub dead: i64,
}

/// Number of counters.
pub const COUNTERS: usize = 11;

impl Counts {
    pub fn as_array(self) -> [i64; COUNTERS] {
        let Self { pushed, delivered, deleted, retried, died, expired, .. } = self;
        let Self { ready, leased, delayed, blocked, dead, .. } = self;
        [pushed, delivered, deleted, retried, died, expired, ready, leased, delayed, blocked, dead]
    }

    pub fn from_array(counts: [i64; COUNTERS]) -> Self {
        let [pushed, delivered, deleted, retried, died, expired, ready, leased, delayed, blocked, dead] =
            counts;
        Self { pushed, delivered, deleted, retried, died, expired, ready, leased, delayed, blocked, dead }
    }

    /// Returns the counts of one message.
    pub fn message(lane: Lane, lease_until: Timestamp) -> Self {
        let leased = i64::from(lease_until != NOT_LEASED);
        match lane {
            Lane::Ready => Self { ready: 1, leased, ..Self::default() },
            Lane::Delayed => Self { delayed: 1, leased, ..Self::default() },
            Lane::Blocked => Self { blocked: 1, leased, ..Self::default() },
        }
    }

    /// Returns the number of messages.
    pub fn length(self) -> i64 {
        self.ready + self.delayed + self.blocked
    }

    /// Returns the counts with 0 for each number of messages that is negative: after a crash, before messages
    /// are counted anew.
    pub fn without_debts(self) -> Self {
        let Self { ready, leased, delayed, blocked, dead, .. } = self;
        let [ready, leased, delayed, blocked, dead] =
            [ready, leased, delayed, blocked, dead].map(|count| count.max(0));
        Self { ready, leased, delayed, blocked, dead, ..self }
    }

    /// Returns only the counts of messages, without the counters of events.
    pub fn of_places(self) -> Self {
        Self { pushed: 0, delivered: 0, deleted: 0, retried: 0, died: 0, expired: 0, ..self }
    }

    fn map2(self, other: Self, f: impl Fn(i64, i64) -> i64) -> Self {
        let (these, those) = (self.as_array(), other.as_array());
        Self::from_array(std::array::from_fn(|n| f(these[n], those[n])))
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        self.map2(more, i64::wrapping_add)
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, less: Self) -> Self {
        self.map2(less, i64::wrapping_sub)
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        *self = *self + more;
    }
}

impl Neg for Counts {
    type Output = Self;

    fn neg(self) -> Self {
        Self::default() - self
    }
}
