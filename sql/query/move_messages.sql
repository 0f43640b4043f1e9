-- Gives messages to the queue $2, each as a new message with a new id: it queues behind
-- those of its group there, and an old receipt does not fit it.
WITH gone AS (
    DELETE FROM pgqueue.message WHERE id = ANY ($1) RETURNING *
), numbered AS MATERIALIZED (
    SELECT nextval('pgqueue.message_id') AS new_id, g.* FROM (SELECT * FROM gone ORDER BY id) g
), moved AS (
    INSERT INTO pgqueue.message (id, enqueued_at, queue, priority, lane, due_at, expires_at, lease_ms,
                                 max_deliveries, group_key, dedup_key, payload, body, headers, errors)
    SELECT new_id, enqueued_at, $2, priority, CASE WHEN due_at IS NULL THEN 'r' ELSE 'd' END::"char", due_at,
           expires_at, lease_ms, max_deliveries, group_key, dedup_key, payload, body, headers, errors
      FROM numbered
)
SELECT id, new_id FROM numbered ORDER BY id
