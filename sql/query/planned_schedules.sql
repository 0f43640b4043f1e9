-- Schedules after the name $2 that are planned, or have run, at a time still to come ($1). A schedule put off
-- for ever by hand is left out.
SELECT name, every, time_zone, next_run, coalesce(last_run > $1, false)
  FROM pgqueue.schedule
 WHERE name > $2 AND (next_run > $1 AND next_run < 'infinity' OR last_run > $1)
 ORDER BY name
 LIMIT $3
