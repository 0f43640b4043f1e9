//! Where a walk over a queue's ready messages is: a priority, in one direction.

use crate::hint::Direction;

/// One priority of a queue's ready lane, seen from one end.
#[derive(Clone, Copy)]
pub struct Address {
    pub queue: i32,
    pub direction: Direction,
    pub priority: i16,
}

impl Address {
    /// The same priority from the other end.
    pub fn reversed(self) -> Self {
        Self { direction: self.direction.reversed(), ..self }
    }
}
