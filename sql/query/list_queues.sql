-- The first columns are for the check of rights.
SELECT q.id, q.owner_id, q.has_grants, q.name, r.rolname::text, q.settings, q.created_at, q.paused
  FROM pgqueue.queue_access q
  LEFT JOIN pg_roles r ON r.oid = q.owner_id
 ORDER BY q.name
