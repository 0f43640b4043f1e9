-- Messages that another transaction has locked are left for a later round.
WITH free AS (
    SELECT id FROM pgqueue.message m
     WHERE id = ANY ($1) AND EXISTS (SELECT FROM pgqueue.dropped_queue d WHERE d.queue = m.queue)
       FOR UPDATE SKIP LOCKED
)
DELETE FROM pgqueue.message WHERE id = ANY (ARRAY(TABLE free))
