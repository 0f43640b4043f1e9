-- Sets a schedule back to a time that is no later than the clock ($4) says, with the rest that it takes.
-- Not if somebody is running it, or has put it again.
UPDATE pgqueue.schedule
   SET next_run = $3, last_run = least(last_run, $4),
       retry_at = CASE WHEN last_run > $4 THEN retry_at - (last_run - $4) ELSE retry_at END
 WHERE name = (SELECT name FROM pgqueue.schedule WHERE name = $1 AND next_run = $2 FOR UPDATE SKIP LOCKED)
