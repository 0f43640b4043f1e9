-- Deletes the echoes behind messages that were not delivered in their present version, if the echoes count on
-- them by id (engine/message/siblings.rs). Echoes that another transaction has locked are skipped.
WITH echo AS (
    SELECT echo.id
      FROM pgqueue.message head
      JOIN pgqueue.message echo ON echo.queue = head.queue AND echo.dedup_key = head.dedup_key
     WHERE head.id = ANY ($1) AND head.key_place <= 0
       AND echo.key_place = -1 AND echo.id > head.id
       FOR UPDATE OF echo SKIP LOCKED
)
DELETE FROM pgqueue.message m USING echo WHERE m.id = echo.id RETURNING m.queue, m.expires_at
