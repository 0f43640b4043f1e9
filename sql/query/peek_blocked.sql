-- What waits behind others of its group, group by group.
SELECT m.id, q.name, m.payload, m.body, m.headers, m.priority::integer, m.group_key, m.deliveries, m.enqueued_at,
       CASE WHEN m.state = 'leased' THEN m.lease_until END
  FROM pgqueue.message_state m
  JOIN pgqueue.queue q ON q.id = m.queue
 WHERE m.queue = $1 AND m.group_key IS NOT NULL AND m.state = 'blocked'
 ORDER BY m.group_key, m.in_turn DESC, m.priority, m.id
 LIMIT $2
