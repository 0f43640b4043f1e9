-- Deletes those of a page of messages ($4) that have a state and a group. Without a state all are deleted,
-- including those that can never be delivered. The state is asked of each message by its id: as a join, the
-- planner may compute it for all messages of the queue, page after page.
WITH messages AS (
    DELETE FROM pgqueue.message m
     WHERE m.id = ANY ($4) AND m.queue = $1
       AND ($3 IS NULL OR m.group_key = $3)
       AND ($2 IS NULL
            OR EXISTS (SELECT FROM pgqueue.message_state s
                        WHERE s.id = m.id AND s.state = $2
                          -- after a wait for another transaction's change, s still shows the row before that change
                          AND (m.lease_until, m.deliveries, m.lane) = (s.lease_until, s.deliveries, s.lane)
                        OFFSET 0)) -- not as a hash of all messages
    RETURNING 1
)
SELECT count(*) FROM messages
