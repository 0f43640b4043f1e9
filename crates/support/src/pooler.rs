//! PgBouncer before a server.

use std::fs;

use postgres::{Client, NoTls};

use crate::{Server, until};

const PORT: u16 = 6432;

/// A PgBouncer that gives each transaction any of its connections, with its socket in the place of the server's.
pub struct Pooler<'a>(&'a Server);

impl<'a> Pooler<'a> {
    /// With further settings, one a line.
    pub fn start(server: &'a Server, settings: &str) -> Self {
        let place = server.place().display();
        let settings = format!(
            "[databases]\n* = host={place} port=5432 user=postgres\n[pgbouncer]\nlisten_port = {PORT}\n\
             unix_socket_dir = {place}\npidfile = {place}/pooler.pid\nlogfile = {place}/pooler.log\n\
             auth_type = any\npool_mode = transaction\n{settings}\n"
        );
        fs::write(server.place().join("pooler.ini"), settings).unwrap();
        server.shell("/usr/sbin/pgbouncer -q -d \"$PGHOST/pooler.ini\"", &[]);
        Self(server)
    }

    pub fn connect(&self) -> Client {
        // Its socket differs from the server's by the port alone.
        let mut config = postgres::Config::new();
        config.host_path(self.0.place()).port(PORT).user("postgres").dbname("postgres");
        let mut session = None;
        until("the pooler answers", || {
            session = config.connect(NoTls).ok();
            session.is_some()
        });
        session.unwrap()
    }
}

impl Drop for Pooler<'_> {
    fn drop(&mut self) {
        self.0.shell("kill $(cat \"$PGHOST/pooler.pid\")", &[]);
    }
}
