//! Backoff: how long a failed message waits before its next delivery.

use serde::Deserialize;

use crate::value::duration::Millis;

/// Exponential backoff: `base × factor^(delivery − 1)`, at most `max`, each wait
/// shifted at random by up to `jitter` (a share of it) to either side.
///
/// Jitter spreads retries that failed together; see "Exponential Backoff And
/// Jitter", AWS Architecture Blog, 2015.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Backoff {
    base: Millis,
    factor: f64,
    max: Millis,
    jitter: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Unchecked {
    base: Millis,
    factor: f64,
    max: Millis,
    jitter: f64,
}

impl Default for Unchecked {
    fn default() -> Self {
        let Backoff { base, factor, max, jitter } = Backoff::default();
        Self { base, factor, max, jitter }
    }
}

impl TryFrom<Unchecked> for Backoff {
    type Error = &'static str;

    fn try_from(unchecked: Unchecked) -> Result<Self, Self::Error> {
        let Unchecked { base, factor, max, jitter } = unchecked;
        if !(1.0..=1000.0).contains(&factor) {
            return Err("factor must lie between 1 and 1000");
        }
        if !(0.0..=1.0).contains(&jitter) {
            return Err("jitter must lie between 0 and 1");
        }
        if max < base {
            return Err("max must not be less than base");
        }
        Ok(Self { base, factor, max, jitter })
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Millis::from_secs(1), factor: 2.0, max: Millis::from_secs(3_600), jitter: 0.2 }
    }
}

impl Backoff {
    /// The wait after `delivery` (counted from 1) failed. `chance` lies in `0.0..1.0`.
    pub fn wait(&self, delivery: i32, chance: f64) -> Millis {
        let grown = self.base.times(self.factor.powi(delivery.max(1) - 1), self.max);
        let shift = 1.0 + self.jitter * (2.0 * chance - 1.0);
        grown.times(shift, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(backoff: &Backoff, delivery: i32, chance: f64) -> i64 {
        backoff.wait(delivery, chance).as_millis()
    }

    #[test]
    fn waits_double_up_to_the_most() {
        let backoff = Backoff { jitter: 0.0, ..Backoff::default() };
        let waits: Vec<i64> = (1..=4).map(|n| millis(&backoff, n, 0.5)).collect();
        assert_eq!(waits, [1_000, 2_000, 4_000, 8_000]);
        assert_eq!(millis(&backoff, 100, 0.5), 3_600_000);
        assert_eq!(millis(&backoff, i32::MAX, 0.5), 3_600_000);
        assert_eq!(millis(&backoff, i32::MIN, 0.5), 1_000);
    }

    #[test]
    fn jitter_shifts_to_either_side_but_not_beyond_the_most() {
        let backoff = Backoff::default();
        assert_eq!(millis(&backoff, 1, 0.0), 800);
        assert_eq!(millis(&backoff, 1, 0.5), 1_000);
        assert!((1_199..=1_200).contains(&millis(&backoff, 1, 0.999_999)));
        assert_eq!(millis(&backoff, 60, 0.999_999), 3_600_000);
    }

    #[test]
    fn fields_are_checked() {
        let read = |text: &str| serde_json::from_str::<Backoff>(text).map_err(|e| e.to_string());
        assert_eq!(read("{}"), Ok(Backoff::default()));
        assert!(read(r#"{"base":"2 s","factor":3}"#).is_ok());
        for (text, word) in [
            (r#"{"factor":0.5}"#, "factor"),
            (r#"{"jitter":2}"#, "jitter"),
            (r#"{"base":"2 h"}"#, "max"),
            (r#"{"speed":1}"#, "speed"),
            (r#"{"base":"0 s"}"#, "greater than zero"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
