-- Deletes up to $3 archived messages: of each queue in $1 those settled up to its time in $2.
WITH over AS (
    SELECT a.id
      FROM unnest($1, $2) AS kept (queue, up_to),
           LATERAL (SELECT id FROM pgqueue.archive
                     WHERE queue = kept.queue AND settled_at <= kept.up_to
                     ORDER BY settled_at
                     LIMIT $3
                       FOR UPDATE SKIP LOCKED) a
     LIMIT $3
)
DELETE FROM pgqueue.archive WHERE id = ANY (ARRAY(TABLE over))
