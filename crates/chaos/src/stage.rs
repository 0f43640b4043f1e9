//! The stage: a server with queues, and what happened to it so far.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use pgqueue_history::{Crash, History, Token};
use postgres::{Client, Config, NoTls};
use support::signal::{self, Signal};
use support::{Ask, Server, until};

use crate::call;
use crate::clock;
use crate::complaint::Complaints;
use crate::queue::Queue;
use crate::session::Undecided;

const WAL_WRITER_DELAY: Duration = Duration::from_millis(300);

/// How long commits that do not wait for the disk stay in memory at most: three of the delays,
/// and what a busy machine adds to them.
const FORGETS: Duration = WAL_WRITER_DELAY.saturating_mul(3).saturating_add(Duration::from_secs(1));

/// The name of the sessions that faults may strike.
pub const LOAD: &str = "load";

/// Which processes are workers of the database.
pub const WORKER: &str = "backend_type = 'pgqueue worker'";

pub struct Stage {
    pub server: Server,
    pub data: PathBuf,
    /// Where the load connects to, if not to the socket.
    pub route: Mutex<Option<SocketAddr>>,
    /// Prepared transactions are left to be decided later.
    pub leaves_prepared: AtomicBool,
    /// The load only leases and deletes: little waits for the disk.
    pub is_quiet: AtomicBool,
    /// Statements of the load time out at random.
    pub times_out: AtomicBool,
    /// What happened on this stage, and what nobody knows the end of yet.
    pub history: Mutex<History>,
    pub undecided: Mutex<Vec<Undecided>>,
    pub complaints: Complaints,
    /// Counts rounds; groups are new in each, so that none grows for ever.
    pub round: AtomicU64,
    transactions: AtomicU64,
    tokens: AtomicI64,
}

impl Stage {
    pub fn build(settings: &str) -> Self {
        let server = Server::bare(&format!(
            "shared_preload_libraries = 'pgqueue'\npgqueue.vacuum_interval = '100ms'\n\
             wal_writer_delay = '{}ms'\nmax_wal_size = '128MB'\nmin_wal_size = '32MB'\n\
             restart_after_crash = on\ndeadlock_timeout = '200ms'\n{settings}",
            WAL_WRITER_DELAY.as_millis()
        ));
        let mut session = server.connect();
        session.batch_execute("CREATE EXTENSION pgqueue; CREATE TABLE note (number bigint)").unwrap();
        session.batch_execute(call::SCHEMA).unwrap();
        for queue in Queue::ALL {
            session
                .execute("SELECT pgq_create_queue($1, $2::text::jsonb)", &[&queue.name(), &queue.settings()])
                .unwrap();
        }
        let data = PathBuf::from(session.one::<String>("SHOW data_directory"));
        Self {
            server,
            data,
            route: Mutex::default(),
            leaves_prepared: AtomicBool::new(false),
            is_quiet: AtomicBool::new(false),
            times_out: AtomicBool::new(false),
            history: Mutex::new(empty_history()),
            undecided: Mutex::default(),
            complaints: Complaints::default(),
            round: AtomicU64::new(0),
            transactions: AtomicU64::new(1),
            tokens: AtomicI64::new(1),
        }
    }

    pub fn next_transaction(&self) -> u64 {
        self.transactions.fetch_add(1, Ordering::Relaxed)
    }

    pub fn next_tokens(&self, count: usize) -> Vec<Token> {
        let first = self.tokens.fetch_add(count as i64, Ordering::Relaxed);
        (first..first + count as i64).collect()
    }

    /// A connection of the load.
    pub fn connect_load(&self) -> Result<Client, postgres::Error> {
        let mut config = match *self.route.lock().unwrap() {
            Some(address) => {
                let mut config = Config::new();
                config
                    .host(&address.ip().to_string())
                    .port(address.port())
                    .user("postgres")
                    .dbname("postgres");
                config
            }
            None => self.server.config("postgres"),
        };
        config.application_name(LOAD).connect_timeout(Duration::from_secs(5)).connect(NoTls)
    }

    /// Does what makes the server crash and come back, and notes it.
    pub fn crash(&self, work: impl FnOnce()) {
        let mut witness = self.server.connect();
        let invoked = clock::now();
        work();
        until("the server has crashed", || witness.batch_execute("").is_err());
        self.wait_until_up();
        let forgets = i64::try_from(FORGETS.as_micros()).expect("it is short");
        self.history.lock().unwrap().crashes.push(Crash { span: clock::since(invoked), forgets });
    }

    pub fn wait_until_up(&self) {
        until("the server takes connections", || self.server.config("postgres").connect(NoTls).is_ok());
    }

    /// When the server was started, or started itself anew after a crash of one of its processes.
    pub fn started(&self) -> String {
        self.server
            .connect()
            .one("SELECT max(backend_start)::text FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
    }

    /// Starts the server again if it has given up.
    pub fn revive(&self) {
        until("the server is up, or has given up", || {
            let has_given_up = self.server.postmaster_pid().is_none();
            if has_given_up {
                self.server.launch();
            }
            self.server.config("postgres").connect(NoTls).is_ok()
        });
    }

    /// The processes of the server whose kind or name is asked for, as pg_stat_activity has them.
    pub fn pids(&self, condition: &str) -> Result<Vec<i32>, postgres::Error> {
        let query = format!(
            "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND ({condition}) ORDER BY random()"
        );
        let rows = self.server.config("postgres").connect(NoTls)?.query(&query, &[])?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Waits until no session of the load is left, so that whatever they did has happened.
    pub fn wait_until_alone(&self) {
        until("the sessions of the load are gone", || {
            self.pids(&format!("application_name = '{LOAD}'")).is_ok_and(|pids| pids.is_empty())
        });
    }
}

fn empty_history() -> History {
    let limits = Queue::ALL.iter().filter_map(|queue| Some((queue.name().into(), queue.limit()?)));
    let archives = Queue::ALL.iter().filter(|queue| queue.keeps_what_was_removed());
    History {
        limits: limits.collect(),
        archives: archives.map(|queue| queue.name().into()).collect(),
        ..History::default()
    }
}

/// SIGKILL to a process, which may be gone already.
pub fn kill(pid: i32) {
    signal::send(Signal::KILL, pid);
}
