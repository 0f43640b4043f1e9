//! Memory for what is needed for a moment: a row that is shown, a look at a queue.

use pgrx::PgMemoryContexts;

use crate::error::Error;

/// A memory context, made when it is first needed.
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
// SAFETY: of values that do.
unsafe impl<T: Outlives> Outlives for Option<T> {}
// SAFETY: as above.
unsafe impl<T: Outlives, U: Outlives> Outlives for (T, U) {}

impl Scratch {
    /// Does something; what Postgres allocates meanwhile is gone afterwards.
    pub fn with<R: Outlives>(&mut self, work: impl FnOnce() -> R) -> R {
        let scratch = self.0.get_or_insert_with(|| PgMemoryContexts::new("pgqueue scratch"));
        // SAFETY: the result does not point to what is freed. Rows that are shown are copied to
        // their store, and what is remembered lies in contexts of its own.
        unsafe {
            let result = scratch.switch_to(|_| work());
            scratch.reset();
            result
        }
    }
}

/// A copy; an error where there is no memory for it, which otherwise would end the server.
pub fn copied(bytes: &[u8]) -> Vec<u8> {
    let mut copy = Vec::new();
    room_for(&mut copy, bytes.len());
    copy.extend_from_slice(bytes);
    copy
}

/// Makes room for so many more; an error where there is no memory, which otherwise would end the
/// server. For all whose number a caller chooses.
pub fn room_for<T>(values: &mut Vec<T>, more: usize) {
    if values.try_reserve(more).is_err() {
        Error::no_memory(more * size_of::<T>()).raise();
    }
}

/// The values, for whose number a caller chooses.
pub fn collected<T>(values: impl ExactSizeIterator<Item = T>) -> Vec<T> {
    let mut all = Vec::new();
    room_for(&mut all, values.len());
    all.extend(values);
    all
}
