-- Makes the due watches ($1) of the role $2 wait, and notes the error $3, unless one of them has run since
-- $4. Without a role: the watches whose owner is gone.
UPDATE pgqueue.schedule
   SET last_error = $3, last_run = $1, pauses = pauses + 1,
       retry_at = $1 + least(interval '5 s' * 2 ^ least(pauses, 10), interval '300 s')
 WHERE name IN (SELECT s.name
                  FROM pgqueue.schedule s
                 WHERE s.query IS NOT NULL
                   AND s.next_run <= $1 AND (s.retry_at IS NULL OR s.retry_at <= $1)
                   AND CASE WHEN $2 IS NULL THEN NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = s.owner_id)
                            ELSE s.owner_id = $2
                                 AND NOT EXISTS (SELECT FROM pgqueue.schedule ran
                                                  WHERE ran.owner_id = $2 AND ran.query IS NOT NULL
                                                    AND (ran.last_run >= $4 OR ran.started_at >= $4)) END
                   FOR UPDATE SKIP LOCKED)
