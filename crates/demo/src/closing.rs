//! The end: what the audit found, what happened to the messages, and whether the
//! books add up. Everything is asked of the database, nothing of the run's memory,
//! but for what was planned and who was killed.

use std::io::{self, Write};

use postgres::{Client, Row};
use serde_json::Value;

use crate::audit::MAX_MB;
use crate::dpkg::Dpkg;
use crate::failure::{Failure, Result};
use crate::producer::POISON;
use crate::run::Account;
use crate::stats::Stats;

/// Shows the results; an error if a message is unaccounted for.
pub fn close(client: &mut Client, dpkg: &Dpkg, account: &Account) -> Result<()> {
    let mut text = findings(client, dpkg)?;
    text += &happenings(client, account)?;
    let books = Books::read(client)?;
    text += &books.table(account);
    text += &books.dead_letters();

    let mistakes = books.mistakes(account);
    if mistakes.is_empty() {
        text += &format!("\nEvery message is accounted for, after {:.1} s.", account.elapsed.as_secs_f64());
        text += " Try next: make psql\n";
    }
    io::stdout().write_all(text.as_bytes())?;
    if mistakes.is_empty() {
        return Ok(());
    }
    Err(Failure::Broken(format!("the books do not add up:\n  {}", mistakes.join("\n  "))))
}

fn findings(client: &mut Client, dpkg: &Dpkg) -> Result<String> {
    const SQL: &str = "SELECT count(*), coalesce(sum(files), 0)::bigint, coalesce(sum(unread), 0)::bigint,
                              coalesce(sum(altered), 0)::bigint, coalesce(sum(missing), 0)::bigint
                         FROM audit";
    let row = client.query_one(SQL, &[])?;
    let [packages, files, unread, altered, missing]: [i64; 5] = std::array::from_fn(|column| row.get(column));
    let mut text = format!(
        "\nWhat the audit found\n  \
         {packages} packages with {files} files; {} compared, {unread} only looked for \
         (over {MAX_MB} MB, or unreadable)\n  \
         {altered} altered{}\n  \
         {missing} missing{}",
        files - unread - missing,
        most(client, "altered")?,
        most(client, "missing")?,
    );
    if dpkg.leaves_files_out() {
        text += "\n  (this machine tells dpkg to leave files out: /etc/dpkg/dpkg.cfg.d, path-exclude)";
    }
    Ok(text + "\n")
}

/// The packages with most of `what`, a column of the table audit.
fn most(client: &mut Client, what: &str) -> Result<String> {
    let sql = format!("SELECT package, {what} FROM audit WHERE {what} > 0 ORDER BY 2 DESC, 1 LIMIT 5");
    let name = |row: &Row| format!("{} ({})", row.get::<_, String>(0), row.get::<_, i32>(1));
    let names: Vec<String> = client.query(&sql, &[])?.iter().map(name).collect();
    Ok(if names.is_empty() { String::new() } else { format!(", most in {}", names.join(", ")) })
}

fn happenings(client: &mut Client, account: &Account) -> Result<String> {
    let mut text = String::from("\nWhat happened to the messages\n");
    text += &overtaking(client, account)?;
    if account.orphans.is_empty() {
        return Ok(text + "  no consumer could be caught with a message in hand, so none was orphaned\n");
    }
    text += "  held by the consumer that was killed, then finished by another:\n";
    for orphan in &account.orphans {
        const SQL: &str = "SELECT delivery FROM audit WHERE package = $1";
        let delivery = client.query_opt(SQL, &[&orphan.package])?;
        let end = delivery
            .map_or("never finished".into(), |row| format!("finished at delivery {}", row.get::<_, i64>(0)));
        text += &format!("    {} (message {}): {end}\n", orphan.package, orphan.id);
    }
    Ok(text)
}

fn overtaking(client: &mut Client, account: &Account) -> Result<String> {
    const SQL: &str = "
        WITH urgent AS (
            SELECT min(enqueued_at) AS pushed, max(finished_at) AS finished
              FROM audit JOIN package ON name = package WHERE essential AND delivery = 1
        )
        SELECT extract(epoch FROM finished - pushed)::float8,
               (SELECT count(*) FROM audit JOIN package ON name = package
                 WHERE NOT essential AND delivery = 1 AND enqueued_at < pushed AND finished_at > finished)
          FROM urgent WHERE pushed IS NOT NULL";
    let Some(row) = client.query_opt(SQL, &[])? else { return Ok(String::new()) };
    let (seconds, overtaken): (f64, i64) = (row.get(0), row.get(1));
    Ok(format!(
        "  the {} urgent ones were through {seconds:.1} s after their push, \
         ahead of {overtaken} pushed before them\n",
        account.essential
    ))
}

struct Books {
    stats: Stats,
    audited: i64,
    dead: Vec<DeadLetter>,
}

struct DeadLetter {
    package: String,
    reason: String,
    delivery: i64,
    errors: Value,
}

impl Books {
    fn read(client: &mut Client) -> Result<Books> {
        const DEAD: &str = "SELECT payload, reason, delivery, errors FROM pgq_peek_dead('audit', max => 10)";
        Ok(Books {
            stats: Stats::read(client)?,
            audited: client.query_one("SELECT count(*) FROM audit", &[])?.get(0),
            dead: client.query(DEAD, &[])?.iter().map(dead_letter).collect(),
        })
    }

    /// Deliveries that nobody settled: their lease ran out.
    fn lapsed(&self) -> i64 {
        let Stats { delivered, deleted, retried, died, .. } = self.stats;
        delivered - deleted - retried - died
    }

    fn table(&self, account: &Account) -> String {
        let Stats { pushed, deleted, dead, delivered, retried, died, .. } = self.stats;
        let Account { ordinary, essential, .. } = account;
        let (audited, left, lapsed) = (self.audited, self.stats.left(), self.lapsed());
        format!(
            "\nThe books, from pgq_stats('audit')\n  \
             pushed     {pushed:>6}   {ordinary} by the trigger, {essential} in the batch, 1 poison\n  \
             = deleted  {deleted:>6}   each with its row in audit ({audited} rows)\n  \
             + dead     {dead:>6}\n  \
             + left     {left:>6}\n\n  \
             delivered  {delivered:>6}\n  \
             = deleted  {deleted:>6}\n  \
             + retried  {retried:>6}   pgq_fail, then delivered again after a pause\n  \
             + died     {died:>6}   pgq_fail at the last delivery\n  \
             + lapsed   {lapsed:>6}   the lease ran out ({} at the kill)\n",
            account.orphans.len()
        )
    }

    fn dead_letters(&self) -> String {
        let mut text = String::from("\nDead letters, from pgq_peek_dead('audit')\n");
        for letter in &self.dead {
            let DeadLetter { package, reason, delivery, errors } = letter;
            text += &format!("  {package}: {reason} after {delivery} deliveries\n");
            for error in errors.as_array().into_iter().flatten() {
                let what = error["error"].as_str().unwrap_or_default();
                text += &format!("    delivery {}: {what}\n", error["delivery"]);
            }
        }
        text
    }

    fn dead_names(&self) -> String {
        let name = |letter: &DeadLetter| format!("{} ({})", letter.package, letter.reason);
        self.dead.iter().map(name).collect::<Vec<_>>().join(", ")
    }

    fn mistakes(&self, account: &Account) -> Vec<String> {
        let Stats { pushed, deleted, dead, died, .. } = self.stats;
        let planned = (account.ordinary + account.essential + 1) as i64;
        let orphans = account.orphans.len() as i64;
        let lapsed = self.lapsed();
        let poison_alone = matches!(&self.dead[..], [one] if one.package == POISON && one.reason == "failed");
        let rules = [
            (pushed == planned, format!("{planned} messages were to be pushed, {pushed} were")),
            (
                pushed == deleted + dead + self.stats.left(),
                format!("{pushed} pushed, but {deleted} deleted, {dead} dead and {} left", self.stats.left()),
            ),
            (self.stats.left() == 0, format!("{} messages are left", self.stats.left())),
            (
                self.audited == deleted,
                format!("{deleted} messages deleted, but {} rows in audit", self.audited),
            ),
            (dead == died, format!("{died} messages died, but there are {dead} dead letters")),
            (
                poison_alone,
                format!("{POISON} should be the only dead letter, failed; there are: {}", self.dead_names()),
            ),
            (lapsed >= orphans, format!("{orphans} leases were left to run out, but only {lapsed} did")),
        ];
        rules.into_iter().filter(|(holds, _)| !holds).map(|(_, mistake)| mistake).collect()
    }
}

fn dead_letter(row: &Row) -> DeadLetter {
    let payload: Value = row.get("payload");
    DeadLetter {
        package: payload["package"].as_str().unwrap_or_default().to_owned(),
        reason: row.get("reason"),
        delivery: row.get("delivery"),
        errors: row.get::<_, Option<Value>>("errors").unwrap_or_default(),
    }
}
