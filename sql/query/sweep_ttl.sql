-- Up to $2 messages that outlived their time to live and are not leased, locked.
SELECT id FROM pgqueue.message
 WHERE expires_at <= $1 AND lease_until <= $1
 ORDER BY expires_at
 LIMIT $2
   FOR UPDATE SKIP LOCKED
