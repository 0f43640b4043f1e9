//! The workers of the pages as programs, with short leases and poison.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

use support::pages::{blocks, file};
use support::{Ask, Server, bindir};

use crate::LEASE;
use crate::process::Process;

/// A worker of a page.
pub struct Worker {
    /// Its block's mark is `worker`, or `worker=name` where a page has several.
    pub name: &'static str,
    pub page: &'static str,
    pub mark: &'static str,
    /// How its lease of 30 seconds is written.
    lease: &'static str,
    /// The head of its `handle`, and the line to put behind it, which raises an error for poison.
    poison: (&'static str, &'static str),
    /// The text of that error as it is stored.
    stored: &'static str,
    how: How,
}

/// How a program becomes a process.
enum How {
    /// An interpreter with arguments, and the file's name.
    Run(&'static [&'static str], &'static str),
    /// The same, beside the packages of npm.
    Node,
    /// Compiled with the crates that the page names.
    Cargo,
    /// Compiled with Debian's packages.
    Go,
}

use How::{Cargo, Go, Node, Run};

#[rustfmt::skip]
pub const WORKERS: &[Worker] = &[
    Worker {
        name: "asyncpg", page: "python", mark: "worker=asyncpg", lease: "seconds=30", how: Run(&["/usr/bin/python3"], "worker.py"),
        poison: ("async def handle(db, payload):\n", POISON_OF_PYTHON), stored: "bad  ?",
    },
    Worker {
        name: "psycopg", page: "python", mark: "worker=psycopg", lease: "seconds=30", how: Run(&["/usr/bin/python3"], "worker.py"),
        poison: ("def handle(db, payload):\n", POISON_OF_PYTHON), stored: "bad  ?",
    },
    Worker {
        name: "pg", page: "node", mark: "worker=pg", lease: "LEASE = 30", how: Node,
        poison: ("async function handle(db, payload) {\n", POISON_OF_JAVASCRIPT), stored: "bad  \u{fffd}",
    },
    Worker {
        name: "postgres.js", page: "node", mark: "worker=postgres.js", lease: "LEASE = 30", how: Node,
        poison: ("async function handle(sql, payload) {\n", POISON_OF_JAVASCRIPT), stored: "bad  \u{fffd}",
    },
    Worker {
        name: "ruby", page: "ruby", mark: "worker", lease: "4, 30", how: Run(&["ruby"], "worker.rb"),
        poison: ("def handle(db, payload)\n", "  raise \"bad \\0 \\xff\" if payload['to'] == 'poison'\n"), stored: "bad  ?",
    },
    Worker {
        name: "php", page: "php", mark: "worker", lease: "LEASE = 30", how: Run(&["php"], "worker.php"),
        poison: ("function handle(PDO $db, array $payload): void\n{\n",
                 "    if ($payload['to'] === 'poison') throw new Exception(\"bad \\0 \\xff\");\n"),
        stored: "bad  ?",
    },
    Worker {
        name: "perl", page: "perl", mark: "worker", lease: "4, 30", how: Run(&["perl"], "worker.pl"),
        poison: ("sub handle ($db, $payload) {\n", "    die \"bad \\0 \\x{d800}\" if $payload->{to} eq 'poison';\n"),
        stored: "bad  \u{fffd}",
    },
    Worker {
        name: "java", page: "java", mark: "worker", lease: "LEASE = 30",
        how: Run(&["java", "-cp", "/usr/share/java/postgresql.jar"], "Worker.java"),
        poison: ("static void handle(Connection db, String payload) throws Exception {\n",
                 "        if (payload.contains(\"\\\"poison\")) throw new Exception(\"bad \\0 \\ud800\");\n"),
        stored: "bad  ?",
    },
    Worker {
        name: "go", page: "go", mark: "worker", lease: "30 * time.Second\n)", how: Go,
        poison: ("func handle(db pgx.Tx, payload []byte) error {\n",
                 "\tif strings.Contains(string(payload), `\"poison`) {\n\t\treturn fmt.Errorf(\"bad \\x00 \\xff\")\n\t}\n"),
        stored: "bad  ?",
    },
    Worker {
        name: "tokio-postgres", page: "rust", mark: "worker=tokio-postgres", lease: "LEASE: f64 = 30.0", how: Cargo,
        poison: ("async fn handle(db: &Transaction<'_>, payload: &Value) -> Result {\n", POISON_OF_RUST), stored: "bad  ",
    },
    Worker {
        name: "sqlx", page: "rust", mark: "worker=sqlx", lease: "from_secs(30);", how: Cargo,
        poison: ("async fn handle(db: &mut PgConnection, payload: &Value) -> Result {\n", POISON_OF_RUST), stored: "bad  ",
    },
];

const POISON_OF_PYTHON: &str =
    "    if payload['to'] == 'poison':\n        raise ValueError('bad \\0 \\udcff')\n";
const POISON_OF_JAVASCRIPT: &str = "  if (payload.to === 'poison') throw new Error('bad \\0 \\ud800');\n";
const POISON_OF_RUST: &str =
    "    if payload[\"to\"] == \"poison\" {\n        return Err(\"bad \\0 \".into());\n    }\n";

/// A program, ready to be started.
pub struct Program {
    command: Vec<PathBuf>,
    pub stored: &'static str,
}

/// A server that listens at an address of its own: Java knows no sockets of Unix.
pub fn server() -> Server {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let process = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, process[2], process[3], COUNT.fetch_add(1, Ordering::Relaxed));
    let server = Server::bare(&format!(
        "shared_preload_libraries = 'pgqueue'\npgqueue.vacuum_interval = '100ms'\nlisten_addresses = '{address}'"
    ));
    server.connect().batch_execute("CREATE EXTENSION pgqueue").unwrap();
    server
}

impl Worker {
    /// The block of the page, with shorter leases and an error for poison.
    fn text(&self) -> String {
        let page = file(&format!("docs/workers/{}.md", self.page));
        let block = blocks(&page).into_iter().find(|block| block.mark == self.mark).expect("the worker");
        let (before, poison) = self.poison;
        let lease = self.lease.replace("30", &LEASE.to_string());
        for part in [self.lease, before] {
            assert_eq!(block.text.matches(part).count(), 1, "{}: {part}", self.name);
        }
        block.text.replace(self.lease, &lease).replace(before, &format!("{before}{poison}"))
    }

    pub fn build(&self, server: &Server) -> Program {
        let place = server.place();
        let write = |name: &str| {
            fs::write(place.join(name), self.text()).unwrap();
            place.join(name)
        };
        let command = match self.how {
            Run(interpreter, name) => interpreter.iter().map(PathBuf::from).chain([write(name)]).collect(),
            Node => {
                let packages = bindir("PGQUEUE_SERVERS").join("workers/node_modules");
                assert!(packages.exists(), "{}: tests/workers/setup installs them", packages.display());
                symlink(packages, place.join("node_modules")).unwrap();
                vec!["node".into(), write("worker.mjs")]
            }
            Cargo => vec![self.compile()],
            Go => {
                let program = place.join("worker");
                let mut go = Command::new("go");
                go.args(["build", "-o"]).arg(&program).arg(write("worker.go"));
                run(go.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode"));
                vec![program]
            }
        };
        Program { command, stored: self.stored }
    }

    /// In a crate of its own, whose target outlives the test.
    fn compile(&self) -> PathBuf {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/workers");
        let place = root.join(self.name);
        fs::create_dir_all(place.join("src")).unwrap();
        let page = file(&format!("docs/workers/{}.md", self.page));
        let crates = blocks(&page).into_iter().find(|block| block.mark == self.name).expect("the crates");
        let package = format!("[package]\nname = \"with-{}\"\nedition = \"2024\"\n", self.name);
        let rest = "[workspace]\n[profile.dev]\ndebug = false\n";
        fs::write(place.join("Cargo.toml"), format!("{package}{}{rest}", crates.text)).unwrap();
        fs::write(place.join("src/main.rs"), self.text()).unwrap();
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--quiet"]).current_dir(&place).env("CARGO_TARGET_DIR", root.join("built"));
        run(&mut cargo);
        root.join("built/debug").join(format!("with-{}", self.name))
    }
}

fn run(command: &mut Command) {
    assert!(command.status().unwrap_or_else(|error| panic!("{command:?}: {error}")).success(), "{command:?}");
}

impl Program {
    pub fn start(&self, server: &Server) -> Process {
        let (first, rest) = self.command.split_first().unwrap();
        let mut command = Command::new(first);
        let address: String = server.connect().one("SHOW listen_addresses");
        command.args(rest).envs(server.environment());
        command.env("DATABASE_URL", format!("postgres://postgres@{address}/postgres"));
        command.env("JDBC_URL", format!("jdbc:postgresql://{address}/postgres?user=postgres"));
        Process::start(command)
    }
}
