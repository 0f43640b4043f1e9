//! Histories made by hand, for the tests of the rules: one thing after the other, each in a
//! transaction of its own that was committed at once. Message n has token n.

use crate::record::{
    Act, Clock, ClockStep, Crash, Done, End, History, Id, Length, Met, Moment, Operation, Order, Pushed,
    Receipt, ServerTime, Span, Taken, Token, Transaction, Verdict,
};
use crate::rule::{Rule, check};

/// How long leases last here.
pub const LEASE: Length = 10_000;

#[derive(Clone)]
pub struct Sample {
    pub history: History,
    now: Moment,
    /// By how much the server's clock is ahead.
    ahead: Length,
}

impl Sample {
    pub fn new() -> Self {
        Self { history: History::default(), now: 0, ahead: 1_000_000 }
    }

    pub fn breaks(&self, rule: Rule) -> bool {
        let violations = check(&self.history);
        violations.iter().any(|violation| violation.rule == rule)
    }

    pub fn now(&self) -> Moment {
        self.now
    }

    pub fn clock(&self) -> ServerTime {
        self.now + self.ahead
    }

    pub fn pass(&mut self, length: Length) {
        self.now += length;
    }

    pub fn add(&mut self, act: Act) -> &mut Transaction {
        let span = Span { invoked: self.now, returned: self.now + 5 };
        let durable = !matches!(act, Act::Reserve { .. });
        let clock = Clock { began: self.clock(), ended: self.clock() + 5 };
        let operation = Operation { span, clock: Some(clock), queue: "q".into(), act, undone: false };
        let number = self.history.transactions.len() as u64;
        self.history.transactions.push(Transaction {
            number,
            client: 1,
            operations: vec![operation],
            end: End::Committed(span),
            durable,
            noted: false,
        });
        self.now += 10;
        self.history.transactions.last_mut().expect("just pushed")
    }

    pub fn push(&mut self, id: Id) -> &mut Transaction {
        self.push_with(id, Order::default())
    }

    pub fn push_to(&mut self, id: Id, group: &str, priority: i32) -> &mut Transaction {
        self.push_with(id, Order { group: Some(group.into()), priority })
    }

    fn push_with(&mut self, id: Id, order: Order) -> &mut Transaction {
        let messages = vec![Pushed { token: id, id: Some(id), met: None }];
        self.add(Act::Push { messages, order, delay: 0, ttl: None, key: None })
    }

    /// Pushes a message with a key, which is the same for all.
    pub fn push_key(&mut self, id: Id) -> &mut Transaction {
        self.push_of_key(Pushed { token: id, id: Some(id), met: None })
    }

    /// Pushes the key while a message waits with it.
    pub fn meet(&mut self, token: Token, id: Id, met: Met) -> &mut Transaction {
        self.push_of_key(Pushed { token, id: Some(id), met: Some(met) })
    }

    /// Changes the content of a message.
    pub fn update(&mut self, token: Token, id: Id) -> &mut Transaction {
        let messages = vec![Pushed { token, id: Some(id), met: Some(Met::Replaced) }];
        self.add(Act::Push { messages, order: Order::default(), delay: 0, ttl: None, key: None })
    }

    /// Makes a message another one, elsewhere.
    pub fn relocate(&mut self, id: Id, new_id: Id) -> &mut Transaction {
        self.add(Act::Move { ids: vec![id], to: "elsewhere".into(), moved: Some(vec![(id, new_id)]) })
    }

    fn push_of_key(&mut self, pushed: Pushed) -> &mut Transaction {
        let order = Order::default();
        self.add(Act::Push { messages: vec![pushed], order, delay: 0, ttl: None, key: Some("k".into()) })
    }

    pub fn reserve(&mut self, id: Id, delivery: i32) -> &mut Transaction {
        self.reserve_token(id, id, delivery)
    }

    pub fn reserve_token(&mut self, id: Id, token: Token, delivery: i32) -> &mut Transaction {
        let until = Some(self.clock() + LEASE);
        self.add(Act::Reserve {
            lease: LEASE,
            lifo: false,
            taken: Some(vec![Taken { id, token, delivery, until }]),
        })
    }

    pub fn pop(&mut self, id: Id, delivery: i32) -> &mut Transaction {
        self.add(Act::Pop { max: 1, taken: Some(vec![Taken { id, token: id, delivery, until: None }]) })
    }

    pub fn settle(&mut self, verdict: Verdict, id: Id, delivery: i32) -> &mut Transaction {
        self.answered(verdict, Receipt { id, delivery: Some(delivery) }, true)
    }

    pub fn settle_any(&mut self, verdict: Verdict, id: Id) -> &mut Transaction {
        self.answered(verdict, Receipt { id, delivery: None }, true)
    }

    pub fn refused(&mut self, verdict: Verdict, id: Id, delivery: i32) -> &mut Transaction {
        self.answered(verdict, Receipt { id, delivery: Some(delivery) }, false)
    }

    pub fn delete(&mut self, id: Id, delivery: i32) -> &mut Transaction {
        self.settle(Verdict::Delete, id, delivery)
    }

    pub fn extend(&mut self, id: Id, delivery: i32, lease: Length) -> &mut Transaction {
        let done = Done { id, until: Some(self.clock() + lease), died: false };
        let receipts = vec![Receipt { id, delivery: Some(delivery) }];
        self.add(Act::Settle { verdict: Verdict::Extend, receipts, delay: None, done: Some(vec![done]) })
    }

    fn answered(&mut self, verdict: Verdict, receipt: Receipt, is_done: bool) -> &mut Transaction {
        let until = (verdict == Verdict::Extend).then(|| self.clock() + LEASE);
        let done = Done { id: receipt.id, until, died: verdict == Verdict::Bury };
        let done = if is_done { vec![done] } else { Vec::new() };
        self.add(Act::Settle {
            verdict,
            receipts: vec![receipt],
            delay: (verdict == Verdict::Release).then_some(0),
            done: Some(done),
        })
    }

    /// The server crashes now, and forgets what did not wait for the disk in a time before.
    pub fn crash(&mut self, forgets: Length) {
        let span = Span { invoked: self.now, returned: self.now + 5 };
        self.history.crashes.push(Crash { span, forgets });
        self.now += 10;
    }

    pub fn step_clock(&mut self, by: Length) {
        let span = Span { invoked: self.now, returned: self.now + 1 };
        self.history.clock_steps.push(ClockStep { span, by });
        self.ahead += by;
        self.now += 10;
    }

    pub fn remains(&mut self, id: Id) {
        self.remains_as(id, id);
    }

    pub fn remains_as(&mut self, id: Id, token: Token) {
        self.history.ending.alive.insert(id, token);
    }
}
