//! A consumer: a process of its own that takes packages from the queue, audits them
//! and settles them, until its stdin ends.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use postgres::{Client, Row};
use serde_json::Value;

use crate::audit::Audit;
use crate::database::{self, LEASE};
use crate::dpkg::Dpkg;
use crate::failure::Result;
use crate::report::{Job, Report};

/// A third of a lease, so that one late sign of life is not yet a lost message.
const SIGN_OF_LIFE: Duration = Duration::from_millis(700);
/// One message in so many fails at its first delivery.
pub const FAILURES: i64 = 20;

pub fn run(number: &str) -> Result<()> {
    let stop = stop_at_end_of_input();
    let client = database::connect(&format!("consumer {number}"))?;
    let mut consumer = Consumer { client, dpkg: Dpkg::of_this_machine()?, extended: Instant::now() };
    while !stop.load(Ordering::Relaxed) {
        consumer.round()?;
    }
    Ok(())
}

/// The end of stdin, not a signal: it also comes when the main process dies.
fn stop_at_end_of_input() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    thread::spawn(move || {
        let _ = io::stdin().read(&mut [0]);
        flag.store(true, Ordering::Relaxed);
    });
    stop
}

struct Consumer {
    client: Client,
    dpkg: Dpkg,
    /// When the leases of the messages in hand were last made longer.
    extended: Instant,
}

/// A message in hand, and when it was pushed.
struct Delivery {
    job: Job,
    enqueued_at: SystemTime,
}

impl Consumer {
    fn round(&mut self) -> Result<()> {
        let batch = self.reserve()?;
        if batch.is_empty() {
            say(Report::Idle)?;
            return Ok(self.client.batch_execute("CALL pgq_wait('audit', '1 s')")?);
        }
        say(Report::Took(batch.iter().map(|delivery| delivery.job.clone()).collect()))?;
        for (index, delivery) in batch.iter().enumerate() {
            self.handle(delivery, &batch[index..])?;
        }
        Ok(())
    }

    fn reserve(&mut self) -> Result<Vec<Delivery>> {
        const SQL: &str = "SELECT id, delivery, payload, enqueued_at FROM pgq_reserve('audit', max => 5)";
        self.extended = Instant::now();
        Ok(self.client.query(SQL, &[])?.iter().map(delivery).collect())
    }

    fn handle(&mut self, delivery: &Delivery, in_hand: &[Delivery]) -> Result<()> {
        let job = &delivery.job;
        say(Report::Began(job.package.clone()))?;
        if job.id % FAILURES == 0 && job.delivery == 1 {
            return self.fail(job, "simulated I/O error");
        }
        let checksums = match self.dpkg.checksums(&job.package) {
            Ok(checksums) => checksums,
            Err(error) => return self.fail(job, &error.to_string()),
        };
        let mut audit = Audit::default();
        for file in &checksums {
            audit.check(file);
            self.show_life(in_hand)?;
        }
        self.finish(delivery, &audit)
    }

    /// Makes the leases in hand longer before they run out. A message lost meanwhile
    /// needs no care here: its receipt is void, and `finish` will see that.
    fn show_life(&mut self, in_hand: &[Delivery]) -> Result<()> {
        if self.extended.elapsed() < SIGN_OF_LIFE {
            return Ok(());
        }
        let ids: Vec<i64> = in_hand.iter().map(|delivery| delivery.job.id).collect();
        let deliveries: Vec<i64> = in_hand.iter().map(|delivery| delivery.job.delivery).collect();
        let sql = format!("SELECT id FROM pgq_extend_batch($1, '{LEASE}', $2)");
        self.extended = Instant::now();
        self.client.query(&sql, &[&ids, &deliveries])?;
        Ok(())
    }

    /// Stores the findings and deletes the message in one transaction: both or none.
    ///
    /// The message goes first: who comes too late learns it from the queue, before
    /// it could run into the other's row.
    fn finish(&mut self, delivery: &Delivery, audit: &Audit) -> Result<()> {
        const DELETE: &str = "SELECT pgq_delete($1, $2)";
        const INSERT: &str =
            "INSERT INTO audit (package, delivery, files, missing, altered, unread, enqueued_at)
                              VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let job = &delivery.job;
        let mut transaction = self.client.transaction()?;
        if !transaction.query_one(DELETE, &[&job.id, &job.delivery])?.get::<_, bool>(0) {
            transaction.rollback()?;
            return say(Report::Lost(job.package.clone()));
        }
        let Audit { files, missing, altered, unread } = audit;
        let enqueued = &delivery.enqueued_at;
        transaction
            .execute(INSERT, &[&job.package, &job.delivery, files, missing, altered, unread, enqueued])?;
        transaction.commit()?;
        say(Report::Done(job.package.clone()))
    }

    fn fail(&mut self, job: &Job, error: &str) -> Result<()> {
        const SQL: &str = "SELECT outcome FROM pgq_fail($1, $2, $3)";
        self.client.query(SQL, &[&job.id, &error, &job.delivery])?;
        say(Report::Failed(job.package.clone()))
    }
}

fn delivery(row: &Row) -> Delivery {
    let payload: Value = row.get("payload");
    // A payload without a package is a job that fails, like that of a package not here.
    let package = payload["package"].as_str().unwrap_or_default().to_owned();
    Delivery {
        job: Job { id: row.get("id"), delivery: row.get("delivery"), package },
        enqueued_at: row.get("enqueued_at"),
    }
}

fn say(report: Report) -> Result<()> {
    Ok(writeln!(io::stdout(), "{report}")?)
}
