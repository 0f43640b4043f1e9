//! Runs due schedules and watches.
//!
//! Invariant: a schedule runs once for each of its times, whichever process runs it. Its row is locked
//! meanwhile. Its message commits together with its next time, which is later than now: it makes up for one
//! missed time, however many there were.
//!
//! The schedules of one role do not wait for another role's: the owners have their turns one after the other,
//! a run waits for no lock for long, and a schedule that failed or took long rests (`retry_at`). The worker
//! itself runs schedules, which only push messages. A push into a full queue may have very many to drop, so a
//! run is cancelled after a while, and after a long one all schedules of its owner rest (`due`). A watch is
//! its owner's code, and runs in a process with its owner's session (`worker::watchers`).

use std::cell::{Cell, LazyCell, RefCell};
use std::time::{Duration, Instant};

use pgrx::pg_sys::{self, Datum, Oid};

use crate::engine::commit::async_commit;
use crate::engine::push::message::{Content, Keys, OnDuplicate, Options};
use crate::engine::push::push;
use crate::engine::schedule::due;
use crate::engine::schedule::watch::{self, Noted, Part, Watch};
use crate::engine::schedule::{bad_schedule, bytes, oid, text};
use crate::engine::table::name::Name;
use crate::engine::table::queue;
use crate::engine::table::statement::{Row, Statement};
use crate::error::{Error, Result};
use crate::guc;
use crate::pg::datum::{oid_array, text_array, text_datum};
use crate::pg::role::{self, act_as, act_impatiently};
use crate::pg::session::now;
use crate::pg::subtransaction::{Problem, attempt};
use crate::pg::timeout::{TimeLimit, is_worker};
use crate::pg::turn::{TURN, for_a_turn};
use crate::value::cron::Every;
use crate::value::duration::Millis;
use crate::value::right::Right;
use crate::value::timestamp::Timestamp;

static DUE: Statement = Statement::new(
    include_str!("../../../sql/query/due_schedules.sql"),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::TEXTARRAYOID],
);
static OWN_WATCH: Statement = Statement::new(
    include_str!("../../../sql/query/own_watch.sql"),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::OIDOID, pg_sys::TEXTOID],
);
static CLAIM: Statement = Statement::new(
    include_str!("../../../sql/query/claim_watch.sql"),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::OIDOID, pg_sys::TEXTOID],
);
static CLAIMED: Statement =
    Statement::new(include_str!("../../../sql/query/claimed_watch.sql"), &[pg_sys::TEXTOID]);
static REFUSE: Statement = Statement::new(
    include_str!("../../../sql/query/refuse_watches.sql"),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::OIDOID, pg_sys::TEXTOID, pg_sys::TIMESTAMPTZOID],
);
static ENDED: Statement = Statement::new(
    include_str!("../../../sql/query/ended_watches.sql"),
    &[pg_sys::OIDARRAYOID, pg_sys::TEXTOID],
);
static RESTORING: Statement = Statement::new(include_str!("../../../sql/query/restoring.sql"), &[]);
static NOTE: Statement = Statement::new(
    include_str!("../../../sql/query/note_run.sql"),
    &[
        pg_sys::TEXTOID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::TEXTOID,
        pg_sys::TEXTOID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::INT4OID,
    ],
);
static NEXT: Statement =
    Statement::new(include_str!("../../../sql/query/next_run.sql"), &[pg_sys::TIMESTAMPTZOID]);
static PLANNED: Statement = Statement::new(
    include_str!("../../../sql/query/planned_schedules.sql"),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::TEXTOID, pg_sys::INT8OID],
);
static REPLAN: Statement = Statement::new(
    include_str!("../../../sql/query/replan_schedule.sql"),
    &[pg_sys::TEXTOID, pg_sys::TIMESTAMPTZOID, pg_sys::TIMESTAMPTZOID, pg_sys::TIMESTAMPTZOID],
);

/// How often a process looks for schedules that other sessions have put.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How many schedules a transaction runs: more than 64 subtransactions would slow down every snapshot of the
/// server.
const BATCH: i64 = 50;

/// How many plans the worker checks at a time. All have their turn, however many schedules the roles of a
/// database have put.
const PLANS: i64 = 20;

/// When a schedule is tried again whose next time cannot be computed any more.
const RETRY: Millis = Millis::from_secs(60);

/// How long a run of a schedule may keep the worker.
const LONGEST_RUN: Millis = Millis::from_secs(2);

/// A schedule whose run takes longer rests afterwards, ten times as long.
const SLOW: Duration = Duration::from_millis(500);

/// The same limit for the query of a watch that has more to push. If another process goes on with the watch, the
/// query runs again.
const SLOW_QUERY: Duration = Duration::from_secs(5);

/// The error of a watch whose process ended before the run was over.
const ENDED_EARLY: &str =
    "57P01: the process of the watch ended before the run was over; the log of the server says why";

/// The error of watches for which the server has no process.
const NO_PROCESS: &str = "53000: no background worker is free for the watch; max_worker_processes is too low";

/// The error of watches whose owner was dropped.
const OWNER_IS_GONE: &str = "42704: the owner of the watch does not exist any more";

/// The time at which this process should look for due schedules.
#[derive(Clone, Copy)]
struct Outlook {
    looked: Instant,
    next: Option<Timestamp>,
}

thread_local! {
    static OUTLOOK: Cell<Option<Outlook>> = const { Cell::new(None) };
    /// The last schedule whose plan was checked.
    static LOOKED_AT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Whether a schedule may be due. Costs no statement.
pub fn may_be_due() -> bool {
    OUTLOOK.get().is_none_or(|outlook| {
        outlook.looked.elapsed() >= LOOK_EVERY || outlook.next.is_some_and(|next| next <= now())
    })
}

/// Makes `may_be_due` true.
pub fn look_again() {
    OUTLOOK.set(None);
}

/// Runs due schedules. True if there may be more.
///
/// Runs none while a dump is being restored, which brings the tables that they need one by one. By hand the
/// watches of the caller run too: it is the caller's session.
pub fn run_due() -> bool {
    let begun = now();
    set_outlook(None);
    if is_being_restored() {
        return false;
    }
    if is_worker() {
        async_commit::wait_for_own_disk();
    }
    plan_anew(begun, if is_worker() { PLANS } else { i64::MAX });
    let names = due::names(begun, BATCH);
    let page = text_array(names.iter().map(Vec::as_slice));
    let (mut ran, turn) = (0, LazyCell::new(Instant::now)); // it begins with the first schedule
    DUE.run(&[Some(begun.into()), Some(page)], |row| {
        if turn.elapsed() < TURN && !due::is_resting(oid(row, 1)) {
            run_one(row);
            ran += 1;
        }
    });
    if !is_worker() {
        run_own_watches(begun);
    }
    // Schedules that other transactions have locked are no reason to come back at once.
    let has_more = ran > 0 && (names.len() as i64 == BATCH || turn.elapsed() >= TURN);
    set_outlook(if has_more { Some(begun) } else { next_due(begun) });
    has_more
}

fn set_outlook(next: Option<Timestamp>) {
    OUTLOOK.set(Some(Outlook { looked: Instant::now(), next }));
}

/// When the next schedule is due; none if there is none, or if that takes too long to find.
fn next_due(begun: Timestamp) -> Option<Timestamp> {
    let mut next = None;
    for_a_turn(|| _ = NEXT.run(&[Some(begun.into())], |row| next = Some(row.i64(0))));
    next
}

/// Runs the due watches of the caller, each to its end before the next, in `BATCH` parts at most.
fn run_own_watches(begun: Timestamp) {
    let _leave = LeaveUnfinished;
    let run_part = |_: &_| {
        let unfinished = watch::unfinished().map(|name| name.datum());
        OWN_WATCH.run(&[Some(begun.into()), Some(role::caller().into()), unfinished], run_one) > 0
    };
    (0..BATCH).take_while(run_part).count();
}

/// Drops the rest of an unfinished run, when a client's session leaves it to its next round.
struct LeaveUnfinished;

impl Drop for LeaveUnfinished {
    fn drop(&mut self) {
        watch::leave_unfinished();
    }
}

/// Plans schedules anew that are planned for later than their next time from now: the clock was ahead at that
/// plan, and they would not run before it gets there again. Checks the next few schedules by name.
fn plan_anew(now: Timestamp, most: i64) {
    let behind = if most == i64::MAX { Vec::new() } else { LOOKED_AT.take() };
    let (mut wrong, mut last, mut count) = (Vec::new(), Vec::new(), 0);
    let each = |row: &Row| {
        (last, count) = (bytes(row, 0), count + 1);
        let planned = row.i64(3);
        let every = Every::parse(&text(row, 1), &text(row, 2)).ok();
        let next = every.and_then(|every| every.planned(planned, now).ok()).unwrap_or(planned);
        if next < planned || row.bool(4) {
            wrong.push((last.clone(), planned, next));
        }
    };
    for_a_turn(|| _ = PLANNED.run(&[Some(now.into()), Some(text_datum(&behind)), Some(most.into())], each));
    LOOKED_AT.set(if count == most { last } else { Vec::new() });
    for (name, planned, next) in wrong {
        REPLAN.run(
            &[Some(text_datum(&name)), Some(planned.into()), Some(next.into()), Some(now.into())],
            |_| {},
        );
    }
}

/// Whether a dump is being restored: a message pushed now would get an id that is in use. Sequences come last
/// in a dump.
pub fn is_being_restored() -> bool {
    let mut is_behind = false;
    RESTORING.run(&[], |row| is_behind = row.bool(0));
    is_behind
}

/// Notes that the owner of watches is gone.
pub fn note_gone_owner() {
    refuse(None, OWNER_IS_GONE, now());
}

/// Notes that the server has no process for the watches of a role.
pub fn note_no_process(owner: Oid) {
    refuse(Some(owner), NO_PROCESS, now());
}

/// Notes of watches that have begun that their process ended before the run was over. The `busy` roles have a
/// process.
pub fn note_ended(busy: &[Oid]) {
    let problem = text_datum(ENDED_EARLY.as_bytes());
    ENDED.run(&[Some(oid_array(busy)), Some(problem)], |_| {});
}

/// Notes the same of the due watches of a role, if none has begun since its process was started.
pub fn note_none_begun(owner: Oid, started: Timestamp) {
    refuse(Some(owner), ENDED_EARLY, started);
}

/// Lets the due watches of a role wait, unless one has run since a moment.
fn refuse(owner: Option<Oid>, problem: &str, since: Timestamp) {
    let args = [
        Some(now().into()),
        owner.map(Datum::from),
        Some(text_datum(problem.as_bytes())),
        Some(since.into()),
    ];
    REFUSE.run(&args, |_| {});
}

/// Chooses the watch whose run this process has not finished, or a due watch of a role, and notes that it has
/// begun: if its process does not survive the run, the watch rests.
pub fn claim_watch(owner: Oid) -> Option<Name> {
    let claim = |unfinished: Option<Name>| {
        let mut claimed = None;
        let args = [Some(now().into()), Some(owner.into()), unfinished.map(|name| name.datum())];
        CLAIM.run(&args, |row| claimed = Some(Name::known(bytes(row, 0))));
        claimed
    };
    let goes_on = watch::unfinished().and_then(|name| claim(Some(name)));
    goes_on.or_else(|| {
        watch::leave_unfinished();
        claim(None)
    })
}

/// Whether this process should go on with a run before it ends.
pub fn is_worth_finishing() -> bool {
    watch::is_worth_finishing()
}

/// Runs a claimed watch, unless another session holds its row.
pub fn run_claimed_watch(name: &Name) {
    async_commit::wait_for_own_disk();
    CLAIMED.run(&[Some(name.datum())], run_one);
}

/// Runs a schedule, whose row is locked, and notes the outcome.
fn run_one(row: &Row) {
    let (begun, is_watch) = (Instant::now(), row.get(12).is_some());
    let outcome = {
        let limit = if is_watch { guc::watch_timeout() } else { LONGEST_RUN };
        let _limit = TimeLimit::of_users_code(limit.as_duration());
        attempt(|| {
            let part = run_as_owner(row)?;
            // A watch that has more to do stays due.
            let has_more = part.as_ref().is_some_and(|part| part.seen_to.is_some());
            Ok((if has_more { row.i64(5) } else { next_run(row)? }, part))
        })
    };
    let rest = rest_after(begun.elapsed(), outcome.as_ref().ok().and_then(|(_, part)| part.as_ref()));
    if !is_watch && is_worker() {
        due::rest(oid(row, 1), rest);
    }
    let (next, seen_to, problem) = match outcome {
        Ok((next, part)) => (next, part.and_then(|part| part.seen_to), None),
        Err(problem) => (next_try(row, &problem), row.get(18).map(|_| bytes(row, 18)), Some(problem)),
    };
    if problem.is_some() {
        watch::leave_unfinished();
    }
    note(row, next, seen_to, problem, rest);
}

/// How long a schedule rests after a run, or a watch after a part of one.
fn rest_after(took: Duration, part: Option<&Part>) -> Duration {
    let (took, patience) = match part {
        Some(part) if part.seen_to.is_some() => (part.query_took, SLOW_QUERY),
        Some(part) if !part.is_first => (took + part.query_took, SLOW),
        _ => (took, SLOW),
    };
    if took < patience { Duration::ZERO } else { took * 10 }
}

/// Notes the outcome of a run.
fn note(row: &Row, next: Timestamp, seen_to: Option<Vec<u8>>, problem: Option<Problem>, rest: Duration) {
    let was_in_the_way = problem.as_ref().is_some_and(Problem::was_in_the_way);
    let pauses = if was_in_the_way { row.i32(19).saturating_add(1) } else { 0 };
    let retry_at = now() + rest.max(pause(pauses)).as_micros() as i64;
    let args = [
        Some(row.value(0)),
        Some(next.into()),
        problem.map(|problem| text_datum(problem.to_string().as_bytes())),
        seen_to.map(|id| text_datum(&id)),
        Some(retry_at.into()),
        Some(pauses.into()),
    ];
    NOTE.run(&args, |noted| watch::noted(noted.i64(0)));
}

/// How long a schedule rests that was blocked `times` times in a row.
fn pause(times: i32) -> Duration {
    const FIRST: Duration = Duration::from_secs(5);
    const LONGEST: Duration = Duration::from_secs(300);
    match times {
        0 => Duration::ZERO,
        times => (FIRST * 2u32.pow(times.clamp(1, 10) as u32 - 1)).min(LONGEST),
    }
}

/// Does the work of a schedule, or a part of a watch's, as its owner.
fn run_as_owner(row: &Row) -> Result<Option<Part>> {
    let owner = oid(row, 1);
    if role::role_name(owner).is_none() {
        return Err(Error::owner_is_gone(&text(row, 0)));
    }
    let queue = || queue::existing(&Name::known(bytes(row, 2)), Right::Push);
    if row.get(12).is_some() {
        let name = Name::known(bytes(row, 0));
        let seen_to = row.text(18);
        let noted = Noted { seen_to: seen_to.as_deref(), last_run: row.get(20).map(|_| row.i64(20)) };
        return act_as(owner, || watch::look(&name, &watch_of(row), noted, &*queue()?)).map(Some);
    }
    act_impatiently(owner, || {
        let queue = queue()?;
        push(&queue, &[(Content::Payload(row.value(6)), row.get(7))], &options(row))?;
        queue::hold(queue.id)?;
        Ok(None)
    })
}

fn watch_of(row: &Row) -> Watch {
    let page_size = row.i32(14).min(watch::MOST_CHANGES);
    Watch { query: bytes(row, 12), search_path: bytes(row, 13), page_size }
}

fn next_run(row: &Row) -> Result<Timestamp> {
    let every = Every::parse(&text(row, 3), &text(row, 4)).map_err(bad_schedule)?;
    every.next(row.i64(5), now()).map_err(bad_schedule)
}

/// The next time of a schedule that failed. A schedule blocked by another transaction stays due.
fn next_try(row: &Row, problem: &Problem) -> Timestamp {
    if problem.was_in_the_way() {
        return row.i64(5);
    }
    next_run(row).unwrap_or(now() + RETRY.as_micros())
}

fn options(row: &Row) -> Options {
    let span = |column| row.get(column).map(|millis: Datum| Millis::from_millis(millis.value() as i64));
    let name = |column| row.get(column).map(|_| Name::known(bytes(row, column)));
    let on_duplicate = row.get(17).and_then(|_| OnDuplicate::of(&text(row, 17)));
    Options {
        priority: row.value(8).value() as i16,
        ttl: span(9),
        lease: span(10),
        max_deliveries: row.get(11).map(|max| max.value() as i32),
        group_key: name(15),
        keys: name(16).map(Keys::One),
        on_duplicate: on_duplicate.unwrap_or_default(),
        ..Options::default()
    }
}
