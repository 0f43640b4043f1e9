//! No fault: only what the clients do themselves: rollbacks, savepoints, exception blocks,
//! prepared transactions, all levels of isolation, leases that run out. Its rounds are long enough
//! for a message to be starved in.

use fastrand::Rng;

use super::Fault;
use crate::crowd::pause;
use crate::stage::Stage;

pub struct Calm;

impl Fault for Calm {
    fn name(&self) -> &'static str {
        "no fault"
    }

    fn strike(&mut self, _stage: &Stage, rng: &mut Rng) {
        pause(rng, 1000..5000);
    }
}
