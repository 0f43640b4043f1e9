-- The newest message with a key, its state, and why it is gone if it is.
SELECT m.id, m.state, coalesce(m.expires_at <= clock_timestamp(), false), m.lease_until > '-infinity'
  FROM pgqueue.message_state m
 WHERE m.queue = $1 AND m.dedup_key = $2
 ORDER BY m.id DESC
 LIMIT 1
