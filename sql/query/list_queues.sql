SELECT name, owner::text, settings, created_at, paused
  FROM pgqueue.queue
 ORDER BY name
