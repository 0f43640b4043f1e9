-- Locks messages whose receipt is good, in the order of their ids.
SELECT m.id, m.queue, m.deliveries, m.max_deliveries, m.lease_until
  FROM pgqueue.message m
 WHERE m.id = ANY ($1)
   AND EXISTS (SELECT FROM unnest($1, $2) AS receipt (id, delivery)
                WHERE receipt.id = m.id AND receipt.delivery IN (0, m.deliveries))
 ORDER BY m.id
   FOR UPDATE
