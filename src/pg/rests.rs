//! Rests: pauses of those that have kept a background process for too long.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Those that rest, each with the moment at which its rest is over.
pub struct Rests<K>(HashMap<K, Instant>);

impl<K> Default for Rests<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Copy> Rests<K> {
    pub fn begin(&mut self, key: K, time: Duration) {
        let now = Instant::now();
        self.0.retain(|_, end| *end > now);
        if !time.is_zero() {
            self.0.insert(key, now + time);
        }
    }

    pub fn is_resting(&self, key: K) -> bool {
        self.0.get(&key).is_some_and(|end| *end > Instant::now())
    }
}
