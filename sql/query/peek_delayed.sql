-- What waits for its time, in the order in which it comes.
SELECT m.id, q.name, m.payload, m.body, m.headers, m.priority::integer, m.group_key, m.deliveries, m.enqueued_at,
       CASE WHEN m.state = 'leased' THEN m.lease_until END
  FROM pgqueue.message_state m
  JOIN pgqueue.queue q ON q.id = m.queue
 WHERE m.queue = $1 AND m.lane = 'd' AND m.due_at > clock_timestamp() AND m.state = 'delayed'
 ORDER BY m.due_at, m.id
 LIMIT $2
