//! Sleepers: as many wake as there are messages they could be given.
//!
//! A queue, with a limit or without, has messages that are out; sessions sleep on it in
//! `pgq_wait`, as there is nothing for them. Then a few statements make messages ready or slots
//! free, all in one transaction or each by itself.

use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::run::{Runner, SESSIONS};
use crate::worker::{Job, Refusal, rows};

/// Sleepers look by themselves every five seconds; a signal must be sooner, on any machine.
const SOONER: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Act {
    Delete(usize),
    Release(usize),
    /// Back to the queue, or to the dead letters if no delivery is left.
    Fail(usize),
    Bury(usize),
    PurgeLeased,
    Push(usize),
    Raise(usize),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sleepers {
    limit: Option<usize>,
    is_last_delivery: bool,
    out: usize,
    ready: usize,
    sleepers: usize,
    acts: Vec<Act>,
    is_together: bool,
}

pub fn sleepers(seed: u64) -> Sleepers {
    let mut rng = Rng::with_seed(seed);
    let out = rng.usize(1..=6);
    let limit = rng.bool().then_some(out);
    let acts = (0..rng.usize(1..=3)).map(|_| act(&mut rng)).collect();
    Sleepers {
        limit,
        is_last_delivery: rng.bool(),
        out,
        ready: if limit.is_some() { rng.usize(0..=6) } else { 0 },
        sleepers: rng.usize(1..=SESSIONS),
        acts,
        is_together: rng.bool(),
    }
}

fn act(rng: &mut Rng) -> Act {
    let n = rng.usize(1..=4);
    match rng.u32(0..7) {
        0 => Act::Delete(n),
        1 => Act::Release(n),
        2 => Act::Fail(n),
        3 => Act::Bury(n),
        4 => Act::PurgeLeased,
        5 => Act::Push(n),
        _ => Act::Raise(6 + n),
    }
}

/// Runs it; returns the fault, if there is one, and what was done.
pub fn fault(runner: &mut Runner, scenario: &Sleepers) -> Option<String> {
    let name = runner.next_name();
    let mut run = Run { runner, scenario, name, held: Vec::new(), script: Vec::new() };
    let late = run.late();
    let name = run.name.clone();
    run.drainer(&format!("SELECT pgq_drop_queue('{name}')"));
    late.map(|(due, woken)| {
        let sleepers = scenario.sleepers;
        let script = run.script[..run.script.len() - 1].join("\n");
        format!("{due} of {sleepers} sleepers had something to do, and {woken} woke: too few sleepers woke\n{script}")
    })
}

struct Run<'a> {
    runner: &'a mut Runner,
    scenario: &'a Sleepers,
    name: String,
    /// Receipts of what is out.
    held: Vec<(String, String)>,
    script: Vec<String>,
}

impl Run<'_> {
    /// A statement of the session that does not sleep.
    fn drainer(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.script.push(format!("A: {sql};"));
        rows(self.runner.control(), sql).unwrap_or_else(|refusal| panic!("{sql}: {refusal:?}"))
    }

    /// How many should have woken, and how many did, if those are fewer.
    fn late(&mut self) -> Option<(usize, usize)> {
        self.prepare();
        self.fall_asleep();
        let due = self.act();
        let woken = self.woken(due);
        self.wake_the_rest(woken);
        (woken < due).then_some((due, woken))
    }

    fn prepare(&mut self) {
        let (name, scenario) = (self.name.clone(), self.scenario);
        let mut settings = format!("{{\"max_deliveries\": {}", u32::from(scenario.is_last_delivery));
        if let Some(limit) = scenario.limit {
            settings += &format!(", \"max_leased\": {limit}");
        }
        self.drainer(&format!("SELECT pgq_create_queue('{name}', '{settings}}}')"));
        let count = scenario.out + scenario.ready;
        self.drainer(&push(&name, count));
        let out = scenario.out;
        let found = self.drainer(&format!(
            "SELECT id, delivery FROM pgq_reserve('{name}', lease => '1 h', max => {out})"
        ));
        let text = |value: &Option<String>| value.clone().expect("no null");
        self.held = found.iter().map(|row| (text(&row[0]), text(&row[1]))).collect();
        assert_eq!(self.held.len(), out);
    }

    fn fall_asleep(&mut self) {
        let pids: Vec<String> = (0..self.scenario.sleepers).map(|s| self.runner.pid(s).to_string()).collect();
        for s in 0..self.scenario.sleepers {
            let sql = format!("CALL pgq_wait('{}', '30 s')", self.name);
            self.script.push(format!("{}: {sql};", (b'B' + s as u8) as char));
            self.runner.send(s, Job { sql, then: None });
        }
        let asleep = format!(
            "SELECT FROM pg_stat_activity WHERE pid IN ({}) AND state = 'active' AND wait_event_type = 'Extension'",
            pids.join(", ")
        );
        let begun = Instant::now();
        while rows(self.runner.control(), &asleep).expect("a look").len() < pids.len() {
            assert!(begun.elapsed() < Duration::from_secs(30), "they sleep");
        }
    }

    /// Does what is to be done; returns how many have something to do then.
    fn act(&mut self) -> usize {
        let (mut ready, mut limit) = (self.scenario.ready, self.scenario.limit);
        let is_last = self.scenario.is_last_delivery;
        let mut all = Vec::new();
        for &act in &self.scenario.acts {
            let before = self.held.len();
            all.extend(self.sql(act));
            let gone = before - self.held.len();
            ready += match act {
                // What was given for the last time is not given again.
                Act::Release(_) | Act::Fail(_) if !is_last => gone,
                Act::Push(count) => count,
                _ => 0,
            };
            if let (Act::Raise(to), Some(_)) = (act, limit) {
                limit = Some(to);
            }
        }
        if self.scenario.is_together {
            all.insert(0, "BEGIN".into());
            all.push("COMMIT".into());
        }
        for sql in all {
            self.drainer(&sql);
        }
        let room = limit.map_or(usize::MAX, |limit| limit.saturating_sub(self.held.len()));
        ready.min(room).min(self.scenario.sleepers)
    }

    fn sql(&mut self, act: Act) -> Option<String> {
        let name = self.name.clone();
        let count = match act {
            Act::Delete(count) | Act::Release(count) | Act::Fail(count) | Act::Bury(count) => count,
            Act::PurgeLeased => {
                self.held.clear();
                return Some(format!("SELECT pgq_purge('{name}', 'leased')"));
            }
            Act::Push(count) => return Some(push(&name, count)),
            Act::Raise(limit) => {
                self.scenario.limit?;
                return Some(format!("SELECT pgq_alter_queue('{name}', '{{\"max_leased\": {limit}}}')"));
            }
        };
        let settled: Vec<_> = self.held.drain(..count.min(self.held.len())).collect();
        let ids: Vec<_> = settled.iter().map(|(id, _)| id.as_str()).collect();
        let deliveries: Vec<_> = settled.iter().map(|(_, delivery)| delivery.as_str()).collect();
        let (ids, deliveries) = (ids.join(", "), deliveries.join(", "));
        if ids.is_empty() {
            return None;
        }
        Some(match act {
            Act::Delete(_) => format!("SELECT pgq_delete_batch(ARRAY[{ids}]::bigint[], ARRAY[{deliveries}])"),
            Act::Release(_) => {
                format!("SELECT pgq_release_batch(ARRAY[{ids}]::bigint[], deliveries => ARRAY[{deliveries}])")
            }
            Act::Fail(_) => {
                format!("SELECT pgq_fail_batch(ARRAY[{ids}]::bigint[], 'no', ARRAY[{deliveries}], '0')")
            }
            _ => format!("SELECT pgq_bury_batch(ARRAY[{ids}]::bigint[], 'no', ARRAY[{deliveries}])"),
        })
    }

    fn woken(&mut self, due: usize) -> usize {
        let begun = Instant::now();
        let mut woken = 0;
        while woken < due && begun.elapsed() < SOONER {
            woken += usize::from(self.is_awake(Duration::from_millis(10)));
        }
        woken
    }

    fn is_awake(&mut self, patience: Duration) -> bool {
        let Some(reply) = self.runner.receive(patience) else { return false };
        let is_fine = |refusal: &Refusal| refusal.sqlstate == "57014";
        assert!(reply.rows.as_ref().err().is_none_or(is_fine), "{:?}", reply.rows);
        true
    }

    fn wake_the_rest(&mut self, mut woken: usize) {
        let pids: Vec<String> = (0..self.scenario.sleepers).map(|s| self.runner.pid(s).to_string()).collect();
        let cancel = format!(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid IN ({}) AND state = 'active'",
            pids.join(", ")
        );
        while woken < self.scenario.sleepers {
            rows(self.runner.control(), &cancel).expect("a cancellation");
            woken += usize::from(self.is_awake(Duration::from_millis(1)));
        }
    }
}

fn push(queue: &str, count: usize) -> String {
    format!("SELECT pgq_push_batch('{queue}', array_fill('1'::jsonb, ARRAY[{count}]))")
}

/// The shortest that fails.
pub fn shrink(mut scenario: Sleepers, mut fails: impl FnMut(&Sleepers) -> bool) -> Sleepers {
    while let Some(simpler) = simpler(&scenario).into_iter().find(&mut fails) {
        scenario = simpler;
    }
    scenario
}

fn simpler(scenario: &Sleepers) -> Vec<Sleepers> {
    let mut all = Vec::new();
    for at in 0..scenario.acts.len() {
        let mut less = scenario.clone();
        less.acts.remove(at);
        all.push(less);
    }
    for (sleepers, ready) in [(1, 0), (0, 1)] {
        let mut less = scenario.clone();
        less.sleepers = less.sleepers.saturating_sub(sleepers);
        less.ready = less.ready.saturating_sub(ready);
        all.push(less);
    }
    if scenario.out > 1 {
        let out = scenario.out - 1;
        all.push(Sleepers { out, limit: scenario.limit.map(|_| out), ..scenario.clone() });
    }
    all.push(Sleepers { is_together: false, ..scenario.clone() });
    all.push(Sleepers { is_last_delivery: false, ..scenario.clone() });
    all.retain(|less| less != scenario && less.sleepers > 0 && !less.acts.is_empty());
    all
}
