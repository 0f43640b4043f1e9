//! The server's clock is put forward and back.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Stdio;

use fastrand::Rng;
use pgqueue_history::{ClockStep, Length};
use support::{Ask, Stop, as_user, until};

use super::Fault;
use crate::clock::timed;
use crate::crowd::pause;
use crate::stage::{LOAD, Stage};

const SECOND: Length = 1_000_000;
const STEPS: [Length; 6] = [-3600 * SECOND, -60 * SECOND, -SECOND, SECOND, 60 * SECOND, 3600 * SECOND];

/// After so much all leases and delays of a round are over, wherever its clock has been.
const FAR: Length = 20_000 * SECOND;

#[derive(Default)]
pub struct Steps {
    /// By how much the server's clock is ahead.
    ahead: Length,
}

impl Fault for Steps {
    fn name(&self) -> &'static str {
        "clock steps"
    }

    fn set_up(&mut self, stage: &Stage) -> Result<(), String> {
        let library = library(stage)?;
        fs::write(file(stage), 0_i64.to_ne_bytes()).map_err(|error| error.to_string())?;
        stage.server.stop(Stop::Fast);
        let bin = PathBuf::from(std::env::var_os("PGQUEUE_BINDIR").ok_or("no PGQUEUE_BINDIR")?);
        let started = as_user(bin.join("pg_ctl"))
            .env("LD_PRELOAD", library)
            .env("PGQUEUE_CHAOS_CLOCK", file(stage))
            .args(["start", "-w", "-s", "-l"])
            .arg(stage.data.with_file_name("log"))
            .arg("-D")
            .arg(&stage.data)
            .stdout(Stdio::null())
            .status();
        let is_up = started.map_err(|error| error.to_string())?.success();
        is_up.then_some(()).ok_or_else(|| format!("the server does not start: {}", stage.server.log()))
    }

    fn strike(&mut self, stage: &Stage, rng: &mut Rng) {
        for _ in 0..4 {
            self.step(stage, *rng.choice(&STEPS).expect("there are some"));
            pause(rng, 100..500);
            end_deadlocks(stage);
            goes_on(stage);
        }
    }

    fn relent(&mut self, stage: &Stage) {
        self.step(stage, FAR);
    }
}

impl Steps {
    fn step(&mut self, stage: &Stage, by: Length) {
        self.ahead += by;
        let ((), span) = timed(|| {
            let file = OpenOptions::new().write(true).open(file(stage)).unwrap();
            file.write_all_at(&self.ahead.to_ne_bytes(), 0).unwrap();
        });
        stage.history.lock().unwrap().clock_steps.push(ClockStep { span, by });
    }
}

/// Postgres looks for a deadlock when the clock shows the time that was set for it; once the clock
/// has gone back, perhaps an hour later. Whoever waits for a lock is cancelled.
fn end_deadlocks(stage: &Stage) {
    let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'";
    stage.server.connect().execute(cancel, &[&LOAD]).unwrap();
}

/// Messages pushed now are given now, and come when they are due and when their lease ends,
/// whatever the clock has shown before.
fn goes_on(stage: &Stage) {
    let mut session = stage.server.connect();
    session
        .batch_execute("SELECT pgq_push('today', '1'); SELECT pgq_push('today', '2', delay => '50 ms')")
        .unwrap();
    let mut reserved = 0;
    until("messages pushed after a step of the clock are given", || {
        reserved +=
            session.all::<i64>("SELECT id FROM pgq_reserve('today', '100 ms') WHERE delivery = 1").len();
        reserved == 2
    });
    let mut popped = 0;
    until("their leases end after a step of the clock", || {
        popped += session.all::<i64>("SELECT id FROM pgq_pop('today', 2)").len();
        popped == 2
    });
}

fn file(stage: &Stage) -> PathBuf {
    stage.data.with_file_name("clock")
}

/// The clock that can be moved, which is built with this program, where the server may read it.
fn library(stage: &Stage) -> Result<PathBuf, String> {
    let ours = std::env::current_exe().map_err(|error| error.to_string())?;
    let built = ours.with_file_name("libpgqueue_chaos_clock.so");
    let copy = stage.data.with_file_name("clock.so");
    fs::copy(&built, &copy).map_err(|error| format!("{}: {error}", built.display()))?;
    Ok(copy)
}
