-- Whoever runs one of the same schedules at this moment has it locked.
SELECT name, owner_id, queue, every, time_zone, next_run,
       payload, headers, priority, ttl_ms, lease_ms, max_deliveries,
       query, search_path, max_changes,
       group_key, dedup_key, on_duplicate
  FROM pgqueue.schedule
 WHERE next_run <= $1
 ORDER BY next_run
 LIMIT 1
   FOR UPDATE SKIP LOCKED
