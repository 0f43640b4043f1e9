-- Removes the echoes behind messages that were not delivered as they are, those that count on them by
-- their id (engine/unique.rs), but for those that another transaction is changing.
WITH echo AS (
    SELECT echo.id
      FROM pgqueue.message head
      JOIN pgqueue.message echo ON echo.queue = head.queue AND echo.dedup_key = head.dedup_key
     WHERE head.id = ANY ($1) AND head.key_place <= 0
       AND echo.key_place = -1 AND echo.id > head.id
       FOR UPDATE OF echo SKIP LOCKED
)
DELETE FROM pgqueue.message m USING echo WHERE m.id = echo.id RETURNING m.queue, m.expires_at
