-- What is leased, in the order in which it would come. All of it lies in the ready lane,
-- mostly at its beginning.
SELECT m.id, q.name, m.payload, m.body, m.headers, m.priority::integer, m.group_key, m.deliveries, m.enqueued_at,
       CASE WHEN m.state = 'leased' THEN m.lease_until END
  FROM pgqueue.message_state m
  JOIN pgqueue.queue q ON q.id = m.queue
 WHERE m.queue = $1 AND m.lane = 'r' AND m.lease_until > clock_timestamp()
 ORDER BY m.priority, m.id
 LIMIT $2
