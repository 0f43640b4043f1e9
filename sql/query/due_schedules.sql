-- Schedules that are due ($1), at most $2, without those of owners who rest ($3): of each owner first the one
-- that waits longest, then of each the second, and so on, so that no role waits for the many schedules of
-- another. Schedules that a concurrent round has locked are skipped.
SELECT s.name, s.owner_id, s.queue, s.every, s.time_zone, s.next_run,
       s.payload, s.headers, s.priority, s.ttl_ms, s.lease_ms, s.max_deliveries,
       s.query, s.search_path, s.max_changes,
       s.group_key, s.dedup_key, s.on_duplicate, s.seen_to, s.pauses
  FROM pgqueue.schedule s
  JOIN (SELECT name, greatest(next_run, retry_at) AS due,
               row_number() OVER (PARTITION BY owner_id ORDER BY greatest(next_run, retry_at), name) AS turn
          FROM pgqueue.schedule
         WHERE query IS NULL AND next_run <= $1 AND (retry_at IS NULL OR retry_at <= $1)
           AND coalesce(owner_id, 0) <> ALL ($3)) d ON d.name = s.name
 WHERE s.query IS NULL AND s.next_run <= $1 AND (s.retry_at IS NULL OR s.retry_at <= $1)
 ORDER BY d.turn, d.due
 LIMIT $2
   FOR UPDATE OF s SKIP LOCKED
