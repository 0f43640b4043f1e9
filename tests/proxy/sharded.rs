//! Partitions and their proxy, on servers of the test's own.

use std::process::{Command, Stdio};

use postgres::{Client, NoTls, SimpleQueryMessage};
use support::{Ask, Server, bindir};

pub const PARTITIONS: usize = 4;

/// Ids of partition n begin at n times this.
pub const IDS_EACH: i64 = 10_000_000_000_000;

/// What each connection string of a partition has to say.
const FORMATS: &str = r"options=-cDateStyle=ISO\ -cIntervalStyle=postgres";

pub const SETTINGS: &str =
    "shared_preload_libraries = 'pgqueue'\npgqueue.vacuum_interval = '100ms'\ntrack_functions = all";

/// Partitions in databases `queues_0`, `queues_1`, … and a proxy in `queues`.
pub struct Sharded {
    /// Partition n is on server n modulo their number.
    pub servers: Vec<Server>,
    /// A server of its own, or none if all is on one.
    proxy: Option<Server>,
}

impl Sharded {
    /// All on one server, for what concerns the functions only.
    pub fn on_one_server() -> Self {
        Self { servers: vec![Server::bare(SETTINGS)], proxy: None }.set_up()
    }

    pub fn on_three_servers() -> Self {
        let servers = (0..3).map(|_| Server::bare(SETTINGS)).collect();
        Self { servers, proxy: Some(Server::bare("")) }.set_up()
    }

    fn set_up(self) -> Self {
        for n in 0..PARTITIONS {
            self.server(n).connect().batch_execute(&format!("CREATE DATABASE queues_{n}")).unwrap();
            self.partition(n).batch_execute("CREATE EXTENSION pgqueue").unwrap();
            self.make_partition(n, n).unwrap();
        }
        self.proxy_server().connect().batch_execute("CREATE DATABASE queues").unwrap();
        let places: Vec<String> = (0..PARTITIONS).map(|n| format!("p{n} '{}'", self.address(n))).collect();
        self.proxy()
            .batch_execute(&format!(
                "CREATE EXTENSION plproxy;
                 CREATE SERVER pgqueue FOREIGN DATA WRAPPER plproxy OPTIONS ({});
                 CREATE USER MAPPING FOR postgres SERVER pgqueue",
                places.join(", ")
            ))
            .unwrap();
        self.make_proxy().unwrap();
        self
    }

    pub fn server(&self, partition: usize) -> &Server {
        &self.servers[partition % self.servers.len()]
    }

    pub fn proxy_server(&self) -> &Server {
        self.proxy.as_ref().unwrap_or(&self.servers[0])
    }

    pub fn address(&self, partition: usize) -> String {
        format!("host={} dbname=queues_{partition} {FORMATS}", host(self.server(partition)))
    }

    /// A session on a partition itself.
    pub fn partition(&self, n: usize) -> Client {
        self.server(n).connect_to(&format!("queues_{n}"))
    }

    /// A session on the proxy.
    pub fn proxy(&self) -> Client {
        self.proxy_server().connect_to("queues")
    }

    pub fn proxy_as(&self, role: &str) -> Client {
        self.proxy_server().config("queues").user(role).connect(NoTls).unwrap()
    }

    pub fn make_partition(&self, n: usize, number: usize) -> Result<(), String> {
        let database = format!("queues_{n}");
        psql(
            self.server(n),
            &["-d", &database, "-v", &format!("partition={number}"), "-f", &script("partition")],
        )
    }

    pub fn make_proxy(&self) -> Result<(), String> {
        psql(self.proxy_server(), &["-d", "queues", "-f", &script("proxy")])
    }

    /// Runs a statement on all servers, the proxy's included.
    pub fn everywhere(&self, statement: &str) {
        for server in self.servers.iter().chain(&self.proxy) {
            server.connect().batch_execute(statement).unwrap();
        }
    }
}

pub fn host(server: &Server) -> String {
    server.environment()[0].1.display().to_string()
}

pub fn script(name: &str) -> String {
    format!("{}/sql/proxy/{name}.sql", env!("CARGO_MANIFEST_DIR"))
}

/// Runs psql, which must succeed and say nothing; else returns what it says.
pub fn psql(server: &Server, args: &[&str]) -> Result<(), String> {
    let output = Command::new(bindir("PGQUEUE_BINDIR").join("psql"))
        .args(["-X", "-q"])
        .args(args)
        .envs(server.environment())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() && errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// A queue of each partition, by its number.
pub fn queue_of_each(proxy: &mut Client) -> Vec<String> {
    let query = "SELECT DISTINCT ON (place) 'queue ' || n
                   FROM generate_series(1, 100) n, LATERAL (SELECT pgqueue_proxy.of_queue('queue ' || n) & 3 AS place) at
                  ORDER BY place, n";
    let queues = proxy.all(query);
    assert_eq!(queues.len(), PARTITIONS);
    queues
}

pub fn partition_of(id: i64) -> usize {
    (id / IDS_EACH) as usize
}

/// What a statement gives: its rows as text, or the SQLSTATE of its error.
pub fn answer(session: &mut Client, statement: &str) -> Result<Vec<Vec<Option<String>>>, String> {
    let messages = session
        .simple_query(statement)
        .map_err(|error| error.code().expect("an error of the server").code().to_owned())?;
    Ok(messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|n| row.get(n).map(str::to_owned)).collect())
            }
            _ => None,
        })
        .collect())
}

/// The columns of the types and views in the schema of the extension.
pub const ROWS: &str = "SELECT format('%s.%s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod))
                      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
                     WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0
                     ORDER BY c.relname, a.attnum";
