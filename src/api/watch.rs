//! `pgq_watch`, `pgq_unwatch`, `pgq_list_watches`.

use crate::api::call::{Answer, Call};
use crate::api::schedule::LONGEST_TIME;
use crate::engine::queue::create;
use crate::engine::schedule::watch::{self, MOST_CHANGES, Watch};
use crate::engine::schedule::{self, Kind, Wish, Work};
use crate::error::{Error, Result};
use crate::pg::session::check_writable;
use crate::worker::start;

crate::export_to_sql!(pgq_watch, pgq_unwatch, pgq_list_watches);

/// Longest query, in bytes.
const LONGEST_QUERY: usize = 64 << 10;

fn pgq_watch(call: &Call) -> Answer {
    let wish = Wish {
        name: call.name(0, "name")?,
        queue: call.name(1, "queue")?,
        every: call.short_text(3, "every", LONGEST_TIME)?,
        time_zone: call.short_text(5, "time_zone", LONGEST_TIME)?,
        work: Work::Watch(Watch {
            query: call.short(2, "query", LONGEST_QUERY)?,
            search_path: watch::search_path(),
            page_size: page_size(call)?,
        }),
    };
    check_writable("pgq_watch")?;
    create::for_push(&wish.queue)?;
    start::ensure_running();
    Ok(Some(schedule::put(&wish)?.into()))
}

/// Reads how many changes are pushed in a transaction at most.
fn page_size(call: &Call) -> Result<i32> {
    let further = "Further changes are pushed right afterwards.";
    let size: i64 = call.required(4, "page_size")?;
    if size < 1 {
        return Err(Error::invalid("page_size", "must be 1 or more", further));
    }
    if size > i64::from(MOST_CHANGES) {
        return Err(Error::invalid("page_size", format!("must be at most {MOST_CHANGES}"), further));
    }
    Ok(size as i32)
}

fn pgq_unwatch(call: &Call) -> Answer {
    let name = call.name(0, "name")?;
    check_writable("pgq_unwatch")?;
    let removed = schedule::remove(&name, Kind::Watch)?;
    if removed {
        watch::forget(&name);
    }
    Ok(Some(removed.into()))
}

fn pgq_list_watches(call: &Call) -> Answer {
    let mut rows = call.rows()?;
    schedule::list(Kind::Watch, |row| rows.push(&row));
    rows.done()
}
