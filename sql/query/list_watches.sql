-- The first column is for the check of rights.
SELECT s.owner_id, s.name, s.queue, s.query, s.every, s.time_zone, s.max_changes::bigint,
       s.next_run, s.last_run, s.last_error, r.rolname::text
  FROM pgqueue.schedule s
  LEFT JOIN pg_roles r ON r.oid = s.owner_id
 WHERE s.query IS NOT NULL
 ORDER BY s.name
