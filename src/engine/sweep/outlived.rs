//! Expired messages: dropped, or made dead letters where their queue keeps them.

use std::cell::Cell;
use std::time::Instant;

use pgrx::pg_sys::{self, Datum, ItemPointerData};

use crate::engine::message::dead::Buried;
use crate::engine::schedule::run;
use crate::engine::sweep::deaths::{self, Gone};
use crate::engine::sweep::report::{Report, page};
use crate::engine::table::statement::Statement;
use crate::pg::session::now;
use crate::pg::timeout::is_worker;
use crate::pg::turn::{Parts, TURN};
use crate::value::reason::Reason;
use crate::value::timestamp::Timestamp;

static OUTLIVED: Statement = Statement::new(
    include_str!("../../../sql/query/sweep_ttl.sql"),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INT8OID, pg_sys::TIMESTAMPTZOID, pg_sys::TIDOID],
);

/// A place among the messages with a time to live, in the order in which they expire.
#[derive(Clone, Copy)]
struct End {
    expires_at: Timestamp,
    at: ItemPointerData,
}

impl End {
    const NONE: Self = Self {
        expires_at: Timestamp::MIN,
        at: ItemPointerData { ip_blkid: pg_sys::BlockIdData { bi_hi: 0, bi_lo: 0 }, ip_posid: 0 },
    };
}

thread_local! {
    /// The place at which the worker's next round goes on.
    static CLEARED_TO: Cell<End> = const { Cell::new(End::NONE) };
    static PARTS: Parts = const { Parts::of(1_000) };
}

/// A page of messages with a time to live.
struct Page {
    /// The expired ones, each with its place.
    outlived: Vec<(Gone, End)>,
    begins: End,
    last: End,
    /// No message behind it has expired.
    is_last: bool,
}

impl Page {
    /// The next `most` messages behind a place.
    fn behind(place: End, most: i64) -> Self {
        let mut found = Self { outlived: Vec::new(), begins: place, last: place, is_last: true };
        let args = [
            Some(now().into()),
            Some(most.into()),
            Some(place.expires_at.into()),
            Some(Datum::from(&raw const place.at)),
        ];
        OUTLIVED.run(&args, |row| {
            let end = End { expires_at: row.i64(1), at: row.tid(2).expect("a row has a place") };
            if row.get(0).is_some() {
                let gone = Gone { id: row.i64(0), queue: row.i32(4), reason: Reason::Expired };
                found.outlived.push((gone, end));
            } else {
                (found.last, found.is_last) = (end, row.i64(3) < most);
            }
        });
        found
    }

    /// Buries the expired ones. Returns also where to go on; none at the end.
    fn bury(self) -> (Buried, Option<End>) {
        let (buried, untried) = deaths::bury(self.outlived.iter().map(|(gone, _)| *gone).collect());
        let first = untried.iter().map(|gone| gone.id).next();
        let place = |id| self.outlived.iter().rev().skip_while(|(gone, _)| gone.id != id).nth(1);
        match first {
            // Messages behind it may have been tried, those of other owners: they are tried again.
            Some(id) => (buried, Some(place(id).map_or(self.begins, |(_, end)| *end))),
            None => (buried, (!self.is_last).then_some(self.last)),
        }
    }
}

/// Clears messages that have expired unleased.
///
/// Passes over those that are leased, and those that cannot be cleared because another transaction holds
/// messages of their groups, until it has cleared some. The worker does so for one turn.
pub fn clear(report: &mut Report) {
    if run::is_being_restored() {
        return; // a death may push an event
    }
    let begun = Instant::now();
    let mut place = if is_worker() { CLEARED_TO.get() } else { End::NONE };
    loop {
        pgrx::check_for_interrupts!();
        let look = |most: i64| Page::behind(place, most);
        let Ok(page) = PARTS.with(|parts| parts.work(page(), look)) else {
            report.left_work |= begun.elapsed() < TURN;
            break;
        };
        let (buried, next) = page.bury();
        report.moved_to_dead += buried.kept;
        report.ttl_dropped += buried.dropped;
        place = next.unwrap_or(End::NONE);
        let some_went = buried.kept + buried.dropped > 0;
        report.left_work |= next.is_some() && (some_went || is_worker());
        if next.is_none() || some_went || is_worker() && begun.elapsed() >= TURN {
            break;
        }
    }
    if is_worker() {
        CLEARED_TO.set(place);
    }
}
