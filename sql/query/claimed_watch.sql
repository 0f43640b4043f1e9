-- A watch that claim_watch.sql has chosen.
SELECT s.name, s.owner_id, s.queue, s.every, s.time_zone, s.next_run,
       s.payload, s.headers, s.priority, s.ttl_ms, s.lease_ms, s.max_deliveries,
       s.query, s.search_path, s.max_changes,
       s.group_key, s.dedup_key, s.on_duplicate, s.seen_to, s.pauses,
       s.last_run
  FROM pgqueue.schedule s
 WHERE s.name = $1 AND s.query IS NOT NULL AND s.started_at IS NOT NULL
   FOR UPDATE SKIP LOCKED
