-- Moves messages, which the caller has locked, to the queue $2, each as a new message with a new id: it comes
-- after the messages of its group there, and an old receipt is not valid for it.
WITH numbered AS MATERIALIZED (
    SELECT nextval('pgqueue.message_id') AS new_id, m.*
      FROM (SELECT * FROM pgqueue.message m WHERE id = ANY ($1) ORDER BY id) m
), arrived AS (
    INSERT INTO pgqueue.message (id, enqueued_at, queue, priority, lane, due_at, expires_at, lease_ms, max_deliveries,
                                 key_place, group_key, dedup_key, payload, body, headers, errors)
    SELECT new_id, enqueued_at, $2, priority, CASE WHEN due_at IS NULL THEN 'r' ELSE 'd' END::"char", due_at,
           expires_at, lease_ms, max_deliveries,
           CASE WHEN dedup_key IS NOT NULL THEN 0 END, group_key, dedup_key, payload, body, headers, errors
      FROM numbered
), gone AS (
    DELETE FROM pgqueue.message m USING numbered WHERE m.id = numbered.id
)
SELECT id, new_id FROM numbered ORDER BY id
