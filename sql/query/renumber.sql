-- A message that was just pushed gets another id, $2.
WITH message AS (
    UPDATE pgqueue.message SET id = $2 WHERE id = $1 RETURNING queue, dedup_key
)
UPDATE pgqueue.recent_key seen SET id = $2
  FROM message m
 WHERE (seen.queue, seen.dedup_key) = (m.queue, m.dedup_key)
