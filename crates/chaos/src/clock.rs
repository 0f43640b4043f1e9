//! The clock all clients share: microseconds since the program began.

use std::sync::LazyLock;
use std::time::Instant;

use pgqueue_history::{Moment, Span};

static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

pub fn now() -> Moment {
    i64::try_from(BEGUN.elapsed().as_micros()).expect("a run is shorter than 300,000 years")
}

pub fn since(invoked: Moment) -> Span {
    Span { invoked, returned: now() }
}

/// Does something, and tells when.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Span) {
    let invoked = now();
    let done = work();
    (done, since(invoked))
}
