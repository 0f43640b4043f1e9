DELETE FROM pgqueue.schedule WHERE name = $1
RETURNING owner_id, queue, every, time_zone, next_run, last_run, query IS NOT NULL
