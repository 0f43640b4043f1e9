//! pg_cancel_backend at random moments.

use fastrand::Rng;

use super::Fault;
use super::terminated::signal_one;
use crate::crowd::pause;
use crate::stage::{LOAD, Stage};

pub struct Cancel;

impl Fault for Cancel {
    fn name(&self) -> &'static str {
        "cancelled statements"
    }

    fn shows_as(&self) -> Option<&'static str> {
        Some("57014")
    }

    fn strike(&mut self, stage: &Stage, rng: &mut Rng) {
        for _ in 0..60 {
            signal_one(
                stage,
                "pg_cancel_backend",
                &format!("application_name = '{LOAD}' AND state = 'active'"),
            );
            pause(rng, 1..20);
        }
    }
}
