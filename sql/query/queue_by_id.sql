SELECT id, name, owner::text, paused, settings
  FROM pgqueue.queue
 WHERE id = $1
