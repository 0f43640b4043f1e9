-- Deletes and returns the oldest dead letters. A letter that another call has locked is skipped, so that no
-- two calls return the same letter.
WITH oldest AS (
    SELECT id FROM pgqueue.dead
     WHERE queue = $1
     ORDER BY died_at, id
     LIMIT $2
       FOR UPDATE SKIP LOCKED
), taken AS (
    DELETE FROM pgqueue.dead WHERE id = ANY (ARRAY(TABLE oldest)) RETURNING *
)
SELECT id, payload, body, headers, deliveries::bigint, reason, errors, enqueued_at, died_at
  FROM taken
 ORDER BY died_at, id
