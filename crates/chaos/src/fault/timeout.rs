//! statement_timeout of a few milliseconds.

use std::sync::atomic::Ordering;

use fastrand::Rng;

use super::Fault;
use crate::crowd::pause;
use crate::stage::Stage;

pub struct Timeout;

impl Fault for Timeout {
    fn name(&self) -> &'static str {
        "statement_timeout"
    }

    fn shows_as(&self) -> Option<&'static str> {
        Some("57014")
    }

    fn strike(&mut self, stage: &Stage, rng: &mut Rng) {
        stage.times_out.store(true, Ordering::Relaxed);
        pause(rng, 1000..2000);
        stage.times_out.store(false, Ordering::Relaxed);
    }
}
