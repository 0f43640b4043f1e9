//! Nobody does maintenance, or shared memory knows nothing of the queues (the first call has
//! started a worker): nothing may be lost for that.

use fastrand::Rng;
use support::{Ask, until};

use super::Fault;
use super::terminated::terminate_session;
use crate::crowd::pause;
use crate::ending::decide_all;
use crate::stage::Stage;

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

    /// What will never be delivered any more goes when somebody clears it away.
    fn relent(&mut self, stage: &Stage) {
        decide_all(stage);
        let mut session = stage.server.connect();
        until("what nobody will be given is cleared away", || {
            session.batch_execute("SELECT pgq_vacuum()").unwrap();
            session.one(
                "SELECT NOT EXISTS (SELECT FROM pgqueue.message_state WHERE state IN ('gone', 'leased'))",
            )
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
        terminate_session(stage);
    }
}
