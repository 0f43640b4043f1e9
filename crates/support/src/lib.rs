//! Private servers for the client tests.
//!
//! Each test starts the server it needs in a temporary directory, on a socket only,
//! and the server is gone when its `Server` is dropped, however the test ends.

pub mod cluster;
pub mod load;
pub mod pages;
pub mod pooler;
pub mod python;
pub mod signal;
mod standby;
mod template;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use postgres::types::{FromSql, ToSql};
use postgres::{Client, Config, NoTls};

use signal::Signal;

/// How long something that must happen by itself may take, on the slowest server.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Server {
    place: PathBuf,
    /// Where its programs are.
    bin: PathBuf,
}

/// How a server is stopped.
#[derive(Clone, Copy)]
pub enum Stop {
    Fast,
    Immediate,
    /// SIGKILL to the postmaster, as a crash of the machine would.
    Kill,
}

impl Server {
    /// A server with pgqueue preloaded, and the extension in database `postgres`.
    pub fn start() -> Self {
        let server = Self::bare("shared_preload_libraries = 'pgqueue'\npgqueue.vacuum_interval = '100ms'");
        server.connect().batch_execute("CREATE EXTENSION pgqueue").unwrap();
        server
    }

    /// A server with settings of its own and nothing in it.
    pub fn bare(settings: &str) -> Self {
        Self::of(bindir("PGQUEUE_BINDIR"), &[], settings)
    }

    /// The same, of an installation that is named, made with more arguments of initdb.
    pub fn of(bin: PathBuf, initdb: &[&str], settings: &str) -> Self {
        let server = Self { place: Self::new_place(), bin };
        template::copy(&server.bin, initdb, &server.data());
        server.configure(&format!(
            "listen_addresses = ''\nunix_socket_directories = '{}'\nmax_worker_processes = 32\n\
             max_prepared_transactions = 50\nmax_connections = 200\n{settings}\n",
            server.place.display()
        ));
        server.launch();
        server
    }

    fn in_a_new_place() -> Self {
        Self { place: Self::new_place(), bin: bindir("PGQUEUE_BINDIR") }
    }

    /// A directory that everybody may write to.
    fn new_place() -> PathBuf {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let place = std::env::temp_dir().join(format!("pgqueue.{}.{n}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).unwrap();
        place
    }

    /// Gives the server its settings, before its first start.
    fn configure(&self, settings: &str) {
        fs::write(self.place.join("more.conf"), settings).unwrap();
        let include = format!(
            "echo \"include '{}/more.conf'\" >> {}/postgresql.conf",
            self.place.display(),
            self.data().display()
        );
        run(as_user("sh").args(["-c", &include]));
    }

    pub fn data(&self) -> PathBuf {
        self.place.join("data")
    }

    pub fn launch(&self) {
        let log = self.place.join("log");
        run(self
            .program("pg_ctl")
            .args(["start", "-w", "-s", "-t", "60", "-l"])
            .arg(&log)
            .arg("-D")
            .arg(self.data()));
    }

    pub fn stop(&self, how: Stop) {
        match how {
            Stop::Fast => run(&mut self.pg_ctl_stop("fast")),
            Stop::Immediate => run(&mut self.pg_ctl_stop("immediate")),
            Stop::Kill => {
                let pid = self.postmaster_pid().expect("the server runs");
                assert!(signal::send(Signal::KILL, pid), "the server runs");
                // Its children notice within a moment; the next start would refuse before.
                until("all processes of the server are gone", || processes_in(&self.data()).is_empty());
                // A killed postmaster can stay a zombie, which Postgres takes for alive.
                let left = [self.data().join("postmaster.pid"), self.place.join(".s.PGSQL.5432.lock")];
                for file in left {
                    fs::remove_file(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
                }
            }
        }
    }

    fn pg_ctl_stop(&self, mode: &str) -> Command {
        let mut command = self.program("pg_ctl");
        command.args(["stop", "-w", "-s", "-m", mode, "-D"]).arg(self.data());
        command
    }

    pub fn postmaster_pid(&self) -> Option<i32> {
        fs::read_to_string(self.data().join("postmaster.pid")).ok()?.lines().next()?.parse().ok()
    }

    /// Changes settings in the configuration and reloads it.
    pub fn set(&self, settings: &str) {
        let path = self.place.join("more.conf");
        let config = fs::read_to_string(&path).unwrap() + settings + "\n";
        fs::write(&path, config).unwrap();
        self.connect().execute("SELECT pg_reload_conf()", &[]).unwrap();
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.place.join("log")).unwrap_or_default()
    }

    pub fn connect(&self) -> Client {
        self.connect_to("postgres")
    }

    pub fn connect_to(&self, database: &str) -> Client {
        self.config(database).connect(NoTls).unwrap()
    }

    pub fn connect_as(&self, role: &str) -> Client {
        self.config("postgres").user(role).connect(NoTls).unwrap()
    }

    pub fn config(&self, database: &str) -> Config {
        let mut config = Config::new();
        config.host_path(&self.place).port(5432).user("postgres").dbname(database);
        config
    }

    /// What libpq needs to find this server.
    pub fn environment(&self) -> [(&'static str, PathBuf); 4] {
        [
            ("PGHOST", self.place.clone()),
            ("PGUSER", "postgres".into()),
            ("PGDATABASE", "postgres".into()),
            ("PGPORT", "5432".into()),
        ]
    }

    /// Runs a script as the server's user, with this server and Postgres's programs at hand.
    /// Returns what it prints.
    pub fn shell(&self, script: &str, variables: &[(&str, &Path)]) -> String {
        let path = format!("{}:{}", self.bin.display(), std::env::var("PATH").unwrap());
        let output = as_user("sh")
            .args(["-euc", script])
            .env("PATH", path)
            .envs(self.environment())
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Where the server's files lie, and tests may put theirs.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Runs a client program of Postgres against this server; returns what it prints.
    pub fn client(&self, program: &str, args: &[&str]) -> String {
        let output = self.try_client(program, args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same, which may fail.
    pub fn try_client(&self, program: &str, args: &[&str]) -> Output {
        Command::new(self.bin.join(program)).envs(self.environment()).args(args).output().unwrap()
    }

    /// Loads what pg_dump has printed.
    pub fn restore(&self, dump: &str) {
        self.restore_into("postgres", dump);
    }

    pub fn restore_into(&self, database: &str, dump: &str) {
        let path = self.place.join("dump.sql");
        fs::write(&path, dump).unwrap();
        let path = path.to_str().expect("a name of ours");
        self.client("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", path]);
    }

    /// Puts a script of an extension where CREATE and ALTER EXTENSION look for it.
    pub fn add_extension_script(&self, name: &str, script: &str) {
        let config = Command::new(self.bin.join("pg_config")).arg("--sharedir").output().unwrap();
        let share = PathBuf::from(String::from_utf8(config.stdout).unwrap().trim());
        // Moved into its place at once: another test may be about to read it, or to write it.
        let scripts = share.join("extension");
        let own = scripts.join(format!("{}.{name}", self.place.file_name().unwrap().display()));
        fs::write(&own, script).unwrap();
        fs::set_permissions(&own, fs::Permissions::from_mode(0o644)).unwrap();
        fs::rename(&own, scripts.join(name)).unwrap();
    }

    /// Takes over what an older server holds (pg_upgrade); both are stopped. Returns what
    /// was logged meanwhile.
    pub fn take_over(&self, older: &Server) -> String {
        let mut upgrade = self.program("pg_upgrade");
        upgrade.current_dir(&self.place).args(["--username=postgres", "--retain", "--old-bindir"]);
        upgrade.arg(&older.bin).arg("--new-bindir").arg(&self.bin).arg("--socketdir").arg(&self.place);
        upgrade.arg("--old-datadir").arg(older.data()).arg("--new-datadir").arg(self.data());
        let output = upgrade.output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        let logs = texts_below(&self.data().join("pg_upgrade_output.d"));
        assert!(output.status.success(), "{told}\n{logs}");
        logs
    }

    fn program(&self, name: &str) -> Command {
        as_user(self.bin.join(name))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.postmaster_pid().is_some() {
            let _ = self.pg_ctl_stop("immediate").output();
        }
        let log = self.log();
        if std::thread::panicking() {
            eprintln!("--- log of the server ---\n{log}");
        }
        let _ = as_user("rm").arg("-rf").arg(self.data()).status();
        let _ = fs::remove_dir_all(&self.place);
        // Clients may have taken it for a connection that broke.
        let trap = log.lines().find(|line| line.starts_with("TRAP:"));
        assert!(std::thread::panicking() || trap.is_none(), "the server fell over an assertion: {trap:?}");
    }
}

/// Where the programs of a private server are, as the scripts that run the tests say.
pub fn bindir(variable: &str) -> PathBuf {
    std::env::var_os(variable)
        .map(PathBuf::from)
        .unwrap_or_else(|| panic!("{variable} says where a private server is: run the tests by 'make'"))
}

/// A command as the user the server runs as: Postgres refuses to be root.
pub fn as_user(program: impl AsRef<Path>) -> Command {
    let program = program.as_ref();
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/").env_remove("RUST_BACKTRACE").stdin(Stdio::null());
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").map(|me| std::os::unix::fs::MetadataExt::uid(&me)).unwrap_or(1) == 0
}

fn run(command: &mut Command) {
    // pg_ctl's server inherits its output: a pipe would stay open with it.
    let status =
        command.stdout(Stdio::null()).status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}");
}

/// The processes of a server: Postgres and all its children stand in the data directory.
fn processes_in(data: &Path) -> Vec<i32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|process| fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == data))
        .filter_map(|process| process.file_name().to_str()?.parse().ok())
        .collect()
}

/// What the log files of a directory hold, and of those in it.
fn texts_below(place: &Path) -> String {
    let entries = fs::read_dir(place).into_iter().flatten().flatten().map(|entry| entry.path());
    let texts = entries.map(|path| match path.extension() {
        _ if path.is_dir() => texts_below(&path),
        Some(extension) if extension == "log" => fs::read_to_string(&path).unwrap(),
        _ => String::new(),
    });
    texts.collect()
}

/// Waits for a condition that must come about by itself.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "did not happen in {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Ends the worker; the launcher starts another one.
pub fn end_worker(session: &mut Client) {
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pgqueue worker'";
    until("there is a worker", || !session.all::<bool>(end).is_empty());
}

/// How many messages are ready, as the counters say. `pgq_stats` counts what it can itself.
pub fn counted_ready(session: &mut Client) -> i64 {
    session.one(
        "SELECT sum(ready)::bigint FROM (TABLE pgqueue.counter UNION ALL SELECT * FROM pgqueue.pending_counts()) counts",
    )
}

/// Waits until so many sessions wait for locks.
pub fn until_blocked(observer: &mut Client, sessions: i64) {
    until("sessions wait for locks", || blocked(observer) == sessions);
}

/// Waits until a session sleeps in `pgq_wait`.
pub fn until_asleep(observer: &mut Client, pid: i32) {
    until("it sleeps", || {
        observer.one(&format!(
            "SELECT coalesce((SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = {pid}), false)"
        ))
    });
}

/// How many sessions wait for a lock.
pub fn blocked(observer: &mut Client) -> i64 {
    observer.one(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND backend_type = 'client backend'",
    )
}

/// Messages, each with as many rows of an open transaction that refer to it.
pub fn referred_to(server: &Server, session: &mut Client, queue: &str, lockers: usize) -> Vec<Client> {
    session
        .batch_execute("CREATE TABLE IF NOT EXISTS job (message bigint REFERENCES pgqueue.message)")
        .unwrap();
    let refer = format!("BEGIN; INSERT INTO job SELECT id FROM pgq_peek('{queue}', 100)");
    let mut open: Vec<_> = (0..lockers).map(|_| server.connect()).collect();
    open.iter_mut().for_each(|session| session.batch_execute(&refer).unwrap());
    open
}

/// Seconds that some work takes.
pub fn seconds(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64()
}

/// The value in the middle.
pub fn median(mut ratios: Vec<f64>) -> f64 {
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

/// Indexes of the extension have entries of all their rows, and no damage.
pub fn assert_indexes_are_whole(session: &mut Client) {
    session
        .batch_execute(
            "CREATE EXTENSION IF NOT EXISTS amcheck;
             SELECT bt_index_check(indexrelid, true) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
              WHERE c.relnamespace = 'pgqueue'::regnamespace",
        )
        .unwrap();
}

/// Tells threads that look at a flag to end, at the latest when the test fails: it would
/// wait for them.
pub struct Ending<'a>(pub &'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Short forms for queries of tests.
pub trait Ask {
    /// The one value a query gives.
    fn one<T: for<'a> FromSql<'a>>(&mut self, query: &str) -> T;
    /// The first column of all rows.
    fn all<T: for<'a> FromSql<'a>>(&mut self, query: &str) -> Vec<T>;
    fn all_with<T: for<'a> FromSql<'a>>(&mut self, query: &str, params: &[&(dyn ToSql + Sync)]) -> Vec<T>;
    /// The SQLSTATE of the error a query must give.
    fn sqlstate(&mut self, query: &str) -> String;
}

impl Ask for Client {
    fn one<T: for<'a> FromSql<'a>>(&mut self, query: &str) -> T {
        self.query_one(query, &[]).unwrap_or_else(|error| panic!("{query}: {error:?}")).get(0)
    }

    fn all<T: for<'a> FromSql<'a>>(&mut self, query: &str) -> Vec<T> {
        self.all_with(query, &[])
    }

    fn all_with<T: for<'a> FromSql<'a>>(&mut self, query: &str, params: &[&(dyn ToSql + Sync)]) -> Vec<T> {
        let rows = self.query(query, params).unwrap_or_else(|error| panic!("{query}: {error:?}"));
        rows.iter().map(|row| row.get(0)).collect()
    }

    fn sqlstate(&mut self, query: &str) -> String {
        let error = self.batch_execute(query).expect_err(query);
        error.code().expect("an error of the server").code().to_owned()
    }
}
