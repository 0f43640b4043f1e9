-- The queue named $1, or numbered $2.
SELECT id, name, paused, settings, owner_id, granted
  FROM pgqueue.queue_access
 WHERE name = $1 OR id = $2
