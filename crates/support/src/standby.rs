//! Copies of a server: standbys that follow it, and servers of their own.

use std::fs;

use super::{Ask, Server, as_user, run, until};

impl Server {
    /// A standby that streams from this server, on which it is known by this name.
    pub fn standby(&self, name: &str) -> Self {
        let standby = self.base_backup(name, &["--write-recovery-conf"]);
        standby.launch();
        standby
    }

    /// A copy of this server as it is now, which goes its own way.
    pub fn copy(&self) -> Self {
        let copy = self.base_backup("copy", &[]);
        copy.launch();
        copy
    }

    fn base_backup(&self, name: &str, options: &[&str]) -> Self {
        let copy = Self::in_a_new_place();
        let source = format!("host={} port=5432 user=postgres application_name={name}", self.place.display());
        run(copy
            .program("pg_basebackup")
            .args(["--checkpoint=fast", "--no-sync", "-d", &source, "-D"])
            .arg(copy.data())
            .args(options));
        // The settings are those of this server, in the copy's own file.
        run(as_user("sed").args(["-i", "/^include /d"]).arg(copy.data().join("postgresql.conf")));
        let settings = fs::read_to_string(self.place.join("more.conf")).unwrap();
        copy.configure(&settings.replace(self.place.to_str().unwrap(), copy.place.to_str().unwrap()));
        copy
    }

    /// Lets a standby receive nothing any more, as when the network between them is down.
    pub fn cut_off(&self) {
        let mut session = self.connect();
        session.batch_execute("ALTER SYSTEM SET primary_conninfo = ''").unwrap();
        session.execute("SELECT pg_reload_conf()", &[]).unwrap();
        until("nothing is received", || session.one("SELECT count(*) = 0 FROM pg_stat_wal_receiver"));
    }

    /// Makes a standby a server that takes writes.
    pub fn promote(&self) {
        run(self.program("pg_ctl").args(["promote", "-w", "-s", "-t", "60", "-D"]).arg(self.data()));
    }

    /// From now on commits wait for these standbys, as `synchronous_standby_names` says.
    pub fn wait_for_standbys(&self, names: &str) {
        self.set(&format!("synchronous_standby_names = '{names}'"));
        let mut session = self.connect();
        until("commits wait for the standbys", || {
            session.one("SELECT count(*) > 0 FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')")
        });
    }

    /// Waits until a standby shows all that was committed here before.
    pub fn until_replayed_by(&self, standby: &Self) {
        // A record behind those of all earlier commits, which its own commit sends.
        let mark: String = self.connect().one("SELECT pg_logical_emit_message(true, 'tests', 'mark')::text");
        let mut session = standby.connect();
        until("the standby has replayed it", || {
            session.one(&format!("SELECT pg_last_wal_replay_lsn() >= '{mark}'"))
        });
    }
}
