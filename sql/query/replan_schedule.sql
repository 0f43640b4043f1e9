-- Sets a schedule, and its rest, back to a time that is not later than the clock ($4). Has no effect if
-- another transaction is running the schedule, or has changed its time.
UPDATE pgqueue.schedule
   SET next_run = $3, last_run = least(last_run, $4),
       retry_at = CASE WHEN last_run > $4 THEN retry_at - (last_run - $4) ELSE retry_at END
 WHERE name = (SELECT name FROM pgqueue.schedule WHERE name = $1 AND next_run = $2 FOR UPDATE SKIP LOCKED)
