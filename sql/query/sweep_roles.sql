-- Names follow roles that were renamed; what belonged to roles that are gone is nobody's.
WITH queues AS (
    UPDATE pgqueue.queue q
       SET owner = now.rolname
      FROM (SELECT q.id, r.rolname
              FROM pgqueue.queue q
              LEFT JOIN pg_roles r ON r.oid = q.owner_id
             WHERE q.owner_id IS NOT NULL AND r.rolname IS DISTINCT FROM q.owner) now
     WHERE q.id = now.id
), schedules AS (
    UPDATE pgqueue.schedule s
       SET owner = now.rolname
      FROM (SELECT s.name, r.rolname
              FROM pgqueue.schedule s
              LEFT JOIN pg_roles r ON r.oid = s.owner_id
             WHERE s.owner_id IS NOT NULL AND r.rolname IS DISTINCT FROM s.owner) now
     WHERE s.name = now.name
), renamed AS (
    UPDATE pgqueue.privilege p
       SET role = r.rolname
      FROM pg_roles r
     WHERE r.oid = p.role_id AND r.rolname <> p.role
)
DELETE FROM pgqueue.privilege p
 WHERE p.role_id IS NULL
    OR p.role_id <> 0 AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = p.role_id)
