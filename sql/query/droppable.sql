-- Whether as many as $2 messages of a queue are there that nobody holds.
SELECT count(*) >= $2
  FROM (SELECT FROM pgqueue.message
         WHERE queue = $1 AND lane = 'r' AND lease_until <= clock_timestamp()
         LIMIT $2) free
