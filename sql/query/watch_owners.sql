-- Roles with due watches ($1), except $2, and whether they could connect by themselves; null stands for
-- dropped roles. The role whose watch has been due for longest comes first. The recursion hops from owner to
-- owner along the index.
WITH RECURSIVE owners AS (
    (SELECT coalesce(owner_id, 0) AS owner FROM pgqueue.schedule
      WHERE query IS NOT NULL ORDER BY coalesce(owner_id, 0) LIMIT 1)
    UNION ALL
    SELECT (SELECT coalesce(s.owner_id, 0) FROM pgqueue.schedule s
             WHERE s.query IS NOT NULL AND coalesce(s.owner_id, 0) > o.owner ORDER BY coalesce(s.owner_id, 0) LIMIT 1)
      FROM owners o
     WHERE o.owner IS NOT NULL
), due AS (
    SELECT r.oid AS role, r.rolcanlogin, (SELECT greatest(next_run, retry_at) FROM pgqueue.schedule
                                           WHERE query IS NOT NULL AND coalesce(owner_id, 0) = o.owner
                                           ORDER BY greatest(next_run, retry_at) LIMIT 1) AS since
      FROM owners o
      LEFT JOIN pg_roles r ON r.oid = o.owner
     WHERE o.owner IS NOT NULL AND (r.oid IS NULL OR r.oid <> ALL ($2))
)
SELECT role, coalesce(rolcanlogin AND has_database_privilege(role, current_database(), 'CONNECT'), false)
  FROM due
 WHERE since <= $1
 GROUP BY role, rolcanlogin
 ORDER BY min(since)
