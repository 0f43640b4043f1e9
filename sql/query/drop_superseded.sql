-- None that a push has met meanwhile: that one stands for its key again.
WITH free AS (
    SELECT id FROM pgqueue.message
     WHERE id = ANY ($1) AND key_place = id AND lease_until <= clock_timestamp()
       FOR UPDATE SKIP LOCKED
)
DELETE FROM pgqueue.message m USING free WHERE m.id = free.id RETURNING m.queue
