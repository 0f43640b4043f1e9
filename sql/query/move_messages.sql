-- Gives messages, which the caller has locked, to the queue $2, each as a new message with
-- a new id: it queues behind those of its group there, and an old receipt does not fit it.
-- A message stays where it is if another waits with its key there, for the first time or
-- again.
WITH numbered AS MATERIALIZED (
    SELECT nextval('pgqueue.message_id') AS new_id, m.*
      FROM (SELECT * FROM pgqueue.message m
             WHERE id = ANY ($1)
               AND NOT EXISTS (SELECT FROM pgqueue.message other
                                WHERE other.queue = $2 AND other.dedup_key = m.dedup_key
                                  AND other.lease_until <= clock_timestamp())
             ORDER BY id) m
), arrived AS (
    INSERT INTO pgqueue.message (id, enqueued_at, queue, priority, lane, due_at, expires_at, lease_ms, max_deliveries,
                                 key_place, group_key, dedup_key, payload, body, headers, errors)
    SELECT new_id, enqueued_at, $2, priority, CASE WHEN due_at IS NULL THEN 'r' ELSE 'd' END::"char", due_at,
           expires_at, lease_ms, max_deliveries,
           CASE WHEN dedup_key IS NOT NULL THEN 0 END, group_key, dedup_key, payload, body, headers, errors
      FROM numbered
        ON CONFLICT (queue, dedup_key, key_place) WHERE dedup_key IS NOT NULL DO NOTHING
    RETURNING id AS new_id
), moved AS (
    SELECT id, new_id FROM numbered JOIN arrived USING (new_id)
), gone AS (
    DELETE FROM pgqueue.message m USING moved WHERE m.id = moved.id
)
SELECT id, new_id FROM moved ORDER BY id
