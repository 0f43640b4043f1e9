//! Looks for faults of unique keys and limits: makes up sessions that push, reserve, settle and
//! change messages, in transactions of every level, lets a scheduler choose whose statement is
//! next, and judges what the sessions were told.
//!
//! What fails is made shorter and printed as a script. README.md has how to run it.

mod generate;
mod history;
mod judge;
mod run;
mod script;
mod shrink;
mod sleepers;
mod watch;
mod worker;

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use generate::{PROFILES, Profile, scenario};
use run::Runner;
use support::Server;

/// Runners that share the server, each with a database: maintenance rounds of one do not disturb
/// the others.
const RUNNERS: u64 = 2;

/// Numbers of scenarios that a runner has for itself, in names.
const CASES: u64 = 1_000_000;

fn server() -> Server {
    let server = Server::bare(
        "shared_preload_libraries = 'pgqueue'\npgqueue.auto_vacuum = off\nfsync = off\nautovacuum = off
         deadlock_timeout = '10 ms'\nlog_min_messages = fatal\npgqueue.max_deliveries = 0
         max_wal_size = '4GB'\nshared_buffers = '128MB'",
    );
    for number in 0..RUNNERS {
        server.connect().batch_execute(&format!("CREATE DATABASE {}", run::database(number))).unwrap();
        let tables = "CREATE EXTENSION pgqueue;
                      CREATE TABLE change (scenario bigint, id bigint);
                      CREATE INDEX ON change (scenario)";
        server.connect_to(&run::database(number)).batch_execute(tables).unwrap();
    }
    server
}

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {value}")))
}

/// A plain run looks at so many scenarios of each subject whose judge is settled, one with a number of
/// scenarios at all subjects.
const PLAIN_CASES: u64 = 350;

fn is_plain() -> bool {
    number("PGQUEUE_SEARCH_CASES").is_none()
}

/// Which scenarios: others each day, unless a seed is given.
fn seed() -> u64 {
    let today = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs() / 86_400);
    number("PGQUEUE_SEARCH_SEED").unwrap_or_else(today)
}

/// What is looked for: what sessions do to each other, or whom they wake.
#[derive(Clone, Copy, Debug)]
enum Subject {
    Sessions(Profile),
    Sleepers,
}

impl Subject {
    fn all() -> Vec<Subject> {
        let all = PROFILES.into_iter().map(Subject::Sessions).chain([Subject::Sleepers]);
        match std::env::var("PGQUEUE_SEARCH_PROFILE") {
            Ok(wanted) => all.filter(|subject| subject.name() == wanted).collect(),
            Err(_) => all.filter(|subject| !is_plain() || subject.is_settled()).collect(),
        }
    }

    /// Whether its judge has raised no false alarm in thousands of scenarios: not that of sleepers, as a busy
    /// machine may take long to wake one (README).
    fn is_settled(self) -> bool {
        !matches!(self, Subject::Sleepers)
    }

    /// How long it is looked at, unless a number of scenarios is given.
    fn budget(self) -> Duration {
        match self {
            // Their faults are found soon.
            Subject::Sessions(Profile::Plain | Profile::DropOldest | Profile::DropDead) => {
                Duration::from_secs(3)
            }
            Subject::Sleepers => Duration::from_secs(3),
            Subject::Sessions(_) => Duration::from_secs(7),
        }
    }

    fn name(self) -> String {
        match self {
            Subject::Sessions(profile) => format!("{profile:?}"),
            Subject::Sleepers => "Sleepers".into(),
        }
    }
}

struct Search<'a> {
    server: &'a Server,
    subject: Subject,
    seed: u64,
    begun: Instant,
    next: AtomicU64,
    first_case: u64,
    cases: Option<u64>,
    found: Mutex<Option<String>>,
}

impl Search<'_> {
    /// Looks until something is found, or there is no time left.
    fn run(&self, number: u64) {
        let mut runner = Runner::new(self.server, number, self.first_case + number * CASES);
        loop {
            let case = self.next.fetch_add(1, Ordering::Relaxed);
            let is_over = match self.cases {
                Some(cases) => case >= cases,
                None => case >= PLAIN_CASES || self.begun.elapsed() > self.subject.budget(),
            };
            if is_over || self.found.lock().unwrap().is_some() {
                self.next.fetch_sub(1, Ordering::Relaxed);
                return;
            }
            self.look_at(&mut runner, case);
        }
    }

    fn look_at(&self, runner: &mut Runner, case: u64) {
        let seed = self.seed.wrapping_mul(1_000_003).wrapping_add(case);
        let begun = Instant::now();
        let found = match self.subject {
            Subject::Sessions(profile) => self.sessions(runner, scenario(profile, seed)),
            Subject::Sleepers => self.sleepers(runner, sleepers::sleepers(seed)),
        };
        let Some(found) = found else { return };
        let (name, seed, after) = (self.subject.name(), self.seed, begun - self.begun);
        let report = format!("{name}, PGQUEUE_SEARCH_SEED={seed}, case {case}, after {after:.1?}: {found}");
        self.found.lock().unwrap().get_or_insert(report);
    }

    fn sleepers(&self, runner: &mut Runner, scenario: sleepers::Sleepers) -> Option<String> {
        let mut last = sleepers::fault(runner, &scenario)?;
        sleepers::shrink(scenario, |scenario| {
            let fault = sleepers::fault(runner, scenario);
            fault.map(|fault| last = fault).is_some()
        });
        Some(last)
    }

    fn sessions(&self, runner: &mut Runner, scenario: script::Scenario) -> Option<String> {
        let outcome = runner.run(&scenario);
        let fault = judge::faults(&scenario, &outcome).into_iter().find(|fault| is_looked_for(fault))?;
        let kind = kind(&fault);
        let mut last = (fault, outcome.script);
        let mut fails = |scenario: &script::Scenario| {
            let outcome = runner.run(scenario);
            let fault = judge::faults(scenario, &outcome).into_iter().find(|fault| self::kind(fault) == kind);
            fault.map(|fault| last = (fault, outcome.script)).is_some()
        };
        // A fault may depend on a moment: it need not come again at once.
        shrink::shrink(scenario, |scenario| fails(scenario));
        let (fault, script) = last;
        Some(format!("{fault}\n{script}"))
    }
}

/// On an engine that has several faults, one is looked for by words of its description, and others
/// are passed over.
fn is_looked_for(fault: &str) -> bool {
    let has_word =
        |name| std::env::var(name).ok().map(|words| words.split(',').any(|word| fault.contains(word)));
    has_word("PGQUEUE_SEARCH_FAULT").unwrap_or(true) && !has_word("PGQUEUE_SEARCH_SKIP").unwrap_or(false)
}

/// A fault without its numbers.
fn kind(fault: &str) -> String {
    fault.rsplit(": ").next().unwrap_or(fault).chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// Is read where nothing is found, too: a test's output would be kept back then.
fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("stderr is open");
}

/// Looks at a subject; returns how many scenarios there were, and what was found.
fn search(server: &Server, (place, subject): (usize, Subject), cases: Option<u64>) -> (u64, Option<String>) {
    let search = Search {
        server,
        subject,
        seed: seed(),
        begun: Instant::now(),
        next: AtomicU64::new(0),
        first_case: place as u64 * RUNNERS * CASES,
        cases,
        found: Mutex::new(None),
    };
    thread::scope(|scope| {
        for number in 0..RUNNERS {
            let search = &search;
            scope.spawn(move || search.run(number));
        }
    });
    let (count, after) = (search.next.into_inner(), search.begun.elapsed());
    say(&format!(
        "{}, PGQUEUE_SEARCH_SEED={}: {count} scenarios in {after:.1?}",
        subject.name(),
        search.seed
    ));
    (count, search.found.into_inner().unwrap())
}

#[test]
fn nothing_is_found() {
    let (server, subjects) = (server(), Subject::all());
    assert!(!subjects.is_empty(), "PGQUEUE_SEARCH_PROFILE must be one of {PROFILES:?} or Sleepers");
    let cases = number("PGQUEUE_SEARCH_CASES").map(|cases| cases.div_ceil(subjects.len() as u64));
    let results: Vec<_> =
        subjects.into_iter().enumerate().map(|subject| search(&server, subject, cases)).collect();
    let count: u64 = results.iter().map(|(count, _)| count).sum();
    say(&format!("{count} scenarios"));
    let found: Vec<String> = results.into_iter().filter_map(|(_, found)| found).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}
