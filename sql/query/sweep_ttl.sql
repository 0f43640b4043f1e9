-- Up to $2 messages that outlived their time to live and are not leased, locked.
SELECT id FROM pgqueue.message m
 WHERE expires_at <= $1 AND lease_until <= $1
   AND EXISTS (SELECT FROM pgqueue.queue q WHERE q.id = m.queue)
 ORDER BY expires_at
 LIMIT $2
   FOR UPDATE SKIP LOCKED
