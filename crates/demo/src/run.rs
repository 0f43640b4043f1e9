//! The run: from the first push until nothing is left to do, shown as it happens.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;

use crate::audit::MAX_MB;
use crate::consumer::FAILURES;
use crate::crew::Crew;
use crate::database;
use crate::display::{Display, Tone};
use crate::dpkg::Package;
use crate::failure::{Failure, Result};
use crate::producer::{self, POISON, Plan};
use crate::report::{Job, Report};
use crate::stats::Stats;

const CONSUMERS: usize = 4;
const FRAME: Duration = Duration::from_millis(150);
/// A run takes some fifteen seconds; on a very slow disk perhaps a minute.
const DEADLINE: Duration = Duration::from_secs(180);

pub enum Event {
    Heard(usize, Report),
    /// A consumer's output ended, so the consumer did.
    Silent(usize),
    PushedUrgent(usize),
    TimeToKill,
    Produced(Result<()>),
}

/// What was meant to happen and what the demo itself did, for the closing of the books.
pub struct Account {
    pub ordinary: usize,
    pub essential: usize,
    /// What the killed consumer held, as the queue saw it right after.
    pub orphans: Vec<Job>,
    pub elapsed: Duration,
}

struct Run<'a> {
    client: &'a mut Client,
    events: Receiver<Event>,
    crew: Crew,
    display: Display,
    started: Instant,
    produced: bool,
    kill_wanted: bool,
    orphans: Vec<Job>,
    /// Packages of the orphans that nobody has finished yet.
    waited_for: Vec<String>,
}

pub fn run(client: &mut Client, packages: Vec<Package>) -> Result<Account> {
    let plan = Plan::new(packages);
    let (ordinary, essential) = (plan.ordinary(), plan.essential());
    let (sender, events) = channel();
    let started = Instant::now();
    let mut run = Run {
        client,
        events,
        crew: Crew::new(sender.clone()),
        display: Display::new(plan.messages(), started),
        started,
        produced: false,
        kill_wanted: false,
        orphans: Vec::new(),
        waited_for: Vec::new(),
    };
    run.introduce(&plan)?;
    for _ in 0..CONSUMERS {
        run.crew.start_one()?;
    }
    producer::start(plan, sender);
    run.watch()?;
    run.crew.finish()?;
    Ok(Account { ordinary, essential, orphans: run.orphans, elapsed: started.elapsed() })
}

impl Run<'_> {
    fn introduce(&mut self, plan: &Plan) -> Result<()> {
        let (ordinary, essential, waves) = (plan.ordinary(), plan.essential(), plan.waves);
        let lines = [
            format!("{} installed packages are audited by {CONSUMERS} processes:", ordinary + essential),
            format!("{ordinary} come through a trigger, in {waves} waves a second apart;"),
            format!("{essential} essential ones come as one urgent batch in between;"),
            format!("one more, {POISON}, can never be done; every {FAILURES}th job fails once (simulated);"),
            format!(
                "one process is killed at work. Files over {MAX_MB} MB are only looked for, to be brief."
            ),
        ];
        lines.iter().try_for_each(|line| self.display.note(Tone::Plain, line))
    }

    fn watch(&mut self) -> Result<()> {
        loop {
            let stats = Stats::read(self.client)?;
            self.display.show(&stats, &self.crew.members)?;
            if self.produced && stats.left() == 0 {
                return self.display.end();
            }
            if self.started.elapsed() > DEADLINE {
                return Err(Failure::Broken(format!(
                    "after {} s there are still {} messages left",
                    DEADLINE.as_secs(),
                    stats.left()
                )));
            }
            self.listen_until(Instant::now() + FRAME)?;
        }
    }

    fn listen_until(&mut self, end: Instant) -> Result<()> {
        loop {
            match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(event) => self.take(event)?,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    fn take(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Heard(number, report) => self.heard(number, &report),
            Event::Silent(number) => self.silent(number),
            Event::PushedUrgent(count) => self
                .display
                .note(Tone::Plain, &format!("{count} essential packages pushed with priority -10")),
            Event::TimeToKill => {
                self.kill_wanted = true;
                Ok(())
            }
            Event::Produced(outcome) => {
                self.produced = true;
                outcome
            }
        }
    }

    /// A consumer that was killed is no member any more; one that is should not end.
    fn silent(&mut self, number: usize) -> Result<()> {
        match self.crew.member(number) {
            Some(_) => Err(Failure::Broken(format!("consumer {number} ended by itself"))),
            None => Ok(()),
        }
    }

    fn heard(&mut self, number: usize, report: &Report) -> Result<()> {
        let Some(member) = self.crew.member(number) else { return Ok(()) };
        member.heard(report);
        match report {
            Report::Took(jobs) if self.kill_wanted && !poisoned(jobs) => self.kill(number, jobs),
            Report::Done(package) => self.finished(package),
            _ => Ok(()),
        }
    }

    /// Kills a consumer that has just taken messages, and starts another in its place.
    fn kill(&mut self, number: usize, jobs: &[Job]) -> Result<()> {
        let pid = self.crew.kill(number)?;
        self.await_end_of_session(number)?;
        self.orphans = self.still_leased(jobs)?;
        // One that finished everything just before it died shows nothing: try again.
        self.kill_wanted = self.orphans.is_empty();
        self.waited_for = self.orphans.iter().map(|job| job.package.clone()).collect();
        let replacement = self.crew.start_one()?;
        let held = match self.orphans.len() {
            0 => "too late, it had just finished".to_owned(),
            count => format!("while it held {count} messages"),
        };
        let text = format!(
            "consumer {number} (pid {pid}) killed with SIGKILL {held}; consumer {replacement} takes its place"
        );
        self.display.note(Tone::Bad, &text)
    }

    /// The server may still be at the victim's last statement; only then is it clear
    /// what the victim leaves behind.
    fn await_end_of_session(&mut self, number: usize) -> Result<()> {
        const SQL: &str = "SELECT FROM pg_stat_activity
                            WHERE application_name = $1 AND datname = current_database()";
        let deadline = Instant::now() + DEADLINE;
        let name = database::application_name(&format!("consumer {number}"));
        while !self.client.query(SQL, &[&name])?.is_empty() {
            if Instant::now() > deadline {
                return Err(Failure::Broken(format!(
                    "the session of consumer {number} outlives its process"
                )));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn still_leased(&mut self, jobs: &[Job]) -> Result<Vec<Job>> {
        const SQL: &str = "SELECT FROM pgq_get($1) WHERE state = 'leased' AND delivery = $2";
        let mut held = Vec::new();
        for job in jobs {
            if !self.client.query(SQL, &[&job.id, &job.delivery])?.is_empty() {
                held.push(job.clone());
            }
        }
        Ok(held)
    }

    fn finished(&mut self, package: &str) -> Result<()> {
        let before = self.waited_for.len();
        self.waited_for.retain(|waiting| waiting != package);
        if before == 0 || !self.waited_for.is_empty() {
            return Ok(());
        }
        let count = self.orphans.len();
        let text = format!(
            "the {count} messages of the killed consumer came back after their lease; others finished them"
        );
        self.display.note(Tone::Good, &text)
    }
}

/// The poison must fail three times; a kill would make one of them a timeout.
fn poisoned(jobs: &[Job]) -> bool {
    jobs.iter().any(|job| job.package == POISON)
}
