-- Locks messages whose receipt is valid, in the order of their ids. Without deliveries an id alone is enough,
-- whichever consumer has the message. With a key_place up to 0 the present version was never delivered
-- (engine/message/siblings.rs), and no receipt is valid.
SELECT m.id, m.queue, m.deliveries, m.max_deliveries, m.lease_until, coalesce(m.given_back, 0)
  FROM pgqueue.message m
 WHERE m.id = ANY ($1)
   AND ($2 IS NULL
        OR (coalesce(m.key_place, 1) > 0
            AND EXISTS (SELECT FROM unnest($1, $2) AS receipt (id, delivery)
                         WHERE receipt.id = m.id AND receipt.delivery = m.deliveries)))
 ORDER BY m.id
   FOR UPDATE
