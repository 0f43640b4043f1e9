//! Memory for what is needed for a moment: a row that is shown, a look at a queue.

use pgrx::PgMemoryContexts;

/// A memory context, made when it is first needed.
#[derive(Default)]
pub struct Scratch(Option<PgMemoryContexts>);

impl Scratch {
    /// Does something; what Postgres allocates meanwhile is gone afterwards.
    pub fn with<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let scratch = self.0.get_or_insert_with(|| PgMemoryContexts::new("pgqueue scratch"));
        // SAFETY: nothing that work allocates outlives it: rows are copied to their store, and
        // what is remembered lies in contexts of its own.
        unsafe {
            let result = scratch.switch_to(|_| work());
            scratch.reset();
            result
        }
    }
}
