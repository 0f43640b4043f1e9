//! The page of upgrades: behind a pooler that pauses, no client sees an error.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use postgres::Client;
use support::pages::{blocks, file};
use support::pooler::Pooler;
use support::{Server, until};

/// The lines of the page.
fn example() -> String {
    let page = file("docs/operations/upgrade.md");
    let block = blocks(&page).into_iter().find(|block| block.mark == "pooler").expect("the example");
    for word in ["PAUSE", "pg_ctl restart", "ALTER EXTENSION pgqueue UPDATE", "RESUME"] {
        assert!(block.text.contains(word), "{word}");
    }
    // Without a log of its own the server would print into the pipe of this test.
    block.text.replace("pg_ctl restart", "pg_ctl restart --log=\"$PGDATA/log\"")
}

const CYCLE: &str = "SELECT pgq_push('q', '1');
    SELECT pgq_delete(id, delivery, strict => true) FROM pgq_reserve('q')";

/// Clients that push, reserve and delete until it is gone, or one of them sees an error.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    cycles: AtomicU32,
    errors: Mutex<Vec<String>>,
}

impl Load {
    fn client(&self, mut session: Client) {
        while !self.stop.load(Ordering::Relaxed) {
            if let Err(error) = session.batch_execute(CYCLE) {
                self.errors.lock().unwrap().push(format!("{error:?}"));
                return;
            }
            self.cycles.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn until_more(&self) {
        let from = self.cycles.load(Ordering::Relaxed);
        until("clients go on", || {
            !self.errors.lock().unwrap().is_empty() || self.cycles.load(Ordering::Relaxed) > from + 100
        });
    }
}

/// Ends the clients also when the test fails.
struct Ends<'a>(&'a Load);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

#[test]
fn clients_of_a_pooler_get_no_error_from_an_upgrade() {
    let server = Server::start();
    let pooler = Pooler::start(&server, "admin_users = postgres");
    let load = Load::default();
    let before = server.postmaster_pid();
    thread::scope(|scope| {
        let _ends = Ends(&load);
        for session in (0..4).map(|_| pooler.connect()) {
            scope.spawn(|| load.client(session));
        }
        load.until_more();
        server.shell(&example(), &[("PGDATA", &server.data())]);
        load.until_more();
    });
    assert_eq!(*load.errors.lock().unwrap(), [""; 0]);
    assert_ne!(server.postmaster_pid(), before, "the server was started again");
    let row = server.connect().query_one("SELECT total, pushed - deleted FROM pgq_stats('q')", &[]).unwrap();
    assert_eq!((row.get(0), row.get(1)), (0_i64, 0_i64));
}
