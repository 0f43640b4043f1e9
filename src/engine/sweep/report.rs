//! The results of a round, and how much a step does at a time.

use std::collections::HashMap;

use crate::guc;

/// How many messages a step changes at most.
pub fn page() -> i64 {
    guc::vacuum_page_size().into()
}

/// The results of a round.
#[derive(Default)]
pub struct Report {
    pub leases_expired: i64,
    pub moved_to_dead: i64,
    pub dropped: i64,
    pub ttl_dropped: i64,
    pub dead_dropped: i64,
    pub archive_dropped: i64,
    pub errors: HashMap<&'static str, serde_json::Value>,
    /// A step filled its page: there may be more.
    pub left_work: bool,
}

impl Report {
    pub fn add(&mut self, step: Self) {
        self.leases_expired += step.leases_expired;
        self.moved_to_dead += step.moved_to_dead;
        self.dropped += step.dropped;
        self.ttl_dropped += step.ttl_dropped;
        self.dead_dropped += step.dead_dropped;
        self.archive_dropped += step.archive_dropped;
        self.left_work |= step.left_work;
    }
}
