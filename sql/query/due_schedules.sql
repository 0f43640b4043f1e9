-- Schedules that are due ($1), at most $2, without those of owners who rest ($3): of each owner first the one
-- that waits longest, then of each the second, and so on, so that no role waits for the many schedules of
-- another. The recursion hops from owner to owner along the index. Schedules that a concurrent round has
-- locked are skipped.
WITH RECURSIVE owners AS (
    (SELECT coalesce(owner_id, 0) AS owner FROM pgqueue.schedule
      WHERE query IS NULL ORDER BY coalesce(owner_id, 0) LIMIT 1)
    UNION ALL
    SELECT (SELECT coalesce(s.owner_id, 0) FROM pgqueue.schedule s
             WHERE s.query IS NULL AND coalesce(s.owner_id, 0) > o.owner ORDER BY coalesce(s.owner_id, 0) LIMIT 1)
      FROM owners o
     WHERE o.owner IS NOT NULL
), turns AS MATERIALIZED (
    SELECT d.name, d.due, row_number() OVER (PARTITION BY o.owner ORDER BY d.due, d.name) AS turn
      FROM owners o,
           LATERAL (SELECT name, greatest(next_run, retry_at) AS due FROM pgqueue.schedule
                     WHERE query IS NULL AND coalesce(owner_id, 0) = o.owner
                       AND greatest(next_run, retry_at) <= $1
                     ORDER BY greatest(next_run, retry_at), name
                     LIMIT $2) d
     WHERE o.owner <> ALL ($3)
), page AS MATERIALIZED (
    SELECT name, due, turn FROM turns ORDER BY turn, due LIMIT $2
)
SELECT s.name, s.owner_id, s.queue, s.every, s.time_zone, s.next_run,
       s.payload, s.headers, s.priority, s.ttl_ms, s.lease_ms, s.max_deliveries,
       s.query, s.search_path, s.max_changes,
       s.group_key, s.dedup_key, s.on_duplicate, s.seen_to, s.pauses
  FROM page p
  JOIN pgqueue.schedule s ON s.name = p.name
 WHERE s.query IS NULL AND greatest(s.next_run, s.retry_at) <= $1
 ORDER BY p.turn, p.due
   FOR UPDATE OF s SKIP LOCKED
