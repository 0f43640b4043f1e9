//! The row of a message: its columns by number, and their meaning.

use pgrx::pg_sys::Datum;

use crate::value::timestamp::Timestamp;

/// Columns of `pgqueue.message`, in the order of `sql/schema/tables.sql`.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Column {
    Id,
    EnqueuedAt,
    LeaseUntil,
    Deliveries,
    Queue,
    Priority,
    Lane,
    InTurn,
    DueAt,
    ExpiresAt,
    LeaseMs,
    MaxDeliveries,
    KeyPlace,
    GroupKey,
    DedupKey,
    Payload,
    Body,
    Headers,
    Errors,
    KeyFloor,
    GivenBack,
}

/// Number of columns that a push writes. Later columns are null then.
pub const COLUMNS: usize = Column::KeyFloor as usize + 1;

/// `lease_until` of an unleased message: Postgres's `-infinity`.
pub const NOT_LEASED: Timestamp = Timestamp::MIN;

/// Lane of a message. A leased message lies in the ready lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Lane {
    /// The message may be reserved, or is leased.
    Ready = b'r',
    /// The message waits for `due_at`.
    Delayed = b'd',
    /// The message waits behind an earlier one of its group: the transaction that removes that one makes it
    /// ready.
    Blocked = b'b',
}

impl Lane {
    pub fn from_column(value: u8) -> Self {
        match value {
            b'd' => Self::Delayed,
            b'b' => Self::Blocked,
            _ => Self::Ready,
        }
    }

    pub fn datum(self) -> Datum {
        (self as i8).into()
    }
}

/// An id and, if the caller gave one, a delivery that makes it a receipt. Both are unchecked.
pub type Receipt = (i64, Option<i64>);

/// True if the message is leased at `now`.
pub fn is_leased(lease_until: Timestamp, now: Timestamp) -> bool {
    lease_until > now
}

/// True if a message has no delivery left. `attempts` are its deliveries without the released ones.
pub fn is_exhausted(attempts: i32, max_deliveries: i32) -> bool {
    max_deliveries > 0 && attempts >= max_deliveries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_ends_at_its_end() {
        assert!(is_leased(1_001, 1_000));
        assert!(!is_leased(1_000, 1_000));
        assert!(!is_leased(NOT_LEASED, 0));
    }

    #[test]
    fn zero_max_deliveries_is_no_limit() {
        assert!(!is_exhausted(i32::MAX, 0));
        assert!(!is_exhausted(4, 5));
        assert!(is_exhausted(5, 5));
        assert!(is_exhausted(6, 5));
    }
}
