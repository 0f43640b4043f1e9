-- All that is in the queues, times in whole hours from now.
SELECT 'message' AS what, m.id, q.name AS queue, m.state, m.payload::text AS payload, m.headers ->> 'kind' AS kind,
       m.priority, m.group_key AS "group", m.dedup_key AS key, coalesce(m.key_place = 0, false)::text AS holds_key, m.deliveries,
       m.deliveries - m.attempts AS given_back,
       CASE WHEN m.lease_until > '-infinity' THEN round(extract(epoch FROM m.lease_until - clock_timestamp()) / 3600) END AS lease_until,
       round(extract(epoch FROM m.due_at - clock_timestamp()) / 3600) AS due_at,
       round(extract(epoch FROM m.expires_at - clock_timestamp()) / 3600) AS expires_at,
       m.lease_ms / 3600000 AS lease, m.max_deliveries, m.in_turn::text AS in_turn,
       coalesce(jsonb_array_length(m.errors), 0) AS errors
  FROM pgqueue.message_state m JOIN pgqueue.queue q ON q.id = m.queue;
SELECT 'letter' AS what, d.id, q.name AS queue, d.reason, d.payload::text AS payload, d.headers ->> 'kind' AS kind,
       d.priority, d.group_key AS "group", d.deliveries, coalesce(d.given_back, 0) AS given_back, d.lease_ms / 3600000 AS lease, d.max_deliveries,
       jsonb_array_length(d.errors) AS errors
  FROM pgqueue.dead d JOIN pgqueue.queue q ON q.id = d.queue;
SELECT 'archived' AS what, a.id, q.name AS queue FROM pgqueue.archive a JOIN pgqueue.queue q ON q.id = a.queue;
SELECT 'queue' AS what, s.queue, s.pushed, s.delivered, s.deleted, s.retried, s.died, s.expired,
       (s.ready, s.delayed, s.leased, s.blocked, s.dead, s.total)::text AS known,
       (e.ready, e.delayed, e.leased, e.blocked, e.dead, e.total)::text AS exact,
       pgq_count(s.queue) AS count, pgq_count(s.queue, exact => true) AS exact_count, q.paused::text AS paused
  FROM pgq_stats() s JOIN pgq_stats(exact => true) e USING (queue) JOIN pgqueue.queue q ON q.name = s.queue;
WITH known AS (
    SELECT queue, sum(ready) AS ready, sum(leased) AS leased, sum(delayed) AS delayed, sum(blocked) AS blocked, sum(dead) AS dead
      FROM (TABLE pgqueue.counter UNION ALL SELECT * FROM pgqueue.pending_counts()) c
     GROUP BY queue
), exact AS (
    SELECT q.id AS queue, count(m.id) FILTER (WHERE lane = 'r') AS ready,
           count(m.id) FILTER (WHERE lease_until > '-infinity') AS leased,
           count(m.id) FILTER (WHERE lane = 'd') AS delayed, count(m.id) FILTER (WHERE lane = 'b') AS blocked,
           (SELECT count(*) FROM pgqueue.dead d WHERE d.queue = q.id) AS dead
      FROM pgqueue.queue q LEFT JOIN pgqueue.message m ON m.queue = q.id
     GROUP BY q.id
)
SELECT 'miscounted' AS what, e.queue, (k.ready, k.leased, k.delayed, k.blocked, k.dead)::text AS known,
       (e.ready, e.leased, e.delayed, e.blocked, e.dead)::text AS exact
  FROM exact e LEFT JOIN known k USING (queue)
 WHERE (coalesce(k.ready, 0), coalesce(k.leased, 0), coalesce(k.delayed, 0), coalesce(k.blocked, 0), coalesce(k.dead, 0))
       <> (e.ready, e.leased, e.delayed, e.blocked, e.dead)
