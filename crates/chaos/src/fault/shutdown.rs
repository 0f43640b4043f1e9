//! Shutdown with a hundred sleepers: immediate, which is a crash, and fast, which is none.

use std::thread;

use fastrand::Rng;
use postgres::NoTls;
use support::{Stop, until};

use super::Fault;
use crate::stage::Stage;

const SLEEPERS: usize = 100;

pub struct Immediate;

impl Fault for Immediate {
    fn name(&self) -> &'static str {
        "immediate shutdown, 100 asleep"
    }

    fn strike(&mut self, stage: &Stage, _: &mut Rng) {
        with_sleepers(stage, || {
            stage.crash(|| {
                stage.server.stop(Stop::Immediate);
                stage.server.launch();
            });
        });
    }
}

pub struct Fast;

impl Fault for Fast {
    fn name(&self) -> &'static str {
        "fast shutdown, 100 asleep"
    }

    fn shows_as(&self) -> Option<&'static str> {
        Some("57P01")
    }

    fn strike(&mut self, stage: &Stage, _: &mut Rng) {
        with_sleepers(stage, || {
            stage.server.stop(Stop::Fast);
            stage.server.launch();
        });
    }
}

/// Does something while sessions sleep on queues, one of which never gets a message.
fn with_sleepers(stage: &Stage, work: impl FnOnce()) {
    thread::scope(|scope| {
        for n in 0..SLEEPERS {
            let mut session =
                stage.server.config("postgres").application_name("asleep").connect(NoTls).unwrap();
            scope.spawn(move || {
                let call = if n % 4 == 0 {
                    "CALL pgq_wait('plain', '60 s', 100000)"
                } else {
                    "CALL pgq_wait('nothing', '60 s')"
                };
                if let Err(error) = session.batch_execute(call) {
                    stage.complaints.hear(&error, call);
                }
            });
        }
        let asleep = "application_name = 'asleep' AND query LIKE 'CALL%' AND state = 'active'";
        until("all sleep", || stage.pids(asleep).is_ok_and(|pids| pids.len() == SLEEPERS));
        work();
    });
}
