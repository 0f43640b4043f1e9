SELECT id, name, owner::text, paused, settings
  FROM pgqueue.queue
 WHERE name = $1
