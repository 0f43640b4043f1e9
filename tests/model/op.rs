//! What is done to the queues: operations whose messages are chosen when they are run, so
//! that a sequence of them still means something when some are taken away.

use proptest::collection::vec;
use proptest::option::{of, weighted};
use proptest::prelude::*;

use crate::reference::{Hours, OnDuplicate, Reason, Settings, State};

/// How many queues there are.
pub const QUEUES: usize = 3;

/// One of the messages there are, or have been.
pub type Pick = u8;

/// Which delivery a settle call gives with each id.
#[derive(Clone, Copy, Debug)]
pub enum Delivery {
    None,
    Last,
    Earlier,
}

#[derive(Clone, Debug)]
pub struct PushOptions {
    pub queue: usize,
    pub kind: Option<bool>,
    pub priority: i32,
    pub delay: Option<Hours>,
    pub ttl: Option<Hours>,
    pub group: Option<u8>,
    pub key: Option<(u8, OnDuplicate)>,
    pub lease: Option<Hours>,
    pub max_deliveries: Option<i32>,
}

#[derive(Clone, Debug)]
pub struct Ask {
    pub queue: usize,
    pub max: usize,
    pub lifo: Option<bool>,
    pub group: Option<u8>,
    pub kind: Option<bool>,
}

/// What `pgq_purge` may name.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    Messages(State),
    Dead,
    Archived,
}

#[derive(Clone, Debug)]
pub enum Op {
    Push(PushOptions),
    PushBatch(PushOptions, usize),
    Reserve(Ask, Option<Hours>),
    Pop(Ask),
    Next(Ask, Vec<Pick>, Delivery),
    Peek(usize, usize),
    Delete(Vec<Pick>, Delivery),
    Extend(Vec<Pick>, Delivery, Hours),
    Release(Vec<Pick>, Delivery, Hours, bool),
    Fail(Vec<Pick>, Delivery, Option<Hours>),
    Bury(Vec<Pick>, Delivery),
    Update {
        pick: Pick,
        payload: bool,
        kind: Option<bool>,
        priority: Option<i32>,
        deliver_in: Option<Hours>,
    },
    Cancel(Vec<Pick>),
    Move(Vec<Pick>, usize),
    Dump(usize, usize),
    PeekDead(usize, usize),
    Redrive {
        from: usize,
        max: Option<usize>,
        to: usize,
        reason: Option<Reason>,
        reset: bool,
    },
    Purge(usize, Option<Part>, Option<u8>),
    Pause(usize, bool),
    Alter(usize, Setting),
    Vacuum,
    Pass(Hours),
    Begin,
    Savepoint,
    RollbackToSavepoint,
    Commit,
    Rollback,
    /// Goes on in the other session, outside of transactions.
    Switch,
}

/// A setting and its new value.
#[derive(Clone, Copy, Debug)]
pub enum Setting {
    MaxDeliveries(i32),
    DeadLetter(bool),
    ExpiresDead(bool),
    TimesOutDead(bool),
    Lifo(bool),
    Parallel(bool),
    MaxLeased(Option<i64>),
    MaxLength(Option<i64>),
    DropsOldest(bool),
    DedupWindow(Option<Hours>),
    Ttl(Option<Hours>),
    Archive(Option<Hours>),
}

impl Setting {
    pub fn apply(self, settings: &mut Settings) {
        match self {
            Self::MaxDeliveries(max) => settings.max_deliveries = max,
            Self::DeadLetter(kept) => settings.dead_letter = kept,
            Self::ExpiresDead(dead) => settings.expires_dead = dead,
            Self::TimesOutDead(dead) => settings.times_out_dead = dead,
            Self::Lifo(lifo) => settings.lifo = lifo,
            Self::Parallel(parallel) => settings.parallel = parallel,
            Self::MaxLeased(max) => settings.max_leased = max,
            Self::MaxLength(max) => settings.max_length = max,
            Self::DropsOldest(drops) => settings.drops_oldest = drops,
            Self::DedupWindow(window) => settings.dedup_window = window,
            Self::Ttl(ttl) => settings.ttl = ttl,
            Self::Archive(kept) => settings.archive = kept,
        }
    }
}

fn queue() -> impl Strategy<Value = usize> {
    // Most of what happens, happens in one.
    prop_oneof![4 => Just(0), 2 => Just(1), 1 => Just(2)]
}

fn picks() -> impl Strategy<Value = Vec<Pick>> {
    vec(any::<Pick>(), 1..4)
}

fn delivery() -> impl Strategy<Value = Delivery> {
    prop_oneof![2 => Just(Delivery::None), 4 => Just(Delivery::Last), 1 => Just(Delivery::Earlier)]
}

fn group() -> impl Strategy<Value = Option<u8>> {
    weighted(0.4, 0..2u8)
}

fn setting() -> impl Strategy<Value = Setting> {
    prop_oneof![
        (0..4).prop_map(Setting::MaxDeliveries),
        any::<bool>().prop_map(Setting::DeadLetter),
        any::<bool>().prop_map(Setting::ExpiresDead),
        any::<bool>().prop_map(Setting::TimesOutDead),
        any::<bool>().prop_map(Setting::Lifo),
        any::<bool>().prop_map(Setting::Parallel),
        of(1..4i64).prop_map(Setting::MaxLeased),
        of(1..6i64).prop_map(Setting::MaxLength),
        any::<bool>().prop_map(Setting::DropsOldest),
        of(1..4i64).prop_map(Setting::DedupWindow),
        of(1..6i64).prop_map(Setting::Ttl),
        of(1..4i64).prop_map(Setting::Archive),
    ]
}

/// A few settings that differ from the defaults.
pub fn settings() -> impl Strategy<Value = Vec<Setting>> {
    vec(setting(), 0..4)
}

fn push() -> impl Strategy<Value = PushOptions> {
    let on_duplicate =
        prop_oneof![Just(OnDuplicate::Ignore), Just(OnDuplicate::Replace), Just(OnDuplicate::Reject)];
    let content = (queue(), of(any::<bool>()), prop_oneof![1 => Just(0), 1 => -1..2i32]);
    let times =
        (weighted(0.2, 1..4i64), weighted(0.2, 1..5i64), weighted(0.2, 1..5i64), weighted(0.2, 0..4i32));
    (content, times, group(), weighted(0.4, (0..2u8, on_duplicate))).prop_map(
        |((queue, kind, priority), (delay, ttl, lease, max_deliveries), group, key)| PushOptions {
            queue,
            kind,
            priority,
            delay,
            ttl,
            group,
            key,
            lease,
            max_deliveries,
        },
    )
}

fn ask() -> impl Strategy<Value = Ask> {
    (queue(), 1..5usize, weighted(0.2, any::<bool>()), weighted(0.2, 0..2u8), weighted(0.2, any::<bool>()))
        .prop_map(|(queue, max, lifo, group, kind)| Ask { queue, max, lifo, group, kind })
}

fn update() -> impl Strategy<Value = Op> {
    (any::<Pick>(), any::<bool>(), of(any::<bool>()), of(-1..2i32), of(-1..4i64)).prop_map(
        |(pick, payload, kind, priority, deliver_in)| Op::Update {
            pick,
            payload,
            kind,
            priority,
            deliver_in,
        },
    )
}

fn redrive() -> impl Strategy<Value = Op> {
    let reason =
        prop_oneof![Just(Reason::Failed), Just(Reason::Timeout), Just(Reason::Buried), Just(Reason::Expired)];
    (queue(), of(1..3usize), queue(), weighted(0.3, reason), any::<bool>())
        .prop_map(|(from, max, to, reason, reset)| Op::Redrive { from, max, to, reason, reset })
}

fn purge() -> impl Strategy<Value = Op> {
    let state =
        prop_oneof![Just(State::Ready), Just(State::Delayed), Just(State::Leased), Just(State::Blocked)];
    let part =
        prop_oneof![4 => state.prop_map(Part::Messages), 1 => Just(Part::Dead), 1 => Just(Part::Archived)];
    (queue(), weighted(0.8, part), weighted(0.3, 0..2u8))
        .prop_map(|(queue, part, group)| Op::Purge(queue, part, group))
}

fn handing_out() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (ask(), weighted(0.5, 1..5i64)).prop_map(|(ask, lease)| Op::Reserve(ask, lease)),
        2 => ask().prop_map(Op::Pop),
        2 => (ask(), picks(), delivery()).prop_map(|(ask, done, delivery)| Op::Next(ask, done, delivery)),
        2 => (queue(), 1..5usize).prop_map(|(queue, max)| Op::Peek(queue, max)),
    ]
}

fn settling() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (picks(), delivery()).prop_map(|(picks, delivery)| Op::Delete(picks, delivery)),
        1 => (picks(), delivery(), 1..5i64).prop_map(|(picks, delivery, lease)| Op::Extend(picks, delivery, lease)),
        2 => (picks(), delivery(), prop_oneof![Just(0), 1..4i64], weighted(0.8, Just(())))
            .prop_map(|(picks, delivery, delay, lax)| Op::Release(picks, delivery, delay, lax.is_none())),
        3 => (picks(), delivery(), of(0..3i64)).prop_map(|(picks, delivery, delay)| Op::Fail(picks, delivery, delay)),
        1 => (picks(), delivery()).prop_map(|(picks, delivery)| Op::Bury(picks, delivery)),
    ]
}

fn changing() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => update(),
        1 => picks().prop_map(Op::Cancel),
        2 => (picks(), queue()).prop_map(|(picks, to)| Op::Move(picks, to)),
    ]
}

fn managing() -> impl Strategy<Value = Op> {
    prop_oneof![
        1 => (queue(), 1..3usize).prop_map(|(queue, max)| Op::Dump(queue, max)),
        1 => (queue(), 1..3usize).prop_map(|(queue, max)| Op::PeekDead(queue, max)),
        2 => redrive(),
        1 => purge(),
        1 => (queue(), any::<bool>()).prop_map(|(queue, paused)| Op::Pause(queue, paused)),
        3 => (queue(), setting()).prop_map(|(queue, setting)| Op::Alter(queue, setting)),
        2 => Just(Op::Vacuum),
    ]
}

fn transaction() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => Just(Op::Begin),
        2 => Just(Op::Savepoint),
        1 => Just(Op::RollbackToSavepoint),
        2 => Just(Op::Commit),
        1 => Just(Op::Rollback),
        1 => Just(Op::Switch),
    ]
}

pub fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => push().prop_map(Op::Push),
        2 => (push(), 2..4usize).prop_map(|(push, count)| Op::PushBatch(push, count)),
        10 => handing_out(),
        8 => settling(),
        3 => changing(),
        4 => managing(),
        4 => transaction(),
        3 => (1..4i64).prop_map(Op::Pass),
    ]
}
