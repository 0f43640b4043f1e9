-- Watches whose run has begun but whose process is gone: all but those of the roles $1, which have a process.
-- Their runs fail with the error $2.
UPDATE pgqueue.schedule
   SET last_error = $2, last_run = started_at, pauses = pauses + 1, started_at = NULL
 WHERE name IN (SELECT name
                  FROM pgqueue.schedule
                 WHERE started_at IS NOT NULL AND (owner_id IS NULL OR owner_id <> ALL ($1))
                   FOR UPDATE SKIP LOCKED)
