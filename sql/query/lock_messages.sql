-- Locks messages whose receipt is good, in the order of their ids. The clock is read
-- again after waiting for a lock: a lease may have ended meanwhile.
SELECT m.id, m.queue, m.deliveries, m.max_deliveries
  FROM pgqueue.message m
 WHERE m.id = ANY ($1)
   AND EXISTS (SELECT FROM unnest($1, $2) AS receipt (id, delivery)
                WHERE receipt.id = m.id AND receipt.delivery IN (0, m.deliveries))
   AND (m.lease_until > clock_timestamp() OR NOT $3)
 ORDER BY m.id
   FOR UPDATE
