-- Updates the names of renamed roles in queues and topics ($1) and up to $2 of their grants. Those of dropped roles
-- have no owner, grants to dropped roles are deleted. Returns the number of grants that were corrected, and of rows that
-- were left, because another transaction has locked them. The new name is the newest, as pin_role looks up numbers:
-- one of the snapshot may be another role's by now.
WITH wrong_queues AS MATERIALIZED (
    SELECT q.id
      FROM pgqueue.queue q
      LEFT JOIN pg_roles r ON r.oid = q.owner_id
     WHERE q.id = ANY ($1) AND q.owner_id IS NOT NULL AND r.rolname IS DISTINCT FROM q.owner
), free_queues AS MATERIALIZED (
    SELECT id FROM pgqueue.queue
     WHERE id = ANY (ARRAY(SELECT id FROM wrong_queues)) FOR NO KEY UPDATE SKIP LOCKED
), named_queues AS (
    UPDATE pgqueue.queue SET owner = nullif(pg_get_userbyid(owner_id), 'unknown (OID=' || owner_id || ')')
     WHERE id = ANY (ARRAY(SELECT id FROM free_queues))
), wrong_topics AS MATERIALIZED (
    SELECT t.id
      FROM pgqueue.topic t
      LEFT JOIN pg_roles r ON r.oid = t.owner_id
     WHERE t.id = ANY ($1) AND t.owner_id IS NOT NULL AND r.rolname IS DISTINCT FROM t.owner
), free_topics AS MATERIALIZED (
    SELECT id FROM pgqueue.topic
     WHERE id = ANY (ARRAY(SELECT id FROM wrong_topics)) FOR NO KEY UPDATE SKIP LOCKED
), named_topics AS (
    UPDATE pgqueue.topic SET owner = nullif(pg_get_userbyid(owner_id), 'unknown (OID=' || owner_id || ')')
     WHERE id = ANY (ARRAY(SELECT id FROM free_topics))
), wrong_grants AS MATERIALIZED (
    -- Grants have no key; a ctid identifies each.
    SELECT p.ctid AS place
      FROM pgqueue.privilege p
      LEFT JOIN pg_roles r ON r.oid = p.role_id
     WHERE p.queue = ANY ($1)
       AND (p.role_id IS NULL OR p.role_id <> 0 AND r.rolname IS DISTINCT FROM p.role)
     LIMIT $2
), free_grants AS MATERIALIZED (
    SELECT ctid AS place FROM pgqueue.privilege
     WHERE ctid = ANY (ARRAY(SELECT place FROM wrong_grants)) FOR UPDATE SKIP LOCKED
), named_grants AS (
    UPDATE pgqueue.privilege SET role = nullif(pg_get_userbyid(role_id), 'unknown (OID=' || role_id || ')')
     WHERE ctid = ANY (ARRAY(SELECT place FROM free_grants))
       AND EXISTS (SELECT FROM pg_roles WHERE oid = role_id)
), deleted_grants AS (
    DELETE FROM pgqueue.privilege
     WHERE ctid = ANY (ARRAY(SELECT place FROM free_grants))
       AND NOT EXISTS (SELECT FROM pg_roles WHERE oid = role_id)
)
SELECT (SELECT count(*) FROM free_grants),
       (SELECT count(*) FROM wrong_queues) - (SELECT count(*) FROM free_queues)
     + (SELECT count(*) FROM wrong_topics) - (SELECT count(*) FROM free_topics)
     + (SELECT count(*) FROM wrong_grants) - (SELECT count(*) FROM free_grants)
