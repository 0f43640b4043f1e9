//! Changes of queues: told to all sessions when their transaction commits, each with the queue's number.
//!
//! Postgres delivers invalidations of relations: with the commit, whatever session or standby it happens in,
//! and to the own session at once. A queue's change travels as the invalidation of a relation that does not
//! exist: its object id is made of the queue's number. A relation that has this id after all is read anew by
//! Postgres, and a queue whose number fits a changed relation is read anew by us. Both cost time only.

use std::cell::Cell;

use pgrx::pg_sys::{self, Oid};

/// Object ids of this part of all stand for queues.
const FIRST: u32 = 0xc000_0000;

/// Number of counters; queues with the same remainder share one.
const COUNTERS: usize = 4096;

/// A command that changes more queues than this announces a change of all. Postgres compares each
/// invalidation with those of the same command.
const MOST_IN_A_COMMAND: usize = 64;

thread_local! {
    static COUNTS: [Cell<u32>; COUNTERS] = const { [const { Cell::new(0) }; COUNTERS] };
    static ALL: Cell<u64> = const { Cell::new(0) };
    /// The last command that has changed queues, by transaction and command, and how many it has changed.
    static COMMAND: Cell<((u32, u32), usize)> = const { Cell::new(((0, 0), 0)) };
}

/// How many changes of queues this session has heard of.
pub fn count() -> u64 {
    ALL.get()
}

/// How many changes of a queue this session has heard of, counted modulo 2³². Changes of some other queues
/// count too.
pub fn count_of(queue: i32) -> u32 {
    COUNTS.with(|counts| counts[counter(queue as u32)].get())
}

/// Counts the change of a queue, if the object id stands for one. Neither allocates nor raises.
pub fn hear_of(relation: Oid) {
    let relation = relation.to_u32();
    if relation >= FIRST {
        COUNTS.with(|counts| counts[counter(relation)].update(|count| count.wrapping_add(1)));
        ALL.set(ALL.get() + 1);
    }
}

fn counter(number: u32) -> usize {
    number as usize % COUNTERS
}

/// Tells every session, at commit, that a queue has changed.
pub fn announce(queue_table: Oid, queue: i32) {
    // SAFETY: reads state of this transaction.
    let command = unsafe {
        let transaction: u32 = pg_sys::GetTopTransactionIdIfAny().into();
        (transaction, pg_sys::GetCurrentCommandId(false))
    };
    let before = Some(COMMAND.get()).filter(|&(last, _)| last == command).map_or(0, |(_, count)| count);
    COMMAND.set((command, before + 1));
    if before < MOST_IN_A_COMMAND {
        announce_relation(queue_table, Oid::from(FIRST | queue as u32));
    } else {
        announce_all(queue_table);
    }
}

/// Tells every session, at commit, that any queue may have changed.
pub fn announce_all(queue_table: Oid) {
    // SAFETY: queued with the transaction; the relation exists, it was just written.
    unsafe { pg_sys::CacheInvalidateRelcacheByRelid(queue_table) }
}

/// Queues the invalidation of a relation that need not exist.
fn announce_relation(queue_table: Oid, relation: Oid) {
    let none = pg_sys::Datum::null();
    // SAFETY: the tuple is a copy of that of a relation of this database, which was just written. Postgres
    // reads no more of it than the object id and that the relation is not shared.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::RELOID as i32;
        let tuple = pg_sys::SearchSysCacheCopy(cache, queue_table.into(), none, none, none);
        assert!(!tuple.is_null(), "pgqueue.queue is in the catalog");
        let header = (*tuple).t_data;
        let class: pg_sys::Form_pg_class = header.byte_add((*header).t_hoff as usize).cast();
        (*class).oid = relation;
        pg_sys::CacheInvalidateRelcacheByTuple(tuple);
        pg_sys::heap_freetuple(tuple);
    }
}
