-- A due watch of the role $2, for a round by hand. A watch with more to do runs only once a round.
SELECT s.name, s.owner_id, s.queue, s.every, s.time_zone, s.next_run,
       s.payload, s.headers, s.priority, s.ttl_ms, s.lease_ms, s.max_deliveries,
       s.query, s.search_path, s.max_changes,
       s.group_key, s.dedup_key, s.on_duplicate, s.seen_to, s.pauses
  FROM pgqueue.schedule s
 WHERE s.owner_id = $2 AND s.query IS NOT NULL
   AND s.next_run <= $1 AND (s.retry_at IS NULL OR s.retry_at <= $1)
   AND (s.seen_to IS NULL OR s.last_run < $1)
 ORDER BY greatest(s.next_run, s.retry_at)
 LIMIT 1
   FOR UPDATE SKIP LOCKED
