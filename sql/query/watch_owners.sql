-- Roles with due watches ($1), except $2, and whether they could connect by themselves; null stands for
-- dropped roles.
SELECT r.oid,
       coalesce(r.rolcanlogin AND has_database_privilege(r.oid, current_database(), 'CONNECT'), false)
  FROM pgqueue.schedule s
  LEFT JOIN pg_roles r ON r.oid = s.owner_id
 WHERE s.query IS NOT NULL
   AND s.next_run <= $1 AND (s.retry_at IS NULL OR s.retry_at <= $1)
   AND (r.oid IS NULL OR r.oid <> ALL ($2))
 GROUP BY r.oid, r.rolcanlogin
 ORDER BY min(greatest(s.next_run, s.retry_at))
