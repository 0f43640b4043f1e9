-- Notes that a key is pushed, unless it was within the window.
INSERT INTO pgqueue.recent_key AS seen (queue, dedup_key, id, seen_at)
VALUES ($1, $2, $3, $4)
ON CONFLICT (queue, dedup_key) DO UPDATE SET id = excluded.id, seen_at = excluded.seen_at
 WHERE seen.seen_at <= $5
