//! What the control connection sees of the tables, beside statements that nobody disturbs.

use crate::worker::Rows;

/// A queue's messages before a statement.
pub struct Look {
    pub queue: usize,
    pub messages: Vec<Row>,
}

pub struct Row {
    id: i64,
    state: String,
    key: Option<String>,
    /// It may be gone a moment later.
    has_ttl: bool,
    /// It was delivered as it is: a newer one of its key stands for it.
    is_seen: bool,
}

impl Row {
    pub fn from(row: &[Option<String>]) -> Self {
        let id = row[0].as_ref().expect("an id").parse().expect("a number");
        Self {
            id,
            state: row[1].clone().expect("a state"),
            key: row[2].clone(),
            has_ttl: row[3].as_deref() == Some("t"),
            is_seen: row[4].as_deref() == Some("t"),
        }
    }
}

/// Statements that each runner prepares: planning takes longer than running them.
pub const PREPARED: [&str; 5] = [
    // What has become due makes room when a round has seen it.
    "PREPARE messages(text) AS
     SELECT m.id, CASE WHEN m.state = 'ready' AND m.lane = 'd' THEN 'due' ELSE m.state END, m.dedup_key,
            m.expires_at IS NOT NULL, m.key_place > 0 FROM pgqueue.message_state m
       JOIN pgqueue.queue q ON q.id = m.queue WHERE q.name = $1 ORDER BY m.id",
    // What is still to be worked on; what is gone will not be given any more.
    "PREPARE remaining(text) AS
     SELECT m.id FROM pgqueue.message_state m JOIN pgqueue.queue q ON q.id = m.queue
      WHERE q.name = $1 AND m.state <> 'gone' LIMIT 1",
    // What no reserve has cleared away yet.
    "PREPARE gone(text) AS
     SELECT FROM pgqueue.message m JOIN pgqueue.queue q ON q.id = m.queue WHERE q.name = $1",
    "PREPARE dead(text) AS
     SELECT d.id, d.deliveries FROM pgqueue.dead d JOIN pgqueue.queue q ON q.id = d.queue WHERE q.name = $1",
    // How many messages could have been given since a moment, how many were out then, and the
    // limit. What a newer one of its key has superseded will not be given; whose turn it was in a
    // group then is not known any more.
    "PREPARE could_be_given(text, float8) AS
     SELECT count(*) FILTER (WHERE m.state = 'ready' AND m.lease_until <= now.past
                               AND (m.due_at IS NULL OR m.due_at <= now.past)
                               AND NOT EXISTS (SELECT FROM pgqueue.message newer
                                                WHERE newer.queue = m.queue AND newer.dedup_key = m.dedup_key
                                                  AND newer.id > m.id AND newer.key_place >= 0)
                               AND NOT EXISTS (SELECT FROM pgqueue.message other
                                                WHERE other.queue = m.queue AND other.group_key = m.group_key
                                                  AND other.id <> m.id)),
            count(*) FILTER (WHERE m.lease_until > now.past), q.settings ->> 'max_leased'
       FROM pgqueue.queue q LEFT JOIN pgqueue.message_state m ON m.queue = q.id,
            (SELECT to_timestamp($2) AS past) now
      WHERE q.name = $1 GROUP BY q.id",
];

pub fn empty_is_untrue(found: &Rows) -> Option<String> {
    let value = |n: usize| found[0][n].as_ref().map(|text| text.parse::<i64>().expect("a number"));
    let (ready, out, limit) = (value(0)?, value(1)?, value(2));
    let has_room = limit.is_none_or(|limit| out < limit);
    (ready > 0 && has_room)
        .then(|| format!("nothing was given, though {ready} were ready and {out} out (limit {limit:?})"))
}

/// What is wrong about how a push made room.
pub fn drop_is_wrong(
    before: &Look,
    after: &[Row],
    count: usize,
    was_refused: bool,
    limit: Option<usize>,
) -> Option<String> {
    let before = &before.messages;
    let is_there = |id: i64| after.iter().any(|row| row.id == id);
    let is_superseded = |row: &Row| {
        let is_newer = |other: &Row| other.key == row.key && other.id > row.id && other.state != "blocked";
        row.key.is_some() && row.is_seen && before.iter().any(is_newer)
    };
    let is_out = |row: &Row| row.state == "leased";
    let is_dead = |row: &Row| row.state == "gone" || (is_superseded(row) && !is_out(row));
    if was_refused {
        let free = before.iter().filter(|row| is_dead(row) || row.state == "ready").count();
        let is_enough = before.len() - free + count <= limit?;
        return is_enough.then(|| format!("the queue is called full, though {free} could make room"));
    }
    let dropped: Vec<&Row> = before.iter().filter(|row| !is_there(row.id)).collect();
    let live = dropped.iter().find(|row| !is_dead(row) && !row.has_ttl)?;
    if let Some(dead) = before.iter().find(|row| is_dead(row) && is_there(row.id)) {
        return Some(format!("message {} was dropped alive, and {} stays, which is dead", live.id, dead.id));
    }
    let too_few = limit.is_some_and(|limit| {
        after.len() < limit && dropped.len() > before.len() + count - limit.min(before.len() + count)
    });
    too_few.then(|| format!("{} were dropped, more than make room", dropped.len()))
}
