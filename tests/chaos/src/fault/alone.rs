//! No worker looks after the queues, or not even shared memory knows of them: nothing may be
//! lost for that.

use fastrand::Rng;
use support::{Ask, until};

use super::Fault;
use super::terminated::signal_one;
use crate::crowd::pause;
use crate::producer::TTL;
use crate::stage::{LOAD, Stage};

pub struct NoMaintenance;

impl Fault for NoMaintenance {
    fn name(&self) -> &'static str {
        "no maintenance"
    }

    fn settings(&self) -> String {
        "pgqueue.auto_vacuum = off".into()
    }

    fn strike(&mut self, stage: &Stage, rng: &mut Rng) {
        strike(stage, rng);
    }

    /// What has outlived its time is given to nobody, and goes when somebody clears it away.
    fn relent(&mut self, stage: &Stage) {
        std::thread::sleep(TTL);
        let mut session = stage.server.connect();
        until("what has outlived its time is cleared away", || {
            session.batch_execute("SELECT pgq_vacuum()").unwrap();
            session.one("SELECT NOT EXISTS (SELECT FROM pgqueue.message_state WHERE state = 'gone')")
        });
    }
}

pub struct NotPreloaded;

impl Fault for NotPreloaded {
    fn name(&self) -> &'static str {
        "library not preloaded"
    }

    fn settings(&self) -> String {
        "shared_preload_libraries = ''".into()
    }

    fn strike(&mut self, stage: &Stage, rng: &mut Rng) {
        strike(stage, rng);
    }
}

fn strike(stage: &Stage, rng: &mut Rng) {
    for _ in 0..3 {
        pause(rng, 100..600);
        signal_one(stage, "pg_terminate_backend", &format!("application_name = '{LOAD}'"));
    }
}
