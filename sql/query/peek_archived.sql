-- Archived messages, the last settled first: users look for those.
SELECT a.id, q.name, a.payload, a.body, a.headers, a.priority::bigint, a.group_key, a.deliveries::bigint, a.enqueued_at,
       NULL::timestamptz, NULL::text
  FROM pgqueue.archive a
  JOIN pgqueue.queue q ON q.id = a.queue
 WHERE a.queue = $1
 ORDER BY a.settled_at DESC, a.id DESC
 LIMIT $2
