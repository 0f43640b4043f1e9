-- Updates the names of renamed roles. Grants to dropped roles are deleted, and their queues and schedules
-- have no owner. Rows that another transaction has locked are left for a later round; their number is
-- returned.
WITH queues AS MATERIALIZED (
    SELECT q.id, r.rolname
      FROM pgqueue.queue q
      LEFT JOIN pg_roles r ON r.oid = q.owner_id
     WHERE q.owner_id IS NOT NULL AND r.rolname IS DISTINCT FROM q.owner
), free_queues AS MATERIALIZED (
    SELECT id FROM pgqueue.queue WHERE id IN (SELECT id FROM queues) FOR NO KEY UPDATE SKIP LOCKED
), named_queues AS (
    UPDATE pgqueue.queue q SET owner = now.rolname
      FROM queues now JOIN free_queues USING (id)
     WHERE q.id = now.id
), schedules AS MATERIALIZED (
    SELECT s.name, r.rolname
      FROM pgqueue.schedule s
      LEFT JOIN pg_roles r ON r.oid = s.owner_id
     WHERE s.owner_id IS NOT NULL AND r.rolname IS DISTINCT FROM s.owner
), free_schedules AS MATERIALIZED (
    SELECT name FROM pgqueue.schedule WHERE name IN (SELECT name FROM schedules) FOR NO KEY UPDATE SKIP LOCKED
), named_schedules AS (
    UPDATE pgqueue.schedule s SET owner = now.rolname
      FROM schedules now JOIN free_schedules USING (name)
     WHERE s.name = now.name
), privileges AS MATERIALIZED (
    -- Grants have no key; a ctid identifies each.
    SELECT p.ctid AS place, r.rolname
      FROM pgqueue.privilege p
      LEFT JOIN pg_roles r ON r.oid = p.role_id
     WHERE p.role_id IS NULL OR p.role_id <> 0 AND r.rolname IS DISTINCT FROM p.role
), free_privileges AS MATERIALIZED (
    SELECT ctid AS place FROM pgqueue.privilege
     WHERE ctid = ANY (ARRAY(SELECT place FROM privileges)) FOR UPDATE SKIP LOCKED
), renamed AS (
    UPDATE pgqueue.privilege p SET role = now.rolname
      FROM privileges now JOIN free_privileges USING (place)
     WHERE p.ctid = now.place AND now.rolname IS NOT NULL
), revoked AS (
    DELETE FROM pgqueue.privilege p
     USING privileges now JOIN free_privileges USING (place)
     WHERE p.ctid = now.place AND now.rolname IS NULL
)
SELECT (SELECT count(*) FROM queues) - (SELECT count(*) FROM free_queues)
     + (SELECT count(*) FROM schedules) - (SELECT count(*) FROM free_schedules)
     + (SELECT count(*) FROM privileges) - (SELECT count(*) FROM free_privileges)
