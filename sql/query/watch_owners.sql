-- Those of the roles $2 with due watches ($1), whether they could connect by themselves, and since when a watch is
-- due. Role 0 stands for dropped roles.
SELECT o.owner,
       coalesce((SELECT rolcanlogin FROM pg_roles WHERE oid = o.owner)
                AND has_database_privilege(o.owner, current_database(), 'CONNECT'), false),
       due.since
  FROM unnest($2) AS o (owner),
       LATERAL (SELECT greatest(next_run, retry_at) AS since FROM pgqueue.schedule
                 WHERE query IS NOT NULL AND coalesce(owner_id, 0) = o.owner
                 ORDER BY greatest(next_run, retry_at) LIMIT 1) due
 WHERE due.since <= $1
