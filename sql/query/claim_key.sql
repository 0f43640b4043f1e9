-- Notes the push of a key, unless it was pushed within the window. A conflict on any index counts: see
-- create_queue.sql. A time that a clock ahead has noted counts as now.
WITH set_back AS (
    UPDATE pgqueue.recent_key SET seen_at = $4
     WHERE queue = $1 AND dedup_key = $2 AND seen_at > $4 + interval '1 s'
), renewed AS (
    UPDATE pgqueue.recent_key SET id = $3, seen_at = $4
     WHERE queue = $1 AND dedup_key = $2 AND seen_at <= $5
    RETURNING 1
), added AS (
    INSERT INTO pgqueue.recent_key (queue, dedup_key, id, seen_at)
    SELECT $1, $2, $3, $4 WHERE NOT EXISTS (SELECT FROM renewed)
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT FROM renewed UNION ALL SELECT FROM added
