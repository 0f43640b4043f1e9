-- The first columns are for the check of rights.
SELECT t.id, t.owner_id, t.has_grants, t.name, coalesce(r.rolname::text, 'public'), p.privilege
  FROM pgqueue.privilege p
  JOIN pgqueue.topic_access t ON t.id = p.queue
  LEFT JOIN pg_roles r ON r.oid = p.role_id
 WHERE ($1 IS NULL OR t.name = $1) AND (p.role_id = 0 OR r.oid IS NOT NULL)
 ORDER BY t.name, 5, p.privilege
