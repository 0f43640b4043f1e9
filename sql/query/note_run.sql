UPDATE pgqueue.schedule
   SET next_run = $2, last_run = clock_timestamp(), last_error = $3, seen_to = $4, retry_at = $5, pauses = $6,
       started_at = NULL
 WHERE name = $1
RETURNING last_run
