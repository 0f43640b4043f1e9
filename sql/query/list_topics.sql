-- The first columns are for the check of rights.
SELECT t.id, t.owner_id, t.has_grants, t.name, r.rolname::text, t.created_at
  FROM pgqueue.topic_access t
  LEFT JOIN pg_roles r ON r.oid = t.owner_id
 ORDER BY t.name
