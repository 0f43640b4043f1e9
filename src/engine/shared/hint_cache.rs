//! The board: what all backends know together about queues, in shared memory.
//!
//! A place a queue and direction, found by hashing. Places are few. Each use gives a place credit,
//! and each queue that comes for one takes a little of everybody's; the first without credit is
//! taken. So many queues that are used seldom do not drive out one that is used often. Losing a
//! place costs a scan from the beginning of its queue, nothing else. Beside the hints it holds
//! counters that the worker has yet to write down, in half of the places at most; and condition
//! variables for sleepers.
//!
//! Each bucket of places has one lock, held for the length of a closure that neither
//! raises nor allocates; nobody holds two. Without shared memory (not preloaded), and
//! on a standby, there is no board.

use crate::engine::shared::entry::{CacheEntry, MOST_NEEDED, WAYS};
use crate::engine::shared::layout::{BOARD, buckets, is_there};
use crate::engine::shared::queue_key::database;
use crate::hint::Direction;
use crate::hint::address::Address;
use crate::hint::level::Level;
use crate::hint::queue::QueueHint;
use crate::hint::rest::Rest;
use crate::hint::slots::SlotHint;
use crate::pg::session::now;
use crate::value::timestamp::Timestamp;

/// The credit of a place that has just been used.
pub const CREDIT: u8 = 8;

/// Does something with the hint of a queue, which is made if it is not there. None if
/// there is no board, or no room on it.
pub fn with_hint<R>(queue: i32, direction: Direction, work: impl FnOnce(&mut QueueHint) -> R) -> Option<R> {
    with_place(queue, direction, |place| work(&mut place.hint))
}

/// Does something with what is known of a queue's slots. None if there is no board, or no room
/// on it.
pub fn with_slots<R>(queue: i32, work: impl FnOnce(&mut SlotHint) -> R) -> Option<R> {
    with_place(queue, Direction::OldestFirst, |place| work(&mut place.slots))
}

fn with_place<R>(queue: i32, direction: Direction, work: impl FnOnce(&mut CacheEntry) -> R) -> Option<R> {
    let board = BOARD.get().filter(|_| is_there())?;
    let database = database();
    board.with_places_of(queue, |places| {
        let n = place_of(places, database, queue, direction, 0)?;
        places[n].credit = CREDIT;
        Some(work(&mut places[n]))
    })
}

/// A reserve has found no place: each in the bucket comes a little nearer to be taken.
pub fn wants_place(queue: i32) {
    if let Some(board) = BOARD.get().filter(|_| is_there()) {
        board.with_places_of(queue, |places| places.iter_mut().for_each(CacheEntry::grow_old));
    }
}

pub fn find_place(
    places: &[CacheEntry; WAYS],
    database: u32,
    queue: i32,
    direction: Direction,
) -> Option<usize> {
    places.iter().position(|place| place.is_of(database, queue) && place.direction == direction)
}

/// The place of a queue, taken if it has none.
pub fn place_of(
    places: &mut [CacheEntry; WAYS],
    database: u32,
    queue: i32,
    direction: Direction,
    most_credit: u8,
) -> Option<usize> {
    find_place(places, database, queue, direction)
        .or_else(|| take_place(places, database, queue, direction, most_credit))
}

/// Takes a place that is free, or the one with the least credit; none if each has more than that.
pub fn take_place(
    places: &mut [CacheEntry; WAYS],
    database: u32,
    queue: i32,
    direction: Direction,
    most_credit: u8,
) -> Option<usize> {
    let free = (0..WAYS).filter(|&n| !places[n].is_needed());
    let n = free.min_by_key(|&n| (places[n].is_in_use, places[n].credit))?;
    if places[n].is_in_use && places[n].credit > most_credit {
        return None;
    }
    places[n].begin_anew(database, queue, direction);
    Some(n)
}

/// Does something with one level of a queue, if its hint has it.
pub fn with_level<R>(at: Address, work: impl FnOnce(&mut Level) -> R) -> Option<R> {
    with_hint(at.queue, at.direction, |hint| hint.level(at.priority).map(work))?
}

/// Does something with what is known of a queue, in each direction.
pub fn with_known(queue: i32, work: impl FnMut(&mut CacheEntry)) {
    let Some(board) = BOARD.get() else { return };
    let database = database();
    board.with_places_of(queue, |places| {
        places.iter_mut().filter(|place| place.is_of(database, queue)).for_each(work);
    });
}

/// Does something with the place of each known queue of this database.
pub fn for_each_place(mut work: impl FnMut(&mut CacheEntry)) {
    (0..buckets()).for_each(|n| with_known_of_bucket(n, &mut work));
}

/// What `pick` finds at the places of this database's known queues.
pub fn collect<T>(mut pick: impl FnMut(&mut CacheEntry) -> Option<T>) -> Vec<T> {
    let mut picked = Vec::new();
    for n in 0..buckets() {
        picked.reserve(WAYS); // not under the lock
        with_known_of_bucket(n, |place| picked.extend(pick(place)));
    }
    picked
}

/// The first that `pick` finds there.
pub fn find<T>(mut pick: impl FnMut(&mut CacheEntry) -> Option<T>) -> Option<T> {
    (0..buckets()).find_map(|n| {
        let mut found = None;
        with_known_of_bucket(n, |place| {
            if found.is_none() {
                found = pick(place);
            }
        });
        found
    })
}

fn with_known_of_bucket(n: usize, work: impl FnMut(&mut CacheEntry)) {
    let Some(board) = BOARD.get() else { return };
    let database = database();
    board.with_bucket(n, |places| {
        places.iter_mut().filter(|place| place.is_in_use && place.database == database).for_each(work);
    });
}

/// A consumer is kept from a message with a unique key by a push that holds it.
pub fn waits_for_key(queue: i32) {
    const LATELY: Timestamp = 1_000_000;
    let lately = Rest::begin(now(), LATELY);
    with_known(queue, |place| place.waited_for_key = lately);
}

/// Whether that was lately: then the message is left to consumers.
pub fn is_waited_for_key(queue: i32) -> bool {
    let (mut is_waited_for, now) = (false, now());
    with_known(queue, |place| is_waited_for |= !place.waited_for_key.is_over(now));
    is_waited_for
}

/// Makes a place for a queue, whoever has used it lately, that is to be kept while something is
/// prepared. False if there is none, or others in its bucket keep too many: hints need some.
pub fn keep_for_prepared(queue: i32) -> bool {
    let Some(board) = BOARD.get().filter(|_| is_there()) else { return false };
    let database = database();
    board.with_places_of(queue, |places| {
        let is_kept = |entry: &CacheEntry| entry.is_needed() && !entry.is_of(database, queue);
        places.iter().filter(|place| is_kept(place)).count() < MOST_NEEDED
            && place_of(places, database, queue, Direction::OldestFirst, CREDIT).is_some()
    })
}

/// Does something with the rest after a look for dead messages of a full queue.
pub fn with_room<R>(queue: i32, work: impl FnOnce(&mut Rest) -> R) -> Option<R> {
    with_place(queue, Direction::OldestFirst, |place| work(&mut place.rest_of_looks_for_dead))
}

/// Frees the places of databases that are not there any more.
pub fn free_all_but(databases: &[u32]) {
    let Some(board) = BOARD.get() else { return };
    for n in 0..buckets() {
        board.with_bucket(n, |places| {
            places
                .iter_mut()
                .filter(|place| !databases.contains(&place.database))
                .for_each(CacheEntry::vacate);
        });
    }
}

/// Forgets what is known of the messages of all queues of this database.
pub fn forget_hints() {
    for_each_place(|place| place.hint.clear());
}

/// Forgets all queues of this database: their numbers begin anew.
pub fn forget_all() {
    for_each_place(CacheEntry::vacate);
}
