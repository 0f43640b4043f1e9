-- Turns the dead letters that were taken out before (`redrive_oldest.sql`, `redrive_letters.sql`) into messages of
-- the queue $1. A reset ($2) counts deliveries from 1 again, so the message gets a new id: an old receipt must not
-- be valid for it. Without a reset it keeps its id and counts, and can be delivered at least once more. $3 is the
-- queue's limit.
INSERT INTO pgqueue.message (id, enqueued_at, deliveries, queue, priority, lease_ms, max_deliveries,
                             group_key, payload, body, headers, errors, given_back)
SELECT CASE WHEN $2 THEN nextval('pgqueue.message_id') ELSE id END, enqueued_at,
       CASE WHEN $2 THEN 0 ELSE deliveries END, $1, priority, lease_ms,
       CASE WHEN $2 OR most = 0 OR attempts < most THEN max_deliveries ELSE attempts + 1 END,
       group_key, payload, body, headers, errors, CASE WHEN NOT $2 THEN given_back END
  FROM (SELECT *, coalesce(max_deliveries, $3) AS most, deliveries - coalesce(given_back, 0) AS attempts FROM back ORDER BY died_at, id) letters
