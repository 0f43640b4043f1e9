UPDATE pgqueue.schedule SET next_run = $2, last_run = clock_timestamp(), last_error = $3 WHERE name = $1
