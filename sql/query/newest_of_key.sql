-- The newest message with a key, and its state.
SELECT m.id, m.state
  FROM pgqueue.message_state m
 WHERE m.queue = $1 AND m.dedup_key = $2
 ORDER BY m.id DESC
 LIMIT 1
