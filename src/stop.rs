//! Stops, only in builds for tests (feature `stops`): a session waits at a named point until its test lets it
//! go on. So a test can act within a window of less than a millisecond.
//!
//! `pgqueue.stop` names the point. A session that reaches the point makes the file `stop.POINT` in the data
//! directory, and waits until its test has removed the file. At some points no error may be raised and no
//! lock waited for, so a stop calls no function of Postgres. A release has no points: `at` is empty there.

/// A point at which a session can be made to wait.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "stops"), allow(dead_code))]
pub enum Point {
    /// A commit has announced its pending changes; other sessions have not heard that it has changed queues.
    CommitHasPublished,
    /// A commit is visible to all; shared memory does not have its counts yet.
    CommitIsToCount,
    /// A recount has read the counts in shared memory, and has not scanned the table.
    RecountKnowsBoard,
    /// A call has found the lease valid that it is to extend, or to end by a release.
    LeaseIsJudged,
    /// A slot was found free, and is to be written.
    SlotIsJudged,
    /// The worker has moved messages to the blocked lane, and has not committed.
    MovedAside,
    /// A scan for the next message of a group has its snapshot.
    NextIsLookedFor,
    /// A scan for a group's turn has seen a message that is gone.
    TurnPassedOne,
    /// A push has looked at the messages of its key, and is to write.
    KeyIsLookedAt,
    /// A scan has found messages that will never be delivered again, which are to be buried.
    DeadAreFound,
    /// A scan has found messages that others of their keys have superseded, which are to be removed.
    SupersededAreFound,
    /// Echoes behind a message that was just leased were seen, and are to be removed.
    EchoesAreSeen,
    /// A push into a full queue looks for dead messages.
    DeadAreLookedFor,
}

#[cfg(not(feature = "stops"))]
#[inline(always)]
pub fn at(_: Point) {}

#[cfg(feature = "stops")]
pub use with_stops::{at, define};

#[cfg(feature = "stops")]
mod with_stops {
    use std::ffi::CString;
    use std::fs::File;
    use std::path::PathBuf;
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

    use super::Point;

    static STOP: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

    /// Longest wait: a test that has failed lets no session go on.
    const LONGEST: Duration = Duration::from_secs(60);

    pub fn define() {
        GucRegistry::define_string_guc(
            c"pgqueue.stop",
            c"The point at which a session waits for its test.",
            c"Only in a build for tests.",
            &STOP,
            GucContext::Suset,
            GucFlags::default(),
        );
    }

    pub fn at(point: Point) {
        let name = format!("{point:?}");
        if STOP.get().is_none_or(|wanted| wanted.to_bytes() != name.as_bytes()) {
            return;
        }
        let (begun, file) = (Instant::now(), PathBuf::from(format!("stop.{name}")));
        File::create(&file).expect("a test's server has a writable data directory");
        while file.exists() && begun.elapsed() < LONGEST {
            sleep(Duration::from_millis(1));
        }
    }
}
