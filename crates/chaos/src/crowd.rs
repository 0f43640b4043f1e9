//! The crowd: the clients that load a stage while a fault strikes.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use fastrand::Rng;

use crate::consumer::Consumer;
use crate::ending::decide_all;
use crate::producer;
use crate::session::{Failure, Session};
use crate::stage::Stage;

const PRODUCERS: usize = 3;
const CONSUMERS: usize = 6;

/// Numbers of clients, of all rounds.
static CLIENTS: AtomicU32 = AtomicU32::new(1);

/// Has clients load the stage while `strike` happens; what they did is added to its history.
pub fn load(stage: &Stage, rng: &mut Rng, strike: impl FnOnce(&mut Rng)) {
    let stop = &AtomicBool::new(false);
    thread::scope(|scope| {
        let mut clients = Vec::new();
        for _ in 0..PRODUCERS {
            let rng = rng.fork();
            clients.push(scope.spawn(move || repeat(stage, rng, stop, producer::work)));
        }
        for _ in 0..CONSUMERS {
            let (rng, mut consumer) = (rng.fork(), Consumer::default());
            clients.push(scope.spawn(move || repeat(stage, rng, stop, |session| consumer.work(session))));
        }
        // Also a strike that panics must let the clients go.
        let struck = catch_unwind(AssertUnwindSafe(|| {
            pause(rng, 200..700);
            strike(rng);
            pause(rng, 200..700);
        }));
        stop.store(true, Ordering::Relaxed);
        while !clients.iter().all(ScopedJoinHandle::is_finished) {
            // Some wait for transactions that were left prepared.
            decide_all(stage);
            thread::sleep(Duration::from_millis(20));
        }
        struck.unwrap_or_else(|panic| resume_unwind(panic));
    });
}

fn repeat(
    stage: &Stage,
    rng: Rng,
    stop: &AtomicBool,
    mut work: impl FnMut(&mut Session) -> Result<(), Failure>,
) {
    let mut session = Session::new(stage, CLIENTS.fetch_add(1, Ordering::Relaxed), rng);
    while !stop.load(Ordering::Relaxed) {
        // What went wrong is written down; the next time may be better.
        if !session.is_connected() || work(&mut session).is_err() {
            session.pause(20);
        }
    }
    stage.history.lock().unwrap().transactions.extend(session.history);
}

pub fn pause(rng: &mut Rng, ms: std::ops::Range<u64>) {
    thread::sleep(Duration::from_millis(rng.u64(ms)));
}
