-- Takes out the dead letters $4. `redrive.sql` follows.
WITH back AS (
    DELETE FROM pgqueue.dead WHERE id = ANY ($4) RETURNING *
)
