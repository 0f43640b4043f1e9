//! kill -9: of the postmaster, of a session, of a worker. Each is a crash of the server.

use std::sync::atomic::Ordering;

use fastrand::Rng;
use support::{Stop, until};

use super::Fault;
use crate::crowd::pause;
use crate::producer;
use crate::session::Session;
use crate::stage::{LOAD, Stage, WORKER, kill};

pub struct Postmaster;

impl Fault for Postmaster {
    fn name(&self) -> &'static str {
        "kill -9 of the postmaster"
    }

    fn strike(&mut self, stage: &Stage, rng: &mut Rng) {
        if rng.bool() {
            hush(stage, rng);
        }
        stage.crash(|| {
            stage.server.stop(Stop::Kill);
            stage.server.launch();
        });
        stage.is_quiet.store(false, Ordering::Relaxed);
    }
}

/// In a quiet time a crash forgets more.
fn hush(stage: &Stage, rng: &mut Rng) {
    let mut producer = Session::new(stage, 0, rng.fork());
    if producer.is_connected() {
        producer::stock(&mut producer);
    }
    stage.history.lock().unwrap().transactions.extend(producer.history);
    stage.is_quiet.store(true, Ordering::Relaxed);
    pause(rng, 100..400);
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
