//! DDL under load: tables rewritten, indexes rebuilt, both moved.

use fastrand::Rng;

use super::Fault;
use crate::crowd::pause;
use crate::stage::Stage;

const STATEMENTS: [&str; 9] = [
    "VACUUM FULL pgqueue.message",
    "VACUUM (FREEZE, INDEX_CLEANUP ON) pgqueue.message",
    "REINDEX TABLE CONCURRENTLY pgqueue.message",
    "REINDEX INDEX CONCURRENTLY pgqueue.message_ready",
    "REINDEX INDEX CONCURRENTLY pgqueue.message_group",
    "ALTER TABLE pgqueue.message SET TABLESPACE spare",
    "ALTER TABLE pgqueue.message SET TABLESPACE pg_default",
    "ALTER INDEX pgqueue.message_ready SET TABLESPACE spare",
    "CLUSTER pgqueue.message USING message_id_is_unique",
];

pub struct Rebuild;

impl Fault for Rebuild {
    fn name(&self) -> &'static str {
        "tables and indexes rebuilt"
    }

    fn set_up(&mut self, stage: &Stage) -> Result<(), String> {
        let mut session = stage.server.connect();
        session
            .batch_execute("SET allow_in_place_tablespaces = on")
            .and_then(|()| session.batch_execute("CREATE TABLESPACE spare LOCATION ''"))
            .map_err(|error| format!("no tablespace: {error:?}"))
    }

    fn strike(&mut self, stage: &Stage, rng: &mut Rng) {
        let mut session = stage.server.connect();
        let mut statements = STATEMENTS;
        rng.shuffle(&mut statements);
        for statement in &statements[..6] {
            if let Err(error) = session.batch_execute(statement) {
                stage.complaints.hear(&error, statement);
            }
            pause(rng, 20..150);
        }
    }
}
