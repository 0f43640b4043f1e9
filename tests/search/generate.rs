//! Makes scenarios up, from a seed. A profile says of what kind.

mod skeleton;

use fastrand::Rng;

use crate::script::{Item, Level, Mode, Push, Scenario, Settings, Settle, Step, Which};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// Neither keys nor limits.
    Plain,
    Keys,
    Replace,
    /// Keys whose messages differ in group and priority, and are mostly given back.
    Turns,
    /// Keys where transactions have one snapshot.
    Snapshots,
    /// Deliveries, leases and times that end while others wait.
    Ends,
    Limits,
    DropOldest,
    /// The oldest dropped where there are dead ones.
    DropDead,
    Move,
}

pub const PROFILES: [Profile; 10] = [
    Profile::Plain,
    Profile::Keys,
    Profile::Replace,
    Profile::Turns,
    Profile::Snapshots,
    Profile::Ends,
    Profile::Limits,
    Profile::DropOldest,
    Profile::DropDead,
    Profile::Move,
];

pub fn scenario(profile: Profile, seed: u64) -> Scenario {
    let mut maker = Maker::new(profile, seed);
    let sessions = maker.rng.usize(2..=4);
    let mut todo: Vec<Vec<Step>> = (0..sessions).map(|_| maker.session()).collect();
    let mut items = if maker.is(45) { maker.skeleton(&mut todo) } else { Vec::new() };
    if !items.is_empty() && maker.is(60) {
        // What matters is what others do not disturb.
        let most = maker.rng.usize(skeleton::LEAN);
        todo.iter_mut().for_each(|steps| steps.truncate(most));
    }
    if items.is_empty() {
        items = maker.prologue(sessions);
    }
    todo.iter_mut().for_each(|steps| steps.reverse());
    while todo.iter().any(|steps| !steps.is_empty()) {
        let session = maker.rng.usize(0..sessions);
        // Now and then several of one session in a row.
        for _ in 0..maker.rng.usize(1..=3) {
            items.extend(todo[session].pop().map(|step| Item { session, step }));
        }
    }
    let endings = (0..sessions).map(|_| maker.ending()).collect();
    Scenario { queues: maker.queues, sessions, items, returns: maker.rng.usize(0..=2), endings }
}

struct Maker {
    rng: Rng,
    profile: Profile,
    queues: Vec<Settings>,
    keys: i64,
    /// How often, of a hundred, leases, delays and times to live are short.
    short: u32,
    /// How often a message has a group.
    grouped: u32,
}

impl Maker {
    fn new(profile: Profile, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let keys = if rng.u32(0..4) == 0 { 2 } else { 1 };
        let short = match profile {
            Profile::Ends => 60,
            Profile::DropDead => 40,
            Profile::DropOldest => 0,
            _ if rng.u32(0..4) == 0 => 25,
            _ => 0,
        };
        let grouped = if profile == Profile::Turns || rng.u32(0..4) == 0 { 50 } else { 0 };
        let mut maker = Self { rng, profile, queues: Vec::new(), keys, short, grouped };
        let has_two = profile == Profile::Move || profile == Profile::Snapshots && maker.is(30);
        let count = if has_two { 2 } else { 1 };
        maker.queues = (0..count).map(|_| maker.settings()).collect();
        maker
    }

    fn drops(&self) -> bool {
        matches!(self.profile, Profile::DropOldest | Profile::DropDead)
    }

    /// Whether something happens that happens so often of a hundred.
    fn is(&mut self, often: u32) -> bool {
        self.rng.u32(0..100) < often
    }

    fn settings(&mut self) -> Settings {
        let mut settings = Settings::default();
        match self.profile {
            Profile::Ends => {
                settings.max_deliveries = self.rng.u32(1..=3);
                settings.is_dead_on_timeout = self.is(30);
            }
            Profile::Limits => settings.max_leased = self.is(60).then(|| self.rng.u32(1..=4)),
            Profile::DropOldest | Profile::DropDead => {
                settings.max_length = Some(self.rng.u32(2..=3));
                settings.drops_oldest = true;
                settings.max_deliveries = u32::from(self.profile == Profile::DropDead && self.is(60));
            }
            _ => {}
        }
        settings
    }

    fn queue(&mut self) -> usize {
        self.rng.usize(0..self.queues.len())
    }

    /// What has happened before sessions meet: each statement a transaction of its own.
    fn prologue(&mut self, sessions: usize) -> Vec<Item> {
        let mut items = Vec::new();
        let session = self.rng.usize(0..sessions);
        if self.is(60) {
            // As many as make a limit felt.
            let (count, max) = match self.profile {
                Profile::Limits => (self.rng.usize(3..=6), self.rng.usize(1..=4)),
                _ => (1, 1),
            };
            let push = Push { count, ..self.a_push() };
            items.push(Step::Push(push));
            if self.is(60) {
                items.push(Step::Reserve { queue: push.queue, is_short: self.is(self.short), max });
                if self.is(40) {
                    items.push(Step::Settle(Settle::Release, Which::All));
                }
            }
        }
        let mut items: Vec<Item> = items.into_iter().map(|step| Item { session, step }).collect();
        for _ in 0..self.rng.usize(0..=3) {
            let session = self.rng.usize(0..sessions);
            items.push(Item { session, step: self.verb() });
        }
        items
    }

    /// What a session does: some transactions.
    fn session(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        let alone = if self.drops() { 80 } else { 45 };
        for _ in 0..self.rng.usize(1..=3) {
            if self.is(alone) {
                steps.push(self.verb());
            } else {
                self.transaction(&mut steps);
            }
        }
        steps
    }

    fn transaction(&mut self, steps: &mut Vec<Step>) {
        let old = match self.profile {
            Profile::Keys | Profile::Replace | Profile::Turns | Profile::Ends | Profile::Move => 0,
            Profile::Snapshots => 20,
            _ => 4,
        };
        let level = *self.one_of(&[
            (6, Level::ReadCommitted),
            (old, Level::RepeatableRead),
            (old / 3, Level::Serializable),
        ]);
        steps.push(Step::Begin(level));
        if level != Level::ReadCommitted && self.is(60) {
            steps.push(Step::Look);
        }
        for _ in 0..self.rng.usize(1..=4) {
            if self.is(10) {
                steps.push(Step::Savepoint);
                steps.push(self.verb());
                steps.push(Step::RollbackTo);
            }
            steps.push(self.verb());
        }
        match self.rng.u32(0..100) {
            0..80 => steps.push(Step::Commit),
            80..95 => steps.push(Step::Rollback),
            _ => {
                steps.push(Step::Prepare);
                let commits = self.is(70);
                steps.push(Step::Decide(commits));
            }
        }
    }

    fn an_end(&mut self) -> Step {
        *self.one_of(&[(1, Step::Commit), (1, Step::Rollback)])
    }

    fn one_of<'t, T>(&mut self, choices: &'t [(u32, T)]) -> &'t T {
        let mut n = self.rng.u32(0..choices.iter().map(|(weight, _)| weight).sum());
        for (weight, choice) in choices {
            if n < *weight {
                return choice;
            }
            n -= weight;
        }
        unreachable!("n is less than the sum")
    }

    fn verb(&mut self) -> Step {
        let kinds = self.kinds();
        match *self.one_of(&kinds) {
            Kind::Push => Step::Push(self.a_push()),
            Kind::Reserve => {
                let (queue, is_short) = (self.queue(), self.is(self.short));
                Step::Reserve { queue, is_short, max: *self.one_of(&[(6, 1), (2, 2), (1, 9)]) }
            }
            Kind::Pop => Step::Pop { queue: self.queue(), max: *self.one_of(&[(5, 1), (1, 9)]) },
            Kind::Settle => self.a_settle(),
            Kind::Update => Step::Update(self.nth()),
            Kind::Cancel => Step::Cancel(self.nth()),
            Kind::Move => Step::Move(self.nth(), self.queue()),
            Kind::Limit => {
                let limit = (!self.is(10)).then(|| self.rng.u32(1..=4));
                Step::Limit(self.queue(), limit)
            }
            Kind::Length => Step::Length(self.queue(), self.rng.u32(2..=3)),
            Kind::Purge => {
                let (queue, state) = (self.queue(), *self.one_of(&[(1, "ready"), (1, "leased")]));
                Step::Purge(queue, state)
            }
            Kind::Pause if self.short > 0 => Step::Pause,
            Kind::Pause => Step::Push(self.a_push()),
            Kind::Vacuum => Step::Vacuum,
        }
    }

    fn kinds(&self) -> Vec<(u32, Kind)> {
        let mut kinds = vec![
            (36, Kind::Push),
            (24, Kind::Reserve),
            (6, Kind::Pop),
            (24, Kind::Settle),
            (3, Kind::Update),
            (2, Kind::Cancel),
            (8, Kind::Pause),
        ];
        match self.profile {
            Profile::Limits => kinds.extend([(10, Kind::Limit), (1, Kind::Purge), (10, Kind::Reserve)]),
            Profile::DropOldest | Profile::DropDead => kinds.extend([(20, Kind::Push), (2, Kind::Length)]),
            _ if self.queues.len() > 1 => kinds.push((15, Kind::Move)),
            _ => kinds.extend([(1, Kind::Purge), (1, Kind::Vacuum)]),
        }
        kinds
    }

    /// Which of the known messages: mostly the last.
    fn nth(&mut self) -> usize {
        *self.one_of(&[(5, 0), (3, 1), (1, 2)])
    }

    fn a_push(&mut self) -> Push {
        let mode = self.mode();
        let key = self.rng.i64(0..self.keys);
        Push {
            queue: self.queue(),
            key,
            mode,
            count: if self.is(8) { 2 } else { 1 },
            has_group: self.has_group(mode, key),
            has_ttl: self.is(self.short / 4),
            is_delayed: self.is(self.short / 4),
            is_urgent: self.is(if self.profile == Profile::Turns { 40 } else { 5 }),
            max_deliveries: None,
        }
    }

    /// All of a key are of one group, or none is, but for `Turns`.
    fn has_group(&mut self, mode: Mode, key: i64) -> bool {
        match mode {
            Mode::Plain => self.is(self.grouped),
            _ if self.profile == Profile::Turns => self.is(self.grouped),
            _ => self.grouped > 0 && key == 0,
        }
    }

    fn mode(&mut self) -> Mode {
        let reject = (1, Mode::Reject);
        match self.profile {
            Profile::Plain | Profile::Limits => Mode::Plain,
            Profile::Replace => Mode::Replace,
            Profile::Turns => *self.one_of(&[(8, Mode::Ignore), (3, Mode::Replace), (4, Mode::Plain)]),
            Profile::DropOldest | Profile::DropDead => {
                *self.one_of(&[(3, Mode::Plain), (3, Mode::Ignore), (1, Mode::Replace)])
            }
            Profile::Keys | Profile::Snapshots => {
                *self.one_of(&[(12, Mode::Ignore), (3, Mode::Replace), (1, Mode::Plain), reject])
            }
            Profile::Ends => *self.one_of(&[(8, Mode::Ignore), (3, Mode::Replace), (1, Mode::Plain), reject]),
            Profile::Move => *self.one_of(&[(10, Mode::Ignore), (2, Mode::Replace), reject]),
        }
    }

    fn a_settle(&mut self) -> Step {
        let releases = if self.profile == Profile::Turns { 80 } else { 30 };
        let how = *self.one_of(&[
            (releases, Settle::Release),
            (25, Settle::Delete),
            (20, Settle::Fail),
            (3, Settle::Bury),
            (5, Settle::Extend),
        ]);
        Step::Settle(how, *self.one_of(&[(3, Which::First), (3, Which::Last), (2, Which::All)]))
    }

    fn ending(&mut self) -> Settle {
        *self.one_of(&[(5, Settle::Delete), (3, Settle::Release), (2, Settle::Fail)])
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Push,
    Reserve,
    Pop,
    Settle,
    Update,
    Cancel,
    Move,
    Limit,
    Length,
    Purge,
    Pause,
    Vacuum,
}
