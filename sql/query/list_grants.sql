-- The first columns are for the check of rights.
SELECT q.id, q.owner_id, q.has_grants, q.name, coalesce(r.rolname::text, 'public'), p.privilege
  FROM pgqueue.privilege p
  JOIN pgqueue.queue_access q ON q.id = p.queue
  LEFT JOIN pg_roles r ON r.oid = p.role_id
 WHERE ($1 IS NULL OR q.name = $1) AND (p.role_id = 0 OR r.oid IS NOT NULL)
 ORDER BY q.name, 5, p.privilege
