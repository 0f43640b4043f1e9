//! Sequences: refused if a user has changed them so that a number may come twice, or before an earlier one.
//!
//! Ids in the order of pushes decide which message of a key stands for it, and which comes first in a group.
//! The result of a check is kept until a sequence or one of the extension's tables changes.

use std::cell::Cell;
use std::sync::Once;

use pgrx::pg_sys::{self, Datum};

use crate::engine::table::catalog;
use crate::engine::table::statement::Statement;
use crate::error::Error;

static CHANGED: Statement = Statement::new(include_str!("../../../sql/query/changed_sequence.sql"), &[]);

thread_local! {
    /// How many changes of sequences this session has heard of.
    static CHANGES: Cell<u64> = const { Cell::new(0) };
    /// The changes that this session had heard of at the last check that found nothing.
    static CHECKED: Cell<Option<(u64, u64)>> = const { Cell::new(None) };
}

/// Raises an error if a sequence of the extension is not as the extension has made it.
pub fn check() {
    listen();
    // Taken before the look: a change that comes during it is looked for at the next check.
    let heard = Some((catalog::generation(), CHANGES.get()));
    if CHECKED.get() == heard {
        return;
    }
    CHANGED.run(&[], |row| {
        let text = |n| String::from_utf8_lossy(&row.text(n).unwrap_or_default()).into_owned();
        let [name, problem, mend] = [0, 1, 2].map(text);
        Error::table_is_changed(&name, &problem, &mend).raise()
    });
    CHECKED.set(heard);
}

fn listen() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        let cache = pg_sys::SysCacheIdentifier::SEQRELID as i32;
        // SAFETY: on_change neither allocates nor raises.
        unsafe { pg_sys::CacheRegisterSyscacheCallback(cache, Some(on_change), Datum::null()) }
    });
}

/// Called by Postgres in the middle of its cache handling: only counts.
unsafe extern "C-unwind" fn on_change(_: Datum, _: i32, _: u32) {
    CHANGES.set(CHANGES.get() + 1);
}
