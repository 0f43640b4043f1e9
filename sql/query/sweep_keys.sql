-- Deletes up to $3 noted keys: of each queue in $1 those pushed up to its time in $2.
WITH over AS (
    SELECT k.place
      FROM unnest($1, $2) AS kept (queue, up_to),
           LATERAL (SELECT ctid AS place FROM pgqueue.recent_key
                     WHERE queue = kept.queue AND seen_at <= kept.up_to
                     ORDER BY seen_at
                     LIMIT $3
                       FOR UPDATE SKIP LOCKED) k
     LIMIT $3
)
DELETE FROM pgqueue.recent_key WHERE ctid = ANY (ARRAY(TABLE over))
