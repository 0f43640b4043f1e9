-- The leases of a queue.
SELECT id, deliveries FROM pgqueue.message
 WHERE queue = $1 AND lane = 'r' AND lease_until > clock_timestamp()
 ORDER BY id
