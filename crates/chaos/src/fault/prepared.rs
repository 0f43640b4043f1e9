//! Prepared transactions that outlive a crash, and are decided afterwards.

use std::sync::atomic::Ordering;

use fastrand::Rng;
use support::Stop;

use super::Fault;
use crate::crowd::pause;
use crate::stage::Stage;

pub struct PreparedAcrossCrash;

impl Fault for PreparedAcrossCrash {
    fn name(&self) -> &'static str {
        "prepared across a crash"
    }

    fn strike(&mut self, stage: &Stage, rng: &mut Rng) {
        stage.leaves_prepared.store(true, Ordering::Relaxed);
        pause(rng, 300..800);
        stage.crash(|| {
            stage.server.stop(Stop::Kill);
            stage.server.launch();
        });
        stage.leaves_prepared.store(false, Ordering::Relaxed);
    }
}
