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
            max: max(call)?,
        }),
    };
    check_writable("pgq_watch")?;
    create::for_push(&wish.queue)?;
    start::ensure_running();
    Ok(Some(schedule::put(&wish)?.into()))
}

/// Reads the maximum number of changes that a run pushes.
fn max(call: &Call) -> Result<i32> {
    let max = call.max(4, "max")?;
    if max > MOST_CHANGES as usize {
        let problem = format!("must be at most {MOST_CHANGES}");
        return Err(Error::invalid("max", problem, "Further changes are pushed right afterwards."));
    }
    Ok(max as i32)
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
