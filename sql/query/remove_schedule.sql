DELETE FROM pgqueue.schedule WHERE name = $1
RETURNING owner::text, queue, every, time_zone, next_run, last_run, query IS NOT NULL
