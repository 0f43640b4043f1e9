-- Turns dead letters into messages again. A reset counts deliveries from 1 again, so the message gets a new
-- id: an old receipt must not be valid for it. Without a reset it keeps its id and counts, and can be
-- delivered at least once more. $6 is the queue's limit.
WITH oldest AS (
    SELECT id FROM pgqueue.dead
     WHERE queue = $1 AND ($4 IS NULL OR reason = $4)
     ORDER BY died_at, id
     LIMIT $3
       FOR UPDATE SKIP LOCKED
), back AS (
    DELETE FROM pgqueue.dead WHERE id = ANY (ARRAY(TABLE oldest)) RETURNING *
)
INSERT INTO pgqueue.message (id, enqueued_at, deliveries, queue, priority, lease_ms, max_deliveries,
                             group_key, payload, body, headers, errors, given_back)
SELECT CASE WHEN $5 THEN nextval('pgqueue.message_id') ELSE id END, enqueued_at,
       CASE WHEN $5 THEN 0 ELSE deliveries END, $2, priority, lease_ms,
       CASE WHEN $5 OR most = 0 OR attempts < most THEN max_deliveries ELSE attempts + 1 END,
       group_key, payload, body, headers, errors, CASE WHEN NOT $5 THEN given_back END
  FROM (SELECT *, coalesce(max_deliveries, $6) AS most, deliveries - coalesce(given_back, 0) AS attempts FROM back ORDER BY died_at, id) letters
