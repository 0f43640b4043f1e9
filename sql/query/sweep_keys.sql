-- Forgets keys that were pushed longer ago than their queue's window.
WITH windowed AS (
    SELECT id, clock_timestamp() - (settings ->> 'dedup_window')::interval AS since FROM pgqueue.queue
     WHERE settings ? 'dedup_window'
), old AS (
    SELECT k.queue, k.dedup_key
      FROM windowed w,
           LATERAL (SELECT queue, dedup_key FROM pgqueue.recent_key
                     WHERE queue = w.id AND seen_at <= w.since
                     ORDER BY seen_at
                     LIMIT $1
                       FOR UPDATE SKIP LOCKED) k
     LIMIT $1
)
DELETE FROM pgqueue.recent_key k USING old WHERE (k.queue, k.dedup_key) = (old.queue, old.dedup_key)
