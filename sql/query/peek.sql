-- Looking at messages in the order in which they will come: what is ready by priority,
-- what is delayed by its time.
SELECT m.id, q.name, m.payload, m.body, m.headers, m.priority::integer, m.group_key, m.deliveries, m.enqueued_at,
       CASE WHEN m.state = 'leased' THEN m.lease_until END
  FROM pgqueue.message_state m
  JOIN pgqueue.queue q ON q.id = m.queue
 WHERE m.queue = $1 AND m.state = $2
 ORDER BY CASE WHEN $2 = 'delayed' THEN m.due_at END, m.priority, m.id
 LIMIT $3
