-- Unless somebody is running it, or has put it again.
UPDATE pgqueue.schedule SET next_run = $3, last_run = least(last_run, $4)
 WHERE name = (SELECT name FROM pgqueue.schedule WHERE name = $1 AND next_run = $2 FOR UPDATE SKIP LOCKED)
