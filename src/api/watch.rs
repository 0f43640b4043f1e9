//! `pgq_watch`, `pgq_unwatch`, `pgq_list_watches`.

use crate::call::{Answer, Call};
use crate::engine::schedule::{self, Kind, Wish, Work};
use crate::engine::watch::{self, Watch};
use crate::engine::{check_writable, queue};
use crate::worker;

crate::export_to_sql!(pgq_watch, pgq_unwatch, pgq_list_watches);

fn pgq_watch(call: &Call) -> Answer {
    let wish = Wish {
        name: call.name(0, "name")?,
        queue: call.name(1, "queue")?,
        every: call.required(3, "every")?,
        time_zone: call.required(5, "time_zone")?,
        work: Work::Watch(Watch {
            query: call.required(2, "query")?,
            search_path: watch::search_path(),
            max: call.max(4, "max")? as i32,
        }),
    };
    check_writable("pgq_watch")?;
    queue::for_push(&wish.queue)?;
    worker::ensure_running();
    Ok(Some(schedule::put(&wish)?.into()))
}

fn pgq_unwatch(call: &Call) -> Answer {
    let name = call.name(0, "name")?;
    check_writable("pgq_unwatch")?;
    let removed = schedule::remove(&name, Kind::Watch)?;
    watch::forget(&name);
    Ok(Some(removed.into()))
}

fn pgq_list_watches(call: &Call) -> Answer {
    let mut rows = call.rows()?;
    schedule::list(Kind::Watch, |row| rows.push(&row));
    rows.done()
}
