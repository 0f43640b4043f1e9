-- The queue named $1, or numbered $2.
-- The first columns are for the check of rights.
SELECT id, owner_id, has_grants, settings, name, paused
  FROM pgqueue.queue_access
 WHERE name = $1 OR id = $2
