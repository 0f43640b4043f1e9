-- Takes out the oldest dead letters of the queue $4: up to $5, of the reason $6. `redrive.sql` follows.
WITH oldest AS (
    SELECT id FROM pgqueue.dead
     WHERE queue = $4 AND ($6 IS NULL OR reason = $6)
     ORDER BY died_at, id
     LIMIT $5
       FOR UPDATE SKIP LOCKED
), back AS (
    DELETE FROM pgqueue.dead WHERE id = ANY (ARRAY(TABLE oldest)) RETURNING *
)
