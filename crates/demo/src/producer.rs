//! The producers. Ordinary packages are rows of a table, whose trigger pushes them;
//! they come in waves, so that the queue fills and drains while one watches.
//! Essential packages are pushed by plain SQL as one urgent batch into a wave.

use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use postgres::Client;

use crate::database;
use crate::dpkg::Package;
use crate::failure::Result;
use crate::run::Event;

pub const POISON: &str = "no-such-package";
const MAX_WAVES: usize = 12;
/// Smaller ones would be gone before a consumer could be caught with a message.
const MIN_WAVE: usize = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// How the packages are cut into waves, and what else happens at which.
pub struct Plan {
    ordinary: Vec<Package>,
    essential: Vec<Package>,
    pub waves: usize,
}

impl Plan {
    pub fn new(packages: Vec<Package>) -> Plan {
        let (essential, ordinary): (Vec<_>, Vec<_>) = packages.into_iter().partition(|p| p.essential);
        let waves = (ordinary.len() / MIN_WAVE).clamp(1, MAX_WAVES);
        Plan { ordinary, essential, waves }
    }

    pub fn ordinary(&self) -> usize {
        self.ordinary.len()
    }

    pub fn essential(&self) -> usize {
        self.essential.len()
    }

    /// All messages that will be pushed: one a package, and the poison.
    pub fn messages(&self) -> usize {
        self.ordinary() + self.essential() + 1
    }

    fn middle(&self) -> usize {
        (self.waves - 1) / 2
    }

    fn wave(&self, number: usize) -> &[Package] {
        let bound = |wave| self.ordinary.len() * wave / self.waves;
        &self.ordinary[bound(number)..bound(number + 1)]
    }
}

/// Pushes everything, in its own thread, and tells `events` how it went.
pub fn start(plan: Plan, events: Sender<Event>) {
    thread::spawn(move || {
        let outcome = produce(&plan, &events);
        // Nobody listens only if the demo has ended already.
        let _ = events.send(Event::Produced(outcome));
    });
}

fn produce(plan: &Plan, events: &Sender<Event>) -> Result<()> {
    let mut client = database::connect("producer")?;
    insert(&mut client, &plan.essential)?; // the trigger leaves these alone
    push_poison(&mut client)?;
    for number in 0..plan.waves {
        if number == (plan.middle() + 1).min(plan.waves - 1) {
            events.send(Event::TimeToKill)?;
        }
        insert(&mut client, plan.wave(number))?;
        if number == plan.middle() {
            push_urgent(&mut client)?;
            events.send(Event::PushedUrgent(plan.essential()))?;
        }
        if number + 1 < plan.waves {
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}

fn insert(client: &mut Client, packages: &[Package]) -> Result<()> {
    const SQL: &str = "INSERT INTO package (name, version, files, essential)
                       SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::boolean[])";
    let names: Vec<&str> = packages.iter().map(|p| p.name.as_str()).collect();
    let versions: Vec<&str> = packages.iter().map(|p| p.version.as_str()).collect();
    let files: Vec<i32> = packages.iter().map(|p| p.files).collect();
    let essential: Vec<bool> = packages.iter().map(|p| p.essential).collect();
    client.execute(SQL, &[&names, &versions, &files, &essential])?;
    Ok(())
}

fn push_urgent(client: &mut Client) -> Result<()> {
    // No essential package, no array to push: an empty one is refused.
    const SQL: &str = "SELECT pgq_push_batch('audit', payloads, priority => -10)
                         FROM (SELECT array_agg(jsonb_build_object('package', name)) AS payloads
                                 FROM package WHERE essential HAVING count(*) > 0) urgent";
    client.query(SQL, &[])?;
    Ok(())
}

/// A job nobody can do: each delivery of it fails.
fn push_poison(client: &mut Client) -> Result<()> {
    const SQL: &str = "SELECT pgq_push('audit', jsonb_build_object('package', $1::text))";
    client.query(SQL, &[&POISON])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(ordinary: usize) -> Plan {
        let package = |number| Package {
            name: format!("p{number}"),
            version: String::new(),
            files: 0,
            essential: number >= ordinary,
        };
        Plan::new((0..ordinary + 3).map(package).collect())
    }

    #[test]
    fn the_waves_hold_every_ordinary_package_once() {
        for ordinary in [1, 17, 20, 119, 722] {
            let plan = plan(ordinary);
            let in_waves: usize = (0..plan.waves).map(|wave| plan.wave(wave).len()).sum();
            assert_eq!((in_waves, plan.messages()), (ordinary, ordinary + 4));
            assert!(plan.middle() < plan.waves);
        }
    }
}
