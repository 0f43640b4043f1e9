//! pg_terminate_backend: of sessions one after the other, of the worker.

use fastrand::Rng;
use support::{Ask, until};

use super::Fault;
use crate::crowd::pause;
use crate::stage::{LOAD, Stage, WORKER};

pub struct Backends;

impl Fault for Backends {
    fn name(&self) -> &'static str {
        "terminated sessions"
    }

    fn shows_as(&self) -> Option<&'static str> {
        Some("57P01")
    }

    fn strike(&mut self, stage: &Stage, rng: &mut Rng) {
        for _ in 0..20 {
            terminate_session(stage);
            pause(rng, 10..80);
        }
    }
}

pub struct Worker;

impl Fault for Worker {
    fn name(&self) -> &'static str {
        "terminated worker"
    }

    fn strike(&mut self, stage: &Stage, rng: &mut Rng) {
        for _ in 0..3 {
            signal_one(stage, "pg_terminate_backend", WORKER);
            pause(rng, 50..300);
            until("there is a worker again", || stage.pids(WORKER).is_ok_and(|pids| !pids.is_empty()));
        }
    }
}

/// Terminates one of the sessions of the load.
pub fn terminate_session(stage: &Stage) {
    signal_one(stage, "pg_terminate_backend", &format!("application_name = '{LOAD}'"));
}

/// Calls a function that takes a process, for one of those that fit.
pub fn signal_one(stage: &Stage, function: &str, condition: &str) {
    let query = format!(
        "SELECT {function}(pid) FROM (SELECT pid FROM pg_stat_activity WHERE {condition} ORDER BY random() LIMIT 1) one"
    );
    stage.server.connect().all::<bool>(&query);
}
