-- The owner of a queue that transactions have noted as begun under the name $1, and the grants that one has set.
SELECT b.owner_id, b.grants
  FROM pgqueue.begun_queue b
 WHERE b.name = $1
   AND NOT EXISTS (SELECT FROM pgqueue.dropped_queue d WHERE d.queue = b.queue)
 LIMIT 1
