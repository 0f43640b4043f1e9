-- Removes the schedule $1 if it is still that of owner $2 and queue $3: a refused caller has locked no row.
DELETE FROM pgqueue.schedule
 WHERE name = $1 AND owner_id IS NOT DISTINCT FROM $2 AND queue = $3
RETURNING owner_id, queue, every, time_zone, next_run, last_run, query IS NOT NULL
