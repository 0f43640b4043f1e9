-- Whoever runs one of the same schedules at this moment has it locked. One that another
-- transaction was in the way of ($2: the errors) rests a moment, for the others' sake.
-- Watches ($3) come in any order, so that one which never ends is not always the first, and
-- only once a round if they have more to do; by hand only those of the caller ($4): they run
-- in his session.
SELECT name, owner_id, queue, every, time_zone, next_run,
       payload, headers, priority, ttl_ms, lease_ms, max_deliveries,
       query, search_path, max_changes,
       group_key, dedup_key, on_duplicate, seen_to
  FROM pgqueue.schedule
 WHERE next_run <= $1
   AND (last_error IS NULL OR left(last_error, 5) <> ALL (string_to_array($2, ' ')) OR last_run <= $1 - interval '5 s')
   AND (query IS NOT NULL) = $3
   AND (seen_to IS NULL OR last_run < $1)
   AND (query IS NULL OR $4 IS NULL OR owner_id = $4)
 ORDER BY CASE WHEN $3 THEN random() END, next_run
 LIMIT 1
   FOR UPDATE SKIP LOCKED
