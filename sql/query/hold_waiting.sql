-- Locked so that no reserve takes it; others may hold it too.
SELECT queue, priority::integer, due_at
  FROM pgqueue.message
 WHERE id = $1 AND lease_until <= clock_timestamp()
   FOR SHARE
