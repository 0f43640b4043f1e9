-- Notes the results of the round. An error stays until the same step fails again. A round by hand that has
-- not committed yet is not waited for.
UPDATE pgqueue.vacuum_run
   SET last_run = clock_timestamp(), page_size = $1, leases_expired = $2, moved_to_dead = $3, dropped = $4,
       ttl_dropped = $5, dead_dropped = $6, archive_dropped = $7,
       errors = errors || (SELECT coalesce(jsonb_object_agg(step, note || jsonb_build_object('at', clock_timestamp())), '{}')
                             FROM jsonb_each($8) AS new (step, note))
 WHERE only_row = (SELECT only_row FROM pgqueue.vacuum_run FOR UPDATE SKIP LOCKED)
