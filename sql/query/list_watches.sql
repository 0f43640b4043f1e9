-- The last column, the owner, is for the check of rights too.
SELECT name, queue, query, every, time_zone, max_changes, next_run, last_run, last_error, owner::text
  FROM pgqueue.schedule
 WHERE query IS NOT NULL
 ORDER BY name
