-- The leases of a queue. (In the order of their ids, the planner would read all messages by id.)
SELECT id, deliveries FROM pgqueue.message
 WHERE queue = $1 AND lane = 'r' AND lease_until > clock_timestamp()
