-- Schedules behind $2, by name, that wait for a time, or have run at one that is yet to come ($1). One
-- that is put off for ever, by hand, stays so.
SELECT name, every, time_zone, next_run, coalesce(last_run > $1, false)
  FROM pgqueue.schedule
 WHERE name > $2 AND (next_run > $1 AND next_run < 'infinity' OR last_run > $1)
 ORDER BY name
 LIMIT $3
