-- Locked so that no reserve takes it; others may hold it too.
SELECT queue, priority::integer, due_at
  FROM pgqueue.message
 WHERE id = $1 AND key_place = 0
   FOR SHARE
