//! A highly available pair of servers, as pg_auto_failover runs it: a monitor and two nodes,
//! each with a keeper that follows the monitor's word. All on loopback.

use std::fs::{self, File, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use postgres::config::TargetSessionAttrs;
use postgres::{Client, Config, NoTls};

use super::signal::{self, Signal};
use super::{Ask, Server, as_user, bindir, processes_in, run, template, until};

const HOST: &str = "127.0.0.1";

/// So that a failure is noticed in seconds. The defaults take about half a minute.
const IMPATIENCE: &str = "pgautofailover.health_check_period = 500
pgautofailover.health_check_timeout = 1000
pgautofailover.health_check_retry_delay = 200
pgautofailover.node_considered_unhealthy_timeout = 3000
pgautofailover.primary_demote_timeout = 2000
pgautofailover.startup_grace_period = 1000";

/// A monitor listens everywhere, and no option says otherwise.
const ON_LOOPBACK: &str = "#!/bin/sh
for argument; do
    shift
    [ \"$argument\" != '*' ] || argument=127.0.0.1
    set -- \"$@\" \"$argument\"
done
exec POSTGRES \"$@\"
";

pub struct Cluster {
    place: PathBuf,
    monitor: Member,
    nodes: [Member; 2],
}

/// A server and its keeper.
struct Member {
    name: &'static str,
    data: PathBuf,
    port: u16,
    keeper: Option<Child>,
}

impl Cluster {
    /// A primary and a synchronous standby with these settings.
    pub fn start(settings: &str) -> Self {
        let place = Server::new_place();
        let member = |name| {
            let data = place.join(name);
            Member { name, data, port: free_port(), keeper: None }
        };
        let (monitor, nodes) = (member("monitor"), ["node1", "node2"].map(member));
        // Without it pg_autoctl keeps its state in a directory of /tmp that belongs to the first user of it.
        run(as_user("mkdir").arg(place.join("run")));
        let mut cluster = Self { place, monitor, nodes };
        cluster.start_monitor();
        // The second is copied from the first.
        cluster.init(&cluster.nodes[0], settings);
        for n in 0..2 {
            cluster.start_node(n);
        }
        cluster.until_whole();
        cluster
    }

    fn start_monitor(&mut self) {
        self.init(&self.monitor, IMPATIENCE);
        let programs = self.place.join("bin");
        run(Command::new("cp").arg("-rs").arg(bindir("PGQUEUE_BINDIR")).arg(&programs));
        let postgres = programs.join("postgres");
        fs::remove_file(&postgres).unwrap();
        fs::write(
            &postgres,
            ON_LOOPBACK.replace("POSTGRES", bindir("PGQUEUE_BINDIR").join("postgres").to_str().unwrap()),
        )
        .unwrap();
        fs::set_permissions(&postgres, Permissions::from_mode(0o755)).unwrap();
        run(&mut self.create("monitor", &self.monitor, &programs));
        self.monitor.keeper = Some(self.keeper(&self.monitor));
        until("the monitor answers", || self.monitor_config().connect(NoTls).is_ok());
    }

    fn start_node(&mut self, n: usize) {
        let node = &self.nodes[n];
        let monitor =
            format!("postgres://autoctl_node@{HOST}:{}/pg_auto_failover?sslmode=disable", self.monitor.port);
        run(self
            .create("postgres", node, &bindir("PGQUEUE_BINDIR"))
            .args(["--listen", HOST, "--username", "postgres", "--dbname", "postgres"])
            .args(["--name", node.name, "--monitor", &monitor]));
        self.nodes[n].keeper = Some(self.keeper(&self.nodes[n]));
        until("the node takes part", || {
            let states = ["single", "wait_primary", "primary", "catchingup", "secondary"];
            self.states().get(n).is_some_and(|state| states.contains(&state.as_str()))
        });
    }

    fn init(&self, member: &Member, settings: &str) {
        template::copy(&bindir("PGQUEUE_BINDIR"), &[], &member.data);
        let settings = format!(
            "unix_socket_directories = '{}'\nshared_buffers = '128MB'\nmax_worker_processes = 32\n{settings}\n",
            self.place.display()
        );
        let file = self.place.join("settings");
        fs::write(&file, settings).unwrap();
        let append = format!("cat {} >> {}/postgresql.conf", file.display(), member.data.display());
        run(as_user("sh").args(["-c", &append]));
    }

    fn create(&self, kind: &str, member: &Member, programs: &Path) -> Command {
        let mut command = self.autoctl();
        command
            .args(["create", kind, "--hostname", HOST, "--auth", "trust", "--no-ssl"])
            .arg("--pgctl")
            .arg(programs.join("pg_ctl"))
            .arg("--pgdata")
            .arg(&member.data)
            .args(["--pgport", &member.port.to_string()])
            .stderr(self.log(member));
        command
    }

    /// The process that runs a member, in a group with all that it starts.
    fn keeper(&self, member: &Member) -> Child {
        let mut command = self.autoctl();
        command.args(["run", "--pgdata"]).arg(&member.data);
        command.stdout(self.log(member)).stderr(self.log(member)).process_group(0).spawn().unwrap()
    }

    fn log(&self, member: &Member) -> File {
        let path = self.place.join(format!("{}.log", member.name));
        File::options().create(true).append(true).open(path).unwrap()
    }

    fn autoctl(&self) -> Command {
        let mut command = as_user("pg_autoctl");
        for variable in ["PGDATA", "PGPORT", "PGDATABASE"] {
            command.env_remove(variable);
        }
        command.env("HOME", &self.place).env("PGHOST", &self.place).env("PGUSER", "postgres");
        for (variable, directory) in [("CONFIG", "config"), ("DATA", "share")] {
            command.env(format!("XDG_{variable}_HOME"), self.place.join(directory));
        }
        command.env("XDG_RUNTIME_DIR", self.place.join("run"));
        command
    }

    /// Waits until there are a primary and a standby for which its commits wait.
    pub fn until_whole(&self) {
        until("the nodes are primary and secondary", || {
            let mut states = self.states();
            states.sort();
            states == ["primary", "secondary"]
        });
        let mut session = self.connect();
        until("commits wait for the standby", || {
            session.one("SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'quorum'")
        });
    }

    /// What the nodes say of themselves.
    fn states(&self) -> Vec<String> {
        let mut monitor = self.monitor_config().connect(NoTls).unwrap();
        monitor.all("SELECT reportedstate::text FROM pgautofailover.node ORDER BY nodename")
    }

    fn monitor_config(&self) -> Config {
        let mut config = Config::new();
        config.host(HOST).port(self.monitor.port).user("autoctl_node").dbname("pg_auto_failover");
        config
    }

    /// Whichever node takes writes.
    pub fn config(&self) -> Config {
        let mut config = Config::new();
        config.user("postgres").dbname("postgres").target_session_attrs(TargetSessionAttrs::ReadWrite);
        for node in &self.nodes {
            config.host(HOST).port(node.port);
        }
        config
    }

    pub fn connect(&self) -> Client {
        self.config().connect(NoTls).unwrap()
    }

    /// Kills the server that takes writes, and its keeper, as the end of their machine would.
    /// Returns which node it was.
    pub fn kill_primary(&mut self) -> usize {
        let port: i32 = self.connect().one("SELECT current_setting('port')::int");
        let n = self.nodes.iter().position(|node| i32::from(node.port) == port).unwrap();
        self.nodes[n].kill();
        n
    }

    /// Starts what runs a node that was killed.
    pub fn revive(&mut self, n: usize) {
        self.nodes[n].keeper = Some(self.keeper(&self.nodes[n]));
    }
}

impl Member {
    fn kill(&mut self) {
        let Some(mut keeper) = self.keeper.take() else { return };
        signal::send_to_group(Signal::KILL, keeper.id() as i32);
        keeper.wait().unwrap();
        // Not all of them notice that their postmaster is gone.
        until("all processes of the server are gone", || {
            let left = processes_in(&self.data);
            for process in &left {
                signal::send(Signal::KILL, *process);
            }
            left.is_empty()
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for member in self.nodes.iter_mut().chain([&mut self.monitor]) {
            if std::thread::panicking() {
                let log = fs::read_to_string(self.place.join(format!("{}.log", member.name)));
                eprintln!("--- log of {} ---\n{}", member.name, log.unwrap_or_default());
            }
            member.kill();
        }
        let _ = as_user("sh").args(["-c", &format!("rm -rf {}/*", self.place.display())]).status();
        let _ = fs::remove_dir_all(&self.place);
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind((HOST, 0)).unwrap().local_addr().unwrap().port()
}
