SELECT owner_id, queue, every, time_zone, next_run, last_run, query IS NOT NULL
  FROM pgqueue.schedule WHERE name = $1
