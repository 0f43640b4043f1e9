-- True if a queue has at least $2 ready, unleased messages.
SELECT count(*) >= $2
  FROM (SELECT FROM pgqueue.message
         WHERE queue = $1 AND lane = 'r' AND lease_until <= clock_timestamp()
         LIMIT $2) free
