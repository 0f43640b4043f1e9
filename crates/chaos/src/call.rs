//! Calls: the SQL of each, and what its answer means for the history.
//!
//! All answers have the same columns, so that every call can be made in every way: by itself,
//! under a savepoint, in a PL/pgSQL block.

use pgqueue_history::{
    Act, Clock, Done, Id, Length, Met, Operation, Order, Pushed, Receipt, ServerTime, Span, Taken, Token,
    Verdict,
};
use postgres::Row;

use crate::queue::Queue;

/// The type of all answers, and a block that makes a call and may undo it.
pub const SCHEMA: &str = "
    CREATE TYPE answer AS (began bigint, ended bigint, id bigint, delivery int, token bigint, until bigint, died boolean, outcome text);
    CREATE FUNCTION micros(at timestamptz) RETURNS bigint IMMUTABLE LANGUAGE sql
        RETURN (extract(epoch FROM at) * 1000000)::bigint;
    CREATE FUNCTION in_block(call text, undo boolean) RETURNS SETOF answer LANGUAGE plpgsql AS $$
    BEGIN
        RETURN QUERY EXECUTE call;
        IF undo THEN
            RAISE EXCEPTION 'undone';
        END IF;
    EXCEPTION WHEN raise_exception THEN
        RETURN; -- what it returned stays returned
    END $$;";

#[derive(Clone, Debug)]
pub enum Call {
    Push {
        tokens: Vec<Token>,
        order: Order,
        delay: Option<u32>,
        ttl: Option<Length>,
        padding: usize,
    },
    PushKey {
        token: Token,
        key: String,
        replace: bool,
    },
    Reserve {
        max: usize,
        lease_ms: i64,
        lifo: bool,
    },
    Pop {
        max: usize,
    },
    /// Deletes and reserves at once; it does not say what it deleted.
    Next {
        done: Vec<Receipt>,
        max: usize,
        lease_ms: i64,
    },
    Settle {
        verdict: Verdict,
        receipts: Vec<Receipt>,
        /// How long an extended lease lasts, or a failed message waits.
        ms: i64,
    },
    Purge,
    DumpDead {
        max: usize,
    },
    Redrive,
    /// Gives a waiting message another content.
    Update {
        id: Id,
        token: Token,
        key: Option<String>,
    },
    Move {
        ids: Vec<Id>,
        to: Queue,
    },
}

/// A row of an answer.
struct Answer {
    clock: Clock,
    id: Id,
    delivery: Option<i32>,
    token: Option<Token>,
    until: Option<ServerTime>,
    died: Option<bool>,
    /// What became of it; of one that was moved, the new id.
    outcome: Option<String>,
}

impl Call {
    pub fn sql(&self, queue: Queue) -> String {
        let source = self.source(queue.name());
        format!(
            "SELECT micros(statement_timestamp()), micros(clock_timestamp()), id, delivery, token, until, died, outcome FROM ({source}) answer"
        )
    }

    fn source(&self, queue: &str) -> String {
        match self {
            Self::Push { tokens, order, delay, ttl, padding } => {
                let (count, padding) = (tokens.len(), text(*padding));
                let group = or_null(order.group.as_ref(), |group| format!("'{group}'"));
                let delay = or_null(delay.as_ref(), |ms| format!("'{ms} ms'"));
                let ttl = or_null(ttl.as_ref(), |micros| format!("'{} ms'", micros / 1000));
                select(
                    ["id", "NULL", "tokens[n]", "NULL", "NULL", "NULL"],
                    &format!(
                        "(SELECT ARRAY{tokens:?}::bigint[] AS tokens) pushed,
                         pgq_push_batch('{queue}', ARRAY(SELECT to_jsonb(token) FROM unnest(tokens) token),
                             array_fill('{{\"padding\": \"{padding}\"}}'::jsonb, ARRAY[{count}]), priority => {},
                             delay => {delay}, ttl => {ttl}, group_key => {group}) WITH ORDINALITY AS ids (id, n)",
                        order.priority
                    ),
                )
            }
            Self::PushKey { token, key, replace } => {
                let on_duplicate = if *replace { "replace" } else { "ignore" };
                select(
                    ["id", "NULL", &token.to_string(), "NULL", "NULL", "outcome"],
                    &format!(
                        "pgq_push_result('{queue}', to_jsonb({token}), dedup_key => '{key}', on_duplicate => '{on_duplicate}')"
                    ),
                )
            }
            Self::Reserve { max, lease_ms, lifo } => {
                select(LEASED, &format!("pgq_reserve('{queue}', '{lease_ms} ms', {max}, lifo => {lifo})"))
            }
            Self::Pop { max } => select(
                ["id", "delivery", "payload", "NULL", "NULL", "NULL"],
                &format!("pgq_pop('{queue}', {max})"),
            ),
            Self::Next { done, max, lease_ms } => {
                let (ids, deliveries) = arrays(done);
                select(LEASED, &format!("pgq_next('{queue}', {ids}, {deliveries}, '{lease_ms} ms', {max})"))
            }
            Self::Settle { verdict, receipts, ms } => settle(*verdict, receipts, *ms),
            Self::Purge => select(NOTHING, &format!("pgq_purge('{queue}')")),
            Self::DumpDead { max } => select(
                ["id", "delivery", "payload", "NULL", "true", "NULL"],
                &format!("pgq_dump_dead('{queue}', {max})"),
            ),
            Self::Redrive => select(NOTHING, &format!("pgq_redrive('{queue}', reset => false)")),
            Self::Update { id, token, .. } => select(
                ["id", "NULL", "NULL", "NULL", "NULL", "NULL"],
                &format!("(SELECT {id} AS id WHERE pgq_update({id}, to_jsonb({token}))) changed"),
            ),
            Self::Move { ids, to } => select(
                ["id", "NULL", "NULL", "NULL", "NULL", "new_id"],
                &format!("pgq_move_batch(ARRAY{ids:?}::bigint[], '{}')", to.name()),
            ),
        }
    }

    /// What the call and its answer say, for the history. None: no answer came.
    pub fn operations(&self, queue: Queue, span: Span, undone: bool, rows: Option<&[Row]>) -> Vec<Operation> {
        let answers: Option<Vec<Answer>> = rows.map(|rows| rows.iter().filter_map(answer).collect());
        let clock = answers.as_ref().and_then(|answers| answers.first()).map(|answer| answer.clock);
        let acts = self.acts(answers.as_deref());
        acts.into_iter()
            .map(|act| Operation { span, clock, queue: queue.name().into(), act, undone })
            .collect()
    }

    fn acts(&self, answers: Option<&[Answer]>) -> Vec<Act> {
        let taken = || answers.map(|answers| answers.iter().filter_map(as_taken).collect::<Vec<_>>());
        match self {
            Self::Push { tokens, order, delay, ttl, .. } => {
                let id_of = |token: Token| {
                    answers?.iter().find(|answer| answer.token == Some(token)).map(|answer| answer.id)
                };
                let messages =
                    tokens.iter().map(|&token| Pushed { token, id: id_of(token), met: None }).collect();
                let delay = delay.map_or(0, |ms| i64::from(ms) * 1000);
                vec![Act::Push { messages, order: order.clone(), delay, ttl: *ttl, key: None }]
            }
            Self::PushKey { token, key, .. } => {
                let answer = answers.and_then(<[Answer]>::first);
                let met = match answer.and_then(|answer| answer.outcome.as_deref()) {
                    Some("ignored") => Some(Met::Ignored),
                    Some("replaced") => Some(Met::Replaced),
                    _ => None,
                };
                let messages = vec![Pushed { token: *token, id: answer.map(|answer| answer.id), met }];
                vec![Act::Push {
                    messages,
                    order: Order::default(),
                    delay: 0,
                    ttl: None,
                    key: Some(key.clone()),
                }]
            }
            Self::Reserve { lease_ms, lifo, .. } => {
                vec![Act::Reserve { lease: lease_ms * 1000, lifo: *lifo, taken: taken() }]
            }
            Self::Pop { max } => vec![Act::Pop { max: *max, taken: taken() }],
            Self::Next { done, lease_ms, .. } => vec![
                Act::Settle { verdict: Verdict::Delete, receipts: done.clone(), delay: None, done: None },
                Act::Reserve { lease: lease_ms * 1000, lifo: false, taken: taken() },
            ],
            Self::Settle { verdict, receipts, ms } => {
                let as_done = |answer: &Answer| Done {
                    id: answer.id,
                    until: answer.until,
                    died: answer.died == Some(true),
                };
                let done = answers.map(|answers| answers.iter().map(as_done).collect());
                let delay = match verdict {
                    Verdict::Release => Some(0),
                    Verdict::Fail => Some(ms * 1000),
                    Verdict::Extend | Verdict::Bury | Verdict::Delete => None,
                };
                vec![Act::Settle { verdict: *verdict, receipts: receipts.clone(), delay, done }]
            }
            Self::Purge => vec![Act::Purge],
            Self::DumpDead { max } => {
                let dumped = answers.map(|answers| answers.iter().map(|answer| answer.id).collect());
                vec![Act::DumpDead { max: *max, dumped }]
            }
            Self::Redrive => vec![Act::Redrive],
            // It was not there, or not waiting.
            Self::Update { .. } if answers.is_some_and(<[Answer]>::is_empty) => Vec::new(),
            Self::Update { id, token, key } => {
                let messages = vec![Pushed { token: *token, id: Some(*id), met: Some(Met::Replaced) }];
                vec![Act::Push { messages, order: Order::default(), delay: 0, ttl: None, key: key.clone() }]
            }
            Self::Move { ids, to } => {
                let new_id = |answer: &Answer| answer.outcome.as_ref()?.parse().ok();
                let moved = answers.map(|answers| {
                    answers.iter().filter_map(|answer| Some((answer.id, new_id(answer)?))).collect()
                });
                vec![Act::Move { ids: ids.clone(), to: to.name().into(), moved }]
            }
        }
    }

    /// Whether a commit waits for the disk because of this call, which answered so.
    pub fn is_durable(&self, queue: Queue, rows: &[Row]) -> bool {
        let answers: Vec<Answer> = rows.iter().filter_map(answer).collect();
        !answers.is_empty()
            && match self {
                Self::Push { .. }
                | Self::Pop { .. }
                | Self::DumpDead { .. }
                | Self::Update { .. }
                | Self::Move { .. } => true,
                // One that is ignored may write nothing.
                Self::PushKey { .. } => {
                    answers.iter().any(|answer| answer.outcome.as_deref() != Some("ignored"))
                }
                Self::Reserve { .. } | Self::Next { .. } => queue == Queue::Sure,
                Self::Settle { verdict, .. } => *verdict != Verdict::Delete || queue != Queue::Loose,
                Self::Purge | Self::Redrive => false,
            }
    }
}

/// The columns of a message that is leased, and of an answer that names none.
const LEASED: [&str; 6] = ["id", "delivery", "payload", "micros(leased_until)", "NULL", "NULL"];
const NOTHING: [&str; 6] = ["NULL"; 6];

fn settle(verdict: Verdict, receipts: &[Receipt], ms: i64) -> String {
    let (ids, deliveries) = arrays(receipts);
    let (until, died, call) = match verdict {
        Verdict::Extend => {
            ("micros(leased_until)", "NULL", format!("pgq_extend_batch({ids}, '{ms} ms', {deliveries})"))
        }
        Verdict::Release => {
            ("NULL", "NULL", format!("pgq_release_batch({ids}, deliveries => {deliveries}) id"))
        }
        Verdict::Fail => (
            "NULL",
            "outcome = 'dead'",
            format!("pgq_fail_batch({ids}, 'no luck', {deliveries}, delay => '{ms} ms')"),
        ),
        Verdict::Bury => ("NULL", "true", format!("pgq_bury_batch({ids}, 'no use', {deliveries}) id")),
        Verdict::Delete => ("NULL", "NULL", format!("pgq_delete_batch({ids}, {deliveries}) id")),
    };
    select(["id", "NULL", "NULL", until, died, "NULL"], &call)
}

fn select([id, delivery, token, until, died, outcome]: [&str; 6], from: &str) -> String {
    format!(
        "SELECT ({id})::bigint AS id, ({delivery})::int AS delivery, ({token})::bigint AS token,
                ({until})::bigint AS until, ({died})::boolean AS died, ({outcome})::text AS outcome
           FROM {from}"
    )
}

fn or_null<T>(value: Option<&T>, sql: impl FnOnce(&T) -> String) -> String {
    value.map_or("NULL".into(), sql)
}

/// Ids and deliveries as SQL arrays.
fn arrays(receipts: &[Receipt]) -> (String, String) {
    let ids: Vec<Id> = receipts.iter().map(|receipt| receipt.id).collect();
    let deliveries: Option<Vec<i32>> = receipts.iter().map(|receipt| receipt.delivery).collect();
    let deliveries = deliveries.map_or("NULL".into(), |deliveries| format!("ARRAY{deliveries:?}::int[]"));
    (format!("ARRAY{ids:?}::bigint[]"), deliveries)
}

/// Text that does not compress well.
fn text(length: usize) -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(length).collect()
}

/// None: the row speaks of no message.
fn answer(row: &Row) -> Option<Answer> {
    Some(Answer {
        clock: Clock { began: row.get(0), ended: row.get(1) },
        id: row.get::<_, Option<Id>>(2)?,
        delivery: row.get(3),
        token: row.get(4),
        until: row.get(5),
        died: row.get(6),
        outcome: row.get(7),
    })
}

fn as_taken(answer: &Answer) -> Option<Taken> {
    Some(Taken { id: answer.id, token: answer.token?, delivery: answer.delivery?, until: answer.until })
}

/// The messages an answer names.
pub fn ids(rows: &[Row]) -> Vec<Id> {
    rows.iter().filter_map(answer).map(|answer| answer.id).collect()
}

/// The receipts an answer gave.
pub fn receipts(rows: &[Row]) -> Vec<Receipt> {
    rows.iter()
        .filter_map(answer)
        .map(|answer| Receipt { id: answer.id, delivery: answer.delivery })
        .collect()
}
