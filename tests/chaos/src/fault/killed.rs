//! kill -9: of the postmaster, of a session, of a worker. Each is a crash of the server.

use fastrand::Rng;
use support::{Stop, until};

use super::Fault;
use crate::stage::{LOAD, Stage, WORKER, kill};

pub struct Postmaster;

impl Fault for Postmaster {
    fn name(&self) -> &'static str {
        "kill -9 of the postmaster"
    }

    fn strike(&mut self, stage: &Stage, _: &mut Rng) {
        stage.crash(|| {
            stage.server.stop(Stop::Kill);
            stage.server.launch();
        });
    }
}

pub struct Backend;

impl Fault for Backend {
    fn name(&self) -> &'static str {
        "kill -9 of a session"
    }

    fn strike(&mut self, stage: &Stage, _: &mut Rng) {
        kill_one(stage, &format!("application_name = '{LOAD}'"));
    }
}

pub struct Worker;

impl Fault for Worker {
    fn name(&self) -> &'static str {
        "kill -9 of the worker"
    }

    fn strike(&mut self, stage: &Stage, _: &mut Rng) {
        kill_one(stage, WORKER);
    }
}

fn kill_one(stage: &Stage, condition: &str) {
    let mut pid = None;
    until("there is a process to kill", || {
        pid = stage.pids(condition).unwrap_or_default().first().copied();
        pid.is_some()
    });
    stage.crash(|| pid.into_iter().for_each(kill));
}
