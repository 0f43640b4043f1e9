-- Deletes those of a page of messages ($4) that have a state and a group. Without a state all are deleted,
-- including those that can never be delivered.
WITH messages AS (
    DELETE FROM pgqueue.message m
     USING pgqueue.message_state s
     WHERE m.id = ANY ($4) AND m.queue = $1 AND s.queue = $1 AND m.id = s.id
       AND ($3 IS NULL OR m.group_key = $3)
       AND ($2 IS NULL
            -- after a wait for another transaction's change, s still shows the row before that change
            OR s.state = $2 AND (m.lease_until, m.deliveries, m.lane) = (s.lease_until, s.deliveries, s.lane))
    RETURNING 1
)
SELECT count(*) FROM messages
