-- Locks messages whose receipt is good, in the order of their ids. Without deliveries an
-- id alone means the message, whoever has it. With a place up to 0 nobody has had it as it is now
-- (engine/unique.rs).
SELECT m.id, m.queue, m.deliveries, m.max_deliveries, m.lease_until, coalesce(m.given_back, 0)
  FROM pgqueue.message m
 WHERE m.id = ANY ($1)
   AND ($2 IS NULL
        OR (coalesce(m.key_place, 1) > 0
            AND EXISTS (SELECT FROM unnest($1, $2) AS receipt (id, delivery)
                         WHERE receipt.id = m.id AND receipt.delivery = m.deliveries)))
 ORDER BY m.id
   FOR UPDATE
