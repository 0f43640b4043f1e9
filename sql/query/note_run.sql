UPDATE pgqueue.schedule SET next_run = $2, last_run = clock_timestamp(), last_error = $3, seen_to = $4 WHERE name = $1
