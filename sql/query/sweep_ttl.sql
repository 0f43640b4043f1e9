-- Locks and returns up to $2 expired, unleased messages, from the position ($3, $4) on. The index returns
-- messages that expire at the same time in the order of the table.
SELECT id, expires_at, ctid FROM pgqueue.message m
 WHERE expires_at <= $1 AND lease_until <= $1
   AND expires_at >= $3 AND (expires_at > $3 OR ctid > $4)
   AND EXISTS (SELECT FROM pgqueue.queue q WHERE q.id = m.queue)
 ORDER BY expires_at
 LIMIT $2
   FOR UPDATE SKIP LOCKED
