//! Every argument of every function of the extension, with every value worth trying.
//!
//! A call succeeds, or fails with a SQLSTATE of docs/reference/errors.md; anything else is a bug:
//! an internal error (XX000), a crash, a call that hangs. What failed has changed nothing,
//! and what only reads never does. The functions and their arguments come from the
//! catalogs, so a new one is tried, and one of a type without values fails the test.
//!
//! `PGQUEUE_FUZZ_CALLS` says how many calls each database gets beyond every value once,
//! `PGQUEUE_FUZZ_SEED` which ones, `PGQUEUE_FUZZ_BODY_MB` how large the largest body is.

mod call;
mod large;
mod pool;
mod signature;
mod state;
mod triggers;
mod verdict;

use std::collections::HashSet;

use call::{Choice, Target};
use pool::Encoding;
use postgres::Client;
use signature::Kind;
use state::Digest;
use support::{Ask, Server};

/// How many calls one state is used for.
const CALLS_A_STATE: usize = 250;

/// More memory than a session may have come to need, in bytes.
const MUCH_MEMORY: i64 = 32 << 20;

/// It is for the install script, and forgets at once what others count.
const INSTALLS: &str = "pgqueue.begin_anew";

/// Functions that change nothing: "show", "tell", "wait".
const READERS: [&str; 8] = [
    "pgq_count",
    "pgq_get",
    "pgq_list_queues",
    "pgq_list_schedules",
    "pgq_list_watches",
    "pgq_peek",
    "pgq_peek_dead",
    "pgq_stats",
];

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {value}")))
}

/// A server whose log tells the SQLSTATE of all that went wrong. Maintenance rounds are
/// only those that are called for: a state stays as it was made.
fn server() -> Server {
    Server::bare(
        "shared_preload_libraries = 'pgqueue'\npgqueue.auto_vacuum = off\nlog_line_prefix = '%e '\n\
         fsync = off\nmax_stack_depth = '2MB'",
    )
}

/// A session in a new database of this encoding that has the extension and a role.
fn open(server: &Server, encoding: Encoding) -> Client {
    let name = encoding.name().to_lowercase();
    let mut first = server.connect();
    first
        .batch_execute(&format!(
            "CREATE DATABASE {name} TEMPLATE template0 ENCODING '{}' LC_COLLATE 'C' LC_CTYPE 'C'",
            encoding.name()
        ))
        .unwrap();
    first.batch_execute("CREATE ROLE fuzz").unwrap();
    let mut session = server.connect_to(&name);
    session.batch_execute("CREATE EXTENSION pgqueue; SET client_min_messages = error").unwrap();
    session
}

/// One database on its way through the calls.
struct Fuzz {
    encoding: Encoding,
    seed: u64,
    random: fastrand::Rng,
    session: Client,
    digest: Digest,
    documented: HashSet<String>,
    /// Committed since the state was made.
    script: Vec<String>,
    calls: usize,
}

impl Fuzz {
    fn new(server: &Server, encoding: Encoding) -> Self {
        let seed = setting("PGQUEUE_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
        println!("{encoding:?}: PGQUEUE_FUZZ_SEED={seed}");
        let mut session = open(server, encoding);
        let digest = Digest::of_all_tables(&mut session);
        Self {
            encoding,
            seed,
            random: fastrand::Rng::with_seed(seed),
            session,
            digest,
            documented: verdict::documented(),
            script: Vec::new(),
            calls: 0,
        }
    }

    fn targets(&mut self) -> Vec<Target> {
        let functions = signature::functions(&mut self.session);
        assert!(functions.len() > 30, "the extension has functions");
        let targets: Vec<Target> = functions.into_iter().map(|f| Target::new(f, self.encoding)).collect();
        self.make_state();
        // A value that Postgres itself refuses would hide what its function does.
        for value in targets.iter().flat_map(Target::values).collect::<HashSet<_>>() {
            let check = format!("SELECT count(({value})::text)");
            self.session.batch_execute(&check).unwrap_or_else(|error| panic!("{check}: {error:?}"));
        }
        targets
    }

    fn make_state(&mut self) {
        // Each statement commits: within one transaction some things go other ways.
        for statement in state::script(self.encoding).split(";\n") {
            self.session.batch_execute(statement).unwrap_or_else(|error| panic!("{statement}: {error:?}"));
        }
        self.script.clear();
    }

    /// Makes a call in the current state; keeps some of what succeeds.
    fn call(&mut self, target: &Target, choice: &Choice) {
        if self.calls.is_multiple_of(CALLS_A_STATE) {
            self.check_counters();
            self.make_state();
        }
        self.calls += 1;
        let sql = target.sql(choice, self.random.bool());
        let reads = READERS.iter().any(|reader| target.function.name.ends_with(&format!(".{reader}")));
        let compares = reads || self.random.u8(..) < 50;
        let limit = if target.function.kind == Kind::Procedure { "20 ms" } else { "60 s" };
        self.session.batch_execute("BEGIN").unwrap();
        let before = compares.then(|| self.digest.read(&mut self.session));
        let limited = format!("SAVEPOINT call; SET LOCAL statement_timeout = '{limit}'");
        self.session.batch_execute(&limited).unwrap();
        let outcome = self.session.batch_execute(&sql);
        if let Err(error) = &outcome {
            let rolled_back = self.session.batch_execute("ROLLBACK TO call").is_ok();
            if !rolled_back || !self.is_expected(target, choice, &verdict::sqlstate(error)) {
                self.complain(&sql, &verdict::described(error));
            }
        }
        if let Some(before) = before.filter(|_| reads || outcome.is_err()) {
            self.session.batch_execute("SET LOCAL statement_timeout = 0").unwrap();
            let after = self.digest.read(&mut self.session);
            let changed: Vec<_> =
                before.iter().zip(&after).filter(|(b, a)| b != a).map(|(b, _)| &b.0).collect();
            if !changed.is_empty() {
                self.complain(&sql, &format!("must change nothing ({outcome:?}), but did: {changed:?}"));
            }
        }
        let keeps = outcome.is_ok() && self.random.u8(..) < 60;
        if let Err(error) = self.session.batch_execute(if keeps { "COMMIT" } else { "ROLLBACK" }) {
            self.complain(&sql, &format!("at the end of its transaction: {}", verdict::described(&error)));
        }
        if keeps {
            self.script.push(sql);
        }
    }

    /// Fails the test, with SQL that repeats what has happened since the state was made.
    fn complain(&self, sql: &str, problem: &str) -> ! {
        panic!(
            "{problem}\n{sql}\n-- {:?}, PGQUEUE_FUZZ_SEED={}, call {}. To repeat, in a database of this encoding:\n{}\n{};\n{sql};",
            self.encoding,
            self.seed,
            self.calls,
            state::script(self.encoding),
            self.script.join(";\n")
        )
    }

    fn is_expected(&mut self, target: &Target, choice: &Choice, state: &str) -> bool {
        match target.function.kind {
            Kind::Trigger => verdict::NOT_A_TRIGGER.contains(&state),
            Kind::Procedure if state == verdict::CANCELLED => true,
            _ if self.documented.contains(state) => true,
            _ => target.value_of("query", choice).is_some_and(|query| {
                verdict::sqlstate_of_query(&mut self.session, query).is_some_and(|same| same == state)
            }),
        }
    }

    fn check_counters(&mut self) {
        let miscounted = state::miscounted(&mut self.session);
        if !miscounted.is_empty() {
            self.complain("", &format!("the counters are wrong: {miscounted:#?}"));
        }
    }

    fn memory(&mut self) -> i64 {
        self.session.one("SELECT sum(total_bytes)::bigint FROM pg_backend_memory_contexts")
    }
}

fn every_argument_is_refused_or_taken(encoding: Encoding) {
    let server = server();
    let mut fuzz = Fuzz::new(&server, encoding);
    let mut targets = fuzz.targets();
    targets.retain(|target| target.function.name != INSTALLS);
    let mut singles: Vec<(usize, Choice)> = targets
        .iter()
        .enumerate()
        .flat_map(|(n, target)| {
            target.singles(encoding != Encoding::Utf8).into_iter().map(move |choice| (n, choice))
        })
        .collect();
    fuzz.random.shuffle(&mut singles);
    let mut memory = None;
    for (n, choice) in &singles {
        fuzz.call(&targets[*n], choice);
        if fuzz.calls == 2 * CALLS_A_STATE {
            memory = Some(fuzz.memory());
        }
    }
    for _ in 0..setting("PGQUEUE_FUZZ_CALLS").unwrap_or(500) {
        let target = &targets[fuzz.random.usize(..targets.len())];
        let choice = target.mixed(&mut fuzz.random);
        fuzz.call(target, &choice);
    }
    fuzz.check_counters();
    let grown = fuzz.memory() - memory.expect("there are more values than a state is used for");
    assert!(grown < MUCH_MEMORY, "the session has come to need {grown} bytes more");
    fuzz.session.batch_execute(&format!("SELECT {INSTALLS}()")).unwrap();
    let bad = verdict::bad_lines(&server.log()).join("\n");
    assert!(bad.is_empty(), "seed {}: the server's log says\n{bad}", fuzz.seed);
    println!("{encoding:?}: {} calls of {} functions", fuzz.calls, targets.len());
}

#[test]
fn every_argument_is_refused_or_taken_in_utf8() {
    every_argument_is_refused_or_taken(Encoding::Utf8);
}

#[test]
fn every_argument_is_refused_or_taken_in_latin1() {
    every_argument_is_refused_or_taken(Encoding::Latin1);
}

#[test]
fn every_argument_is_refused_or_taken_in_euc_jp() {
    every_argument_is_refused_or_taken(Encoding::EucJp);
}

#[test]
fn every_argument_is_refused_or_taken_in_sql_ascii() {
    every_argument_is_refused_or_taken(Encoding::SqlAscii);
}
