-- Updates the names of renamed owners of schedules ($1); schedules of dropped roles have no owner. Returns the
-- number of those that were left, because another transaction has locked them. Names as in follow_queue_roles.sql.
WITH wrong AS MATERIALIZED (
    SELECT s.name
      FROM pgqueue.schedule s
      LEFT JOIN pg_roles r ON r.oid = s.owner_id
     WHERE s.name = ANY ($1) AND s.owner_id IS NOT NULL AND r.rolname IS DISTINCT FROM s.owner
), free AS MATERIALIZED (
    SELECT name FROM pgqueue.schedule
     WHERE name = ANY (ARRAY(SELECT name FROM wrong)) FOR NO KEY UPDATE SKIP LOCKED
), named AS (
    UPDATE pgqueue.schedule SET owner = nullif(pg_get_userbyid(owner_id), 'unknown (OID=' || owner_id || ')')
     WHERE name = ANY (ARRAY(SELECT name FROM free))
)
SELECT (SELECT count(*) FROM wrong) - (SELECT count(*) FROM free)
