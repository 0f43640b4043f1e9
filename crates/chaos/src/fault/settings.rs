//! Settings of queues changed under load, as far as the rules hold whatever they are; queues
//! paused, and let go on.

use fastrand::Rng;
use pgqueue_history::Moment;

use super::Fault;
use crate::clock::{now, since};
use crate::crowd::pause;
use crate::queue::Queue;
use crate::stage::Stage;

const CHANGES: [&str; 10] = [
    "SELECT pgq_alter_queue('narrow', '{\"max_leased\": 1}')",
    "SELECT pgq_alter_queue('narrow', '{\"max_leased\": 3}')",
    "SELECT pgq_alter_queue('narrow', '{\"max_leased\": 4}')",
    "SELECT pgq_alter_queue('plain', '{\"order\": \"lifo\", \"notify\": true}')",
    "SELECT pgq_alter_queue('plain', '{\"order\": \"fifo\", \"notify\": false}')",
    "SELECT pgq_alter_queue('loose', '{\"groups\": \"parallel\"}')",
    "SELECT pgq_alter_queue('loose', '{\"groups\": \"ordered\"}')",
    "SELECT pgq_alter_queue('mortal', '{\"max_deliveries\": 1}')",
    "SELECT pgq_alter_queue('mortal', '{\"max_deliveries\": 3, \"backoff\": {\"base\": \"10 ms\"}}')",
    "SELECT pgq_pause(queue) FROM pgq_list_queues() ORDER BY random() LIMIT 3",
];
const RESUME: &str = "SELECT pgq_resume(queue) FROM pgq_list_queues()";

#[derive(Default)]
pub struct Settings {
    /// Since when the queues are not what they were.
    since: Moment,
}

impl Fault for Settings {
    fn name(&self) -> &'static str {
        "settings changed, queues paused"
    }

    fn strike(&mut self, stage: &Stage, rng: &mut Rng) {
        self.since = now();
        for _ in 0..10 {
            change(stage, rng.choice(CHANGES).expect("there are some"));
            pause(rng, 20..200);
            if rng.bool() {
                change(stage, RESUME);
            }
        }
    }

    fn relent(&mut self, stage: &Stage) {
        change(stage, RESUME);
        for queue in Queue::ALL {
            change(stage, &format!("SELECT pgq_alter_queue('{}', '{}')", queue.name(), queue.settings()));
        }
        stage.history.lock().unwrap().excused.push(since(self.since));
    }
}

fn change(stage: &Stage, statement: &str) {
    if let Err(error) = stage.server.connect().batch_execute(statement) {
        stage.complaints.hear(&error, statement);
    }
}
