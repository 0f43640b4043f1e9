//! Wait lists: the sessions that sleep on a queue, how many messages each waits for, and which of them knows
//! the next due time.
//!
//! A queue has a wait list while a session sleeps on it. Each session owns one list. The first session that
//! sleeps on a queue lends its list to the queue, a later one leaves its own there as a spare, and each takes
//! one along when it leaves. (Kernels call such lists turnstiles.) So there is always a list, and nothing is
//! allocated.
//!
//! A room holds the lists of the queues with one hash, and has a lock. All methods of `Room` need it.
//!
//! - A sleeper that waits for one message stands in a line; `n` messages wake the first `n` of it.
//! - A sleeper that waits for more has a mark: it is woken when the news of its list have reached it. Then
//!   there were as many messages as it lacked at its last look.
//! - The keeper of a list is the one sleeper that wakes at the next time at which a message comes by itself.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::value::timestamp::{NEVER, Timestamp};

/// No session, or no list.
pub const NONE: u32 = u32::MAX;

/// How many sleepers are woken with one hold of the lock.
const BATCH: usize = 32;

/// A sleeper whose mark is not known yet, because it is about to look.
const LOOKS: u64 = u64::MAX;

/// The messages that a session waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    One,
    More,
}

/// The place of a session, by the number of its process.
#[repr(C)]
pub struct Sleeping {
    /// The list of the queue on which it sleeps, or else its own.
    list: Cell<u32>,
    sleeps: Cell<bool>,
    waits_for_more: Cell<bool>,
    stands_in_line: Cell<bool>,
    is_deputy: Cell<bool>,
    /// A signal has come since it began to look. The session reads it without the lock.
    is_woken: AtomicBool,
    /// News of the list when it began to look.
    seen: Cell<u64>,
    /// News of the list at which it is woken, if it waits for more than one message.
    mark: Cell<u64>,
    before: Cell<u32>,
    behind: Cell<u32>,
}

#[derive(Default)]
struct Line {
    first: Cell<u32>,
    last: Cell<u32>,
    length: Cell<u32>,
}

/// The sleepers of a queue.
#[repr(C)]
pub struct WaitList {
    key: Cell<u64>,
    /// The next list of the room, or the next spare list.
    next: Cell<u32>,
    spares: Cell<u32>,
    for_one: Line,
    for_more: Line,
    /// How many messages it was told of.
    news: Cell<u64>,
    /// No mark is lower.
    lowest_mark: Cell<u64>,
    keeper: Cell<u32>,
    /// The time at which the keeper wakes. It stays when the keeper leaves, until another sleeper takes over.
    time: Cell<Timestamp>,
    /// When a deputy was asked for.
    deputy_since: Cell<Timestamp>,
}

impl Sleeping {
    /// Makes the place of a session that does not sleep. The list of the same number is its own.
    pub fn new(number: u32) -> Self {
        Self {
            list: Cell::new(number),
            sleeps: Cell::new(false),
            waits_for_more: Cell::new(false),
            stands_in_line: Cell::new(false),
            is_deputy: Cell::new(false),
            is_woken: AtomicBool::new(false),
            seen: Cell::new(0),
            mark: Cell::new(LOOKS),
            before: Cell::new(NONE),
            behind: Cell::new(NONE),
        }
    }

    /// Whether a signal has come.
    pub fn is_woken(&self) -> bool {
        self.is_woken.load(Ordering::Acquire)
    }
}

impl WaitList {
    pub fn new() -> Self {
        let line = || Line { first: Cell::new(NONE), last: Cell::new(NONE), length: Cell::new(0) };
        Self {
            key: Cell::new(0),
            next: Cell::new(NONE),
            spares: Cell::new(NONE),
            for_one: line(),
            for_more: line(),
            news: Cell::new(0),
            lowest_mark: Cell::new(LOOKS),
            keeper: Cell::new(NONE),
            time: Cell::new(NEVER),
            deputy_since: Cell::new(Timestamp::MIN),
        }
    }

    fn line(&self, wish: Wish) -> &Line {
        match wish {
            Wish::One => &self.for_one,
            Wish::More => &self.for_more,
        }
    }
}

/// Sessions that are to be woken, now that they have left their line.
pub struct Woken {
    numbers: [u32; BATCH],
    count: usize,
}

impl Woken {
    const fn new() -> Self {
        Self { numbers: [NONE; BATCH], count: 0 }
    }

    pub fn all(&self) -> &[u32] {
        &self.numbers[..self.count]
    }

    pub fn is_full(&self) -> bool {
        self.count == BATCH
    }

    fn add(&mut self, number: u32) {
        self.numbers[self.count] = number;
        self.count += 1;
    }
}

/// How many sleepers are yet to be woken.
#[derive(Clone, Copy)]
pub enum Call {
    /// So many messages have come, of which no sleeper has heard.
    News(usize),
    /// The same messages: so many sleepers that wait for one are left to wake.
    Rest(usize),
    /// Each sleeper has to look.
    All,
}

/// How a sleep has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Its time was over. True if it was the keeper, and the time that it has kept has come.
    Time {
        kept: bool,
    },
    Signal,
    /// It was asked to look after a grace, in place of another session.
    Deputy,
}

/// The signal and time that a session leaves to others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Left {
    /// A signal that it has not followed.
    pub signal: bool,
    /// A time that no other sleeper keeps.
    pub time: Option<Timestamp>,
}

/// The lists of the queues with one hash, under the lock of their room.
#[derive(Clone, Copy)]
pub struct Room<'a> {
    pub first: &'a Cell<u32>,
    pub sessions: &'a [Sleeping],
    pub lists: &'a [WaitList],
}

impl<'a> Room<'a> {
    fn session(self, number: u32) -> &'a Sleeping {
        &self.sessions[number as usize]
    }

    fn list(self, number: u32) -> &'a WaitList {
        &self.lists[number as usize]
    }

    fn list_of(self, session: u32) -> &'a WaitList {
        self.list(self.session(session).list.get())
    }

    fn find(self, key: u64) -> Option<u32> {
        let mut number = self.first.get();
        while number != NONE && self.list(number).key.get() != key {
            number = self.list(number).next.get();
        }
        (number != NONE).then_some(number)
    }

    /// Has a session sleep on a queue. It is about to look.
    pub fn join(self, number: u32, key: u64, wish: Wish) {
        let session = self.session(number);
        let own = session.list.get();
        match self.find(key) {
            Some(there) => {
                self.list(own).next.set(self.list(there).spares.replace(own));
                session.list.set(there);
            }
            None => {
                let list = self.list(own);
                list.key.set(key);
                list.next.set(self.first.replace(own));
                list.spares.set(NONE);
                list.news.set(0);
                list.lowest_mark.set(LOOKS);
                list.keeper.set(NONE);
                list.time.set(NEVER);
                list.deputy_since.set(Timestamp::MIN);
            }
        }
        session.sleeps.set(true);
        session.waits_for_more.set(wish == Wish::More);
        session.is_woken.store(false, Ordering::Relaxed);
        session.is_deputy.set(false);
        self.begin_to_look(number);
    }

    /// A session leaves its queue.
    pub fn leave(self, number: u32) -> Left {
        let session = self.session(number);
        if !session.sleeps.replace(false) {
            return Left { signal: false, time: None };
        }
        let (there, list) = (session.list.get(), self.list_of(number));
        self.leave_line(number);
        if list.keeper.get() == number {
            list.keeper.set(NONE);
        }
        let time = Some(list.time.get()).filter(|&time| list.keeper.get() == NONE && time < NEVER);
        match list.spares.get() {
            NONE => self.remove(there),
            spare => {
                list.spares.set(self.list(spare).next.get());
                session.list.set(spare);
            }
        }
        Left { signal: session.is_woken.swap(false, Ordering::Relaxed), time }
    }

    fn remove(self, number: u32) {
        let mut link = self.first;
        while link.get() != number {
            link = &self.list(link.get()).next;
        }
        link.set(self.list(number).next.get());
    }

    /// Notes that a session is about to look: it stands in its line again.
    fn begin_to_look(self, number: u32) {
        let (session, list) = (self.session(number), self.list_of(number));
        session.seen.set(list.news.get());
        session.mark.set(LOOKS);
        if !session.stands_in_line.get() {
            self.enter_line(number);
        }
    }

    /// Has a session sleep after a look. It lacks so many messages, and knows the next time at which one comes
    /// by itself. Returns that time if it has to keep it; another sleeper may do so already.
    pub fn fall_asleep(self, number: u32, lacks: u64, time: Timestamp) -> Option<Timestamp> {
        let (session, list) = (self.session(number), self.list_of(number));
        if session.waits_for_more.get() {
            // It may have a mark already, if all were to be woken while it looked.
            let mark = session.mark.get().min(session.seen.get() + lacks);
            session.mark.set(mark);
            list.lowest_mark.set(list.lowest_mark.get().min(mark));
            if mark <= list.news.get() {
                self.wake_one(number);
            }
        }
        if list.keeper.get() != NONE && list.keeper.get() != number && list.time.get() <= time {
            return None;
        }
        let time = if list.keeper.get() == NONE { time.min(list.time.get()) } else { time };
        if time == NEVER {
            return None;
        }
        list.keeper.set(number);
        list.time.set(time);
        Some(time)
    }

    /// Ends the sleep of a session, which is about to look, or to sleep as a deputy.
    pub fn wake_up(self, number: u32, now: Timestamp) -> End {
        let (session, list) = (self.session(number), self.list_of(number));
        let is_woken = session.is_woken.swap(false, Ordering::Relaxed);
        let is_keeper = list.keeper.get() == number;
        if is_keeper {
            list.keeper.set(NONE);
        }
        let has_come = list.keeper.get() == NONE && list.time.get() <= now;
        if has_come {
            list.time.set(NEVER); // its look follows
        }
        let kept = is_keeper && has_come;
        self.begin_to_look(number);
        match (is_woken, session.is_deputy.replace(false)) {
            (false, _) => End::Time { kept },
            (true, false) => End::Signal,
            (true, true) => End::Deputy,
        }
    }

    /// Wakes sleepers of a queue, as many as fit in a batch. The call that is left is to be made again if the
    /// batch is full.
    pub fn wake(self, key: u64, call: &mut Call) -> Woken {
        let mut woken = Woken::new();
        let Some(list) = self.find(key).map(|number| self.list(number)) else { return woken };
        let length = list.for_one.length.get() as usize;
        let mut left = match *call {
            Call::News(messages) => {
                list.news.set(list.news.get() + messages as u64);
                messages.min(length)
            }
            Call::Rest(left) => left.min(length),
            Call::All => length,
        };
        self.wake_marked(list, matches!(call, Call::All), &mut woken);
        while left > 0
            && !woken.is_full()
            && let Some(number) = self.first_for_one(list)
        {
            left -= 1;
            self.wake_one(number);
            woken.add(number);
        }
        // A sleeper that is woken may stand in its line again before the next batch.
        *call = Call::Rest(left);
        woken
    }

    /// Wakes sleepers whose mark is reached, or all that wait for more than one message.
    fn wake_marked(self, list: &WaitList, all: bool, woken: &mut Woken) {
        let news = list.news.get();
        if !all && list.lowest_mark.get() > news {
            return;
        }
        let (mut number, mut lowest) = (list.for_more.first.get(), LOOKS);
        while number != NONE {
            let session = self.session(number);
            let next = session.behind.get();
            if !all && session.mark.get() > news {
                lowest = lowest.min(session.mark.get());
            } else if woken.is_full() {
                lowest = news; // looked for again with the next batch
                if all {
                    session.mark.set(news);
                }
            } else {
                self.wake_one(number);
                woken.add(number);
            }
            number = next;
        }
        list.lowest_mark.set(lowest);
    }

    /// The first in line; the keeper only if no other sleeper is there.
    fn first_for_one(self, list: &WaitList) -> Option<u32> {
        let first = list.for_one.first.get();
        if first != NONE && first == list.keeper.get() && list.for_one.length.get() > 1 {
            self.leave_line(first);
            self.enter_line(first);
        }
        Some(list.for_one.first.get()).filter(|&number| number != NONE)
    }

    fn wake_one(self, number: u32) {
        self.leave_line(number);
        self.session(number).is_woken.store(true, Ordering::Release);
    }

    /// Has a sleeper of a queue look, which then knows the time at which a message will come. None if the
    /// keeper knows an earlier time.
    pub fn tell_time(self, key: u64, time: Timestamp) -> Option<u32> {
        let list = self.list(self.find(key)?);
        let keeper = list.keeper.get();
        if keeper != NONE && list.time.get() <= time {
            return None;
        }
        let stands = |number: &u32| *number != NONE && self.session(*number).stands_in_line.get();
        let firsts = [keeper, list.for_one.first.get(), list.for_more.first.get()];
        let number = firsts.into_iter().find(stands)?;
        self.wake_one(number);
        Some(number)
    }

    /// Wakes a deputy: a sleeper that looks when the grace is over. False if one is about to look already.
    pub fn ask_deputy(self, key: u64, now: Timestamp, grace: Timestamp) -> Option<u32> {
        let list = self.list(self.find(key)?);
        let since = list.deputy_since.get();
        if (since..since.saturating_add(grace)).contains(&now) {
            return None;
        }
        let number = self.first_for_one(list)?;
        list.deputy_since.set(now);
        self.wake_one(number);
        self.session(number).is_deputy.set(true);
        Some(number)
    }

    /// Notes that the deputy does something else, so that the next wake-up asks for another.
    pub fn dismiss_deputy(self, key: u64) {
        if let Some(number) = self.find(key) {
            self.list(number).deputy_since.set(Timestamp::MIN);
        }
    }

    /// How many messages other sessions wait for beside this one, as far as they can be told apart: one for
    /// each that waits for one, and as many as reach the lowest mark.
    pub fn others_wish(self, number: u32) -> u64 {
        let (session, list) = (self.session(number), self.list_of(number));
        let for_one = u64::from(list.for_one.length.get());
        let lowest = list.lowest_mark.get();
        let to_lowest = if lowest == LOOKS { 0 } else { lowest.saturating_sub(list.news.get()) };
        for_one.saturating_sub(u64::from(!session.waits_for_more.get())) + to_lowest
    }

    /// Notes that a session has itself told others of messages, which it has seen.
    pub fn has_seen(self, number: u32, messages: u64) {
        let session = self.session(number);
        session.seen.set(session.seen.get() + messages);
    }

    fn line_of(self, number: u32) -> &'a Line {
        let wish = if self.session(number).waits_for_more.get() { Wish::More } else { Wish::One };
        self.list_of(number).line(wish)
    }

    fn enter_line(self, number: u32) {
        let (session, line) = (self.session(number), self.line_of(number));
        let last = line.last.replace(number);
        session.before.set(last);
        session.behind.set(NONE);
        match last {
            NONE => line.first.set(number),
            last => self.session(last).behind.set(number),
        }
        line.length.set(line.length.get() + 1);
        session.stands_in_line.set(true);
    }

    fn leave_line(self, number: u32) {
        let (session, line) = (self.session(number), self.line_of(number));
        if !session.stands_in_line.replace(false) {
            return;
        }
        let (before, behind) = (session.before.get(), session.behind.get());
        match before {
            NONE => line.first.set(behind),
            before => self.session(before).behind.set(behind),
        }
        match behind {
            NONE => line.last.set(before),
            behind => self.session(behind).before.set(before),
        }
        line.length.set(line.length.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        first: Cell<u32>,
        sessions: Vec<Sleeping>,
        lists: Vec<WaitList>,
    }

    impl World {
        fn of(sessions: u32) -> Self {
            Self {
                first: Cell::new(NONE),
                sessions: (0..sessions).map(Sleeping::new).collect(),
                lists: (0..sessions).map(|_| WaitList::new()).collect(),
            }
        }

        fn room(&self) -> Room<'_> {
            Room { first: &self.first, sessions: &self.sessions, lists: &self.lists }
        }

        /// A session joins, looks, finds less than it needs and sleeps.
        fn sleep(&self, number: u32, key: u64, lacks: u64, time: Timestamp) -> Option<Timestamp> {
            self.room().join(number, key, if lacks > 1 { Wish::More } else { Wish::One });
            self.room().fall_asleep(number, lacks, time)
        }

        fn wake(&self, key: u64, mut call: Call) -> Vec<u32> {
            let mut all = Vec::new();
            loop {
                let woken = self.room().wake(key, &mut call);
                all.extend(woken.all());
                if !woken.is_full() {
                    return all;
                }
            }
        }
    }

    #[test]
    fn messages_wake_as_many_sleepers_of_their_queue_first_come_first_served() {
        let world = World::of(6);
        (0..3).for_each(|number| assert_eq!(world.sleep(number, 7, 1, NEVER), None));
        (3..6).for_each(|number| assert_eq!(world.sleep(number, 8, 1, NEVER), None));
        assert_eq!(world.wake(7, Call::News(2)), [0, 1]);
        assert_eq!(world.room().wake_up(0, 0), End::Signal);
        assert_eq!(world.room().fall_asleep(0, 1, NEVER), None);
        assert_eq!(world.wake(7, Call::News(5)), [2, 0]);
        assert_eq!(world.wake(9, Call::All), [0; 0]);
        assert_eq!(world.wake(8, Call::All), [3, 4, 5]);
    }

    #[test]
    fn a_sleeper_for_several_messages_is_woken_when_as_many_as_it_lacked_have_come() {
        let world = World::of(4);
        world.sleep(0, 7, 1, NEVER);
        world.sleep(1, 7, 3, NEVER);
        world.sleep(2, 7, 5, NEVER);
        assert_eq!(world.wake(7, Call::News(2)), [0]);
        assert_eq!(world.wake(7, Call::News(1)), [1]);
        assert_eq!(world.room().wake_up(1, 0), End::Signal);
        assert_eq!(world.wake(7, Call::News(1)), [0; 0], "it looks just now");
        world.room().fall_asleep(1, 1, NEVER);
        assert!(world.sessions[1].is_woken(), "what has come since its look is enough");
        assert_eq!(world.wake(7, Call::News(1)), [2]);
    }

    #[test]
    fn all_sleepers_wake_although_they_are_more_than_a_batch_and_some_are_looking() {
        let world = World::of(200);
        for number in 0..200 {
            world.room().join(number, 7, if number % 2 == 0 { Wish::One } else { Wish::More });
            if number % 3 > 0 {
                world.room().fall_asleep(number, 100, NEVER);
            }
        }
        let mut all = world.wake(7, Call::All);
        all.sort_unstable();
        assert_eq!(all, (0..200).collect::<Vec<_>>());
        assert!(world.sessions.iter().all(Sleeping::is_woken));
    }

    #[test]
    fn one_sleeper_keeps_the_next_time_and_is_woken_last() {
        let world = World::of(3);
        assert_eq!(world.sleep(0, 7, 1, 50), Some(50));
        assert_eq!(world.sleep(1, 7, 1, 50), None);
        assert_eq!(world.sleep(2, 7, 9, 60), None);
        assert_eq!(world.room().tell_time(7, 70), None);
        assert_eq!(world.wake(7, Call::News(1)), [1]);
        assert_eq!(world.room().tell_time(7, 40), Some(0), "an earlier time");
        assert_eq!(world.room().wake_up(0, 10), End::Signal);
        assert_eq!(world.room().leave(0), Left { signal: false, time: Some(50) });
        assert_eq!(world.room().tell_time(7, 50), Some(2), "it takes the time over");
        assert_eq!(world.room().wake_up(2, 10), End::Signal);
        assert_eq!(world.room().fall_asleep(2, 9, 60), Some(50));
        assert_eq!(world.room().wake_up(2, 50), End::Time { kept: true });
        assert_eq!(world.room().leave(2), Left { signal: false, time: None });
        assert_eq!(
            world.room().leave(1),
            Left { signal: true, time: None },
            "it has not followed its signal"
        );
    }

    #[test]
    fn the_keeper_looks_for_what_others_lack_too() {
        let world = World::of(4);
        assert_eq!(world.sleep(0, 7, 1, 50), Some(50));
        (1..3).for_each(|number| assert_eq!(world.sleep(number, 7, 1, NEVER), None));
        world.sleep(3, 7, 40, NEVER);
        assert_eq!(world.wake(7, Call::News(1)), [1]);
        assert_eq!(world.room().wake_up(0, 50), End::Time { kept: true });
        assert_eq!(world.room().others_wish(0), 1 + 39);
        assert_eq!(world.wake(7, Call::News(39)), [3, 2, 0]);
    }

    #[test]
    fn one_deputy_is_asked_for_in_a_grace() {
        let world = World::of(3);
        (0..3).for_each(|number| assert_eq!(world.sleep(number, 7, 1, NEVER), None));
        assert_eq!(world.room().ask_deputy(7, 100, 20), Some(0));
        assert_eq!(world.room().wake_up(0, 100), End::Deputy);
        assert_eq!(world.room().ask_deputy(7, 119, 20), None);
        world.room().dismiss_deputy(7);
        assert_eq!(world.room().ask_deputy(7, 119, 20), Some(1));
        assert_eq!(world.room().ask_deputy(7, 139, 20), Some(2));
    }

    /// Sessions come, sleep, wake and go in random order. Each has a list of its own when it sleeps nowhere,
    /// and each queue one while it has sleepers.
    #[test]
    fn lists_are_neither_lost_nor_shared() {
        const SESSIONS: u32 = 12;
        let (world, mut random) = (World::of(SESSIONS), fastrand::Rng::with_seed(7));
        let mut sleeps = [None::<u64>; SESSIONS as usize];
        for _ in 0..50_000 {
            let number = random.u32(..SESSIONS);
            let key = 1 + random.u64(..5);
            match (random.u32(..4), sleeps[number as usize]) {
                (0, None) => {
                    world.sleep(number, key, random.u64(1..3), random.i64(..100));
                    sleeps[number as usize] = Some(key);
                }
                (1, Some(_)) => {
                    world.room().leave(number);
                    sleeps[number as usize] = None;
                }
                (2, Some(_)) => {
                    world.room().wake_up(number, random.i64(..100));
                    world.room().fall_asleep(number, random.u64(1..3), random.i64(..100));
                }
                _ => drop(world.wake(key, Call::News(random.usize(1..3)))),
            }
            check(&world, &sleeps);
        }
    }

    fn check(world: &World, sleeps: &[Option<u64>]) {
        let mut used: Vec<u32> = Vec::new();
        let mut number = world.first.get();
        while number != NONE {
            let list = &world.lists[number as usize];
            let members: Vec<usize> =
                (0..sleeps.len()).filter(|&n| sleeps[n] == Some(list.key.get())).collect();
            assert!(members.iter().all(|&n| world.sessions[n].list.get() == number));
            let stands = members.iter().filter(|&&n| !world.sessions[n].is_woken()).count();
            assert_eq!((list.for_one.length.get() + list.for_more.length.get()) as usize, stands);
            let before = used.len();
            used.push(number);
            let mut spare = list.spares.get();
            while spare != NONE {
                used.push(spare);
                spare = world.lists[spare as usize].next.get();
            }
            assert_eq!(used.len() - before, members.len());
            number = list.next.get();
        }
        used.extend((0..sleeps.len()).filter(|&n| sleeps[n].is_none()).map(|n| world.sessions[n].list.get()));
        used.sort_unstable();
        assert_eq!(used, (0..sleeps.len() as u32).collect::<Vec<_>>());
    }
}
