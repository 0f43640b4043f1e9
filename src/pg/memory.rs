//! Short-lived memory contexts, and allocations whose size a caller chooses.

use pgrx::PgMemoryContexts;

use crate::error::Error;

/// A memory context, made at its first use.
#[derive(Default)]
pub struct Scratch(Option<PgMemoryContexts>);

/// A value that holds no pointer into memory of Postgres: it outlives what was allocated when it
/// was made.
///
/// # Safety
/// That must hold of every value of the type.
pub unsafe trait Outlives {}

// SAFETY: plain values.
unsafe impl Outlives for () {}
// SAFETY: as above.
unsafe impl Outlives for bool {}
// SAFETY: as above.
unsafe impl Outlives for i64 {}
// SAFETY: as above.
unsafe impl Outlives for usize {}
// SAFETY: of values that do.
unsafe impl<T: Outlives> Outlives for Option<T> {}
// SAFETY: as above.
unsafe impl<T: Outlives, U: Outlives> Outlives for (T, U) {}

impl Scratch {
    /// Runs `work` in the context; frees its allocations afterwards.
    pub fn with<R: Outlives>(&mut self, work: impl FnOnce() -> R) -> R {
        let scratch = self.0.get_or_insert_with(|| PgMemoryContexts::new("pgqueue scratch"));
        // SAFETY: the result does not point to freed memory (`Outlives`). Returned rows are copied to their
        // tuplestore, and values that are kept lie in contexts of their own.
        unsafe {
            let result = scratch.switch_to(|_| work());
            scratch.reset();
            result
        }
    }
}

/// Copies bytes. Raises an error if there is no memory, which otherwise would end the server.
pub fn copied(bytes: &[u8]) -> Vec<u8> {
    let mut copy = Vec::new();
    room_for(&mut copy, bytes.len());
    copy.extend_from_slice(bytes);
    copy
}

/// Reserves room for more values. Raises an error if there is no memory, which otherwise would end the
/// server. For all numbers that a caller chooses.
pub fn room_for<T>(values: &mut Vec<T>, more: usize) {
    if values.try_reserve(more).is_err() {
        Error::no_memory(more * size_of::<T>()).raise();
    }
}

/// Collects values whose number a caller chooses; see `room_for`.
pub fn collected<T>(values: impl ExactSizeIterator<Item = T>) -> Vec<T> {
    let mut all = Vec::new();
    room_for(&mut all, values.len());
    all.extend(values);
    all
}
