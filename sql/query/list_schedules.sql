-- The last column, the owner, is for the check of rights too.
SELECT name, queue, every, time_zone, payload, headers, priority::integer, next_run, last_run, last_error, owner::text
  FROM pgqueue.schedule
 WHERE query IS NULL
 ORDER BY name
