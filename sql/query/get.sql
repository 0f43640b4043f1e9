-- All state of one message. The first column is for the check of rights.
SELECT q.id, m.id, q.name, m.state, m.payload, m.body, m.headers, m.priority::bigint, m.group_key, m.dedup_key,
       m.deliveries::bigint, m.max_deliveries::bigint, m.enqueued_at,
       CASE WHEN m.state = 'leased' THEN m.lease_until END, m.due_at, m.expires_at,
       NULL::timestamptz, NULL::timestamptz, NULL::text, coalesce(m.errors, '[]'), m.attempts::bigint
  FROM pgqueue.message_state m
  JOIN pgqueue.queue q ON q.id = m.queue
 WHERE m.id = $1
UNION ALL
SELECT q.id, d.id, q.name, 'dead', d.payload, d.body, d.headers, d.priority::bigint, d.group_key, NULL,
       d.deliveries::bigint, d.max_deliveries::bigint, d.enqueued_at,
       NULL, NULL, NULL,
       NULL, d.died_at, d.reason, d.errors, (d.deliveries - coalesce(d.given_back, 0))::bigint
  FROM pgqueue.dead d
  JOIN pgqueue.queue q ON q.id = d.queue
 WHERE d.id = $1
UNION ALL
SELECT q.id, a.id, q.name, 'archived', a.payload, a.body, a.headers, a.priority::bigint, a.group_key, NULL,
       a.deliveries::bigint, NULL, a.enqueued_at,
       NULL, NULL, NULL,
       a.settled_at, NULL, NULL, coalesce(a.errors, '[]'), (a.deliveries - coalesce(a.given_back, 0))::bigint
  FROM pgqueue.archive a
  JOIN pgqueue.queue q ON q.id = a.queue
 WHERE a.id = $1
