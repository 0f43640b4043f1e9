-- Deletes up to $3 dead letters: of each queue in $1 those that died up to its time in $2.
WITH over AS (
    SELECT d.id
      FROM unnest($1, $2) AS kept (queue, up_to),
           LATERAL (SELECT id FROM pgqueue.dead
                     WHERE queue = kept.queue AND died_at <= kept.up_to
                     ORDER BY died_at
                     LIMIT $3
                       FOR UPDATE SKIP LOCKED) d
     LIMIT $3
)
DELETE FROM pgqueue.dead WHERE id = ANY (ARRAY(TABLE over))
