-- The message that stands for a key, its state, and why it is gone if it is: the one with place
-- 0, else the newest.
SELECT m.id, m.state, coalesce(m.expires_at <= clock_timestamp(), false), m.lease_until > '-infinity'
  FROM pgqueue.message_state m
 WHERE m.queue = $1 AND m.dedup_key = $2
 ORDER BY m.key_place = 0 DESC, m.id DESC
 LIMIT 1
