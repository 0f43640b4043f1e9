-- Skips messages that a push has counted on meanwhile, or that were leased again: their key_place has
-- changed.
WITH free AS (
    SELECT m.id
      FROM unnest($1, $2) AS seen (id, place)
      JOIN pgqueue.message m ON m.id = seen.id AND m.key_place = seen.place
     WHERE m.lease_until <= clock_timestamp()
       FOR UPDATE OF m SKIP LOCKED
)
DELETE FROM pgqueue.message m USING free WHERE m.id = free.id RETURNING m.queue
