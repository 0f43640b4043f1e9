//! Spans of time: leases, delays, times to live.
//!
//! A span is a whole number of milliseconds from 0 to 100 years. A month counts
//! 30 days and a day 24 hours, as in Postgres's `extract(epoch from interval)`.

use std::fmt;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};
use serde::{Deserialize, Deserializer, de};

const MICROS_PER_MILLI: i64 = 1_000;
const MICROS_PER_DAY: i64 = 86_400_000_000;
const DAYS_PER_MONTH: i64 = 30;
const LONGEST: Millis = Millis(100 * 12 * DAYS_PER_MONTH * MICROS_PER_DAY / MICROS_PER_MILLI);

/// A span of time in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(i64);

/// Reason why a span of time is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadSpan {
    Negative,
    Zero,
    FinerThanMillisecond,
    TooLong,
    Unreadable,
}

impl fmt::Display for BadSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Negative => "must not be negative",
            Self::Zero => "must be greater than zero",
            Self::FinerThanMillisecond => "must be a whole number of milliseconds",
            Self::TooLong => "must not be longer than 100 years",
            Self::Unreadable => "must be a span of time such as \"30 s\" or \"1 h 30 m\"",
        })
    }
}

impl Millis {
    pub const ZERO: Self = Self(0);

    pub const fn from_secs(secs: i64) -> Self {
        Self(secs * 1_000)
    }

    /// Makes a span of a value that was checked before, as the tables hold it.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Reads the three parts of a Postgres `interval`.
    pub fn from_interval(months: i32, days: i32, micros: i64) -> Result<Self, BadSpan> {
        let days = i64::from(months) * DAYS_PER_MONTH + i64::from(days);
        let micros = days
            .checked_mul(MICROS_PER_DAY)
            .and_then(|day_micros| day_micros.checked_add(micros))
            .ok_or(BadSpan::TooLong)?;
        Self::from_micros(micros)
    }

    fn from_micros(micros: i64) -> Result<Self, BadSpan> {
        if micros < 0 {
            return Err(BadSpan::Negative);
        }
        if micros % MICROS_PER_MILLI != 0 {
            return Err(BadSpan::FinerThanMillisecond);
        }
        let span = Self(micros / MICROS_PER_MILLI);
        if span > LONGEST { Err(BadSpan::TooLong) } else { Ok(span) }
    }

    /// Returns the same span; an error if it is zero.
    pub fn positive(self) -> Result<Self, BadSpan> {
        if self.0 == 0 { Err(BadSpan::Zero) } else { Ok(self) }
    }

    /// Reads "30 s", "1 hour 30 minutes", "02:00:00", "7 days".
    pub fn parse(text: &str) -> Result<Self, BadSpan> {
        let span: Span = text.trim().parse().map_err(|_| BadSpan::Unreadable)?;
        let duration =
            span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| BadSpan::Unreadable)?;
        if duration.subsec_nanos() % 1_000 != 0 {
            return Err(BadSpan::FinerThanMillisecond);
        }
        Self::from_micros(i64::try_from(duration.as_micros()).map_err(|_| BadSpan::TooLong)?)
    }

    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// A negative span is no time.
    pub fn as_duration(self) -> Duration {
        Duration::from_millis(u64::try_from(self.as_millis()).unwrap_or(0))
    }

    pub const fn as_micros(self) -> i64 {
        self.0 * MICROS_PER_MILLI
    }

    /// Returns the span times `factor`, at most `most`.
    pub fn times(self, factor: f64, most: Self) -> Self {
        let product = self.0 as f64 * factor;
        // NaN and infinity end at `most` too.
        if product < most.0 as f64 { Self(product as i64) } else { most }
    }
}

impl<'de> Deserialize<'de> for Millis {
    /// Reads a positive span from its text.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).and_then(Self::positive).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_people_write_them() {
        for (text, millis) in [
            ("30 s", 30_000),
            ("1 ms", 1),
            ("250ms", 250),
            ("1 hour 30 minutes", 5_400_000),
            ("02:00:00", 7_200_000),
            ("7 days", 604_800_000),
            ("1 d 2 h", 93_600_000),
        ] {
            assert_eq!(Millis::parse(text), Ok(Millis(millis)), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_its_reason() {
        for (text, reason) in [
            ("", BadSpan::Unreadable),
            ("soon", BadSpan::Unreadable),
            ("1 month", BadSpan::Unreadable),
            ("-1 s", BadSpan::Negative),
            ("1500 us", BadSpan::FinerThanMillisecond),
            ("900 ns", BadSpan::FinerThanMillisecond),
            ("40000 days", BadSpan::TooLong),
        ] {
            assert_eq!(Millis::parse(text), Err(reason), "{text}");
        }
    }

    #[test]
    fn intervals_are_summed_in_milliseconds() {
        assert_eq!(Millis::from_interval(1, 1, 1_000), Ok(Millis(31 * 86_400_000 + 1)));
        assert_eq!(Millis::from_interval(0, 0, 999), Err(BadSpan::FinerThanMillisecond));
        assert_eq!(Millis::from_interval(0, -1, 0), Err(BadSpan::Negative));
        assert_eq!(Millis::from_interval(0, 1, -86_400_000_000), Ok(Millis(0)));
        assert_eq!(Millis::from_interval(i32::MAX, i32::MAX, i64::MAX), Err(BadSpan::TooLong));
        assert_eq!(Millis::from_interval(i32::MIN, i32::MIN, i64::MIN), Err(BadSpan::TooLong));
        assert_eq!(Millis(0).positive(), Err(BadSpan::Zero));
    }

    #[test]
    fn multiplying_never_overflows() {
        let hour = Millis::from_secs(3_600);
        for factor in [f64::MAX, f64::INFINITY, f64::NAN, 1e300] {
            assert_eq!(Millis::from_secs(1).times(factor, hour), hour);
        }
        assert_eq!(Millis::from_secs(1).times(1.5, hour), Millis(1_500));
    }
}
