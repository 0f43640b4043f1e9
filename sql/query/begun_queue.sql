-- The queue named $1, or numbered $2, to which a transaction has pushed while another was making it. Columns as
-- in queue.sql, and the grants that the transaction has set.
SELECT b.queue, b.owner_id, false AS has_grants, '{}'::jsonb AS settings, b.name, false AS paused, b.grants
  FROM pgqueue.begun_queue b
 WHERE (b.name = $1 OR b.queue = $2)
   AND NOT EXISTS (SELECT FROM pgqueue.dropped_queue d WHERE d.queue = b.queue)
 LIMIT 1
