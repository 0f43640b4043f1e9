-- The schedules with the names $2, in that order, as far as they are due ($1). Those that a concurrent round has
-- locked are skipped. OFFSET 0 has each looked up by its name: an index of due times would show those of all roles.
SELECT s.name, s.owner_id, s.queue, s.every, s.time_zone, s.next_run,
       s.payload, s.headers, s.priority, s.ttl_ms, s.lease_ms, s.max_deliveries,
       s.query, s.search_path, s.max_changes,
       s.group_key, s.dedup_key, s.on_duplicate, s.seen_to, s.pauses
  FROM unnest($2) WITH ORDINALITY AS page (name, place),
       LATERAL (SELECT * FROM pgqueue.schedule s
                 WHERE s.name = page.name AND coalesce(s.query IS NULL AND greatest(s.next_run, s.retry_at) <= $1, false)
                OFFSET 0
                   FOR UPDATE SKIP LOCKED) s
 ORDER BY page.place
