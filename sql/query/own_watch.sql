-- A due watch of the role $2, for a round by hand; or the watch $3, whose run has begun in this round. A watch
-- that an earlier round has left with more to do runs only once.
SELECT s.name, s.owner_id, s.queue, s.every, s.time_zone, s.next_run,
       s.payload, s.headers, s.priority, s.ttl_ms, s.lease_ms, s.max_deliveries,
       s.query, s.search_path, s.max_changes,
       s.group_key, s.dedup_key, s.on_duplicate, s.seen_to, s.pauses,
       s.last_run
  FROM pgqueue.schedule s
 WHERE s.owner_id = $2 AND s.query IS NOT NULL
   AND CASE WHEN $3 IS NOT NULL THEN s.name = $3
            ELSE s.next_run <= $1 AND (s.retry_at IS NULL OR s.retry_at <= $1)
                 AND (s.seen_to IS NULL OR s.last_run < $1) END
 ORDER BY greatest(s.next_run, s.retry_at)
 LIMIT 1
   FOR UPDATE SKIP LOCKED
