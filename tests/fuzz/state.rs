//! What the calls find: queues of every kind with messages in every state.

use postgres::Client;

use crate::pool::Encoding;

/// Brings a database, whatever calls have left of it, into the same state.
pub fn script(encoding: Encoding) -> String {
    let odd_name =
        encoding.text("c3a9").replace("c3a9", if encoding == Encoding::EucJp { "a4a2" } else { "c3a9" });
    format!(
        "{RESET}{QUEUES}SELECT pgq_push({odd_name}, '1', group_key => {odd_name}, dedup_key => {odd_name});{MESSAGES}"
    )
}

const RESET: &str = "
DELETE FROM pgqueue.schedule;
DELETE FROM pgqueue.topic;
SELECT pgq_drop_queue(name) FROM pgqueue.queue;
SELECT count(*) FROM pgq_vacuum();
";

const QUEUES: &str = r#"
SELECT pgq_create_queue(q) FROM unnest('{plain,empty,paused,grouped,keyed,telling}'::text[]) q;
SELECT pgq_create_queue('parallel', '{"groups": "parallel", "order": "lifo"}');
SELECT pgq_create_queue('window', '{"dedup_window": "1 h"}');
SELECT pgq_create_queue('no letters', '{"dead_letter": false, "max_deliveries": 1, "events_to": "telling"}');
SELECT pgq_create_queue('slots', '{"max_leased": 2}');
SELECT pgq_create_queue('full', '{"max_length": 3}');
SELECT pgq_create_queue('drops', '{"max_length": 3, "on_full": "drop_oldest"}');
SELECT pgq_create_queue('archiving', '{"archive": "1 day", "events_to": "telling", "durable_delete": false}');
SELECT pgq_create_queue('strict times', '{"on_timeout": "dead", "on_expire": "dead", "ttl": "1 h", "notify": true, "durable_lease": true}');
"#;

/// Leases of an hour, so that what is leased stays so for as long as a state is used.
const MESSAGES: &str = r#"
SELECT pgq_push_batch(q, ARRAY['1', '"two"', '{"n": 3}', 'null']::jsonb[], group_key => g, priority => (n % 2)::int)
  FROM unnest('{plain,paused,grouped,parallel,slots,archiving,strict times,no letters}'::text[]) WITH ORDINALITY a (q, n),
       unnest(ARRAY[NULL, 'g1', 'g2']) g;
SELECT pgq_push(q, '{"later": true}', delay => '1 h', headers => '{"kind": "b"}') FROM unnest('{plain,grouped,keyed}'::text[]) q;
SELECT pgq_push('plain', to_jsonb(repeat('long ', 50000)), headers => '{"kind": "a"}');
SELECT pgq_push_bytes('plain', '\x00ff00', ttl => '1 h');
SELECT pgq_push(q, '1', dedup_key => k) FROM unnest('{keyed,window}'::text[]) q, unnest('{k1,k2,k3}'::text[]) k;
SELECT pgq_push('full', '1'), pgq_push('full', '2'), pgq_push('full', '3');
SELECT pgq_push('drops', '1'), pgq_push('drops', '2'), pgq_push('drops', '3', priority => -1);
SELECT pgq_create_topic(t) FROM unnest('{news,quiet}'::text[]) t;
SELECT pgq_subscribe('news', q, p) FROM (VALUES ('plain', '#'), ('keyed', 'a.*'), ('full', '*.b.#'), ('drops', '#.b'), ('window', 'a')) v (q, p);
SELECT pgq_schedule('tick', 'plain', '15 min', '1'), pgq_watch('watcher', 'plain', 'SELECT 1, 2', '1 h');
-- Dead for each reason, archived, leased, retried, with an ended lease, without a delivery
-- left, outlived, and leased with a newer one of its key.
SELECT pgq_bury(id, 'no') FROM pgq_reserve('plain', '1 h', max => 2);
SELECT pgq_fail(id, 'no') FROM pgq_reserve('no letters', '1 h', max => 1);
SELECT pgq_fail(id, 'no', delay => '1 h') FROM pgq_reserve('plain', '1 h', max => 2);
SELECT pgq_fail(id, 'no', delay => '0') FROM pgq_reserve('grouped', '1 h', max => 1);
SELECT pgq_delete(id) FROM pgq_reserve('archiving', '1 h', max => 2);
SELECT count(*) FROM pgq_reserve('plain', '1 h', max => 2);
SELECT count(*) FROM pgq_reserve('grouped', '1 h', max => 2);
SELECT count(*) FROM pgq_reserve('slots', '1 h', max => 1);
SELECT count(*) FROM pgq_reserve('archiving', '1 h', max => 1);
SELECT count(*) FROM pgq_reserve('keyed', '1 h', max => 1);
SELECT count(*) FROM pgq_reserve('strict times', '1 h', max => 1);
SELECT pgq_push('keyed', '2', dedup_key => 'k1');
SELECT pgq_bury(id, 'no') FROM pgq_reserve('strict times', '1 h', max => 1);
UPDATE pgqueue.dead SET reason = 'timeout' WHERE id = (SELECT max(id) FROM pgqueue.dead);
UPDATE pgqueue.message SET lease_until = now() - interval '1 s'
 WHERE id IN (SELECT min(id) FROM pgqueue.message WHERE lease_until > now() GROUP BY queue HAVING count(*) > 1);
UPDATE pgqueue.message SET deliveries = 5
 WHERE id = (SELECT max(m.id) FROM pgqueue.message m JOIN pgqueue.queue q ON q.id = m.queue WHERE q.name = 'parallel');
UPDATE pgqueue.message SET expires_at = now() - interval '1 s'
 WHERE id = (SELECT max(m.id) FROM pgqueue.message m JOIN pgqueue.queue q ON q.id = m.queue WHERE q.name = 'strict times');
SELECT pgq_pause('paused');
"#;

/// One value that differs whenever a table of the extension, or what its counters say,
/// does.
pub struct Digest(String);

impl Digest {
    pub fn of_all_tables(session: &mut Client) -> Self {
        let tables: Vec<String> = session
            .query(
                "SELECT c.oid::regclass::text FROM pg_class c
                  WHERE c.relnamespace = 'pgqueue'::regnamespace AND c.relkind = 'r' ORDER BY 1",
                &[],
            )
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect();
        assert!(tables.len() > 5, "the tables of the extension are in the schema pgqueue: {tables:?}");
        let rows = |table: &String| {
            format!(
                "SELECT '{table}', md5(coalesce(string_agg(md5(t::text), '' ORDER BY md5(t::text)), '')) FROM {table} t"
            )
        };
        let mut parts: Vec<String> = tables.iter().map(rows).collect();
        parts.push(
            "SELECT 'what is counted', string_agg(c::text, ' ' ORDER BY queue)
               FROM (SELECT queue, sum(pushed), sum(delivered), sum(deleted), sum(retried), sum(died), sum(expired),
                            sum(ready), sum(leased), sum(delayed), sum(blocked), sum(dead)
                       FROM (TABLE pgqueue.counter UNION ALL SELECT * FROM pgqueue.pending_counts()) all_counts
                      GROUP BY queue) c"
                .into(),
        );
        Self(parts.join(" UNION ALL "))
    }

    /// Name and digest of each table.
    pub fn read(&self, session: &mut Client) -> Vec<(String, Option<String>)> {
        session.query(&self.0, &[]).unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}

/// Queues whose counters do not say what lies in the tables, which nothing excuses as long
/// as there is one session.
pub fn miscounted(session: &mut Client) -> Vec<String> {
    let rows = session
        .query(
            "WITH known AS (SELECT queue, sum(ready) AS ready, sum(leased) AS leased, sum(delayed) AS delayed,
                                   sum(blocked) AS blocked, sum(dead) AS dead
                              FROM (TABLE pgqueue.counter UNION ALL SELECT * FROM pgqueue.pending_counts()) c GROUP BY queue),
                  exact AS (SELECT q.id AS queue, count(m.id) FILTER (WHERE lane = 'r') AS ready,
                                   count(m.id) FILTER (WHERE lease_until > '-infinity') AS leased,
                                   count(m.id) FILTER (WHERE lane = 'd') AS delayed, count(m.id) FILTER (WHERE lane = 'b') AS blocked,
                                   (SELECT count(*) FROM pgqueue.dead d WHERE d.queue = q.id) AS dead
                              FROM pgqueue.queue q LEFT JOIN pgqueue.message m ON m.queue = q.id GROUP BY q.id)
             SELECT format('queue %s: known (ready, leased, delayed, blocked, dead) %s, exact %s', e.queue,
                           (k.ready, k.leased, k.delayed, k.blocked, k.dead), (e.ready, e.leased, e.delayed, e.blocked, e.dead))
               FROM exact e LEFT JOIN known k USING (queue)
              WHERE (coalesce(k.ready, 0), coalesce(k.leased, 0), coalesce(k.delayed, 0), coalesce(k.blocked, 0), coalesce(k.dead, 0))
                    <> (e.ready, e.leased, e.delayed, e.blocked, e.dead)",
            &[],
        )
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}
