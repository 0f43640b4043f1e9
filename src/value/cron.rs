//! Schedules: the times of repeated runs.
//!
//! A schedule is a cron line, read by the local time of a time zone, or a span of time. A span is counted
//! from the first run, so that a late run does not shift the later ones.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Zoned;
use jiff::tz::TimeZone;

use crate::value::duration::{BadSpan, Millis};
use crate::value::timestamp::{NEVER, Timestamp};

/// Postgres counts from 2000-01-01, Unix from 1970-01-01.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// Shortest span between two runs.
const SHORTEST: Millis = Millis::from_secs(1);

/// Rule for the times of runs.
#[derive(Debug)]
pub enum Every {
    Line(Box<Cron>, TimeZone),
    Span(Millis),
}

/// An invalid schedule: which argument is wrong, and why.
#[derive(Debug, PartialEq)]
pub struct BadSchedule {
    pub argument: &'static str,
    pub problem: String,
}

impl BadSchedule {
    fn every(problem: impl Into<String>) -> Self {
        Self { argument: "every", problem: problem.into() }
    }
}

impl Every {
    /// Reads "*/5 * * * *", "@daily", "15 min".
    pub fn parse(every: &str, time_zone: &str) -> Result<Self, BadSchedule> {
        let time_zone = TimeZone::get(time_zone).map_err(|_| BadSchedule {
            argument: "time_zone",
            problem: format!("must be the name of a time zone, not \"{time_zone}\""),
        })?;
        match Millis::parse(every) {
            Ok(span) if span < SHORTEST => Err(BadSchedule::every("must be 1 second or more")),
            Ok(span) => Ok(Self::Span(span)),
            Err(BadSpan::Unreadable) => Self::line(every, time_zone),
            Err(bad) => Err(BadSchedule::every(bad.to_string())),
        }
    }

    fn line(line: &str, time_zone: TimeZone) -> Result<Self, BadSchedule> {
        if line.split_whitespace().count() != 5 && !line.trim().starts_with('@') {
            return Err(BadSchedule::every("must be a cron line of 5 fields or a span of time"));
        }
        CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build()
            .parse(line)
            .map(|cron| Self::Line(Box::new(cron), time_zone))
            .map_err(|bad| BadSchedule::every(format!("must be a cron line or a span of time: {bad}")))
    }

    /// Returns the first run after now. Missed runs since `planned` are left out.
    pub fn next(&self, planned: Timestamp, now: Timestamp) -> Result<Timestamp, BadSchedule> {
        match self {
            Self::Span(span) => Ok(on_grid(planned, span.as_micros(), now)),
            Self::Line(cron, time_zone) => next_match(cron, time_zone, now)
                .ok_or_else(|| BadSchedule::every("must name a date that comes")),
        }
    }

    /// Returns the planned run, or the next run from now if that is earlier: then a clock that was ahead has
    /// planned it. A schedule put off for ever stays so.
    pub fn planned(&self, planned: Timestamp, now: Timestamp) -> Result<Timestamp, BadSchedule> {
        match self {
            _ if planned == NEVER => Ok(planned),
            Self::Span(span) => {
                let steps_too_far = (planned.saturating_sub(now) - 1).max(0) / span.as_micros();
                Ok(planned - steps_too_far * span.as_micros())
            }
            Self::Line(..) => Ok(planned.min(self.next(planned, now)?)),
        }
    }
}

/// The first of `planned`, `planned + step`, `planned + 2 step`, … that is after `now`.
fn on_grid(planned: Timestamp, step: i64, now: Timestamp) -> Timestamp {
    if planned > now { planned } else { now + step - (now - planned) % step }
}

fn next_match(cron: &Cron, time_zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
    let now = jiff::Timestamp::from_microsecond(now.checked_add(POSTGRES_EPOCH)?).ok()?;
    let next = cron.find_next_occurrence(&Zoned::new(now, time_zone.clone()), false).ok()?;
    Some(next.timestamp().as_microsecond() - POSTGRES_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(moment: &str) -> Timestamp {
        let moment: jiff::Timestamp = moment.parse().unwrap();
        moment.as_microsecond() - POSTGRES_EPOCH
    }

    /// The next runs after a moment, as UTC.
    fn runs(every: &str, time_zone: &str, after: &str, count: usize) -> Vec<String> {
        let every = Every::parse(every, time_zone).unwrap();
        let mut now = micros(after);
        let run = |_| {
            now = every.next(now, now).unwrap();
            jiff::Timestamp::from_microsecond(now + POSTGRES_EPOCH).unwrap().to_string()
        };
        (0..count).map(run).collect()
    }

    #[test]
    fn cron_lines_are_read_in_their_time_zone() {
        for (every, time_zone, first) in [
            ("*/5 * * * *", "UTC", "2026-01-31T12:05:00Z"),
            ("0 9 * * MON-FRI", "UTC", "2026-02-02T09:00:00Z"),
            ("0 9 * * *", "America/New_York", "2026-01-31T14:00:00Z"),
            ("0 9 * * *", "asia/kolkata", "2026-02-01T03:30:00Z"),
            ("@hourly", "UTC", "2026-01-31T13:00:00Z"),
            ("@yearly", "Europe/Berlin", "2026-12-31T23:00:00Z"),
            ("0 0 1,15 * 1", "UTC", "2026-02-01T00:00:00Z"),
            ("0 0 * * 7", "UTC", "2026-02-01T00:00:00Z"),
        ] {
            assert_eq!(runs(every, time_zone, "2026-01-31T12:00:00.5Z", 1), [first], "{every} {time_zone}");
        }
    }

    #[test]
    fn a_day_that_a_month_lacks_is_left_out() {
        assert_eq!(
            runs("0 0 31 * *", "UTC", "2026-01-31T00:00:00Z", 3),
            ["2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z", "2026-07-31T00:00:00Z"]
        );
        assert_eq!(
            runs("0 0 L 2 *", "UTC", "2027-01-01T00:00:00Z", 2),
            ["2027-02-28T00:00:00Z", "2028-02-29T00:00:00Z"]
        );
        assert_eq!(
            runs("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", 2),
            ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]
        );
        // 2100 is no leap year
        assert_eq!(runs("0 0 29 2 *", "UTC", "2096-02-29T00:00:00Z", 1), ["2104-02-29T00:00:00Z"]);
    }

    #[test]
    fn a_time_that_the_clock_leaves_out_runs_right_after_the_gap() {
        // On 29 March 2026, 02:00 is followed by 03:00 in Berlin.
        assert_eq!(
            runs("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3),
            ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
        );
    }

    #[test]
    fn a_time_that_the_clock_repeats_runs_once() {
        // On 25 October 2026, 02:59 is followed by 02:00 in Berlin.
        assert_eq!(
            runs("30 2 * * *", "Europe/Berlin", "2026-10-24T00:00:00Z", 3),
            ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
        // Nor does it run again if it ran late, in the hour that comes twice.
        assert_eq!(runs("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1), ["2026-10-26T01:30:00Z"]);
    }

    #[test]
    fn an_hourly_schedule_runs_every_hour_through_both_clock_changes() {
        let hours = runs("15 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 3);
        assert_eq!(hours, ["2026-03-29T00:15:00Z", "2026-03-29T01:15:00Z", "2026-03-29T02:15:00Z"]);
        let hours = runs("15 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 3);
        assert_eq!(hours, ["2026-10-25T00:15:00Z", "2026-10-25T01:15:00Z", "2026-10-25T02:15:00Z"]);
    }

    #[test]
    fn spans_keep_their_grid_however_late_a_run_is() {
        let every = Every::parse("15 min", "UTC").unwrap();
        let planned = micros("2026-01-31T12:07:00Z");
        for (now, next) in [
            ("2026-01-31T12:06:59Z", "2026-01-31T12:07:00Z"),
            ("2026-01-31T12:07:00Z", "2026-01-31T12:22:00Z"),
            ("2026-01-31T12:21:59.9Z", "2026-01-31T12:22:00Z"),
            ("2026-02-03T08:00:00Z", "2026-02-03T08:07:00Z"),
        ] {
            assert_eq!(every.next(planned, micros(now)), Ok(micros(next)), "{now}");
        }
    }

    #[test]
    fn a_run_that_a_clock_which_was_ahead_has_planned_is_the_next_one() {
        let now = micros("2026-01-31T12:00:00Z");
        for (every, planned, meant) in [
            ("15 min", "2026-01-31T12:07:00Z", "2026-01-31T12:07:00Z"),
            ("15 min", "2026-01-31T12:15:00Z", "2026-01-31T12:15:00Z"),
            ("15 min", "2026-01-31T12:15:00.000001Z", "2026-01-31T12:00:00.000001Z"),
            ("15 min", "2027-01-31T12:07:00Z", "2026-01-31T12:07:00Z"),
            ("15 min", "2026-01-31T11:00:00Z", "2026-01-31T11:00:00Z"),
            ("30 2 * * *", "2026-02-01T02:30:00Z", "2026-02-01T02:30:00Z"),
            ("30 2 * * *", "2026-02-02T02:30:00Z", "2026-02-01T02:30:00Z"),
            ("30 2 * * *", "2026-01-31T02:30:00Z", "2026-01-31T02:30:00Z"),
        ] {
            let every = Every::parse(every, "UTC").unwrap();
            assert_eq!(every.planned(micros(planned), now), Ok(micros(meant)), "{planned}");
        }
    }

    #[test]
    fn mistakes_name_their_argument_and_the_reason() {
        for (every, time_zone, argument, word) in [
            ("", "UTC", "every", "cron line"),
            ("often", "UTC", "every", "cron line"),
            ("* * * *", "UTC", "every", "5 fields"),
            ("* * * * * *", "UTC", "every", "5 fields"),
            ("@reboot", "UTC", "every", "cron line"),
            ("@daily 5", "UTC", "every", "cron line"),
            ("60 * * * *", "UTC", "every", "out of bounds"),
            ("* 24 * * *", "UTC", "every", "out of bounds"),
            ("* * 0 * *", "UTC", "every", "out of bounds"),
            ("* * * 13 *", "UTC", "every", "out of bounds"),
            ("* * * * 8", "UTC", "every", "out of bounds"),
            ("*/0 * * * *", "UTC", "every", "Step"),
            ("5-1 * * * *", "UTC", "every", "Range"),
            ("x * * * *", "UTC", "every", "illegal"),
            ("999 ms", "UTC", "every", "1 second"),
            ("0 s", "UTC", "every", "1 second"),
            ("-5 min", "UTC", "every", "negative"),
            ("200 years", "UTC", "every", "cron line"),
            ("1 min", "Mars/Olympus", "time_zone", "Mars/Olympus"),
        ] {
            let bad = Every::parse(every, time_zone).unwrap_err();
            assert_eq!(bad.argument, argument, "{every}");
            assert!(bad.problem.contains(word), "{every}: {}", bad.problem);
        }
    }

    #[test]
    fn a_date_that_never_comes_is_refused() {
        for every in ["0 0 30 2 *", "0 0 31 4,6,9,11 *"] {
            let now = micros("2026-01-31T12:00:00Z");
            let bad = Every::parse(every, "UTC").unwrap().next(now, now).unwrap_err();
            assert!(bad.problem.contains("date"), "{every}: {}", bad.problem);
        }
    }
}
