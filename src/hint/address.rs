//! An address in a queue's ready lane: a priority and a scan direction.

use crate::hint::Direction;

/// One priority of a queue's ready lane, scanned in one direction.
#[derive(Clone, Copy)]
pub struct Address {
    pub queue: i32,
    pub direction: Direction,
    pub priority: i16,
}

impl Address {
    /// Returns the same priority in the other direction.
    pub fn reversed(self) -> Self {
        Self { direction: self.direction.reversed(), ..self }
    }
}
