-- The newest message with a key, and whether it waits: it is not leased and can be
-- delivered again.
SELECT m.id, m.state <> 'leased' AND m.state <> 'gone'
  FROM pgqueue.message_state m
 WHERE m.queue = $1 AND m.dedup_key = $2
 ORDER BY m.id DESC
 LIMIT 1
