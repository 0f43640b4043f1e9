SELECT id, payload, body, headers, deliveries::bigint, reason, errors, enqueued_at, died_at
  FROM pgqueue.dead
 WHERE queue = $1
 ORDER BY died_at, id
 LIMIT $2
