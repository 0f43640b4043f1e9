-- Makes dead letters live messages again. After a reset deliveries are counted from 1
-- anew, so the message gets a new id: an old receipt must not fit it. Without a reset it
-- keeps id and counts, and if none is left may be delivered once more; $6 is the limit that the
-- queue sets.
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
